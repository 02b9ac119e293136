"""A failover as the parts of one process see it. `failover.py` plays it with the whole service."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from platform_relay.core import background, database_cluster, migrate
from platform_relay.core.database import create_engine, is_unavailable, parse_url, servers_of, single_statement
from platform_relay.core.database_dial import Place
from platform_relay.core.database_server import History, ServerState
from platform_relay.core.database_servers import CONNECT_ERRORS, OldPrimaryError, OtherClusterError
from platform_relay.core.database_watch import watch_servers
from platform_relay.jobs.backup import mark_restored
from platform_relay.jobs.failover import HOLD, MARGIN, Failovers
from platform_relay.queue.jobs import Job
from platform_relay.queue.notifications import listen
from platform_relay.queue.states import done
from tests.database.engine_room import accept, claim, order, rows, run, settle
from tests.faults.pooler import Missing, Pooler
from tests.faults.server import PostgresServer
from tests.helpers import eventually

WRITE = text("UPDATE destination SET rate_limit = rate_limit WHERE name = 'platform'")
WITHIN = 40.0
"""Seconds; long, because other tests run beside these. `make chaos` measures the times."""


class Pair:
    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary, self.standby = primary, standby
        self.url = f"postgresql://relay@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/relay"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    primary = PostgresServer(tmp_path / "primary")
    try:
        await primary.create()
        setup = create_engine(primary.url(), application_name="tests")
        await migrate.upgrade(setup)
        await setup.dispose()
        yield Pair(primary, await primary.standby(tmp_path / "standby", synchronous=False))
    finally:
        primary.end()


@pytest.fixture
async def clusters(tmp_path: Path) -> AsyncIterator[Pair]:
    """Two databases that do not know each other. Both accept writes, and both are on timeline 1."""
    both = PostgresServer(tmp_path / "one"), PostgresServer(tmp_path / "other")
    try:
        for server in both:
            await server.create()
            setup = create_engine(server.url(), application_name="tests")
            await migrate.upgrade(setup)
            await setup.dispose()
        yield Pair(*both)
    finally:
        for server in both:
            server.end()


@asynccontextmanager
async def watched(url: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(url, application_name="tests", pool_size=3, **options)
    watch = asyncio.create_task(watch_servers(servers_of(engine)))
    try:
        yield engine
        assert not watch.done()
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await engine.dispose()


async def write(engine: AsyncEngine) -> None:
    async with single_statement(engine) as connection:
        await connection.execute(WRITE)


async def port(engine: AsyncEngine) -> int:
    async with single_statement(engine) as connection:
        return int((await connection.execute(text("SELECT inet_server_port()"))).scalar_one())


async def writes_to(engine: AsyncEngine, server: PostgresServer) -> bool:
    try:
        await write(engine)
        return await port(engine) == server.port
    except (SQLAlchemyError, *CONNECT_ERRORS) as error:
        if not is_unavailable(error):
            raise
        return False


async def test_a_statement_that_hangs_at_a_frozen_primary_ends_and_the_new_primary_is_used(pair: Pair) -> None:
    async with watched(pair.url) as engine:
        await write(engine)
        assert await port(engine) == pair.primary.port
        pair.primary.freeze()
        hanging = asyncio.create_task(write(engine))
        await pair.standby.promote()
        await eventually(hanging.done, WITHIN)
        assert is_unavailable(hanging.exception() or AssertionError("it was written at the frozen primary"))
        await eventually(lambda: writes_to(engine, pair.standby), WITHIN)


async def test_a_frozen_server_is_left_before_another_is_known(pair: Pair) -> None:
    async with watched(pair.primary.url()) as engine:
        await write(engine)
        pair.primary.freeze()
        hanging = asyncio.create_task(write(engine))
        await eventually(hanging.done, WITHIN)
        assert is_unavailable(hanging.exception() or AssertionError("it was written at the frozen server"))
        pair.primary.thaw()
        await eventually(lambda: writes_to(engine, pair.primary), WITHIN)


async def test_closing_connections_to_a_frozen_server_does_not_hang(pair: Pair) -> None:
    engine = create_engine(pair.primary.url(), application_name="tests", pool_size=3)
    async with engine.connect(), engine.connect(), engine.connect():
        pass
    pair.primary.freeze()
    started = time.monotonic()
    await engine.dispose()
    assert time.monotonic() - started < 10


async def test_the_old_primary_is_left_while_it_accepts_writes(pair: Pair) -> None:
    async with watched(pair.url) as engine:
        await write(engine)
        await pair.standby.promote()
        await eventually(lambda: writes_to(engine, pair.standby), WITHIN)
        known = servers_of(engine).newest
        assert known is not None
        assert known.timeline == 2
    fresh = create_engine(pair.url, application_name="tests")
    try:
        assert await port(fresh) == pair.standby.port  # the first connection of a process compares the servers too
    finally:
        await fresh.dispose()


async def test_a_server_with_an_older_timeline_is_refused(pair: Pair) -> None:
    await pair.standby.promote()
    engine = create_engine(pair.primary.url(), application_name="tests")
    other = create_engine(pair.standby.url(), application_name="tests")
    try:
        await write(other)
        servers_of(engine).newest = servers_of(other).newest
        with pytest.raises(OldPrimaryError) as refused:
            await write(engine)
        assert isinstance(refused.value, CONNECT_ERRORS)
        assert is_unavailable(refused.value)
    finally:
        await engine.dispose()
        await other.dispose()


async def test_a_connection_to_a_standby_does_not_become_writable(pair: Pair) -> None:
    engine = create_engine(pair.standby.url(), application_name="tests", pool_size=1)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.rollback()
            await pair.standby.promote()
            with pytest.raises(Exception, match="read-only"):
                await connection.execute(WRITE)
        await write(engine)
    finally:
        await engine.dispose()


async def test_the_name_of_the_database_leads_to_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both servers have the same port, at different addresses."""
    primary = PostgresServer(tmp_path / "primary")
    addresses = ["127.0.0.1"]
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        if host != "db.relay.test":
            return list(await resolve(host, port, **options))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    try:
        await primary.create()
        setup = create_engine(primary.url(), application_name="tests")
        await migrate.upgrade(setup)
        await setup.dispose()
        standby = await primary.standby(tmp_path / "standby", synchronous=False)
        standby.listen_at("127.0.0.2", primary.port)
        await standby.restart()
        async with watched(f"postgresql://relay@db.relay.test:{primary.port}/relay") as engine:
            await write(engine)
            await standby.promote()
            primary.freeze()
            addresses[:] = ["127.0.0.9", "127.0.0.2"]  # no server listens at the first
            await eventually(lambda: writes_to(engine, standby), WITHIN)
    finally:
        primary.end()


