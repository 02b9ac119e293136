"""Readiness goes by what a process commits: each fault leads to not ready, a log line, a metric and an alert, each with the
statement and its SQLSTATE, and after the repair the process is ready again, without traffic."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from platform_relay import wiring
from platform_relay.access.api_keys import create
from platform_relay.checks.work_watch import WorkWatch
from platform_relay.core.database import parse_url
from platform_relay.core.reasons import ReasonCode
from platform_relay.setting_groups import PlatformSettings
from platform_relay.settings import Settings
from platform_relay.worker import Worker
from simulators.process import Simulator
from simulators.process import run as simulator
from tests.api.served import OPERATOR_KEY, STORE_KEY, serving
from tests.database.engine_room import rows, run
from tests.helpers import eventually

NOT_READY, READY = 15.0, 12.0
"""Seconds. On an idle machine: 4 to 9, and 1 to 4."""
TRIGGER = """
CREATE FUNCTION {schema_free}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
CREATE TRIGGER fault BEFORE {when} EXECUTE FUNCTION {schema_free}();
"""


def trigger(when: str, body: str) -> str:
    return TRIGGER.format(when=when, body=body, schema_free="fault")


@dataclass(frozen=True)
class Fault:
    """`make` and `repair` are SQL of the administrator; `operations` fail then, with `statement` and `sqlstate`. `held`: `make`
    stays in an open transaction until the repair. `stored`: the alert can be stored meanwhile."""

    make: str
    repair: str
    operations: frozenset[str]
    statement: str
    sqlstate: str | None
    held: bool = False
    stored: bool = True


ACCEPT, CLAIM, SETTLE = frozenset({"accept"}), frozenset({"claim platform"}), frozenset({"settle platform"})
REMOVE = "DROP TRIGGER fault ON {table}; DROP FUNCTION fault()"
FAULTS = {
    "privilege to accept revoked": Fault(
        "REVOKE INSERT ON message FROM {role}", "GRANT INSERT ON message TO {role}", ACCEPT, "accept", "42501"
    ),
    "privilege to claim revoked": Fault(
        "REVOKE INSERT ON attempt FROM {role}", "GRANT INSERT ON attempt TO {role}", CLAIM, "claim", "42501"
    ),
    "a trigger refuses messages": Fault(
        trigger("INSERT ON message FOR EACH ROW", "RAISE 'no more';"),
        REMOVE.format(table="message"),
        ACCEPT,
        "accept",
        "P0001",
    ),
    "a trigger refuses results": Fault(
        trigger("UPDATE ON job FOR EACH ROW WHEN (NEW.state = 'done')", "RAISE 'no more';"),
        REMOVE.format(table="job"),
        SETTLE,
        "settle",
        "P0001",
    ),
    "a function was dropped": Fault(
        trigger("INSERT ON message FOR EACH ROW", "PERFORM gone();"),
        REMOVE.format(table="message"),
        ACCEPT,
        "accept",
        "42883",
    ),
    "the disk is full": Fault(
        trigger("INSERT ON message FOR EACH ROW", "RAISE 'disk full' USING ERRCODE = '53100';"),
        REMOVE.format(table="message"),
        ACCEPT,
        "accept",
        "53100",
    ),
    "inserts are too slow": Fault(
        trigger("INSERT ON message FOR EACH ROW", "PERFORM pg_sleep(25);"),
        REMOVE.format(table="message"),
        ACCEPT,
        "accept",
        None,
    ),
    "a table is locked": Fault("ALTER TABLE message ADD COLUMN fault text", "", ACCEPT, "accept", "55P03", held=True),
    "the table of results is locked": Fault(
        "LOCK TABLE entity IN SHARE MODE", "", SETTLE, "settle", "55P03", held=True
    ),
    "the server is read-only": Fault(
        "ALTER ROLE {role} SET default_transaction_read_only = on;"
        " SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'",
        "ALTER ROLE {role} RESET default_transaction_read_only;"
        " SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'",
        ACCEPT,
        "accept",
        "25006",
        stored=False,
    ),
}


class Administrator:
    """A superuser's connection to the relay's database, and the role of the relay, which has no more than it needs."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", role: str, url: str) -> None:
        self._connection, self.role, self.url = connection, role, url
        self._held: asyncpg.transaction.Transaction | None = None

    async def make(self, fault: Fault) -> None:
        if fault.held:
            self._held = self._connection.transaction()
            await self._held.start()
        await self._connection.execute(fault.make.format(role=self.role))

    async def repair(self, fault: Fault) -> None:
        if self._held is not None:
            await self._held.rollback()
        if fault.repair:
            await self._connection.execute(fault.repair.format(role=self.role))


