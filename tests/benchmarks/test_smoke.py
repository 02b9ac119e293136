"""The benchmark runs and gives numbers. The figures of a tiny run mean nothing; `make bench ARGS=--tiny` tries every row."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_a_row_of_each_process_gives_numbers() -> None:
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--only", "ingest_vs_null", "pickup_ms"]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=280, check=False
    )
    measured = json.loads(run.stdout.splitlines()[-1])
    assert set(measured) == {"ingest_vs_null", "ingest_vs_naive", "pickup_ms"}, run.stderr
    assert all(isinstance(value, float | int | dict) for value in measured.values()), run.stdout
    assert run.returncode == 0, run.stdout
