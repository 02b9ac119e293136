"""Relays in two schemas of one database: neither sees, wakes or waits for the other.

Each test runs on PostgreSQL itself and through PgBouncer in transaction mode, where it is installed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
import uuid_utils.compat
from pydantic import HttpUrl, SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay import wiring
from platform_relay.audit.record import audit
from platform_relay.core import migrate
from platform_relay.core.database import (
    PUBLIC,
    Timeouts,
    advisory_lock,
    create_engine,
    parse_url,
    schema_of,
    single_statement,
)
from platform_relay.coupons import codes, issuance_limits, reward_rules
from platform_relay.queue.notifications import Notifier, listen
from platform_relay.queue.queue import Queue
from platform_relay.setting_groups import IssuanceLimitSettings, PlatformSettings
from platform_relay.settings import Settings
from platform_relay.worker import Worker
from tests.conftest import temporary_database
from tests.database.engine_room import accept, customer
from tests.faults.pooler import Missing, Pooler
from tests.faults.server import PostgresServer
from tests.helpers import eventually, free_port

ONE, TWO = "shop_one", "shop_two"


@dataclass(frozen=True, slots=True)
class Address:
    """`url` is for engines, `direct` for LISTEN."""

    url: str
    direct: str

    @property
    def dsn(self) -> str:
        return parse_url(self.direct).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(params=["direct", "pgbouncer"])
async def address(request: pytest.FixtureRequest, server_url: str, tmp_path: Path) -> AsyncIterator[Address]:
    """An empty database."""
    if request.param == "direct":
        async with temporary_database(server_url) as url:
            yield Address(url, url)
        return
    postgres = PostgresServer(tmp_path / "postgres")
    pooler = Pooler(tmp_path, postgres)
    try:
        pooler.start()
    except Missing as missing:
        pytest.skip(str(missing))
    try:
        await postgres.create()
        yield Address(postgres.url(pooler.port), postgres.url())
    finally:
        pooler.kill()
        postgres.end()


@asynccontextmanager
async def engine_on(url: str, schema: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(
        url, application_name="tests", pool_size=3, schema=schema, timeouts=Timeouts(statement=10.0, lock=1.0)
    )
    try:
        yield engine
    finally:
        await engine.dispose()


@pytest.fixture
async def relays(address: Address) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    async with engine_on(address.url, ONE) as one, engine_on(address.url, TWO) as two:
        for engine in (one, two):  # one after the other: Alembic keeps state of its own for the whole process
            await migrate.upgrade(engine)
        yield one, two


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())  # noqa: S608  # a constant


# ----------------------------------------------------------------------------------------------- migrations, data


async def test_each_schema_is_created_and_migrated_by_itself(address: Address) -> None:
    async with engine_on(address.url, ONE) as one, engine_on(address.url, TWO) as two:
        await migrate.upgrade(one)
        assert await migrate.current(one) == migrate.head()
        assert await migrate.current(two) is None
        assert await migrate.incompatibility(two) is not None
        await migrate.upgrade(two)
        async with one.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert await migrate.current(two) == migrate.head()
    outside = await asyncpg.connect(address.dsn)
    tables = await outside.fetch("SELECT schemaname FROM pg_tables WHERE tablename IN ('job', 'alembic_version')")
    await outside.close()
    assert sorted(row["schemaname"] for row in tables) == [ONE, ONE, TWO, TWO], "and nothing in public"


async def test_a_url_as_hosting_companies_hand_it_out(address: Address) -> None:
    """The schema is the URL's. Settings of the session that the relay sets itself are not sent, also because PgBouncer rejects
    them."""
    options = "-csearch_path%3Dshop_one%20-c%20statement_timeout%3D1%20--jit%3Don"
    others = "sslmode=prefer&channel_binding=prefer&connect_timeout=10&pgbouncer=true&application_name=x"
    url = f"{address.url}{'&' if '?' in address.url else '?'}{others}&options={options}".replace("+asyncpg", "")
    settings = Settings(_env_file=None, database_url=SecretStr(url.replace("postgresql://", "postgres://")))
    assert settings.database_schema == ONE
    assert settings.database_url is not None
    async with engine_on(settings.database_url.get_secret_value(), settings.database_schema) as engine:
        await migrate.upgrade(engine)
        async with engine.connect() as connection:
            shown = [
                (await connection.execute(text(f"SHOW {name}"))).scalar_one()
                for name in ("search_path", "statement_timeout")
            ]
    assert shown == [ONE, "10s"]


async def waits_for_a_lock(address: Address) -> bool:
    """Whether a connection of the database waits for an advisory lock."""
    outside = await asyncpg.connect(address.dsn)
    try:
        return bool(
            await outside.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
            )
        )
    finally:
        await outside.close()


async def test_one_migration_does_not_wait_for_the_other(address: Address) -> None:
    async with engine_on(address.url, ONE) as one, engine_on(address.url, TWO) as two:
        async with one.begin() as connection:
            lock = advisory_lock("'migrate'", schema="CAST(:schema AS text)")
            await connection.execute(lock, {"schema": ONE})
            await asyncio.wait_for(migrate.upgrade(two), 20)
            waiting = asyncio.create_task(migrate.upgrade(one))
            await eventually(lambda: waits_for_a_lock(address), 20)
            assert not waiting.done(), "its own schema's migration waits"
        await waiting


async def test_an_existing_schema_needs_no_right_to_create_schemas(server_url: str) -> None:
    role = "relay_without_create"
    async with temporary_database(server_url) as url, engine_on(url, PUBLIC) as administrator:
        try:
            async with administrator.begin() as connection:
                await connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'"))
                await connection.execute(text(f"CREATE SCHEMA {ONE} AUTHORIZATION {role}"))
            async with engine_on(
                parse_url(url).set(username=role, password="secret").render_as_string(hide_password=False), ONE
            ) as engine:
                await migrate.upgrade(engine)
                assert await migrate.current(engine) == migrate.head()
        finally:
            async with administrator.begin() as connection:
                await connection.execute(text(f"DROP OWNED BY {role}"))
                await connection.execute(text(f"DROP ROLE {role}"))


async def test_messages_and_jobs_are_those_of_one_schema(relays: tuple[AsyncEngine, AsyncEngine]) -> None:
    one, two = relays
    await accept(one, customer("42", 1), customer("43", 1))  # by single_statement: each statement commits by itself
    assert (await count(one, "message"), await count(one, "job")) == (2, 2)
    assert (await count(two, "message"), await count(two, "job")) == (0, 0)
    assert await Queue(two, "platform").claim(10, lease=12.0) == []
    assert {job.lane for job in await Queue(one, "platform").claim(10, lease=12.0)} == {"customer:42", "customer:43"}


async def test_no_connection_carries_the_schema_of_another_relay(relays: tuple[AsyncEngine, AsyncEngine]) -> None:
    """PgBouncer gives one server connection to both in turn."""

    async def seen(engine: AsyncEngine, number: int) -> str:
        where = text("SELECT current_schema()")
        if number % 2:
            async with single_statement(engine) as connection:
                return str((await connection.execute(where)).scalar_one())
        async with engine.connect() as connection:
            return str((await connection.execute(where)).scalar_one())

    engines = [each for _ in range(30) for each in relays]
    found = await asyncio.gather(*(seen(engine, number // 2) for number, engine in enumerate(engines)))
    assert found == [schema_of(engine) for engine in engines]


# ----------------------------------------------------------------------------------------------- wake-ups, locks


async def test_a_hint_wakes_the_relay_of_its_schema_alone(
    address: Address, relays: tuple[AsyncEngine, AsyncEngine]
) -> None:
    url = parse_url(address.dsn)
    heard: dict[str, list[str]] = {ONE: [], TWO: []}
    listening = [asyncio.create_task(listen(url, schema, hints.append, pause=0.02)) for schema, hints in heard.items()]
    notifiers = [Notifier(engine) for engine in relays]
    try:
        await eventually(lambda: heard == {ONE: [""], TWO: [""]})
        notifiers[0].notify(["platform"])
        await eventually(lambda: "platform" in heard[ONE])
        notifiers[1].notify(["store"])  # sent later: what the first hint would have woken, it has woken by now
        await eventually(lambda: "store" in heard[TWO])
        assert heard == {ONE: ["", "platform"], TWO: ["", "store"]}
    finally:
        for notifier in notifiers:
            await notifier.aclose()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)


Take = Callable[[AsyncConnection], Awaitable[object]]
LOCKS: Mapping[str, Take] = {
    "audit": lambda connection: audit(connection, "test", "job.retry", "jobs", {}),
    "issuance limit": lambda connection: issuance_limits.check_limits(
        connection, "AB12", None, Decimal(5), IssuanceLimitSettings()
    ),
    "spelling": lambda connection: codes.find_similar_code(connection, "AB12"),
    "reward rule": lambda connection: reward_rules.delete(connection, "rule-1", "test"),
}


@pytest.mark.parametrize("take", LOCKS.values(), ids=LOCKS)
async def test_a_lock_is_held_against_the_relay_of_its_schema_alone(
    relays: tuple[AsyncEngine, AsyncEngine], take: Take
) -> None:
    one, two = relays
    async with one.begin() as holder:
        await take(holder)
        async with two.begin() as connection:
            await take(connection)
        with pytest.raises(DBAPIError, match="lock timeout"):
            async with one.begin() as connection:
                await take(connection)


def test_every_advisory_lock_has_the_schema_in_its_key() -> None:
    app = Path(migrate.__file__).parent
    assert [path.name for path in app.rglob("*.py") if "pg_advisory" in path.read_text()] == ["database.py"]


async def test_a_worker_is_woken_by_what_its_own_shop_accepts(
    address: Address, relays: tuple[AsyncEngine, AsyncEngine], tmp_path: Path
) -> None:
    """The whole relay, by DATABASE_SCHEMA alone: web in one process, worker in another."""

    def settings(schema: str) -> Settings:
        return Settings(
            _env_file=None,
            data_dir=tmp_path,
            database_schema=schema,
            database_listen_url=SecretStr(address.direct),
            poll_interval=60,
            platform=PlatformSettings(url=HttpUrl(f"http://127.0.0.1:{free_port()}")),
        )

    @asynccontextmanager
    async def worker(schema: str) -> AsyncIterator[list[str]]:
        heard: list[str] = []
        chosen = settings(schema)
        async with wiring.services(chosen, address.url, "worker") as parts, wiring.clients(parts) as clients:
            worker = Worker(parts, clients)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(worker, "wake", heard.append)
                running = asyncio.create_task(worker.run())
                await eventually(lambda: heard == [""])
                yield heard
            worker.stop()
            await running

    async with worker(ONE) as one, worker(TWO) as two, wiring.services(settings(ONE), address.url, "web") as web:
        await web.inbox.accept(customer("42", 1), uuid_utils.compat.uuid7())
        await eventually(lambda: "platform" in one)
        async with wiring.services(settings(TWO), address.url, "web") as other:
            await other.inbox.accept(customer("43", 1), uuid_utils.compat.uuid7())
            await eventually(lambda: "platform" in two)
    assert (one, two) == (["", "platform"], ["", "platform"])


# ----------------------------------------------------------------------------------------------- programs


def relay(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "platform_relay.cli", *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["Shop-1", "1shop", "pg_shop", "information_schema", "a" * 51, 'a"; DROP TABLE job'])
def test_a_name_that_cannot_be_a_schema_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be used as a schema"):
        Settings(_env_file=None, database_schema=name)


def test_a_wrong_name_is_explained_at_the_start(tmp_path: Path) -> None:
    ran = relay(tmp_path, "migrate", DATABASE_SCHEMA="Shop-1")
    assert ran.returncode == 2
    assert "DATABASE_SCHEMA: 'Shop-1' cannot be used as a schema" in ran.stderr


async def test_commands_work_on_the_schema_of_the_settings(empty_database_url: str, tmp_path: Path) -> None:
    def run(schema: str, *words: str) -> str:
        ran = relay(tmp_path, *words, DATABASE_URL=empty_database_url, DATABASE_SCHEMA=schema)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    run(ONE, "migrate")
    run(TWO, "keys", "create", "shop", "--scope", "events")
    async with engine_on(empty_database_url, ONE) as one, engine_on(empty_database_url, TWO) as two:
        assert (await count(one, "api_key"), await count(two, "api_key")) == (0, 1)
        assert (await count(one, "audit"), await count(two, "audit")) == (0, 1)
    assert "1 entries" in run(TWO, "audit", "verify")
    assert "0 entries" in run(ONE, "audit", "verify")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of a root user's server can enter."""
    with tempfile.TemporaryDirectory(prefix="relay-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_the_embedded_server_has_the_schema_too(folder: Path) -> None:
    for schema in (ONE, TWO):
        ran = relay(
            folder,
            "keys",
            "create",
            "shop",
            "--scope",
            "read",
            DATABASE_SCHEMA=schema,
            DATA_DIR=str(folder / "data"),
        )
        assert ran.returncode == 0, ran.stderr
    ran = relay(folder, "audit", "verify", DATABASE_SCHEMA=ONE, DATA_DIR=str(folder / "data"))
    assert "1 entries" in ran.stdout, ran.stdout + ran.stderr