@pytest.fixture
async def administrator(database_url: str) -> AsyncIterator[Administrator]:
    role, address = f"relay_{uuid4().hex[:8]}", parse_url(database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(address.render_as_string(hide_password=False))
    try:
        await connection.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'secret-of-the-role'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
            f" GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        )
        own = parse_url(database_url).set(username=role, password="secret-of-the-role")
        yield Administrator(connection, role, own.render_as_string(hide_password=False))
    finally:
        await connection.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'; DROP OWNED BY {role};"  # noqa: S608
            f" DROP ROLE {role}"
        )
        await connection.close()


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with simulator("platform") as running_simulator:
        yield running_simulator


@pytest.fixture
def settings(tmp_path: Path, platform: Simulator) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        store_key=SecretStr(STORE_KEY),
        operator_key=SecretStr(OPERATOR_KEY),
        platform=PlatformSettings.model_validate({"url": platform.url, "api_key": "sim-platform-key"}),
        poll_interval=0.2,
    )


@dataclass(frozen=True)
class Relay:
    """A process that serves the API, with or without a worker, and watches its work as `relay serve` does."""

    parts: wiring.Services
    client: httpx.AsyncClient

    async def send(self, key: str = STORE_KEY) -> int:
        """Send an event; returns the status."""
        body = {"id": str(uuid4()), "email": "ada@example.com"}
        headers = {"authorization": f"Bearer {key}", "idempotency-key": str(uuid4())}
        return (await self.client.post("/v1/events/customers", json=body, headers=headers)).status_code

    async def ready(self) -> tuple[int, dict[str, dict[str, str]]]:
        """The status of /readyz, and the failed checks by name."""
        response = await self.client.get("/readyz")
        return response.status_code, {check["name"]: check for check in response.json()["checks"] if not check["ok"]}

    async def metrics(self) -> str:
        return (await self.client.get("/metrics")).text


@asynccontextmanager
async def running(settings: Settings, url: str, *, worker: bool, **watch: float) -> AsyncIterator[Relay]:
    async with AsyncExitStack() as stack:
        parts, address = await stack.enter_async_context(serving(settings, url))
        tasks = []
        if worker:
            background = Worker(parts, await stack.enter_async_context(wiring.clients(parts)))
            parts.worker_alive = background.alive
            tasks.append(asyncio.create_task(background.run()))
            stack.callback(background.stop)
        tasks.append(asyncio.create_task(WorkWatch(parts.engine, parts.work, parts.worker_alive, **watch).run()))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=address, trust_env=False, timeout=20))
        try:
            yield Relay(parts, client)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def open_alerts(engine: AsyncEngine, code: ReasonCode) -> dict[str, dict[str, str]]:
    found = await rows(
        engine, "SELECT subject, facts FROM alert WHERE code = :code AND resolved_at IS NULL", code=code.value
    )
    return {str(subject): json.loads(facts) if isinstance(facts, str) else dict(facts) for subject, facts in found}  # type: ignore[call-overload]  # jsonb


async def delivered(engine: AsyncEngine) -> bool:
    return not await rows(engine, "SELECT 1 FROM job WHERE open")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_leads_to_not_ready_and_its_repair_to_ready(
    fault: Fault, administrator: Administrator, settings: Settings, engine: AsyncEngine
) -> None:
    async with running(settings, administrator.url, worker=True) as relay:
        assert await relay.send() == 202
        await eventually(lambda: delivered(engine), 20)
        assert await relay.ready() == (200, {})
        with capture_logs() as logs:
            await administrator.make(fault)
            await relay.send()

            async def not_ready() -> dict[str, dict[str, str]]:
                status, failed = await relay.ready()
                assert (status, fault.operations - failed.keys()) == (503, frozenset())
                return failed

            failed = await eventually(not_ready, NOT_READY)
            for operation in fault.operations:
                check = failed[operation]
                assert check["code"] == "work_failing"
                assert f"The statement {fault.statement} fails" in check["text"]
                assert fault.sqlstate is None or fault.sqlstate in check["text"]
                assert administrator.role not in str(failed)
            told = await relay.metrics()
            for operation in fault.operations:
                name, _, destination = operation.partition(" ")
                labels = f'destination="{destination}",operation="{name}",sqlstate="{fault.sqlstate or ""}"'
                assert f'relay_work_failing_seconds{{{labels},statement="{fault.statement}"}}' in told
            assert "relay_work_failures_total{" in told

            def logged() -> bool:
                lines = {
                    f"{each['operation']} {each['destination'] or ''}".strip(): (each["statement"], each["sqlstate"])
                    for each in logs
                    if each["event"] == "work_failing"
                }
                assert lines.keys() >= fault.operations
                return {lines[name] for name in fault.operations} == {(fault.statement, fault.sqlstate)}

            await eventually(logged, 10)

            async def raised() -> bool:
                found = await open_alerts(engine, ReasonCode.WORK_FAILING)
                assert found.keys() >= fault.operations
                for operation in fault.operations:
                    assert (found[operation]["statement"], found[operation].get("sqlstate")) == (
                        fault.statement,
                        fault.sqlstate,
                    )
                return True

            if fault.stored:
                await eventually(raised, 15)
            await administrator.repair(fault)

            async def ready() -> bool:
                return await relay.ready() == (200, {})

            await eventually(ready, READY)
            await eventually(lambda: any(each["event"] == "work_succeeds_again" for each in logs))

        async def resolved() -> bool:
            return not await open_alerts(engine, ReasonCode.WORK_FAILING)

        await eventually(resolved, 30)
        assert await relay.send() == 202
        await eventually(lambda: delivered(engine), 30)


