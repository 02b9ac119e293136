"""A primary that fails, and a standby that is promoted, with the ways in which a relay finds it: several hosts in the URL, a
moved address, PgBouncer, HAProxy.

Each topology is for one fault: afterwards there is no standby any more.
"""

import asyncio
import json
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from tests.faults.haproxy import HAProxy
from tests.faults.pooler import Missing, Pooler
from tests.faults.proxy import Proxy, proxy
from tests.faults.rig import ROOT, rig, server
from tests.faults.rounds import Fault, Stage, stage
from tests.faults.server import PostgresServer
from tests.helpers import eventually

FLOWING_WITHIN: Final = 10
"""Seconds after the promotion."""
Topology = Callable[[Path, random.Random], AbstractAsyncContextManager[Stage]]


class Way(Protocol):
    """How the relay reaches its database."""

    def __call__(
        self, folder: Path, rng: random.Random, *, synchronous: bool
    ) -> AbstractAsyncContextManager[tuple[Stage, PostgresServer]]: ...


@asynccontextmanager
async def _relay(
    folder: Path,
    rng: random.Random,
    primary: PostgresServer,
    url: str,
    *,
    synchronous: bool,
    way: Proxy | None = None,
    listen_url: str = "",
) -> AsyncIterator[Stage]:
    settings = {"DATABASE_SYNCHRONOUS_REPLICATION": str(synchronous).lower(), "DATABASE_LISTEN_URL": listen_url}
    running = rig(folder, primary, database_url=url, proxy=way, code=ROOT, **settings)
    async with running as stack, stage(stack, rng) as on:
        yield on


@asynccontextmanager
async def several_hosts(
    folder: Path, rng: random.Random, *, synchronous: bool
) -> AsyncIterator[tuple[Stage, PostgresServer]]:
    async with server(folder) as primary:
        standby = await primary.standby(folder / "standby", synchronous=synchronous)
        url = f"postgresql://relay@{_both(primary, standby)}/relay?target_session_attrs=read-write"
        async with _relay(folder, rng, primary, url, synchronous=synchronous) as on:
            yield on, standby


@asynccontextmanager
async def moved_address(
    folder: Path, rng: random.Random, *, synchronous: bool
) -> AsyncIterator[tuple[Stage, PostgresServer]]:
    """One address, which leads to another server after the promotion, for new connections only."""
    async with server(folder) as primary, proxy(primary.port, rng) as way:
        standby = await primary.standby(folder / "standby", synchronous=synchronous)
        url = primary.url(way.port)
        async with _relay(folder, rng, primary, url, synchronous=synchronous, way=way) as on:
            yield on, standby


@asynccontextmanager
async def behind_pgbouncer(
    folder: Path, rng: random.Random, *, synchronous: bool
) -> AsyncIterator[tuple[Stage, PostgresServer]]:
    async with server(folder) as primary:
        standby = await primary.standby(folder / "standby", synchronous=synchronous)
        pooler = Pooler(folder, primary)
        pooler.start()
        url, direct = primary.url(pooler.port), f"postgresql://relay@{_both(primary, standby)}/relay"
        try:
            async with _relay(folder, rng, primary, url, synchronous=synchronous, listen_url=direct) as on:
                on.rig.pooler = pooler
                yield on, standby
        finally:
            pooler.kill()


@asynccontextmanager
async def behind_haproxy(
    folder: Path, rng: random.Random, *, synchronous: bool
) -> AsyncIterator[tuple[Stage, PostgresServer]]:
    async with server(folder) as primary:
        standby = await primary.standby(folder / "standby", synchronous=synchronous)
        async with (
            HAProxy(folder, (primary, standby)).running() as way,
            _relay(folder, rng, primary, primary.url(way.port), synchronous=synchronous) as on,
        ):
            yield on, standby


def _both(primary: PostgresServer, standby: PostgresServer) -> str:
    return f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"


# ----------------------------------------------------------------------------------------------- what happens to the primary


@contextmanager
def frozen(primary: PostgresServer) -> Iterator[None]:
    primary.freeze()
    yield


