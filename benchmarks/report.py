"""What a run says: a table for people, one JSON line for programs, and docs/performance.md between its two marks."""

import json
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from benchmarks.results import TARGETS, Result, Value

PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by `python -m benchmarks --write-docs` -->", "<!-- end of figures -->"


def shown(value: Value | None) -> str:
    if value is None:
        return "failed"
    if isinstance(value, dict):
        return ", ".join(f"{name} {member:.1f}" for name, member in value.items())
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def verdict(result: Result) -> str:
    """`yes` or `no` beside a target, `failed` for a row without a figure, nothing without a target."""
    if result.value is None:
        return "failed"
    target = TARGETS[result.name]
    return "" if target == type(target)() else "yes" if target.met(result.value) else "no"


def table(results: Sequence[Result]) -> Iterator[str]:
    """Lines of a Markdown table, which reads well in a terminal too."""
    yield "| name | measured | to reach | reached | variants and their figures |"
    yield "|---|---|---|---|---|"
    for result in results:
        target = TARGETS[result.name]
        wanted = "" if target == type(target)() else str(target)
        parts = []
        for detail in result.details:
            figures = ", ".join(f"{name} {value:,.0f}" for name, value in detail.figures.items())
            parts.append(f"{detail.variant}: **{shown(detail.value)}**{f' ({figures})' if figures else ''}")
        parts += [result.note.replace("\n", " ").replace("|", "/")] if result.note else []
        yield f"| `{result.name}` | {shown(result.value)} | {wanted} | {verdict(result)} | {'<br>'.join(parts)} |"


def last_line(results: Sequence[Result]) -> str:
    """One JSON object: the named values; null where a row failed."""

    def plain(value: Value | None) -> object:
        if isinstance(value, dict):
            return {name: round(member, 2) for name, member in value.items()}
        return None if value is None else round(value, 3)

    return json.dumps({result.name: plain(result.value) for result in results})


def write_page(results: Sequence[Result], seconds: float) -> None:
    """Replace the rows of this run in docs/performance.md; rows that did not run keep their last figures."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    lines = list(table(results))
    fresh = {line.split("|")[1].strip(): line for line in lines[2:]}
    kept = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| `")}
    order = [f"`{name}`" for name in TARGETS]
    rows = [fresh.get(name) or kept[name] for name in order if name in fresh or name in kept]
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}, {seconds / 60:.0f} minutes"
    body = "\n".join([f"Last run: {when}.", "", *lines[:2], *rows])
    PAGE.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}")


def machine() -> str:
    memory = psutil.virtual_memory().total / (1 << 30)
    load = psutil.getloadavg()[0]
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}, load {load:.1f} before"
    )
