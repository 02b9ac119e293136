"""The probe of accept, claim and settle leaves nothing behind, and is committed."""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.checks.work_probe import probe
from platform_relay.core.work import Failure, Operation, Work
from platform_relay.queue.last_work import note_work, stale_work
from tests.database.engine_room import accept, customer, rows, run

TABLES = ("message", "job", "lane", "attempt", "entity")


def failed(work: Work) -> Work:
    """Accept and settle failed long ago."""
    for record in (work.accept, work.record(Operation.SETTLE, "platform")):
        record.failed(record.clock() - 60, Failure("connection", None, "OSError"))
        record.clock = lambda clock=record.clock: clock() + 60  # type: ignore[misc]
    return work


@pytest.mark.parametrize("operation", [Operation.ACCEPT, Operation.SETTLE])
async def test_a_probe_succeeds_and_leaves_no_row(engine: AsyncEngine, operation: Operation) -> None:
    work = failed(Work())
    records = [record for record in work.records() if record.operation is operation]
    before = await rows(engine, "SELECT pg_current_xact_id()::text::bigint")
    await probe(engine, records)
    assert [record.failure for record in records] == [None]
    for table in TABLES:
        assert await rows(engine, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608
    assert await rows(engine, "SELECT count(*) FROM destination") == [(3,)]
    ended = await rows(
        engine,
        "SELECT pg_xact_status(CAST(CAST(id AS text) AS xid8)) FROM generate_series(CAST(:first AS bigint) + 1,"
        " CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) - 1) AS id",
        first=before[0][0],
    )
    assert ("committed",) in ended


async def test_a_failed_probe_names_the_statement(engine: AsyncEngine) -> None:
    work = failed(Work())
    await run(engine, "ALTER TABLE attempt RENAME COLUMN excerpt TO other")
    await probe(engine, work.records())
    assert work.accept.failure is None, "messages can be accepted"
    failing = work.record(Operation.SETTLE, "platform").failure
    assert failing is not None
    assert (failing.statement, failing.sqlstate) == ("settle", "42703")


async def test_a_worker_that_works_is_seen_by_others_and_one_that_does_not_as_well(engine: AsyncEngine) -> None:
    async def stale() -> list[tuple[str, str]]:
        return [(each.destination, each.operation.value) for each in await stale_work(engine, 20)]

    async def pass_by(seconds: int) -> None:
        by = timedelta(seconds=seconds)
        await run(engine, "UPDATE lane SET run_at = run_at - CAST(:by AS interval)", by=by)
        await run(
            engine,
            "UPDATE destination SET since = since - CAST(:by AS interval), claimed_at = claimed_at - CAST(:by AS interval),"
            " settled_at = settled_at - CAST(:by AS interval)",
            by=by,
        )

    await pass_by(30)
    assert await stale() == [], "nothing is due"
    await accept(engine, customer("1"))
    assert await stale() == [], "it has been due for a moment"
    await pass_by(30)
    assert await stale() == [("platform", "claim")]
    await run(engine, "UPDATE destination SET state = 'paused'")
    assert await stale() == [], "nobody may claim"
    await run(engine, "UPDATE destination SET state = 'open'")
    await note_work(engine, claims=["platform"], settles=["platform"])
    assert await stale() == []
    await pass_by(30)
    await note_work(engine, claims=["platform"], settles=[])
    assert await stale() == [("platform", "settle")]
    await note_work(engine, claims=["platform"], settles=["platform"])
    assert await stale() == []