async def test_listening_goes_on_at_the_new_primary(pair: Pair) -> None:
    heard: list[str] = []
    task = asyncio.create_task(listen(parse_url(pair.url), "public", heard.append, pause=0.05))
    try:
        await eventually(lambda: heard == [""])
        pair.primary.freeze()
        await pair.standby.promote()
        await eventually(lambda: heard == ["", ""], WITHIN)
        connection = await pair.standby.connect()
        await connection.execute("SELECT pg_notify('relay_work_public', 'platform')")
        await connection.close()
        await eventually(lambda: heard[-1] == "platform")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("synchronous", [False, True])
async def test_waiting_jobs_count_as_possibly_delivered_before_the_first_statement(
    pair: Pair, *, synchronous: bool
) -> None:
    before = Failovers(pair.url, "public", synchronous=synchronous)
    async with watched(pair.url, on_history=before.note) as engine:
        await accept(engine, order("1"), order("2"))
        parked = "UPDATE lane SET waits_for = 'customer:2', run_at = now() + interval '1 hour' WHERE key = 'order:2'"
        await run(engine, parked)
        assert await rows(engine, "SELECT timeline, lost_since FROM database_history") == [(1, None)]
        await pair.primary.received(pair.standby)
    assert not before.may_have_sent(None)
    pair.primary.freeze()
    await pair.standby.promote()
    after = Failovers(pair.url, "public", synchronous=synchronous)
    async with watched(pair.url, on_history=after.note) as engine:
        assert await rows(engine, "SELECT DISTINCT uncertain FROM job") == [(not synchronous,)]
        [first, second] = await rows(
            engine, "SELECT timeline, seen_at, lost_since <= seen_at FROM database_history ORDER BY number"
        )
        assert (first[0], second[0], second[2]) == (1, 2, None if synchronous else True)
        alerts = await rows(engine, "SELECT code, subject FROM alert")
        assert alerts == ([] if synchronous else [("database_failed_over", "database")])
        assert await rows(engine, "SELECT action FROM audit") == [("database.failed_over",)]
        assert after.may_have_sent(None) is not synchronous
        held = "SELECT run_at BETWEEN now() AND now() + interval '1 minute', waits_for FROM lane ORDER BY key"
        waits = [(False, None), (False, "customer:2")] if synchronous else [(True, None), (True, None)]
        assert await rows(engine, held) == waits  # what a lane waited for would end the hold
        assert (after.may_still_arrive() > 0) is not synchronous
        seen_at = second[1]
        assert isinstance(seen_at, datetime)
        if not synchronous:  # other processes may acknowledge events at the old primary for some seconds more
            [(until,)] = await rows(engine, "SELECT facts ->> 'until' FROM alert")
            assert until == f"{seen_at + HOLD:%Y-%m-%d %H:%M:%S}"
        assert after.may_have_sent(seen_at) is not synchronous
        assert not after.may_have_sent(seen_at + MARGIN)
    again = Failovers(pair.url, "public", synchronous=synchronous)  # another process, or a restart
    async with watched(pair.url, on_history=again.note) as engine:
        await write(engine)
        assert await rows(engine, "SELECT count(*) FROM database_history") == [(2,)]
        assert again.may_have_sent(None) is not synchronous


