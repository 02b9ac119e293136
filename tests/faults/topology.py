"""Where the service's database stands: plain, behind a proxy, with a standby, behind PgBouncer, on a small disk.

Each is an async context manager that gives a running stage, or raises `Missing` where this machine cannot have it.
"""

import asyncio
import io
import random
import signal
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from tests.faults.database import connection_lost_at_commit, everybody_terminated
from tests.faults.pace import RATE
from tests.faults.pooler import Missing, Pooler
from tests.faults.proxy import proxy
from tests.faults.rig import ROOT, rig, server
from tests.faults.rounds import Fault, Stage, stage
from tests.faults.server import GONE, PostgresServer

DISK: Final = "420m"
RELEASE_BEFORE: Final[str | None] = None
"""The git commit of the release that a rolling upgrade starts from. None while there is only one migration: no older
release works with these tables. Whoever adds the second migration sets it to the commit before."""


@asynccontextmanager
async def plain(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
    async with server(folder) as postgres, rig(folder, postgres) as stack, stage(stack, rng) as on:
        yield on


@asynccontextmanager
async def paced(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
    async with (
        server(folder) as postgres,
        rig(folder, postgres, PLATFORM__RATE_LIMIT=f"{RATE}/s") as stack,
        stage(stack, rng) as on,
    ):
        yield on


# ----------------------------------------------------------------------------------------------- two releases


@asynccontextmanager
async def upgraded(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
    """Begins with the release before (RELEASE_BEFORE)."""
    old = folder / "release-before"
    _unpack_release_before(old)
    async with server(folder) as postgres, rig(folder, postgres, code=old) as stack, stage(stack, rng) as on:
        yield on


def _unpack_release_before(to: Path) -> None:
    if RELEASE_BEFORE is None:
        raise Missing("there is only one migration, so there is no older release to upgrade from")
    tree = _git("archive", RELEASE_BEFORE)
    if not tree:
        raise Missing("the code of the release before is missing: this is not a git clone with its history")
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        archive.extractall(to, filter="data")


def _git(*arguments: str) -> bytes | None:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return ran.stdout if ran.returncode == 0 else None


async def rolling_upgrade(on: Stage) -> None:
    """New replicas beside the old ones, which go on with the new tables; then the old ones are asked to end."""
    rig = on.rig
    before = await _revision(rig.server)
    old_web, old_worker = rig.web, rig.worker
    web, worker = rig.another("web", "new-web"), rig.another("worker", "new-worker")
    for process in (web, worker):
        process.code = ROOT
        process.start()
    await worker.up(0)
    on.notes.append(f"tables {before} → {await _revision(rig.server)}")
    rig.urls.append(f"http://127.0.0.1:{web.environment['PORT']}")
    await asyncio.sleep(3)  # time: both releases do the same work on the same tables
    if "OLDEST" in (rig.code / "migrations" / "__init__.py").read_text():  # older ones refuse tables of a later release
        old_worker.kill()
        begin = old_worker.log.stat().st_size
        old_worker.start()  # its machine was restarted in the middle
        await old_worker.up(begin)
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = await client.get(f"http://127.0.0.1:{old_web.environment['PORT']}/readyz", timeout=10)
            assert ready.status_code == 200, f"the old web process is taken out of the rotation: {ready.text}"
    await asyncio.sleep(2)  # time: and on
    rig.moved_to(web, worker)
    await rig.ready()
    for process in (old_worker, old_web):
        code = await asyncio.to_thread(process.stop)
        assert code == 0, f"the old {process.role} ended with {code}"


async def _revision(postgres: PostgresServer) -> str:
    connection = await postgres.connect()
    try:
        return str(await connection.fetchval("SELECT version_num FROM alembic_version"))
    finally:
        await connection.close()


def upgraded_faults() -> list[Fault]:
    return [Fault("rolling upgrade, two releases at once", rolling_upgrade, customers=60, gap=0.15)]


# ----------------------------------------------------------------------------------------------- a proxy, a standby


@asynccontextmanager
async def proxied(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
    async with (
        server(folder) as postgres,
        proxy(postgres.port, rng) as relay,
        rig(folder, postgres, database_url=postgres.url(relay.port), proxy=relay) as stack,
        stage(stack, rng) as on,
    ):
        yield on


async def failover(on: Stage) -> None:
    """The primary is gone, the address leads to the standby, which is read-only until it is promoted."""
    relay, old = on.rig.proxy, on.rig.server
    assert relay is not None
    copy = await old.standby(on.rig.folder / f"standby-{on.rng.randrange(1 << 30)}")
    await asyncio.sleep(1)  # time: load with a standby
    old.stop(signal.SIGKILL)
    relay.lead_to(copy.port)
    on.rig.server = copy
    await asyncio.sleep(3)  # time: read-only, as long as the decision takes
    await copy.promote()


def proxied_faults() -> list[Fault]:
    return [
        Fault("connection lost around COMMIT", connection_lost_at_commit, customers=40),
        Fault("failover to a standby, read-only at first", failover, customers=60, flowing_within=10),
    ]


async def nothing(_: Stage) -> None:
    """A day without a fault: what breaks here is the arrangement itself."""


# ----------------------------------------------------------------------------------------------- PgBouncer


@asynccontextmanager
async def pooled(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
    async with server(folder) as postgres:
        pooler = Pooler(folder, postgres)
        pooler.start()
        try:
            async with (
                rig(
                    folder, postgres, database_url=postgres.url(pooler.port), DATABASE_LISTEN_URL=postgres.url()
                ) as stack,
                stage(stack, rng) as on,
            ):
                stack.pooler = pooler
                yield on
        finally:
            pooler.kill()


async def pooler_killed(on: Stage) -> None:
    assert on.rig.pooler is not None
    for _ in range(2):
        on.rig.pooler.kill()
        await asyncio.sleep(0.5)  # time: away
        on.rig.pooler.start()
        await asyncio.sleep(1)  # time: back


def pooled_faults() -> list[Fault]:
    return [
        Fault("PgBouncer in transaction mode", nothing),
        Fault("PgBouncer killed", pooler_killed),
        Fault("every connection behind PgBouncer terminated", everybody_terminated),
    ]


# ----------------------------------------------------------------------------------------------- a small disk


@asynccontextmanager
async def small_disk(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
    """Postgres on a file system of its own, in memory and nearly full."""
    disk = folder / "postgres"
    disk.mkdir()
    if not _ran("mount", "-t", "tmpfs", "-o", f"size={DISK}", "relay-fault", str(disk)):
        raise Missing("a small disk cannot be mounted here (needs root with CAP_SYS_ADMIN)")
    try:
        async with server(folder) as postgres, rig(folder, postgres) as stack, stage(stack, rng) as on:
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
        await asyncio.sleep(0.2)  # time: then again, it may be recovering
    ballast.unlink()
    on.notes.append("Postgres went down" if not on.rig.server.running else "PostgreSQL stayed up")
    await on.rig.server.start()


def small_disk_faults() -> list[Fault]:
    return [Fault("disk full, then freed", disk_full)]
