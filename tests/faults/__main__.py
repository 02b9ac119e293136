"""`python -m tests.faults`: every fault, again and again, and what came of it. `make chaos` runs it.

Everything that is left to chance follows from `--seed`; `--only` plays one fault as it would be played among all.
Exit code 0 when nothing was lost, doubled or disordered and no other promise broken.
"""

import argparse
import asyncio
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import database, destination, isolation, machine, summary
from tests.faults.failover import failovers
from tests.faults.pace import crowds, paced_faults
from tests.faults.points import every_point
from tests.faults.pooler import Missing
from tests.faults.rounds import Fault, Report, Stage, play
from tests.faults.topology import (
    paced,
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

Topology = Callable[[Path, random.Random], AbstractAsyncContextManager[Stage]]
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="replays a run")
    parser.add_argument("--rounds", type=int, default=1, help="of each fault (1)")
    parser.add_argument("--outage", type=float, default=60, help="seconds of the long outage (60)")
    parser.add_argument("--only", action="append", help="faults whose name holds this; may be said several times")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/reliability.md")
    chosen = parser.parse_args()
    if chosen.write_docs and chosen.only:
        parser.error("a part of the faults is no table for the document: leave out --only or --write-docs")
    began = time.monotonic()
    say(f"seed {chosen.seed}")
    reports = asyncio.run(_play_all(chosen.seed, chosen.rounds, chosen.outage, chosen.only or ()))
    findings = [f"{report.fault}: {each}" for report in reports for each in report.findings()]
    for finding in findings:
        say(finding)
    say(f"\n{summary.table(reports)}\n")
    if chosen.write_docs:
        how = (
            f"{datetime.now(UTC):%Y-%m-%d}, seed {chosen.seed}, {os.cpu_count()} cores, Python {platform.python_version()};"
            f" {(time.monotonic() - began) / 60:.0f} minutes, {sum(report.samples for report in reports)} samples of the"
            " books."
        )
        PAGE.write_text(summary.documented(PAGE.read_text(), reports, how))
    say(summary.last_line(reports))
    return 1 if findings else 0


async def _play_all(seed: int, rounds: int, outage: float, only: Sequence[str]) -> list[Report]:
    common = [*destination.faults(), *database.common_faults(), *machine.faults()]
    stacks: tuple[tuple[Topology, list[Fault]], ...] = (
        (plain, [*common, *crowds(), *isolation.faults()] * rounds),
        (plain, [every_point(), destination.long_outage(outage)]),
        (paced, paced_faults()),
        (upgraded, upgraded_faults()),
        (proxied, proxied_faults() * rounds),
        (pooled, pooled_faults() * rounds),
        *failovers(),
        (small_disk, small_disk_faults() * rounds),
    )
    reports: list[Report] = []
    for topology, faults in stacks:
        chosen = [fault for fault in faults if not only or any(word in fault.name for word in only)]
        if chosen:
            reports += await _on(topology, chosen, seed)
    return reports


async def _on(topology: Topology, faults: Sequence[Fault], seed: int) -> list[Report]:
    """The faults one after another on one running service. Its folder stays when something was found."""
    folder, reports = Path(tempfile.mkdtemp(prefix="relay-faults-")), list[Report]()
    try:
        async with topology(folder, random.Random(seed)) as on:
            for number, fault in enumerate(faults):
                on.rng.seed(f"{seed} {fault.name} {sum(earlier is fault for earlier in faults[:number])}")
                report = await play(on, fault)
                say(f"{'ok  ' if report.clean() else 'FAIL'}  {fault.name}  {'; '.join(report.notes)}")
                for finding in report.findings():
                    say(f"      {finding}")
                reports.append(report)
    except Missing as missing:
        say(f"skipped: {missing}")
        return [Report(fault.name, skipped=str(missing)) for fault in faults]
    except AssertionError as error:  # before the first, or between two of them
        say(f"FAIL  the service could not be started: {error}")
        reports += [Report(fault.name, broken=[f"not played: {error}"]) for fault in faults[len(reports) :]]
    if all(report.clean() for report in reports):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"      the logs are in {folder}")
    return reports


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
