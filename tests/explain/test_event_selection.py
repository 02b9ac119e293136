"""An action on all matching events covers exactly what was counted, whatever the filter, the bound and the chunks are."""

import random
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.console.event_actions import APPLIES
from platform_relay.explain.event_list import EventFilter
from platform_relay.explain.event_selection import Applies, EventRange, count_events, next_jobs
from tests.database.engine_room import accept, order, run

ACTIONS: dict[str, Applies] = {name: applies for name, (applies, _) in APPLIES.items()}
FILTERS = (
    EventFilter(),
    EventFilter(kind="test"),
    EventFilter(kind="none"),
    EventFilter(state="needs_attention"),
    EventFilter(state="waiting"),
    EventFilter(source="store", since=datetime(2026, 1, 1, tzinfo=UTC)),
    EventFilter(until=datetime(2026, 1, 1, tzinfo=UTC)),
)


async def jobs_of(
    engine: AsyncEngine, filters: EventFilter, covered: EventRange, action: str, chunk: int
) -> list[UUID]:
    """The jobs to which an action would be applied, chunk by chunk."""
    found: list[UUID] = []
    position: UUID | None = covered.newest
    while position is not None:
        jobs, position = await next_jobs(engine, filters, covered, position, chunk)
        found += [job.id for job in jobs if ACTIONS[action](job)]
    return found


async def become_dead(engine: AsyncEngine, share: int) -> None:
    await run(
        engine,
        "UPDATE job SET state = 'dead', disposition = 'rejected', finished_at = clock_timestamp()"
        " WHERE state = 'waiting' AND lane LIKE :lane",
        lane=f"%{share}",
    )


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_the_count_is_what_is_done(engine: AsyncEngine, filters: EventFilter) -> None:
    chance = random.Random(str(filters))
    await accept(engine, *(order(str(number)) for number in range(120)))
    for share in (1, 4):
        await become_dead(engine, share)
    for most in (10_000, 37, 1):
        count = await count_events(engine, filters, ACTIONS, most=most)
        assert count.complete or count.events == most
        for action in ACTIONS:
            found = await jobs_of(engine, filters, count.range, action, chance.choice((1, 7, 200)))
            assert len(found) == len(set(found)) == count.jobs[action], (filters, most, action)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_what_arrives_or_becomes_dead_after_the_count_is_not_covered(
    engine: AsyncEngine, filters: EventFilter
) -> None:
    await accept(engine, *(order(str(number)) for number in range(40)))
    await become_dead(engine, 1)
    count = await count_events(engine, filters, ACTIONS)
    before = {action: await jobs_of(engine, filters, count.range, action, 7) for action in ACTIONS}
    await accept(engine, *(order(str(number)) for number in range(100, 140)))
    await become_dead(engine, 2)  # of what was counted as waiting, and of what is new
    for action in ("retry", "edit", "wake"):
        assert set(await jobs_of(engine, filters, count.range, action, 7)) == set(before[action])
    assert set(await jobs_of(engine, filters, count.range, "drop", 7)) <= set(before["drop"])
