"""`relay import`: accept a file, after live events."""

import shlex
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.import_tables import (
    print_columns,
    print_dry_run,
    print_figures,
    print_proposal,
    progress_bar,
)
from platform_relay.cli.rejected_rows import RejectedRows
from platform_relay.cli.terminal import ACTOR, out
from platform_relay.cli.times import in_utc
from platform_relay.imports import importer
from platform_relay.imports.choices import Choices, check_choices
from platform_relay.imports.files import FileFormat, format_of
from platform_relay.imports.mapping import required_fields
from platform_relay.imports.proposal import MissingFieldError, Proposal, propose
from platform_relay.imports.questions import Question
from platform_relay.imports.rows import ImportPlan
from platform_relay.imports.runs import ImportView
from platform_relay.imports.summary import Tally
from platform_relay.imports.values import DateOrder, DecimalMark
from platform_relay.inbox.events import EventKind


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
        str | None, typer.Option(help="Of a CSV file: UTF-8, UTF-16, Windows-1252, Mac-Roman, … Default: detected.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of a workbook. Default: the first one.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(help="WORD=STATUS: the payment status that a word means, such as Bezahlt=paid. May be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the guesses, and ask nothing.")] = False,
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
        tuple(status or ()),
    )
    with file.open("rb") as opened:
        proposal, choices = _proposed(
            file, chosen, kind, opened, choices, in_utc(as_of), asks=not (yes or dry_run) and _is_terminal()
        )
        if dry_run:
            print_dry_run(proposal.plan, opened)
            for question in proposal.questions:
                out.print(f"Open: {question.sentence} {_answers(question)}")
            return
        if proposal.waiting and not yes:
            if not _is_terminal():
                raise ValueError(_how_to_confirm(proposal, choices, kind, file, form, as_of))
            print_dry_run(proposal.plan, opened)
            for question in proposal.waiting:
                out.print(question.sentence)
            if not typer.confirm("Import the file in this way?"):
                raise typer.Exit(1)
        rejected = RejectedRows(file)
        seen = Tally()
        done, rows_before = run(_import(proposal.plan, opened, rejected, seen))
    print_columns(done.columns, seen, required_fields(kind))
    print_figures(done, rows_before, proposal.plan)
    if done.rejected:
        out.print(f"Rejected rows, with reasons: {rejected.path}")


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
            print_proposal(proposal)
            return proposal, choices
        choices = _answered(choices, open_choices[0])


def _answered(choices: Choices, question: Question) -> Choices:
    """The choices with the answer that the user types."""
    out.print(question.text)
    while True:
        shown = [answer.rpartition("=")[2] for answer in question.answers]
        written = typer.prompt(f"{_LABELS[question.parameter]} ({' or '.join(shown)})").strip()
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
                case "status":
                    word = question.answers[0].rpartition("=")[0]
                    answered = replace(choices, statuses=(*choices.statuses, f"{word}={written}"))
                    check_choices(answered)
                    return answered
                case _:
                    raise AssertionError("the user confirms these instead")
        except (typer.BadParameter, ValueError) as error:
            out.print(str(error))


_LABELS: Final = {
    "decimal": "Decimal mark",
    "date_order": "Order of dates",
    "time_zone": "Time zone",
    "status": "Its meaning",
}
_OPTIONS: Final = {
    "map": "--map", "decimal": "--decimal", "date_order": "--date-order", "time_zone": "--time-zone", "currency": "--currency",
    "encoding": "--encoding", "status": "--status",
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
    for item in choices.statuses:
        command += ["--status", item]
    for option, value in options.items():
        command += [option, value] if value is not None else []
    lines = ["Nothing was imported, because the file does not decide how it is to be read:"]
    lines += [f"  {question.sentence} {_answers(question)}." for question in proposal.waiting]
    lines += ["See what would happen:", f"  {shlex.join([*command, '--dry-run'])}"]
    lines += ["Import it as shown above:", f"  {shlex.join([*command, '--yes'])}"]
    return "\n".join(lines)


async def _import(
    plan: ImportPlan, opened: IO[bytes], rejected: RejectedRows, seen: Tally
) -> tuple[ImportView, int | None]:
    """Import the file. Returns the import, and how many rows earlier calls had read; None: all, so it was not read again."""
    settings = read_settings()
    async with (
        database_setup.migrated_database(settings) as url,
        wiring.services(settings, url, "import") as parts,
    ):
        with progress_bar() as bar:
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
