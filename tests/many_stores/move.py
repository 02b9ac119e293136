"""A store moves to another PostgreSQL, as docs/operations.md describes it, while jobs wait."""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from simulators.process import Simulator
from simulators.process import run as simulator
from tests.faults.server import ROLE, PostgresServer
from tests.helpers import eventually
from tests.many_stores.run import KEY, READY_SECONDS, Relay, ready, started

SCHEMA = "moving"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-ndjson"}
LINES = 500
"""Of a batch."""


@dataclass(frozen=True, slots=True)
class Moved:
    """`pause`: seconds from stopping the relay until it is ready on the other server. `dump`: of these, pg_dump and pg_restore."""

    events: int
    pause: float
    dump: float
    posted: int
    posted_twice: int

    def row(self) -> str:
        return (
            f"| moving a store with {self.events:,} messages: pause | {self.pause:.1f} s, of these {self.dump:.1f} s for"
            " pg_dump and pg_restore |"
        )


async def move(folder: Path, events: int, waiting: int) -> Moved:
    """`events` customers are stored and delivered, then `waiting` orders are accepted while the Platform is away, and the store
    moves."""
    with ExitStack() as stack:
        platform = stack.enter_context(simulator("platform"))
        old, new = PostgresServer(folder / "old"), PostgresServer(folder / "new")
        for server in (old, new):
            stack.callback(server.end)
            await server.create()
        own = folder / SCHEMA
        with started(own, old.url(), platform) as relay:
            await eventually(lambda: ready(relay), READY_SECONDS)
            await _send(relay, "customers", [_customer(number) for number in range(events)])
            await _delivered(old)
            platform.outage(on=True, mode="503")
            await _send(relay, "orders", [_order(number) for number in range(waiting)])
            began = time.monotonic()
        dump = time.monotonic()
        await asyncio.to_thread(_copy, old, new, folder / "dump")
        await _rename(old)
        dump = time.monotonic() - dump
        with started(own, new.url(), platform) as relay:
            await eventually(lambda: ready(relay), READY_SECONDS)
            pause = time.monotonic() - began
            platform.outage(on=False)
            await _delivered(new)
        return Moved(events, pause, dump, *_posted(platform))


def _copy(old: PostgresServer, new: PostgresServer, file: Path) -> None:
    old.run("pg_dump", "--format=custom", f"--schema={SCHEMA}", f"--file={file}", f"--dbname={old.url()}")
    new.run("pg_restore", "--exit-on-error", f"--dbname={new.url()}", str(file))


async def _rename(old: PostgresServer) -> None:
    """A process that still has the old address finds no tables, and says so."""
    connection = await old.connect()
    await connection.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {SCHEMA}_moved")
    await connection.close()


async def _send(relay: Relay, kind: str, bodies: list[str]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        for start in range(0, len(bodies), LINES):
            lines = "\n".join(f'{{"type":"{kind}","event":{body}}}' for body in bodies[start : start + LINES])
            response = await client.post(f"{relay.url}/v1/events/batch", content=lines, headers=HEADERS)
            response.raise_for_status()
            refused = [line for line in response.text.splitlines() if '"refused"' in line]
            assert refused == []


async def _delivered(server: PostgresServer) -> None:
    connection = await server.connect(database=ROLE)
    open_jobs = f"SELECT count(*) FROM {SCHEMA}.job WHERE open"  # noqa: S608  # a constant

    async def none() -> bool:
        return bool(await connection.fetchval(open_jobs) == 0)

    await eventually(none, 300)
    await connection.close()


def _posted(platform: Simulator) -> tuple[int, int]:
    """Orders that the Platform has, and those that it created more than once."""
    once = platform.summary()["once"]["order.post"]
    return once["entities"], once["applied_more_than_once"]


def _customer(number: int) -> str:
    return f'{{"id":"c{number}","email":"c{number}@example.com","updatedAt":"2026-05-11T08:00:00Z"}}'


def _order(number: int) -> str:
    return (
        f'{{"id":"o{number}","customerId":"c{number}","totalPrice":"20.00","currency":"EUR","financialStatus":"paid",'
        f'"email":"c{number}@example.com","updatedAt":"2026-05-11T09:00:00Z"}}'
    )
