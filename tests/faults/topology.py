"""Where the service's database stands: plain, behind a proxy, with a standby, behind PgBouncer, on a small disk.

Each is an async context manager that gives a running stage, or raises `Missing` where this machine cannot have it.
"""

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.faults.database import GONE, connection_lost_at_commit, everybody_terminated
from tests.faults.pooler import Missing, Pooler
from tests.faults.proxy import proxy
from tests.faults.rig import rig, server
from tests.faults.rounds import Fault, Stage, stage
from tests.faults.server import PostgresServer

DISK: Final = "420m"


@asynccontextmanager
async def plain(folder: Path, dice: random.Random) -> AsyncIterator[Stage]:
    async with server(folder) as postgres, rig(folder, postgres) as stack, stage(stack, dice) as on:
        yield on


# ----------------------------------------------------------------------------------------------- a proxy, a standby


@asynccontextmanager
async def proxied(folder: Path, dice: random.Random) -> AsyncIterator[Stage]:
    async with (
        server(folder) as postgres,
        proxy(postgres.port, dice) as relay,
        rig(folder, postgres, database_url=postgres.url(relay.port), proxy=relay) as stack,
        stage(stack, dice) as on,
    ):
        yield on


async def failover(on: Stage) -> None:
    """The primary is gone, the address leads to the standby, which is read-only until it is promoted."""
    relay, old = on.rig.proxy, on.rig.server
    assert relay is not None
    copy = await old.standby(on.rig.folder / f"standby-{on.dice.randrange(1 << 30)}")
    await asyncio.sleep(1)  # load with a standby
    old.stop(signal.SIGKILL)
    relay.lead_to(copy.port)
    on.rig.server = copy
    await asyncio.sleep(3)  # read-only, as long as the decision takes
    await copy.promote()


def proxied_faults() -> list[Fault]:
    return [
        Fault("connection lost around COMMIT", connection_lost_at_commit, shoppers=40),
        Fault("failover to a standby, read-only at first", failover, shoppers=60),
    ]


# ----------------------------------------------------------------------------------------------- PgBouncer


@asynccontextmanager
async def pooled(folder: Path, dice: random.Random) -> AsyncIterator[Stage]:
    async with server(folder) as postgres:
        pooler = Pooler(folder, postgres)
        pooler.start()
        try:
            async with (
                rig(folder, postgres, database_url=postgres.url(pooler.port), LISTEN_URL=postgres.url()) as stack,
                stage(stack, dice) as on,
            ):
                stack.pooler = pooler
                yield on
        finally:
            pooler.kill()


async def nothing(_: Stage) -> None:
    """A day without a fault: what breaks here is the pooling itself."""


async def pooler_killed(on: Stage) -> None:
    assert on.rig.pooler is not None
    for _ in range(2):
        on.rig.pooler.kill()
        await asyncio.sleep(0.5)  # away
        on.rig.pooler.start()
        await asyncio.sleep(1)  # back


def pooled_faults() -> list[Fault]:
    return [
        Fault("PgBouncer in transaction mode", nothing),
        Fault("PgBouncer killed", pooler_killed),
        Fault("every connection behind PgBouncer terminated", everybody_terminated),
    ]


# ----------------------------------------------------------------------------------------------- a small disk


@asynccontextmanager
async def small_disk(folder: Path, dice: random.Random) -> AsyncIterator[Stage]:
    """Postgres on a file system of its own, in memory and nearly full."""
    disk = folder / "postgres"
    disk.mkdir()
    if not _ran("mount", "-t", "tmpfs", "-o", f"size={DISK}", "relay-fault", str(disk)):
        raise Missing("a small disk cannot be mounted here (needs root with CAP_SYS_ADMIN)")
    try:
        async with server(folder) as postgres, rig(folder, postgres) as stack, stage(stack, dice) as on:
            yield on
    finally:
        _ran("umount", "-l", str(disk))


async def _write_a_lot(postgres: PostgresServer) -> None:
    connection = await postgres.connect()
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS ballast (filling text)")
        await connection.execute(
            "INSERT INTO ballast SELECT repeat(md5(random()::text), 200) FROM generate_series(1, 500)"
        )
    finally:
        connection.terminate()


def _ran(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def disk_full(on: Stage) -> None:
    """Not a byte is left: statements fail, and when the log wants a new file Postgres itself goes down."""
    ballast = on.rig.server.folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    deadline = asyncio.get_running_loop().time() + 5
    while asyncio.get_running_loop().time() < deadline:
        with suppress(*GONE):
            await _write_a_lot(on.rig.server)
        await asyncio.sleep(0.2)  # then again: it may be recovering
    ballast.unlink()
    on.notes.append("Postgres went down" if not on.rig.server.running else "Postgres stayed up")
    await on.rig.server.start()


def small_disk_faults() -> list[Fault]:
    return [Fault("disk full, then freed", disk_full)]
