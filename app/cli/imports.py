"""`relay import` and `relay backfill`: accept files and the store's lists, after live events."""

import json
import math
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Final, Literal, TextIO

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.terminal import ACTOR, err, out
from platform_relay.core import exact_json
from platform_relay.core.shared_folders import open_own_file
from platform_relay.imports import importer
from platform_relay.imports.conversion import Reading
from platform_relay.imports.files import FileFormat, FileRow, format_of
from platform_relay.imports.importer import ImportView
from platform_relay.imports.mapping import required_fields
from platform_relay.imports.proposal import Choices, MissingFieldError, Proposal, Question, check_choices, propose
from platform_relay.imports.rows import ImportPlan, read_messages, unused_columns
from platform_relay.imports.summary import ImportColumn, Tally, columns_of
from platform_relay.imports.values import DateOrder, DecimalMark
from platform_relay.inbox.events import EventKind, instant
from platform_relay.stores.native import ListsEntities
from platform_relay.sync.backfill import backfill as read_store
from platform_relay.sync.background_reads import BackgroundReads
from platform_relay.sync.polling import PollResult, kinds_in_order

PROBLEMS_SHOWN: Final = 10


def import_file(
    kind: Annotated[EventKind, typer.Argument(help="What the file contains.")],
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, Excel (.xlsx), NDJSON or JSON.")
    ],
    field: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN. May be repeated. FIELD= leaves a field out.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv, xlsx, ndjson or json. Default: from the file name.")
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(help="When the file was exported (UTC): the version of rows without updatedAt.")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="The decimal mark of amounts: , or . Default: what each column shows.")
    ] = None,
    date_order: Annotated[
        str | None, typer.Option(help="Which comes first in 4/3/2000: dmy or mdy. Default: what each column shows.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="The zone of times without one, such as Europe/Berlin. Default: UTC.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="The currency of orders without one, such as EUR.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a CSV file: UTF-8, UTF-16, Windows-1252, Mac-Roman, … Default: found out.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of a workbook. Default: the first one.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept what is guessed, and ask nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count rows and print the first problems.")] = False,
) -> None:
    """Import a file. Its rows are processed after all live events. Run the command again to resume.

    Exit code 2: the file cannot be read, or a guess needs a confirmation and there is no terminal to ask in.
    """
    chosen: FileFormat = format_of(f"x.{form}" if form else file.name)
    choices = Choices(
        tuple(field or ()),
        mark_of(decimal),
        order_of(date_order),
        time_zone,
        currency.upper() if currency else None,
        encoding,
        sheet,
    )
    with file.open("rb") as opened:
        proposal, choices = _proposed(
            file, chosen, kind, opened, choices, in_utc(as_of), asks=not (yes or dry_run) and _is_terminal()
        )
        if dry_run:
            _dry_run(proposal.plan, opened)
            for question in proposal.questions:
                out.print(f"Open: {question.sentence} {_answers(question)}")
            return
        if proposal.waiting and not yes:
            if not _is_terminal():
                raise ValueError(_how_to_confirm(proposal, choices, kind, file, form, as_of))
            _dry_run(proposal.plan, opened)
            for question in proposal.waiting:
                out.print(question.sentence)
            if not typer.confirm("Import the file in this way?"):
                raise typer.Exit(1)
        rejected = RejectedRows(file)
        seen = Tally()
        done, rows_before = run(_import(proposal.plan, opened, rejected, seen))
    _print_columns(done.columns, seen, required_fields(kind))
    _print_figures(done, rows_before, proposal.plan)
    if done.rejected:
        out.print(f"Rejected rows, with reasons: {rejected.path}")


def _print_figures(done: ImportView, rows_before: int | None, plan: ImportPlan) -> None:
    """Print what became of the rows. `rows_before`: as `_import` returns it."""
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


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def mark_of(text: str | None) -> DecimalMark | None:
    """The decimal mark. Raises typer.BadParameter."""
    match text:
        case None | "," | ".":
            return text
    raise typer.BadParameter(f"{text!r} is not a decimal mark; write , or .")


def order_of(text: str | None) -> DateOrder | None:
    """The order of day and month. Raises typer.BadParameter."""
    match text:
        case None | "dmy" | "mdy" | "ymd":
            return text
    raise typer.BadParameter(
        f"{text!r} is not an order of dates; write dmy for day/month/year or mdy for month/day/year"
    )


def _proposed(
    file: Path,
    form: FileFormat,
    kind: EventKind,
    opened: IO[bytes],
    choices: Choices,
    as_of: datetime | None,
    *,
    asks: bool,
) -> tuple[Proposal, Choices]:
    """Print and return how the file is going to be read, with the choices that it follows from. `asks`: ask for what is
    open, except for a confirmation. Raises ValueError."""
    while True:
        try:
            proposal = propose(opened, file.name, form, kind, choices, as_of)
        except MissingFieldError as error:
            if error.parameter == "currency" and asks:
                out.print("The file names no currency.")
                choices = replace(
                    choices, currency=typer.prompt("Currency of all orders (such as EUR)").strip().upper()
                )
                continue
            option = "--currency EUR" if error.parameter == "currency" else "--map FIELD=COLUMN"
            raise ValueError(f"{str(error)[:1].upper()}{str(error)[1:]} Name it with {option}.") from None
        open_choices = [question for question in proposal.questions if question.parameter not in ("map", "encoding")]
        if not asks or not open_choices:
            _print_proposal(proposal)
            return proposal, choices
        choices = _answered(choices, open_choices[0])


