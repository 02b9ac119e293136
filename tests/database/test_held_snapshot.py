"""A claim does not walk over what was claimed before, while a session's old snapshot keeps Postgres from cleaning it away."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.statements.claim import CLAIM
from platform_relay.queue.states import Park, done
from platform_relay.queue.watermark import BEGINNING
from tests.reasons import WAITING_FOR_LANE

from .engine_room import accept, claim, customer, order, rows, run, settle

DONE = done({}, b"digest", ())
LANES = 500


@contextmanager
def looks(engine: AsyncEngine) -> Iterator[list[datetime]]:
    """From when on each claim looked."""
    seen: list[datetime] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "SKIP LOCKED" in statement and isinstance(parameters, tuple):
            seen.extend(each for each in parameters if isinstance(each, datetime))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def pages_read(engine: AsyncEngine, since: datetime) -> int:
    """Pages that a claim touches."""
    async with engine.connect() as connection:
        result = await connection.execute(
            text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {CLAIM.text}"),
            {"destination": "platform", "priority": 0, "limit": 64, "lease": 30.0, "since": since}
            | {"busy": [], "share": 64},
        )
        found = result.scalar_one()
        await connection.rollback()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


async def test_a_claim_reads_no_more_for_what_was_claimed_before(engine: AsyncEngine) -> None:
    queue = Queue(engine, "platform")
    async with engine.execution_options(isolation_level="REPEATABLE READ").connect() as other:
        await other.execute(text("SELECT count(*) FROM destination"))
        await accept(engine, *(order(str(number)) for number in range(LANES)))
        await run(engine, "UPDATE lane SET run_at = run_at - interval '1 hour' * (1 + random())")
        with looks(engine) as seen:
            while jobs := await queue.claim(64, lease=30.0):
                await queue.settle([Settlement(job, DONE, "done") for job in jobs])
        assert seen[0] == BEGINNING
        assert 5 * await pages_read(engine, seen[-1]) < await pages_read(engine, BEGINNING)


async def test_a_lane_that_was_locked_when_a_claim_passed_is_found(engine: AsyncEngine) -> None:
    queue = Queue(engine, "platform")
    await accept(engine, order("locked"), order("free"))
    await run(engine, "UPDATE lane SET run_at = run_at - interval '1 hour'")
    async with engine.begin() as other:
        await other.execute(text("SELECT 1 FROM lane WHERE key = 'order:locked' FOR UPDATE"))
        assert [job.lane for job in await queue.claim(10, lease=30.0)] == ["order:free"]
    async with asyncio.timeout(10):
        found = list[Job]()
        while not found:
            found = await queue.claim(10, lease=30.0)
    assert [job.lane for job in found] == ["order:locked"]


async def test_a_closed_channel_moves_no_mark(engine: AsyncEngine) -> None:
    queue = Queue(engine, "platform")
    await accept(engine, order("1"))
    await run(engine, "UPDATE lane SET run_at = run_at - interval '1 hour'")
    await run(engine, "UPDATE destination SET state = 'paused'")
    with looks(engine) as seen:
        assert [await queue.claim(10, lease=30.0) for _ in range(2)] == [[], []]
        await run(engine, "UPDATE destination SET state = 'open'")
        assert len(await queue.claim(10, lease=30.0)) == 1
    assert seen == [BEGINNING] * 3


async def test_what_becomes_urgent_is_due_from_then_on(engine: AsyncEngine) -> None:
    """It would lie behind the mark of its new priority else."""
    await accept(engine, customer("1", backfill=True), customer("2", backfill=True))
    await run(engine, "UPDATE lane SET run_at = run_at - interval '1 hour'")
    fresh = "SELECT key FROM lane WHERE priority = 0 AND run_at > now() - interval '1 minute' ORDER BY key"
    await accept(engine, customer("1"), order("7", depends_on="customer:2"))
    assert await rows(engine, fresh) == [("customer:1",), ("order:7",)]
    [waiting] = [job for job in await claim(engine) if job.lane == "order:7"]
    await settle(engine, [waiting], Park("customer:2", WAITING_FOR_LANE, False, 3600.0, for_lane=True), None)
    assert ("customer:2",) in await rows(engine, fresh)
