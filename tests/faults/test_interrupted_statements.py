"""Statements that are cut, cancelled, stalled and timed out at every request and at every step of the event loop: no
connection stays in a transaction, and what was acknowledged is stored."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import Timeouts, create_engine, is_unavailable, single_statement
from platform_relay.core.database_connections import OpenTransactionError, is_idle
from tests.faults.pooler import Missing, Pooler
from tests.faults.requests import Armed, Fault, RequestProxy
from tests.faults.server import PostgresServer
from tests.helpers import eventually

POOL = 2
TIMEOUTS = Timeouts(statement=0.1, lock=10, idle_in_transaction=60, grace=0.4)
LIMIT = 0.15  # of an operation, as the inbox has one
LATE = 0.3
MOST_REQUESTS = 12
INSERT = text("INSERT INTO kept VALUES (:id)")


async def done(operation: Callable[[], Awaitable[None]]) -> None:
    """Run it until it succeeds: on a busy machine the short time limits may end it."""

    async def succeeds() -> bool:
        try:
            await operation()
        except Exception as error:
            if not is_unavailable(error):
                raise
            return False
        return True

    await eventually(succeeds, 20)


@dataclass
class Table:
    """The table `kept`, behind the proxy. Each operation inserts a new id and returns it when it is acknowledged."""

    engine: AsyncEngine
    proxy: RequestProxy
    administrator: "asyncpg.Connection[asyncpg.Record]"
    discarded: list[None]
    acknowledged: set[int] = field(default_factory=set)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    async def single(self) -> None:
        number = next(self.ids)
        async with single_statement(self.engine) as connection:
            await connection.execute(INSERT, {"id": number})
        self.acknowledged.add(number)

    async def transaction(self) -> None:
        numbers = {next(self.ids), next(self.ids)}
        async with self.engine.begin() as connection:
            for number in numbers:
                await connection.execute(INSERT, {"id": number})
        self.acknowledged |= numbers

    async def rolled_back(self) -> None:
        with suppress(ZeroDivisionError):
            async with self.engine.begin() as connection:
                await connection.execute(INSERT, {"id": next(self.ids)})
                raise ZeroDivisionError

    async def read(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT count(*) FROM kept"))

    async def warm(self) -> None:
        for operation in (self.single, self.transaction, self.rolled_back, self.read):
            await done(operation)

    async def check(self, armed: Armed | None = None) -> None:
        """No connection is in a transaction; the pool works; what was acknowledged is stored."""
        self.proxy.disarm()
        try:
            await done(self._check_pool)
            await self._check()
        except Exception as error:
            error.add_note(f"after {armed}")
            raise

    async def _check_pool(self) -> None:
        async with AsyncExitStack() as stack:
            connections: list[AsyncConnection] = [
                await stack.enter_async_context(self.engine.connect()) for _ in range(POOL)
            ]
            for connection in connections:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                assert is_idle(driver)

    async def _check(self) -> None:
        await self.no_open_transaction()
        for operation in (self.single, self.transaction, self.read):
            await done(operation)
        stored = {row["id"] for row in await self.administrator.fetch("SELECT id FROM kept")}
        assert self.acknowledged <= stored

    async def no_open_transaction(self) -> None:
        """No server process of the pool is in a transaction, seen by the server."""

        async def all_are_idle() -> bool:
            states = await self.administrator.fetch(
                "SELECT state, query FROM pg_stat_activity WHERE application_name = 'sweep' AND state <> 'idle'"
            )
            assert states == []
            return True

        await eventually(all_are_idle)


@pytest.fixture
async def table(empty_database_url: str) -> AsyncIterator[Table]:
    async with table_at(empty_database_url, empty_database_url) as made:
        yield made


@pytest.fixture
async def table_behind_a_pooler(tmp_path: Path) -> AsyncIterator[Table]:
    """PgBouncer in transaction mode is between the proxy and the server."""
    postgres = PostgresServer(tmp_path / "postgres")
    pooler = Pooler(tmp_path, postgres)
    try:
        pooler.start()
    except Missing as missing:
        pytest.skip(str(missing))
    try:
        await postgres.create()
        async with table_at(postgres.url(pooler.port), postgres.url()) as made:
            yield made
    finally:
        pooler.kill()
        postgres.end()


@asynccontextmanager
async def table_at(url: str, direct_url: str) -> AsyncIterator[Table]:
    """A new table `kept`, reached by way of `url`, and by its administrator at `direct_url`."""
    proxy = RequestProxy(url, direct_url)
    with proxy.running():
        administrator = await proxy.administrator()
        await administrator.execute("CREATE TABLE kept (id int PRIMARY KEY)")
        discarded: list[None] = []
        engine = create_engine(
            proxy.url,
            application_name="sweep",
            pool_size=POOL,
            timeouts=TIMEOUTS,
            on_discard=lambda: discarded.append(None),
        )
        try:
            yield Table(engine, proxy, administrator, discarded)
        finally:
            await engine.dispose()
            await administrator.close()


Operation = Callable[[Table], Awaitable[None]]
OPERATIONS = [Table.single, Table.transaction, Table.rolled_back, Table.read]


async def attempt(operation: Awaitable[None], limit: float | None) -> None:
    """Run it; the errors of an unavailable database are expected."""
    try:
        async with asyncio.timeout(limit):
            await operation
    except Exception as error:
        if not is_unavailable(error):
            raise


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize(
    ("fault", "limit"),
    [
        *((fault, None) for fault in Fault),
        (Fault.HOLD_REQUEST, LIMIT),
        (Fault.HOLD_ANSWER, LIMIT),
        (Fault.STALL, LIMIT / 2),
    ],
)
async def test_a_fault_at_every_request(table: Table, fault: Fault, operation: Operation, limit: float | None) -> None:
    await sweep(table, fault, operation, limit)


async def sweep(table: Table, fault: Fault, operation: Operation, limit: float | None) -> None:
    for number in range(1, MOST_REQUESTS):
        await table.warm()
        armed = table.proxy.arm(fault, number, LATE)
        await attempt(operation(table), limit)
        if not armed.happened:
            break
        await table.check(armed)
    else:
        raise AssertionError(f"the operation has more than {MOST_REQUESTS} requests")
    assert number > 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_a_blocked_event_loop(table: Table, operation: Operation) -> None:
    """The answer and the time limit are both due when the loop continues."""
    for number in range(1, MOST_REQUESTS):
        await table.warm()
        armed = table.proxy.arm(Fault.HOLD_ANSWER, number, LIMIT / 2)
        asyncio.get_running_loop().call_later(LIMIT / 4, time.sleep, 2 * LIMIT)
        await attempt(operation(table), LIMIT)
        if not armed.happened:
            break
        await table.check(armed)
    assert number > 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize(
    "fault", [Fault.CUT_AFTER, Fault.HOLD_ANSWER, Fault.STALL, Fault.CANCEL], ids=lambda f: f.name.lower()
)
async def test_a_fault_while_the_first_connection_opens(table: Table, fault: Fault, operation: Operation) -> None:
    for number in range(1, 2 * MOST_REQUESTS):
        await table.engine.dispose()
        armed = table.proxy.arm(fault, number, LATE)
        await attempt(operation(table), LIMIT)
        if not armed.happened:
            break
        await table.check(armed)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_cancelled_at_every_step_of_the_event_loop(table: Table, operation: Operation) -> None:
    step = 0
    while True:
        await table.warm()
        task = asyncio.ensure_future(operation(table))
        for _ in range(step):
            await asyncio.sleep(0)
        done = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await table.check()
        if done:
            return
        step += 1 + step // 8


async def test_a_commit_that_the_server_cancels_leaves_no_open_transaction(table: Table) -> None:
    """The cause of a connection that answered every later statement with "current transaction is aborted"."""
    await table.warm()
    armed = table.proxy.arm(Fault.STALL, 4, LATE)
    await attempt(table.transaction(), None)
    assert armed.request.endswith(b"COMMIT;\x00")
    assert len(table.discarded) == 1
    await table.no_open_transaction()
    await table.check()
    assert len(table.discarded) == 1


async def test_faults_behind_a_pooler(table_behind_a_pooler: Table) -> None:
    for fault in (Fault.STALL, Fault.HOLD_ANSWER, Fault.CUT_AFTER):
        for operation in OPERATIONS:
            await sweep(table_behind_a_pooler, fault, operation, LIMIT if fault is Fault.HOLD_ANSWER else None)


async def test_a_single_statement_in_an_open_transaction_is_not_acknowledged(table: Table) -> None:
    async def insert() -> None:
        async with single_statement(table.engine) as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.execute("BEGIN")
            await connection.execute(INSERT, {"id": 1_000})

    with pytest.raises(OpenTransactionError) as caught:
        await insert()
    assert is_unavailable(caught.value)
    await table.check()
    assert not await table.administrator.fetchval("SELECT count(*) FROM kept WHERE id = 1000")
