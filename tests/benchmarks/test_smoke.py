"""Every row of the benchmark runs and gives a number. The figures of a tiny run mean nothing; only the rows are tested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = (
    "ingest_vs_null",
    "ingest_vs_naive",
    "batch_ingest_per_s",
    "relay_vs_client",
    "relay_vs_best_peer",
    "relay_vs_aiohttp",
    "relay_with_history",
    "relay_held_snapshot",
    "pickup_ms",
    "redeem_ms",
    "two_workers",
    "rss_mb",
)
PEERS = ("Procrastinate", "PGQueuer", "Celery")


@pytest.fixture(scope="module")
def run() -> "subprocess.CompletedProcess[str]":
    """One tiny run of all rows, the long ones too."""
    command = [sys.executable, "-m", "benchmarks", "--tiny"]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.timeout(300)
def test_the_last_line_names_every_row(run: "subprocess.CompletedProcess[str]") -> None:
    assert set(json.loads(run.stdout.splitlines()[-1])) == set(ROWS), run.stderr
    assert run.returncode == 0, run.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("row", ROWS)
def test_a_row_gives_a_number(run: "subprocess.CompletedProcess[str]", row: str) -> None:
    value = json.loads(run.stdout.splitlines()[-1])[row]
    numbers = value.values() if isinstance(value, dict) else [value]
    said = [line for line in run.stdout.splitlines() if line.startswith(f"| `{row}` ")]
    assert all(isinstance(number, float | int) for number in numbers), said


@pytest.mark.timeout(300)
def test_a_peer_is_measured_or_its_absence_is_told(run: "subprocess.CompletedProcess[str]") -> None:
    [line] = [line for line in run.stdout.splitlines() if line.startswith("| `relay_vs_best_peer` ")]
    assert "naive loop /s" in line
    for name in PEERS:
        assert f"{name} /s" in line or f"{name} left out: " in line


@pytest.mark.timeout(300)
def test_the_curve_of_workers_is_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.scaling", "--tiny"]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=280, check=False
    )
    measured = json.loads(run.stdout.splitlines()[-1])
    assert {slots: set(curve) for slots, curve in measured.items()} == {slots: {"1", "2"} for slots in ("8", "64")}, (
        run.stderr
    )
