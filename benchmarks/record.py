"""The figures that are kept: docs/performance.json, and the table that docs/performance.md makes of it."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.report import table
from benchmarks.results import TARGETS, Detail, Result

DOCS: Final = Path(__file__).parents[1] / "docs"
RAW, PAGE = DOCS / "performance.json", DOCS / "performance.md"
BEGIN, END = (
    "<!-- figures: made of performance.json by `python -m benchmarks --write-docs` -->",
    "<!-- end of figures -->",
)


def write(results: Sequence[Result], seconds: float) -> None:
    """Put this run into both files; rows that it did not measure keep their last figures, and say from when they are."""
    rows = json.loads(RAW.read_text()) if RAW.exists() else {}
    run = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "minutes": round(seconds / 60, 1),
        "load_before": LOAD_BEFORE,
    }
    rows |= {result.name: {"run": run, **asdict(result)} for result in results if result.value is not None}
    rows = {name: rows[name] for name in TARGETS if name in rows}
    RAW.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(PAGE.read_text(), rows))


def page(text: str, rows: dict[str, Any]) -> str:
    """`text` with the table of `rows` between its two marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    runs: dict[str, list[str]] = {}
    for name, row in rows.items():
        runs.setdefault(_told(row["run"]), []).append(f"`{name}`")
    observed = [f"- {run}: {', '.join(names)}." for run, names in runs.items()]
    body = "\n".join([*observed, "", *table([_result(row) for row in rows.values()])])
    return f"{before}{BEGIN}\n{body}\n{END}{after}"


def _told(run: dict[str, Any]) -> str:
    return f"{run['at']}, {run['machine']}, load {run['load_before']:.1f} before, a run of {run['minutes']:.0f} minutes"


def _result(row: dict[str, Any]) -> Result:
    known = {name: value for name, value in row.items() if name not in ("run", "details")}
    return Result(**known, details=tuple(Detail(**detail) for detail in row["details"]))


def machine() -> str:
    memory = psutil.virtual_memory().total / (1 << 30)
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}"
    )


LOAD_BEFORE: Final = psutil.getloadavg()[0]
"""The machine's load of the minute before this program began: more than a little, and the figures are worth less."""
