"""A database that accepts no writes is reported, and after a failover the pool finds the new primary."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.checks.configuration import check_database
from platform_relay.checks.database import database_problem
from platform_relay.core import migrate
from platform_relay.core.database import create_engine, is_unavailable, single_statement
from platform_relay.core.reasons import ReasonCode
from platform_relay.settings import Settings
from tests.api.served import serving
from tests.faults.server import PostgresServer
from tests.helpers import eventually

WRITE = text("UPDATE destination SET rate_limit = rate_limit WHERE name = 'platform'")


@pytest.fixture
async def primary(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    postgres = PostgresServer(tmp_path / "primary")
    try:
        await postgres.create()
        yield postgres
    finally:
        postgres.end()


async def set_read_only(server: PostgresServer, value: str) -> None:
    """As an operator does, or a cluster manager that demotes a primary: open connections stay open."""
    connection = await server.connect(database="postgres")
    try:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


async def write(engine: AsyncEngine) -> None:
    async with single_statement(engine) as connection:
        await connection.execute(WRITE)


async def test_a_read_only_database_is_reported(primary: PostgresServer, tmp_path: Path) -> None:
    engine = create_engine(primary.url(), application_name="tests")
    try:
        await migrate.upgrade(engine)
        assert await database_problem(engine) is None
        async with (
            serving(Settings(_env_file=None, data_dir=tmp_path), primary.url()) as (_, address),
            httpx.AsyncClient(base_url=address, trust_env=False) as client,
        ):
            assert (await client.get("/readyz")).status_code == 200
            await set_read_only(primary, "on")
            response = await client.get("/readyz")
            [check] = response.json()["checks"]
            assert (response.status_code, check["code"]) == (503, "database_read_only")
            assert "failover" in check["next_step"]
            found = await check_database(engine)
            assert (found.ok, "accepts no writes" in found.detail) == (False, True)
            await set_read_only(primary, "off")
            assert (await client.get("/readyz")).status_code == 200
    finally:
        await engine.dispose()


@pytest.mark.parametrize("noticed_by", ["write", "readiness"])
async def test_the_pool_finds_the_new_primary(primary: PostgresServer, tmp_path: Path, noticed_by: str) -> None:
    setup = create_engine(primary.url(), application_name="tests")
    await migrate.upgrade(setup)
    await setup.dispose()
    standby = await primary.standby(tmp_path / "standby")
    both = f"postgresql://relay@/relay?host=127.0.0.1,127.0.0.1&port={primary.port},{standby.port}"
    engine = create_engine(f"{both}&target_session_attrs=read-write", application_name="tests", pool_size=3)

    async def port() -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(text("SELECT inet_server_port()"))).scalar_one())

    async def refusal() -> Exception:
        """The error of a write to a server that accepts none. On a busy machine a write can time out before."""
        with pytest.raises(Exception, match="read-only") as caught:
            await write(engine)
        return caught.value

    try:
        async with engine.connect(), engine.connect():
            await write(engine)  # three connections to the primary
        assert await port() == primary.port
        await standby.promote()
        await set_read_only(primary, "on")
        if noticed_by == "write":
            assert is_unavailable(await eventually(refusal, 30))
        else:
            reason = await database_problem(engine)
            assert reason is not None
            assert reason.code is ReasonCode.DATABASE_READ_ONLY
            assert await database_problem(engine) is None
        async with engine.connect(), engine.connect():
            await write(engine)
        assert await port() == standby.port
    finally:
        await engine.dispose()