def _answered(choices: Choices, question: Question) -> Choices:
    """The choices with the answer that the user types."""
    out.print(question.text)
    while True:
        written = typer.prompt(f"{_LABELS[question.parameter]} ({' or '.join(question.answers)})").strip()
        try:
            match question.parameter:
                case "decimal":
                    return replace(choices, decimal=mark_of(written))
                case "date_order":
                    return replace(choices, date_order=order_of(written))
                case "time_zone":
                    answered = replace(choices, time_zone=written)
                    check_choices(answered)
                    return answered
                case _:
                    raise AssertionError("the user confirms these instead")
        except (typer.BadParameter, ValueError) as error:
            out.print(str(error))


_LABELS: Final = {"decimal": "Decimal mark", "date_order": "Order of dates", "time_zone": "Time zone"}
_OPTIONS: Final = {
    "map": "--map", "decimal": "--decimal", "date_order": "--date-order", "time_zone": "--time-zone", "currency": "--currency",
    "encoding": "--encoding",
}  # fmt: skip


def _answers(question: Question) -> str:
    return "Answer with " + " or ".join(
        shlex.join([_OPTIONS[question.parameter], answer]) for answer in question.answers
    )


def _how_to_confirm(
    proposal: Proposal, choices: Choices, kind: EventKind, file: Path, form: str | None, as_of: datetime | None
) -> str:
    """What has to be confirmed, and the command that does it."""
    command = ["relay", "import", str(kind), str(file)]
    options: dict[str, str | None] = {
        "--format": form,
        "--as-of": as_of.isoformat() if as_of else None,
        "--decimal": choices.decimal,
        "--date-order": choices.date_order,
        "--time-zone": choices.time_zone,
        "--currency": choices.currency,
        "--encoding": choices.encoding,
        "--sheet": choices.sheet,
    }
    for item in choices.fields:
        command += ["--map", item]
    for option, value in options.items():
        command += [option, value] if value is not None else []
    lines = ["Nothing was imported, because the file does not decide how it is to be read:"]
    lines += [f"  {question.sentence} {_answers(question)}." for question in proposal.waiting]
    lines += ["See what would happen:", f"  {shlex.join([*command, '--dry-run'])}"]
    lines += ["Import it as shown above:", f"  {shlex.join([*command, '--yes'])}"]
    return "\n".join(lines)


def _print_proposal(proposal: Proposal) -> None:
    plan = proposal.plan
    table = Table("field", "column", "first value", "read as", title=f"How {plan.kind} are read", title_justify="left")
    doubtful = {answer.partition("=")[0] for question in proposal.questions for answer in question.answers}
    for name, column in plan.mapping.items():
        table.add_row(
            f"{name} (?)" if name in doubtful else name,
            column,
            proposal.examples.get(column, ""),
            _read_as(plan.reading, name),
        )
    out.print(table)
    unused = [name for name in plan.columns if name not in plan.mapping.values()]
    if unused and plan.export is None:
        out.print(f"Not mapped: {', '.join(unused[:20])}{' …' if len(unused) > 20 else ''}")
    for note in (*plan.notes, *proposal.remarks):
        out.print(note)


