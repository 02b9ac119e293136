"""Failure groups: dead jobs, or held jobs, that have the same cause.

A group is identified by what its jobs have in common. Therefore one decision can be applied to all of them in chunks, each
by any process, and no state of a running bulk action is stored.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.reasons import Reason, ReasonCode, stored
from platform_relay.queue.states import DOUBT

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
"""Facts that differ between jobs with the same cause."""
SHORTEST_ID: Final = 4
"""A shorter id of an entity, without a digit, may accidentally be part of other words."""
_CAUSE: Final = f"""
    md5(concat_ws(' ', job.facts ->> 'status', (
        SELECT string_agg(word, ' ' ORDER BY place)
        FROM unnest(string_to_array(CAST(coalesce(job.facts, '{{}}') - CAST(ARRAY{list(OF_ONE_JOB)} AS text[]) AS text), ' '))
             WITH ORDINALITY AS words(word, place)
        WHERE translate(word, '0123456789', '') = word
          AND (length(split_part(job.lane, ':', 2)) < {SHORTEST_ID} OR position(split_part(job.lane, ':', 2) IN word) = 0))))
"""  # noqa: S608  # constants only
"""A digest of the facts without those in OF_ONE_JOB. A destination's response may contain ids, amounts and times. Therefore
words with a digit, or with the id of the job's own entity, are left out as well. The HTTP status is kept."""
HELD: Final = (
    "lane.waits_for IS NOT NULL"
    " AND NOT EXISTS (SELECT FROM lane AS other WHERE other.key = lane.waits_for AND other.destination = lane.destination)"
    f" AND lane.waits_for <> '{DOUBT}' || lane.destination"
)
"""The condition that a lane's jobs are held. An order that waits for its customer's delivery is no failure, nor is a job that
waits for another entity's call (`queue.lane_failures`): they continue automatically."""
_FROM: Final[Mapping[str, str]] = {
    "dead": "FROM job WHERE job.dead",
    "held": "FROM lane JOIN job ON job.destination = lane.destination AND job.lane = lane.key AND job.open"
    f" AND job.state = 'waiting' WHERE {HELD}",
}
_WAITS_FOR: Final[Mapping[str, str]] = {"dead": "''", "held": "lane.waits_for"}
_CODE: Final = f"coalesce(job.reason_code, '{ReasonCode.UNSPECIFIED}')"
_COLUMNS: Final[Mapping[str, str]] = {
    state: f"job.destination, job.kind, coalesce(job.disposition, '') AS disposition, {waits_for} AS waits_for,"
    f" {_CODE} AS reason_code, {_CAUSE} AS cause"
    for state, waits_for in _WAITS_FOR.items()
}
State = Literal["dead", "held"]


def _is(column: str, name: str) -> str:
    """The condition that the column has the value of the parameter; null does not restrict."""
    return f"(CAST(:{name} AS text) IS NULL OR {column} = :{name})"


def _matching(state: str) -> str:
    disposition = _is("coalesce(job.disposition, '')", "disposition")
    return (
        f"{_FROM[state]} AND {_is('job.destination', 'destination')} AND {_is('job.kind', 'kind')}"
        f" AND {disposition} AND {_is(_WAITS_FOR[state], 'waits_for')}"
        f" AND {_is(_CODE, 'reason_code')} AND {_is(_CAUSE, 'cause')}"
        " AND (CAST(:before AS timestamptz) IS NULL OR coalesce(job.finished_at, job.created_at) <= :before)"
    )


# Constants only: `state` is a key of _FROM.
_GROUPS: Final = {
    state: text(
        f"SELECT {_COLUMNS[state]}, count(*) AS jobs, CAST(min(CAST(job.facts AS text)) AS jsonb) AS facts,"
        " min(coalesce(job.finished_at, job.created_at)) AS first, max(coalesce(job.finished_at, job.created_at)) AS last,"
        " count(*) OVER () AS groups"
        f" {_FROM[state]} AND (CAST(:reason_code AS text) IS NULL OR {_CODE} = :reason_code)"
        f" GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 7 DESC, 1, 2, 3, 4, 5, 6 LIMIT {GROUPS}"
    )
    for state in _FROM
}
_COUNT: Final = {state: text(f"SELECT count(*), now() {_matching(state)}") for state in _FROM}
_HELD_FOR: Final = text(f"SELECT DISTINCT lane.waits_for {_matching('held')} ORDER BY 1")
_IDS: Final = {
    state: text(f"SELECT job.id {_matching(state)} AND job.id > :cursor ORDER BY job.id LIMIT :limit")
    for state in _FROM
}


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """What the jobs of a group have in common. None does not restrict: see `every`.

    `waits_for` names what held jobs wait for; it is empty for dead jobs. `cause` is a digest of the facts, which
    distinguishes causes with the same reason code.
    """

    state: State
    destination: str | None
    kind: str | None
    disposition: str | None
    waits_for: str | None
    reason_code: str | None
    cause: str | None

    @classmethod
    def every(cls, state: State, reason_code: ReasonCode | None = None) -> "FailureGroup":
        """All jobs of a state, or those with a reason code: the jobs of many groups."""
        return cls(state, None, None, None, None, reason_code, None)

    @property
    def is_one(self) -> bool:
        """Whether the jobs have one cause."""
        return self.cause is not None


@dataclass(frozen=True, slots=True)
class FailureGroupCount:
    """`example` is the reason of one of the jobs."""

    group: FailureGroup
    jobs: int
    example: Reason | None
    first: datetime
    last: datetime


async def list_failure_groups(
    connection: AsyncConnection, state: State, reason_code: ReasonCode | None = None
) -> tuple[list[FailureGroupCount], bool]:
    """The largest groups first, and whether there are more than `GROUPS`. `reason_code` selects the groups with that code.

    Reads all jobs in this state, so it is meant for people and not for monitoring.
    """
    rows = (await connection.execute(_GROUPS[state], {"reason_code": reason_code})).all()
    counts = [
        FailureGroupCount(
            FailureGroup(state, row.destination, row.kind, row.disposition, row.waits_for, row.reason_code, row.cause),
            row.jobs,
            stored(row.reason_code, row.facts),
            row.first,
            row.last,
        )
        for row in rows
    ]
    return counts, bool(rows) and rows[0].groups > len(rows)


async def count_group(connection: AsyncConnection, group: FailureGroup) -> tuple[int, datetime]:
    """The number of jobs and the time of the count. Jobs that join the group later are not counted."""
    count, moment = (await connection.execute(_COUNT[group.state], {**asdict(group), "before": None})).one()
    return count, moment


async def list_job_ids(
    connection: AsyncConnection, group: FailureGroup, before: datetime | None, cursor: UUID | None, limit: int
) -> list[UUID]:
    """The next ids after `cursor` of the jobs that were in the group at the time `before`."""
    parameters = {**asdict(group), "before": before, "cursor": cursor or UUID(int=0), "limit": limit}
    return list((await connection.execute(_IDS[group.state], parameters)).scalars())


async def list_held_for(connection: AsyncConnection, group: FailureGroup, before: datetime | None) -> list[str]:
    """What the held jobs wait for that were in the group at the time `before`."""
    return list((await connection.execute(_HELD_FOR, {**asdict(group), "before": before})).scalars())