@contextmanager
def cut_off(primary: PostgresServer) -> Iterator[None]:
    """A firewall drops all packets to and from the primary."""
    table = f"relay_fault_{primary.port}"
    rules = "".join(
        f"add rule inet {table} {chain} tcp {side} {primary.port} drop\n"
        for chain in ("incoming", "outgoing")
        for side in ("dport", "sport")
    )
    chains = "".join(
        f"add chain inet {table} {chain} {{ type filter hook {hook} priority 0; }}\n"
        for chain, hook in (("incoming", "input"), ("outgoing", "output"))
    )
    if not _nft(f"add table inet {table}\n{chains}{rules}"):
        raise Missing("no firewall can be set up here (needs nftables, and root with CAP_NET_ADMIN)")
    try:
        yield
    finally:
        _nft(f"delete table inet {table}\n")


@contextmanager
def still_writable(primary: PostgresServer) -> Iterator[None]:
    """Nothing happens to it: both accept writes from now on."""
    assert primary.running
    yield


def _nft(rules: str) -> bool:
    program = shutil.which("nft") or shutil.which("nft", path="/usr/sbin")
    if program is None:
        return False
    return subprocess.run([program, "-f", "-"], input=rules.encode(), capture_output=True, check=False).returncode == 0


# ----------------------------------------------------------------------------------------------- the faults


def _fault(
    name: str,
    way: Way,
    failure: Callable[[PostgresServer], AbstractContextManager[None]],
    *,
    synchronous: bool = True,
    away: float = 4.0,
) -> tuple[Topology, list[Fault]]:
    """`away`: seconds between the failure and the promotion."""
    standbys: list[PostgresServer] = []

    @asynccontextmanager
    async def topology(folder: Path, rng: random.Random) -> AsyncIterator[Stage]:
        async with way(folder, rng, synchronous=synchronous) as (on, standby):
            standbys[:] = [standby]
            on.cleanup = []
            try:
                yield on
            finally:
                for undo in on.cleanup:
                    undo()

    async def inflict(on: Stage) -> None:
        primary, standby = on.rig.server, standbys[0]
        if not synchronous:
            await standby.stop_receiving()
            await asyncio.sleep(1.5)  # time: what is acknowledged now is lost
        broken = failure(primary)
        broken.__enter__()
        on.cleanup.append(partial(broken.__exit__, None, None, None))
        on.rig.server = standby
        await asyncio.sleep(away)  # time: until a cluster manager decides
        on.ended_at = time.monotonic()
        await standby.promote()
        if on.rig.proxy is not None:
            on.rig.proxy.lead_new_ones_to(standby.port)
        if on.rig.pooler is not None:
            on.rig.pooler.lead_to(standby)
        if not synchronous:
            await _reported(on)

    fault = Fault(name, inflict, customers=70, gap=0.1, flowing_within=FLOWING_WITHIN, loses=not synchronous)
    return topology, [fault]


async def _reported(on: Stage) -> None:
    """The alert names the time span of what may be missing."""

    async def raised() -> bool:
        connection = await on.rig.server.connect()
        try:
            facts = await connection.fetchval("SELECT facts FROM alert WHERE code = 'database_failed_over'")
        finally:
            connection.terminate()
        if facts is not None:
            since, until = (datetime.fromisoformat(json.loads(facts)[name]) for name in ("since", "until"))
            on.missing_between = (since.replace(tzinfo=UTC), until.replace(tzinfo=UTC))
        return facts is not None

    await eventually(raised, 60)


def failovers() -> list[tuple[Topology, list[Fault]]]:
    return [
        _fault("primary frozen, two hosts", several_hosts, frozen),
        _fault("primary frozen, asynchronous standby", several_hosts, frozen, synchronous=False),
        _fault("primary cut off by a firewall, two hosts", several_hosts, cut_off),
        _fault("primary frozen, the address moves", moved_address, frozen),
        _fault("both primaries accept writes, two hosts", several_hosts, still_writable, synchronous=False, away=0.0),
        _fault(
            "both primaries accept writes, the address moves",
            moved_address,
            still_writable,
            synchronous=False,
            away=0.0,
        ),
        _fault("primary frozen, behind PgBouncer", behind_pgbouncer, frozen),
        _fault("primary frozen, behind HAProxy", behind_haproxy, frozen, away=6.0),
    ]