def _read_as(reading: Reading, name: str) -> str:
    if mark := reading.decimal.get(name):
        return {",": "decimal comma", ".": "decimal point"}[mark]
    if order := reading.date_order.get(name):
        return {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year-month-day"}[order]
    return ""


def _print_columns(columns: Sequence[ImportColumn], tally: Tally, required: Sequence[str]) -> None:
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
            lost = "rejected" if column.field in required else "left out"
            out.print(f"{column.column}: {column.unreadable:,} {lost}: {shown}")


def _dry_run(plan: ImportPlan, opened: IO[bytes]) -> None:
    counts: Counter[str] = Counter()
    problems: list[tuple[int, str]] = []
    now = datetime.now(UTC)
    tally = Tally()
    for row, parsed in read_messages(plan, opened, tally=tally):
        message = importer.with_possible_version(parsed, now)
        counts["rejected" if isinstance(message, str) else "good"] += 1
        if isinstance(message, str) and len(problems) < PROBLEMS_SHOWN:
            problems.append((row.number, message))
    _print_columns(
        columns_of(plan.columns, plan.mapping, tally, unused_columns(plan)), tally, required_fields(plan.kind)
    )
    out.print(
        f"{counts.total():,} rows: {counts['good']:,} valid, {counts['rejected']:,} rejected. Nothing was stored."
    )
    for number, reason in problems:
        out.print(f"  row {number}: {reason}")


async def _import(
    plan: ImportPlan, opened: IO[bytes], rejected: "RejectedRows", seen: Tally
) -> tuple[ImportView, int | None]:
    """Import the file. Returns the import, and how many rows earlier calls had read; None: all, so it was not read again."""
    settings = read_settings()
    async with (
        database_setup.migrated_database(settings) as url,
        wiring.services(settings, url, "import") as parts,
    ):
        with _bar() as bar:
            task = bar.add_task(plan.name, total=None, rows=0, rate="")
            began: list[ImportView] = []

            def moved(view: ImportView) -> None:
                if not began:
                    began.append(view)
                    rejected.begin(view.last_row)
                    bar.update(task, total=view.size)
                elapsed = bar.tasks[task].elapsed or 0.0
                rate = f"{(view.rows - began[0].rows) / elapsed:,.0f}/s" if elapsed else ""
                bar.update(task, completed=view.position, rows=view.rows, rate=rate)

            try:
                done = await importer.import_file(
                    parts.engine,
                    parts.inbox,
                    plan,
                    opened,
                    actor=ACTOR,
                    rejected=rejected.write,
                    progress=moved,
                    seen=seen,
                )
            finally:
                rejected.close()
        return done, began[0].rows if began else None


class RejectedRows:
    """The file of rejected rows with reasons, beside the imported file and with its mode. Correct it and import it on its own."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.path = source.with_name(f"{source.name}.rejected.ndjson")
        self._file: TextIO | None = None

    def begin(self, committed: int) -> None:
        """Keep only the lines of committed rows; the process may have been killed between a line and its commit."""
        if not os.path.lexists(self.path):
            return
        with self._opened("r+") as file:
            kept = [line for line in file.read().splitlines(keepends=True) if _row_of(line) <= committed]
            file.seek(0)
            file.truncate()
            file.writelines(kept)
        if not kept:
            self.path.unlink()

    def write(self, row: FileRow, reason: str) -> None:
        if self._file is None:
            self._file = self._opened("a")
        line = {"row": row.number, "reason": reason}
        try:
            text = exact_json.dumps({**line, "values": row.values})
        except ValueError:  # nested too deeply
            text = exact_json.dumps({**line, "values": None})
        self._file.write(text.decode() + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self, how: Literal["a", "r+"]) -> TextIO:
        """Raises UnsafeFileError: in a shared folder, another user may have put a link there."""
        source, flags = self._source.stat(), os.O_APPEND | os.O_WRONLY if how == "a" else os.O_RDWR
        file = open_own_file(self.path, source.st_uid, source.st_mode & 0o666, flags)
        return os.fdopen(file, how, encoding="utf-8")


def _row_of(line: str) -> float:
    """The row's number; infinity for an incomplete line."""
    try:
        return int(json.loads(line)["row"])
    except ValueError:
        return math.inf


def _bar() -> Progress:
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


# ----------------------------------------------------------------------------------------------- from the store


def backfill(
    kind: Annotated[EventKind | None, typer.Argument(help="customers, products or orders. Default: all.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only what changed since then (UTC). Default: everything.")
    ] = None,
) -> None:
    """Read the store's lists and accept what is new, after all live events. Can be repeated at any time.

    Exit code 1: a list could not be read to its end, or contains entities that cannot be read.
    """
    settings = read_settings()

    async def work() -> bool:
        async with (
            database_setup.migrated_database(settings) as url,
            wiring.services(settings, url, "backfill") as parts,
        ):
            store: object = parts.store
            if not isinstance(store, ListsEntities):
                raise ValueError(  # noqa: TRY004  # a configuration error
                    f"The store {settings.store.adapter or '(none configured)'} has no lists. Export a file and use: relay import"
                )
            succeeded, held_back = True, BackgroundReads(parts.engine).held_back
            with _bar() as bar:
                for one_kind in (kind,) if kind else kinds_in_order(store):
                    task = bar.add_task(str(one_kind), total=None, rows=0, rate="")

                    def moved(done: PollResult, task: TaskID = task) -> None:
                        elapsed = bar.tasks[task].elapsed or 0.0
                        bar.update(task, rows=done.seen, rate=f"{done.seen / elapsed:,.0f}/s" if elapsed else "")

                    done = await read_store(
                        parts.inbox,
                        store,
                        settings.store.adapter or "",
                        one_kind,
                        in_utc(since),
                        progress=moved,
                        held_back=held_back,
                    )
                    ended = f"; stopped early: {done.failed.text}" if done.failed else ""
                    out.print(f"{one_kind}: {done.summary}{ended}")
                    succeeded = succeeded and done.complete
            return succeeded

    if not run(work()):
        raise typer.Exit(1)


def in_utc(moment: datetime | None) -> datetime | None:
    """The time in UTC, within the limits of `instant`; a time without a zone is taken as UTC. Raises typer.BadParameter."""
    if moment is None:
        return None
    try:
        return instant(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    except ValueError as error:
        raise typer.BadParameter(f"{moment} {error}") from None
