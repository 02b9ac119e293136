"""What a run says: a table for people, one JSON line for programs."""

import json
from collections.abc import Iterator, Sequence

from benchmarks.results import TARGETS, Result, Value


def shown(value: Value | None) -> str:
    if value is None:
        return "failed"
    if isinstance(value, dict):
        return ", ".join(f"{name} {member:.1f}" for name, member in value.items())
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def verdict(result: Result) -> str:
    """`yes` or `no`; `so far` where a shortened measurement has met it; `failed` for a row without a figure."""
    if result.value is None:
        return "failed"
    met = TARGETS[result.name].met(result.value if result.judged is None else result.judged)
    return "no" if not met else "so far" if result.shortened else "yes"


def table(results: Sequence[Result]) -> Iterator[str]:
    """Lines of a Markdown table, which reads well in a terminal too."""
    yield "| name | measured | to reach | reached | variants and their figures |"
    yield "|---|---|---|---|---|"
    for result in results:
        target = TARGETS[result.name]
        parts = []
        for detail in result.details:
            figures = ", ".join(f"{name} {shown(value)}" for name, value in detail.figures.items())
            parts.append(f"{detail.variant}: **{shown(detail.value)}**{f' ({figures})' if figures else ''}")
        parts += [result.note.replace("\n", " ").replace("|", "/")] if result.note else []
        dagger = " †" if target.long else ""
        yield f"| `{result.name}`{dagger} | {shown(result.value)} | {target} | {verdict(result)} | {'<br>'.join(parts)} |"


def last_line(results: Sequence[Result]) -> str:
    """One JSON object: the named values; null where a row failed."""

    def plain(value: Value | None) -> object:
        if isinstance(value, dict):
            return {name: round(member, 2) for name, member in value.items()}
        return None if value is None else round(value, 3)

    return json.dumps({result.name: plain(result.value) for result in results})
