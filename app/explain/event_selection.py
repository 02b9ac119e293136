"""All events that match a filter, for one action on all of them: first a count, then the action in chunks.

The count fixes what the action covers: the events between `oldest` and `newest`, and of their jobs those that have been as they
are since `before` or longer. So nothing is added by what arrives, or becomes dead, after the count. Both read in steps that are
short, each on its own; no lock is held between them.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import read_connection
from platform_relay.core.ids import first_id
from platform_relay.explain.event_list import EventFilter, SelectedJob, list_event_ids, selected_jobs

MOST: Final = 10_000
"""Events that one action covers at most."""
SECONDS: Final = 4.0
"""After this time the count ends. The action then covers what was counted."""
STEP: Final = 500
Applies = Callable[[SelectedJob], bool]
_NOW: Final = text("SELECT now()")


@dataclass(frozen=True, slots=True)
class EventRange:
    """What an action on all matching events covers: those with ids from `oldest` to below `newest`, as of `before`."""

    newest: UUID
    oldest: UUID
    before: datetime


@dataclass(frozen=True, slots=True)
class EventCount:
    """`jobs`: to how many jobs each action applies. `complete` False: older events may match as well, beyond `range`."""

    range: EventRange
    events: int
    jobs: Mapping[str, int]
    complete: bool
    waits_for: frozenset[str] = field(default_factory=frozenset)

    @property
    def reached(self) -> datetime:
        """The time down to which was searched."""
        return datetime.fromtimestamp((self.range.oldest.int >> 80) / 1000, UTC)


async def count_events(
    engine: AsyncEngine,
    filters: EventFilter,
    actions: Mapping[str, Applies],
    within: EventRange | None = None,
    *,
    most: int = MOST,
    seconds: float = SECONDS,
) -> EventCount:
    """Count the newest matching events, at most `most`, and the jobs to which each action applies. `within`: only in this range.

    Raises DatabaseAway, as the functions below.
    """
    if within is None:
        async with read_connection(engine) as connection:
            now: datetime = (await connection.execute(_NOW)).scalar_one()
        within = EventRange(first_id(now), UUID(int=0), now)
    events, jobs, keys = 0, Counter[str](), set[str]()
    position: UUID | None = within.newest
    started = time.monotonic()
    reached = within.newest
    while position is not None and events < most and time.monotonic() - started < seconds:
        async with read_connection(engine) as connection:
            limit = min(STEP, most - events)
            ids, position = await list_event_ids(connection, filters, position, within.oldest, limit)
            selected = await selected_jobs(connection, ids, within.before) if ids else []
        events += len(ids)
        reached = position or within.oldest
        for name, applies in actions.items():
            jobs[name] += sum(map(applies, selected))
        keys.update(job.waits_for for job in selected if job.waits_for)
    covered = EventRange(within.newest, reached, within.before)
    return EventCount(covered, events, jobs, position is None, frozenset(keys))


async def next_jobs(
    engine: AsyncEngine, filters: EventFilter, covered: EventRange, position: UUID, limit: int
) -> tuple[list[SelectedJob], UUID | None]:
    """The jobs of the next matching events, and the position after which the next ones follow; None at the end."""
    async with read_connection(engine) as connection:
        ids, last = await list_event_ids(connection, filters, position, covered.oldest, limit)
        return await selected_jobs(connection, ids, covered.before) if ids else [], last
