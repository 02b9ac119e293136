"""A database that was restored from a backup on the same server, which nothing but the command shows."""

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.jobs.backup import mark_restored
from platform_relay.jobs.failover import Failovers
from tests.database.engine_room import accept, order, rows, run


async def started(database_url: str, *, synchronous: bool = False) -> Failovers:
    """What a process knows after its first connection."""
    failovers = Failovers(database_url, "public", synchronous=synchronous)
    engine = create_engine(database_url, application_name="tests", pool_size=1, on_history=failovers.note)
    async with engine.connect():
        pass
    await engine.dispose()
    return failovers


async def test_an_order_that_arrives_again_after_a_restore_may_have_been_sent(
    database_url: str, engine: AsyncEngine
) -> None:
    assert not (await started(database_url)).may_have_sent(None)
    await accept(engine, order("1"))
    assert await mark_restored(engine, "test") == 1
    for synchronous in (False, True):  # replication keeps nothing that a restore has lost
        assert (await started(database_url, synchronous=synchronous)).may_have_sent(None)
    [(since, until)] = await rows(
        engine, "SELECT facts ->> 'since', facts ->> 'until' FROM alert WHERE code = 'database_failed_over'"
    )
    assert str(since) <= str(until)
    [(known,)] = await rows(engine, "SELECT max(lost_since) = max(received_at) FROM database_history, message")
    assert known


async def test_an_empty_database_can_be_marked(database_url: str, engine: AsyncEngine) -> None:
    await run(engine, "TRUNCATE message, job, lane")
    assert await mark_restored(engine, "test") == 0
    assert (await started(database_url)).may_have_sent(None)
