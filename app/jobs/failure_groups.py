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

from platform_relay.core.reasons import Reason, ReasonCode, stored

GROUPS: Final = 200
OF_ONE_JOB: Final = (
    "attempts",
    "by",
    "code",
    "comment",
    "id",
    "lane",
    "message",
    "newer",
    "order",
    "redemption",
    "value",
)
"""Facts that differ from job to job with the same cause."""
_ALIKE: Final = f"""
    lower(replace(CAST(coalesce(job.facts, '{{}}') - CAST(ARRAY{list(OF_ONE_JOB)} AS text[]) AS text),
                  split_part(job.lane, ':', 2), ''))
"""
_CAUSE: Final = f"md5(concat_ws(' ', job.facts ->> 'status', translate({_ALIKE}, '0123456789abcdef-', '')))"
"""A digest of the facts. Left out are the facts in OF_ONE_JOB, the id of the job's own entity, and, since a destination's
response may name other ids, all digits and the letters of UUIDs; the HTTP status counts in full."""
_FROM: Final[Mapping[str, str]] = {
    "dead": "FROM job WHERE job.dead",
    "held": "FROM lane JOIN job ON job.destination = lane.destination AND job.lane = lane.key AND job.open"
    " AND job.state = 'waiting' WHERE lane.waits_for IS NOT NULL AND lane.waits_for !~ '^customer:'",
}
"""An order that waits for its customer's delivery goes on by itself and needs nobody."""
_WAITS_FOR: Final[Mapping[str, str]] = {"dead": "''", "held": "lane.waits_for"}
_COLUMNS: Final[Mapping[str, str]] = {
    state: f"job.destination, job.kind, coalesce(job.disposition, '') AS disposition, {waits_for} AS waits_for,"
    f" coalesce(job.reason_code, '{ReasonCode.UNSPECIFIED}') AS reason_code, {_CAUSE} AS cause"
    for state, waits_for in _WAITS_FOR.items()
}
State = Literal["dead", "held"]


def _matching(state: str) -> str:
    return (
        f"{_FROM[state]} AND job.destination = :destination AND job.kind = :kind"
        f" AND coalesce(job.disposition, '') = :disposition AND {_WAITS_FOR[state]} = :waits_for"
        f" AND coalesce(job.reason_code, '{ReasonCode.UNSPECIFIED}') = :reason_code AND {_CAUSE} = :cause"
        " AND (CAST(:before AS timestamptz) IS NULL OR coalesce(job.finished_at, job.created_at) <= :before)"
    )


# Constants only: `state` is one of two words of ours.
_PILES: Final = {
    state: text(
        f"SELECT {_COLUMNS[state]}, count(*) AS jobs, CAST(min(CAST(job.facts AS text)) AS jsonb) AS facts,"
        " min(coalesce(job.finished_at, job.created_at)) AS first, max(coalesce(job.finished_at, job.created_at)) AS last,"
        " count(*) OVER () AS piles"
        f" {_FROM[state]} AND (CAST(:reason_code AS text) IS NULL OR job.reason_code = :reason_code)"
        f" GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 7 DESC, 1, 2, 3, 4, 5, 6 LIMIT {GROUPS}"
    )
    for state in _FROM
}
_COUNT: Final = {state: text(f"SELECT count(*), now() {_matching(state)}") for state in _FROM}
_IDS: Final = {
    state: text(f"SELECT job.id {_matching(state)} AND job.id > :cursor ORDER BY job.id LIMIT :limit")
    for state in _FROM
}


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """What the jobs have in common. `waits_for`: of held jobs the name of what they wait for, else empty. `cause` is a
    digest of the facts that distinguish causes with one reason code."""

    state: State
    destination: str
    kind: str
    disposition: str
    waits_for: str
    reason_code: str
    cause: str


@dataclass(frozen=True, slots=True)
class FailureGroupCount:
    """`example` is the reason of one of the jobs."""

    pile: FailureGroup
    jobs: int
    example: Reason | None
    first: datetime
    last: datetime


async def list_failure_groups(
    connection: AsyncConnection, state: State, reason_code: ReasonCode | None = None
) -> tuple[list[FailureGroupCount], bool]:
    """The largest first, and whether there are more than `GROUPS`; with `reason_code` only piles with it. Reads all jobs of
    that state: for people."""
    rows = (await connection.execute(_PILES[state], {"reason_code": reason_code})).all()
    piles = [
        FailureGroupCount(
            FailureGroup(state, row.destination, row.kind, row.disposition, row.waits_for, row.reason_code, row.cause),
            row.jobs,
            stored(row.reason_code, row.facts),
            row.first,
            row.last,
        )
        for row in rows
    ]
    return piles, bool(rows) and rows[0].piles > len(rows)


async def count_group(connection: AsyncConnection, pile: FailureGroup) -> tuple[int, datetime]:
    """How many jobs, and the moment of the count: what joins the pile afterwards was not counted."""
    count, moment = (await connection.execute(_COUNT[pile.state], {**asdict(pile), "before": None})).one()
    return count, moment


async def jobs_of(
    connection: AsyncConnection, pile: FailureGroup, before: datetime | None, cursor: UUID | None, limit: int
) -> list[UUID]:
    """The next ids after `cursor` of jobs that were in the pile by `before`."""
    after = cursor or UUID(int=0)
    parameters = {**asdict(pile), "before": before, "cursor": after, "limit": limit}
    return list((await connection.execute(_IDS[pile.state], parameters)).scalars())
