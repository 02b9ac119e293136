"""What came of all rounds: the table for people, the last line for machines, and the part of docs/reliability.md."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tests.faults.rounds import Report

BEGIN: Final = "<!-- made by `make chaos ARGS=--write-docs` -->"
END: Final = "<!-- end of the generated part -->"
COLUMNS: Final = ("fault", "rounds", "lost", "duplicated", "disordered", "seconds to recover (median, slowest)")


@dataclass
class Row:
    fault: str
    reports: list[Report] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        played = [report for report in self.reports if not report.skipped]
        if not played:
            return (self.fault, "skipped", "", "", "", self.reports[0].skipped)
        seconds = [each for report in played for each in report.recovery]
        recovery = f"{median(seconds):.1f}, {max(seconds):.1f}" if seconds else ""
        counts = (
            sum(len(report.verdict.lost) for report in played),
            sum(len(report.verdict.doubled) for report in played),
            sum(len(report.verdict.disordered) for report in played),
        )
        return (self.fault, str(sum(report.rounds for report in played)), *map(str, counts), recovery)


def rows(reports: Iterable[Report]) -> list[Row]:
    found: dict[str, Row] = {}
    for report in reports:
        found.setdefault(report.fault, Row(report.fault)).reports.append(report)
    return list(found.values())


def table(reports: Sequence[Report]) -> str:
    """In Markdown, with columns of equal width."""
    lines = [COLUMNS, *(row.cells for row in rows(reports))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    result = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    result.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(result)


def last_line(reports: Sequence[Report]) -> str:
    counts = {
        "rounds": sum(report.rounds for report in reports if not report.skipped),
        "lost": sum(len(report.verdict.lost) for report in reports),
        "duplicated": sum(len(report.verdict.doubled) for report in reports),
        "disordered": sum(len(report.verdict.disordered) for report in reports),
        "stale_settles": sum(report.stale for report in reports),
        "identity_violations": sum(len(report.identity) for report in reports),
    }
    return json.dumps(counts)


def documented(page: str, reports: Sequence[Report], how: str) -> str:
    """The page with its table made anew. Raises ValueError when the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks the lines {BEGIN} and {END}")
    result = [(report.fault, [*report.notes, *(f"NOT KEPT: {each}" for each in report.broken)]) for report in reports]
    notes = "\n".join(f"- {fault}: {'; '.join(words)}" for fault, words in result if words)
    return f"{before}{BEGIN}\n{how}\n\n{table(reports)}\n\n    {last_line(reports)}\n\n{notes}\n{END}{after}"