async def test_a_claim_that_is_missing_on_the_new_primary_stores_no_result(pair: Pair) -> None:
    """Its job is claimed again there, and its worker, which the old primary does not stop, tries to settle it."""
    url, missing = pair.url, list[Job]()
    async with watched(url, on_history=Failovers(url, "public", synchronous=False).note) as engine:
        await accept(engine, order("1"))
        await pair.primary.received(pair.standby)
        await pair.standby.stop_receiving()
        missing += await claim(engine)
    pair.primary.freeze()
    await pair.standby.promote()
    async with watched(url, on_history=Failovers(url, "public", synchronous=False).note) as engine:
        await run(engine, "UPDATE lane SET run_at = now()")  # as after the hold
        [again], [lost] = await claim(engine), missing
        assert (again.id, again.lane) == (lost.id, lost.lane)
        assert len((await settle(engine, [lost], done({}, None, ()))).lost) == 1
        assert (await settle(engine, [again], done({}, None, ()))).lost == ()


async def test_many_connections_wait_for_one_comparison(pair: Pair) -> None:
    calls: list[object] = []
    go = asyncio.Event()

    async def on_history(history: object) -> None:
        calls.append(history)
        await go.wait()

    async with watched(pair.primary.url(), on_history=on_history) as engine:
        writing = [asyncio.create_task(write(engine)) for _ in range(3)]
        await eventually(lambda: bool(calls))
        given_up = writing[0]
        given_up.cancel()  # whoever waits for too long does not end it for the others
        await asyncio.gather(given_up, return_exceptions=True)
        assert not any(task.done() for task in writing[1:])
        go.set()
        await asyncio.gather(*writing[1:])
        assert len(calls) == 1


