"""What `relay import` prints: how a file is read, what was found in it, and what became of its rows."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import IO, Final

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from platform_relay.cli.terminal import err, out
from platform_relay.imports.column_names import IDS
from platform_relay.imports.conversion import read_as
from platform_relay.imports.importer import with_possible_version
from platform_relay.imports.mapping import required_fields
from platform_relay.imports.proposal import Proposal
from platform_relay.imports.rows import ImportPlan, read_messages, unused_columns
from platform_relay.imports.runs import ImportView
from platform_relay.imports.summary import ImportColumn, Tally, columns_of

PROBLEMS_SHOWN: Final = 10


def print_figures(done: ImportView, rows_before: int | None, plan: ImportPlan) -> None:
    """Print what became of the rows. `rows_before`: as `imports._import` returns it."""
    if rows_before is None:
        when = f" at {done.finished_at:%Y-%m-%d %H:%M} UTC" if done.finished_at else ""
        out.print(
            f"This file was imported completely{when}, so nothing was sent again. The figures are those of that import."
        )
    elif rows_before:
        out.print(f"Resumed after {rows_before:,} rows. The figures are those of the whole file.")
    out.print(_summary(done))
    for note in done.notes:
        if note not in plan.notes:  # printed above
            out.print(note)


def print_proposal(proposal: Proposal) -> None:
    plan = proposal.plan
    table = Table("field", "column", "first value", "read as", title=f"How {plan.kind} are read", title_justify="left")
    doubtful = {answer.partition("=")[0] for question in proposal.questions for answer in question.answers}
    for name, column in plan.mapping.items():
        table.add_row(
            f"{name} (?)" if name in doubtful else name,
            column,
            proposal.examples.get(column, ""),
            read_as(plan.reading, name),
        )
    out.print(table)
    unused = [name for name in plan.columns if name not in plan.mapping.values()]
    if unused and plan.export is None:
        out.print(f"Not mapped: {', '.join(unused[:20])}{' …' if len(unused) > 20 else ''}")
    for note in (*plan.notes, *proposal.remarks):
        out.print(note)


def print_columns(columns: Sequence[ImportColumn], tally: Tally, required: Sequence[str]) -> None:
    """What was found in each column. `tally` has the first unreadable values."""
    table = Table("column", "field", "read", "empty", "unreadable", "trimmed", title="Columns", title_justify="left")
    for column in columns:
        if column.field is None:
            table.add_row(
                column.column, "(not used)" if column.use == "unused" else "(read with others)", "", "", "", ""
            )
            continue
        counts = (column.read, column.empty, column.unreadable, column.trimmed)
        table.add_row(column.column, column.field, *(f"{count:,}" for count in counts))
    out.print(table)
    for column in columns:
        if column.use == "unused" and column.reason is not None:
            out.print(f"{column.column}: not used: {column.reason}")
        count = tally.fields.get(column.field or "")
        if column.unreadable and count is not None:
            shown = "; ".join(f"row {value.row}: {value.text!r} {value.reason}" for value in count.first)
            lost = "rejected" if column.field in required or column.field in IDS else "left out"
            out.print(f"{column.column}: {column.unreadable:,} {lost}: {shown}")


def print_dry_run(plan: ImportPlan, opened: IO[bytes]) -> None:
    counts: Counter[str] = Counter()
    problems: list[tuple[int, str]] = []
    now = datetime.now(UTC)
    tally = Tally()
    for row, parsed in read_messages(plan, opened, tally=tally):
        message = with_possible_version(parsed, now)
        counts["rejected" if isinstance(message, str) else "good"] += 1
        if isinstance(message, str) and len(problems) < PROBLEMS_SHOWN:
            problems.append((row.number, message))
    print_columns(
        columns_of(plan.columns, plan.mapping, tally, unused_columns(plan)), tally, required_fields(plan.kind)
    )
    out.print(
        f"{counts.total():,} rows: {counts['good']:,} valid, {counts['rejected']:,} rejected. Nothing was stored."
    )
    for number, reason in problems:
        out.print(f"  row {number}: {reason}")


def progress_bar() -> Progress:
    """A bar with the number of rows and the rate."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows  {task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err,
    )


def _summary(done: ImportView) -> str:
    parts = [
        f"{done.accepted:,} accepted",
        f"{done.duplicates:,} duplicates",
        f"{done.newer:,} older than the known version",
    ]
    return f"{done.name}: {done.rows:,} rows: {', '.join(parts)}, {done.rejected:,} rejected."
