"""Some of every kind of fault, several on one running service. `make chaos` plays all of them, many times."""

import os
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.faults import database, destination, isolation, machine
from tests.faults.failover import failovers
from tests.faults.points import every_point
from tests.faults.pooler import Missing
from tests.faults.rounds import Fault, Stage, play
from tests.faults.topology import (
    plain,
    pooled,
    pooled_faults,
    proxied,
    proxied_faults,
    small_disk,
    small_disk_faults,
    upgraded,
    upgraded_faults,
)

SEED = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(1 << 32)))
Topology = Callable[[Path, random.Random], AbstractAsyncContextManager[Stage]]


async def nothing_is_found(topology: Topology, folder: Path, faults: Sequence[Fault]) -> None:
    sys.stderr.write(f"replay with FAULT_SEED={SEED}\n")
    findings: list[str] = []
    try:
        async with topology(folder, random.Random(SEED)) as on:
            on.timed = False  # other tests run beside this one
            for fault in faults:
                on.rng.seed(f"{SEED} {fault.name}")
                report = await play(on, fault)
                findings += [f"{fault.name}: {finding}" for finding in report.findings()]
                assert report.samples
                if findings:  # the next fault would find a service that is not at rest
                    break
    except Missing as missing:
        pytest.skip(str(missing))
    assert findings == []


def named(faults: Sequence[Fault], *names: str) -> list[Fault]:
    return [fault for fault in faults if fault.name in names]


@pytest.mark.timeout(300)
async def test_far_sides_and_database(tmp_path: Path) -> None:
    far = Fault("destinations spoilt in every way", destination.everything_spoilt)
    key = named(destination.faults(), "the key is revoked, then restored")
    postgres = named(
        database.common_faults(),
        "PostgreSQL killed (SIGKILL)",
        "every connection terminated",
        "serialization failures at COMMIT",
    )
    await nothing_is_found(plain, tmp_path, [far, *key, *postgres])


@pytest.mark.timeout(300)
async def test_entities_that_always_fail(tmp_path: Path) -> None:
    await nothing_is_found(plain, tmp_path, isolation.small_faults())


@pytest.mark.timeout(300)
async def test_processes_killed_frozen_and_asked_to_end(tmp_path: Path) -> None:
    killed = named(
        machine.faults(),
        "worker killed (SIGKILL), calls in flight",
        "SIGTERM under full load",
        "worker frozen beyond its lease (SIGSTOP)",
    )
    await nothing_is_found(plain, tmp_path, killed)


@pytest.mark.timeout(300)
async def test_killed_at_some_of_all_points(tmp_path: Path) -> None:
    await nothing_is_found(plain, tmp_path, [every_point(3)])


@pytest.mark.timeout(200)
async def test_the_way_to_the_database(tmp_path: Path) -> None:
    await nothing_is_found(proxied, tmp_path, proxied_faults())


@pytest.mark.timeout(300)
async def test_a_frozen_primary(tmp_path: Path) -> None:
    topology, faults = failovers()[0]
    await nothing_is_found(topology, tmp_path, faults)


@pytest.mark.timeout(300)
async def test_a_frozen_primary_whose_last_commits_are_missing(tmp_path: Path) -> None:
    topology, faults = failovers()[1]
    await nothing_is_found(topology, tmp_path, faults)


@pytest.mark.timeout(200)
async def test_behind_pgbouncer(tmp_path: Path) -> None:
    await nothing_is_found(pooled, tmp_path, pooled_faults()[1:])


@pytest.mark.timeout(300)
async def test_two_releases_at_once(tmp_path: Path) -> None:
    await nothing_is_found(upgraded, tmp_path, upgraded_faults())


@pytest.mark.timeout(200)
async def test_a_full_disk(tmp_path: Path) -> None:
    await nothing_is_found(small_disk, tmp_path, small_disk_faults())