async def test_a_server_of_another_cluster_is_left_alone_until_the_used_one_is_away(
    clusters: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = clusters.primary, clusters.standby
    histories: list[History] = []

    async def on_history(history: History) -> None:
        histories.append(history)

    with capture_logs() as logs:
        async with watched(clusters.url, on_history=on_history) as engine:
            assert await port(engine) == one.port  # the first of the URL
            held = await engine.connect()
            await held.execute(text("SELECT 1"))

            def warnings() -> list[str]:
                return [str(line["server"]) for line in logs if line["event"] == "database_of_another_cluster"]

            async def refused() -> bool:
                try:
                    await write(engine)
                except OtherClusterError as error:
                    return is_unavailable(error)
                except (SQLAlchemyError, *CONNECT_ERRORS):
                    return False
                return False

            await eventually(warnings, WITHIN)
            for _ in range(20):
                await write(engine)
                assert await port(engine) == one.port
            await held.execute(text("SELECT 1"))  # this connection was not terminated
            await held.close()
            assert len(histories) == 1
            one.stop()
            await eventually(refused, WITHIN)
            monkeypatch.setattr(database_cluster, "AWAY_SECONDS", 1.0)
            await eventually(lambda: writes_to(engine, other), WITHIN)
            assert len(histories) == 2
            await one.start()
            await eventually(lambda: len(warnings()) == 2, WITHIN)
            await write(engine)
            assert await port(engine) == other.port
    assert warnings() == [f"127.0.0.1:{other.port}", f"127.0.0.1:{one.port}"]


async def test_the_jobs_are_marked_in_the_cluster_that_is_used(clusters: Pair) -> None:
    """It is the second of the URL."""
    failovers = Failovers(clusters.url, "public", synchronous=False)
    engine = create_engine(clusters.standby.url(), application_name="tests")
    try:
        await write(engine)
        used = servers_of(engine).newest
        assert used is not None
        await failovers.note(used)
        assert await rows(engine, "SELECT system, timeline FROM database_history") == [(used.system, 1)]
    finally:
        await engine.dispose()


async def test_a_server_that_does_not_report_its_history_is_not_newer(clusters: Pair) -> None:
    for server in (clusters.primary, clusters.standby):
        administrator = await server.connect()
        await administrator.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        await administrator.close()
    engine = create_engine(clusters.url, application_name="tests", pool_size=1)
    try:
        await write(engine)
        servers = servers_of(engine)
        assert servers.newest is None
        _, second = await servers.places()
        servers.saw(second, ServerState(1, standby=False, read_only=False, started_at=None, history=None))
        await engine.dispose()  # the next connection is a new one
        assert await port(engine) == clusters.primary.port
    finally:
        await engine.dispose()


async def test_a_database_without_a_history_can_be_marked_as_restored(clusters: Pair) -> None:
    administrator = await clusters.primary.connect()
    await administrator.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    await administrator.close()
    engine = create_engine(clusters.primary.url(), application_name="tests", pool_size=1)
    try:
        await accept(engine, order("1"))
        assert await mark_restored(engine, "test") == 1
    finally:
        await engine.dispose()


async def test_without_a_watch_another_cluster_is_not_used_either(clusters: Pair) -> None:
    """Such a process asks all addresses when it needs a connection and the known server takes none."""
    one = clusters.primary
    engine = create_engine(clusters.url, application_name="tests", pool_size=3)
    try:
        await write(engine)
        one.stop()
        for _ in range(3):
            with pytest.raises((SQLAlchemyError, *CONNECT_ERRORS)):
                await write(engine)
        await one.start()
        await eventually(lambda: writes_to(engine, one), WITHIN)
    finally:
        await engine.dispose()


async def test_a_pooler_that_leads_to_another_cluster_is_noticed_before_a_statement(
    clusters: Pair, tmp_path: Path
) -> None:
    one, other = clusters.primary, clusters.standby
    pooler = Pooler(tmp_path, one)
    try:
        pooler.start()
    except Missing as missing:
        pytest.skip(str(missing))
    histories: list[History] = []

    async def on_history(history: History) -> None:
        histories.append(history)

    engine = create_engine(one.url(pooler.port), application_name="tests", pool_size=1, on_history=on_history)
    try:
        await eventually(lambda: writes_to(engine, one), WITHIN)
        pooler.lead_to(other)
        await eventually(lambda: writes_to(engine, other), WITHIN)
        assert [history.timeline for history in histories] == [1, 1]
        assert histories[0].system != histories[1].system
    finally:
        await engine.dispose()
        pooler.kill()


async def test_the_watch_of_an_address_that_fails_is_reported_and_begins_again(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`servers.saw` is what the watch calls with each answer."""
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.01)
    servers, answers = servers_of(engine), list[Place]()
    saw = servers.saw

    def broken_once(place: Place, state: ServerState) -> None:
        answers.append(place)
        if len(answers) == 1:
            raise LookupError("unexpected")
        saw(place, state)

    monkeypatch.setattr(servers, "saw", broken_once)
    with capture_logs() as logs:
        await write(engine)
        watch = asyncio.create_task(watch_servers(servers))
        await eventually(lambda: len(answers) > 1, WITHIN)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    failed = [line for line in logs if line["event"] == "background_task_failed"]
    assert [(line["task"], line["server"]) for line in failed] == [("watch_server", str(answers[0]))]