async def test_a_pool_without_free_connections_is_not_ready(settings: Settings, database_url: str) -> None:
    async with running(settings.model_copy(update={"database_pool_size": 2}), database_url, worker=False) as relay:
        assert await relay.send() == 202
        async with relay.parts.engine.connect(), relay.parts.engine.connect():
            sent = asyncio.create_task(relay.send())

            async def not_ready() -> bool:
                status, failed = await relay.ready()
                assert status == 503
                assert "accept" in failed
                return "The statement connection fails" in failed["accept"]["text"]

            await eventually(not_ready, 20)
            assert await sent == 503

        async def ready() -> bool:
            return await relay.ready() == (200, {})

        await eventually(ready, READY)


async def test_a_web_process_sees_that_no_worker_claims(
    settings: Settings, database_url: str, engine: AsyncEngine
) -> None:
    """It still accepts events, so it is degraded. The alert ends when a worker claims."""
    async with running(settings, database_url, worker=False, stale_after=1.0, seen_for=0.5) as web:
        assert await web.ready() == (200, {})
        assert await web.send() == 202

        async def degraded() -> bool:
            status, failed = await web.ready()
            assert (status, set(failed)) == (200, {"workers platform"})
            return failed["workers platform"]["code"] == "no_worker"

        async def raised() -> bool:
            return set(await open_alerts(engine, ReasonCode.NO_WORKER)) == {"platform"}

        async def over() -> bool:
            return await web.ready() == (200, {}) and not await open_alerts(engine, ReasonCode.NO_WORKER)

        await eventually(degraded, 20)
        await eventually(raised, 10)
        async with running(settings, database_url, worker=True):
            await eventually(lambda: delivered(engine), 20)
            await eventually(over, 40)


async def test_a_key_that_cannot_be_looked_up_counts_as_an_event_that_cannot_be_accepted(
    administrator: Administrator, settings: Settings, engine: AsyncEngine
) -> None:
    key = await create(engine, "shop", ["events"], "test")
    fault = Fault("REVOKE SELECT ON api_key FROM {role}", "GRANT SELECT ON api_key TO {role}", ACCEPT, "", None)
    async with running(settings, administrator.url, worker=False) as relay:
        await administrator.make(fault)
        assert await relay.send(key) == 500

        async def not_ready() -> bool:
            status, failed = await relay.ready()
            assert status == 503
            return "The statement find_key fails with SQLSTATE 42501" in failed["accept"]["text"]

        await eventually(not_ready, NOT_READY)
        await administrator.repair(fault)

        async def ready() -> bool:
            return await relay.ready() == (200, {})

        await eventually(ready, READY)
        assert await relay.send(key) == 202


async def test_the_alert_of_a_process_that_died_ends_and_that_of_another_does_not(
    settings: Settings, database_url: str, engine: AsyncEngine
) -> None:
    """Both processes accept. A third one, which starts meanwhile, does not end what it does not see."""
    alerts = "SELECT resolved_at IS NULL, noted_at > at FROM alert WHERE code = 'work_failing'"

    async def is_noted() -> bool:
        return await rows(engine, alerts) == [(True, True)]

    async def is_over() -> bool:
        await run(engine, "UPDATE alert SET noted_at = noted_at - interval '1 minute'")
        return await rows(engine, alerts) == [(False, False)]

    async with running(settings, database_url, worker=False) as failing:
        await run(engine, "ALTER TABLE message ADD CONSTRAINT fault CHECK (false) NOT VALID")
        await failing.send()
        await eventually(is_noted, 30)
        async with running(settings, database_url, worker=False) as other:
            assert await other.ready() == (200, {})
            for _ in range(2):
                noted = await rows(engine, "SELECT noted_at FROM alert")
                await eventually(lambda before=noted: _differs(engine, "SELECT noted_at FROM alert", before), 20)  # type: ignore[misc]  # mypy: no default in a lambda
            assert await is_noted()
    async with running(settings, database_url, worker=False):
        await eventually(is_over, 30)


async def _differs(engine: AsyncEngine, query: str, before: list[tuple[object, ...]]) -> bool:
    return await rows(engine, query) != before
