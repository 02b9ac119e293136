"""Many relays on one PostgreSQL, a schema for each, through PgBouncer: what they need when nothing happens, and whether what
happens in one is seen in another."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Final

import asyncpg
import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from simulators.process import Simulator
from simulators.process import run as simulator
from tests.faults.pooler import Pooler
from tests.faults.server import PostgresServer
from tests.helpers import eventually, free_port

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "store-key-of-the-run-with-many-stores"
MEBIBYTE: Final = 1 << 20
READY_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Relay:
    schema: str
    url: str
    process: psutil.Process
    log: Path

    def metrics(self) -> dict[str, float]:
        """Accepted messages and waiting jobs, as its own /metrics shows them."""
        text = httpx.get(f"{self.url}/metrics", timeout=30, trust_env=False).text
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def records(self, event: str) -> list[dict[str, object]]:
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]


@dataclass(frozen=True, slots=True)
class Idle:
    """One relay without work: percent of a core, and MiB of resident memory."""

    percent: float
    memory: float


@dataclass(frozen=True, slots=True)
class Report:
    stores: int
    ready_seconds: float
    idle: list[Idle]
    postgres_percent: float
    clients: int
    """Connections of the relays to PgBouncer."""
    connections: int
    """Connections to PostgreSQL, through PgBouncer and for LISTEN together."""
    findings: list[str]

    def rows(self) -> Iterator[str]:
        percents, memories = [each.percent for each in self.idle], [each.memory for each in self.idle]
        yield f"| stores | {self.stores} |"
        yield f"| all ready after | {self.ready_seconds:.0f} s |"
        yield f"| an idle relay, percent of a core | {mean(percents):.2f}, at most {max(percents):.2f} |"
        yield f"| an idle relay, MiB | {mean(memories):.0f}, at most {max(memories):.0f} |"
        yield f"| PostgreSQL, percent of a core | {self.postgres_percent:.1f} |"
        yield f"| connections to PgBouncer, to PostgreSQL | {self.clients}, {self.connections} |"


async def play(folder: Path, stores: int, idle_seconds: float) -> Report:
    """Start `stores` relays, leave them alone for `idle_seconds`, then send an event to each in turn."""
    with ExitStack() as stack:
        platform = stack.enter_context(simulator("platform"))
        postgres = PostgresServer(folder / "postgres", {"max_connections": str(60 + 2 * stores)})
        stack.callback(postgres.end)
        await postgres.create()
        pooler = Pooler(folder, postgres)
        stack.callback(pooler.kill)
        pooler.start()
        began = time.monotonic()
        relays = [
            stack.enter_context(
                started(
                    folder / f"store_{number}", postgres.url(pooler.port), platform, DATABASE_LISTEN_URL=postgres.url()
                )
            )
            for number in range(stores)
        ]
        await asyncio.gather(*(eventually(partial(ready, relay), READY_SECONDS) for relay in relays))
        ready_seconds = time.monotonic() - began
        async with _watched(postgres) as connection:
            idle, of_postgres = await _idle(relays, postgres, idle_seconds)
            clients = sum(len(relay.process.net_connections("tcp")) for relay in relays)
            findings = await _events_of_one_store_at_a_time(relays, platform, connection)
            connections = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = 'relay'")
        return Report(stores, ready_seconds, idle, of_postgres, clients, connections, findings)


@contextmanager
def started(own: Path, database_url: str, platform: Simulator, **settings: str) -> Iterator[Relay]:
    """`relay serve` in the folder `own`, whose name is the schema. It stops with the block, as SIGTERM stops it."""
    port = free_port()
    own.mkdir(exist_ok=True)
    environment = {
        "DATABASE_URL": database_url,
        "DATABASE_SCHEMA": own.name,
        "DATA_DIR": str(own),
        "PORT": str(port),
        "STORE_KEY": KEY,
        "PLATFORM__URL": platform.url,
        "PLATFORM__API_KEY": "sim-platform-key",
        **settings,
    }
    log = own / "log"
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "platform_relay.cli", "serve"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Relay(own.name, f"http://127.0.0.1:{port}", psutil.Process(child.pid), log)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def ready(relay: Relay) -> bool:
    if not relay.process.is_running() or relay.process.status() == psutil.STATUS_ZOMBIE:
        raise RuntimeError(f"{relay.schema} ended: {relay.log.read_text()[-2000:]}")
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            return (await client.get(f"{relay.url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@asynccontextmanager
async def _watched(postgres: PostgresServer) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await postgres.connect()
    try:
        yield connection
    finally:
        await connection.close()


async def _idle(relays: list[Relay], postgres: PostgresServer, seconds: float) -> tuple[list[Idle], float]:
    """Each relay, and PostgreSQL's percent of a core."""
    [pid] = [int((postgres.data / "postmaster.pid").read_text().split()[0])]
    server = psutil.Process(pid)
    before, of_server, began = [_seconds(relay.process) for relay in relays], _seconds(server), time.monotonic()
    await asyncio.sleep(seconds)  # time: what an idle relay needs is measured
    elapsed = time.monotonic() - began
    idle = [
        Idle(100 * (_seconds(relay.process) - start) / elapsed, relay.process.memory_info().rss / MEBIBYTE)
        for relay, start in zip(relays, before, strict=True)
    ]
    return idle, 100 * (_seconds(server) - of_server) / elapsed


def _seconds(process: psutil.Process) -> float:
    """Processor time of it and its children."""
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


async def _events_of_one_store_at_a_time(
    relays: list[Relay], platform: Simulator, connection: "asyncpg.Connection[asyncpg.Record]"
) -> list[str]:
    """What one store sends is delivered once, and no other relay stores, counts, logs or delivers it."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for relay in relays:
            body = {"id": relay.schema, "email": f"{relay.schema}@example.com", "updatedAt": "2026-05-11T08:00:00Z"}
            answer = await client.post(
                f"{relay.url}/v1/events/customers", json=body, headers={"Authorization": f"Bearer {KEY}"}
            )
            answer.raise_for_status()
    schemas = [relay.schema for relay in relays]
    waiting = " + ".join(f"(SELECT count(*) FROM {schema}.job WHERE open)" for schema in schemas)  # noqa: S608

    async def delivered() -> bool:
        return bool(await connection.fetchval(f"SELECT {waiting}") == 0)

    await eventually(delivered, 60)
    findings = []
    calls = [re.sub(".*/", "", entry["path"]) for entry in platform.ledger(kind="customer.put")]
    if sorted(calls) != sorted(schemas):
        findings.append(f"delivered: {sorted(calls)}")
    for relay in relays:
        stored = await connection.fetchval(f"SELECT count(*) FROM {relay.schema}.message")  # noqa: S608
        counted = relay.metrics().get("relay_messages_total", 0.0)
        logged = [record.get("schema") for record in relay.records("message")]
        attempts = [record.get("schema") for record in relay.records("attempt")]
        if (stored, counted, logged, attempts) != (1, 1.0, [relay.schema], [relay.schema]):
            findings.append(f"{relay.schema}: stored {stored}, counted {counted}, logged {logged}, attempts {attempts}")
    return findings
