"""What waits for a person, in piles of the same cause: dead jobs, and jobs held until something is settled.

A pile is named by what its jobs have in common, so that one decision can be carried out on all of them in chunks,
by whichever process gets the next chunk; nothing about a running bulk act is kept here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PILES: Final = 200
_CAUSE: Final = "left(regexp_replace(coalesce(job.detail, ''), '[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]{4,}', '#', 'g'), 200)"
"""The detail without the numbers that differ from job to job."""
_FROM: Final[Mapping[str, str]] = {
    "dead": "FROM job WHERE job.dead",
    "held": "FROM lane JOIN job ON job.channel = lane.channel AND job.lane = lane.key AND job.open"
    " AND job.state = 'waiting' WHERE lane.waits_for IS NOT NULL AND lane.waits_for !~ '^customer:'",
}
"""An order that waits for its customer's delivery goes on by itself and needs nobody."""
_REASON: Final[Mapping[str, str]] = {"dead": "job.reason", "held": "lane.waits_for"}
State = Literal["dead", "held"]


def _matching(state: str) -> str:
    return (
        f"{_FROM[state]} AND job.channel = :channel AND job.kind = :kind"
        f" AND coalesce({_REASON[state]}, '') = :reason AND {_CAUSE} = :cause"
        " AND (CAST(:before AS timestamptz) IS NULL OR coalesce(job.finished_at, job.created_at) <= :before)"
    )


# Constants only: `state` is one of two words of ours.
_PILES: Final = {
    state: text(
        f"SELECT job.channel, job.kind, coalesce({_REASON[state]}, '') AS reason, {_CAUSE} AS cause, count(*) AS jobs,"
        " min(coalesce(job.finished_at, job.created_at)) AS first, max(coalesce(job.finished_at, job.created_at)) AS last,"
        " count(*) OVER () AS piles"
        f" {_FROM[state]} GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT {PILES}"
    )
    for state in _FROM
}
_COUNT: Final = {state: text(f"SELECT count(*), now() {_matching(state)}") for state in _FROM}
_IDS: Final = {
    state: text(f"SELECT job.id {_matching(state)} AND job.id > :cursor ORDER BY job.id LIMIT :limit")
    for state in _FROM
}


@dataclass(frozen=True, slots=True)
class Pile:
    """What the jobs have in common. `reason` is why a dead job was given up, or what a held one waits for."""

    state: State
    channel: str
    kind: str
    reason: str
    cause: str


@dataclass(frozen=True, slots=True)
class PileCount:
    pile: Pile
    jobs: int
    first: datetime
    last: datetime


async def list_piles(connection: AsyncConnection, state: State) -> tuple[list[PileCount], bool]:
    """The largest first, and whether there are more than `PILES`. Reads all jobs of that state: for people."""
    rows = (await connection.execute(_PILES[state])).all()
    piles = [
        PileCount(Pile(state, row.channel, row.kind, row.reason, row.cause), row.jobs, row.first, row.last)
        for row in rows
    ]
    return piles, bool(rows) and rows[0].piles > len(rows)


async def count_pile(connection: AsyncConnection, pile: Pile) -> tuple[int, datetime]:
    """How many jobs, and the moment of the count: what joins the pile afterwards was not counted."""
    count, moment = (await connection.execute(_COUNT[pile.state], {**asdict(pile), "before": None})).one()
    return count, moment


async def jobs_of(
    connection: AsyncConnection, pile: Pile, before: datetime | None, cursor: UUID | None, limit: int
) -> list[UUID]:
    """The next ids after `cursor` of jobs that were in the pile by `before`."""
    after = cursor or UUID(int=0)
    parameters = {**asdict(pile), "before": before, "cursor": after, "limit": limit}
    return list((await connection.execute(_IDS[pile.state], parameters)).scalars())
