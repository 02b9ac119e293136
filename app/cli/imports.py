"""`relay import` and `relay backfill`: what is taken in beside the live traffic."""

import json
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Final, TextIO

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from platform_relay import wiring
from platform_relay.cli.parts import read_settings, run
from platform_relay.cli.terminal import err, out
from platform_relay.imports import importer
from platform_relay.imports.files import FileFormat, Row, format_of, names_in
from platform_relay.imports.importer import ImportView, Plan
from platform_relay.imports.mapping import guess, missing, parse_mapping
from platform_relay.inbox.messages import Kind
from platform_relay.stores.native import ListsEntities
from platform_relay.sync.backfill import backfill as read_shop
from platform_relay.sync.polling import ORDER, Polled

ACTOR: Final = "cli"
SHOWN: Final = 10


def import_file(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, NDJSON or JSON.")],
    field: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN, may be repeated; FIELD= leaves a field out.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv, ndjson or json; else by the name's ending.")
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(help="When the file was exported: the version of rows that tell none (UTC).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, and show the first problems.")] = False,
) -> None:
    """Take a file in, after everything live. Ended half-way, the same command goes on where it was."""
    chosen: FileFormat = format_of(f"x.{form}" if form else file.name)
    with file.open("rb") as opened:
        mapping = _mapping(kind, chosen, opened, field or [])
        plan = Plan(file.name, chosen, kind, mapping, in_utc(as_of))
        if dry_run:
            _dry_run(plan, opened)
            return
        rejected = _Rejected(file.with_name(f"{file.name}.rejected.ndjson"))
        done = run(_take_in(plan, opened, rejected))
    out.print(_told(done), highlight=False)
    if done.rejected:
        out.print(f"Rejected rows and why: {rejected.path}", highlight=False)


def _mapping(kind: Kind, form: FileFormat, opened: IO[bytes], told: list[str]) -> dict[str, str]:
    """The guess with what was told laid over it, shown first. Raises ValueError when something needed has no column."""
    names = names_in(opened, form)
    mapping = {**guess(kind, names), **parse_mapping(kind, told, names)}
    table = Table("field", "column", title=f"How {kind} are read", title_justify="left")
    for name, column in mapping.items():
        table.add_row(name, column or "(left out)")
    out.print(table)
    unused = [name for name in names if name not in mapping.values()]
    if unused:
        out.print(f"Not mapped: {', '.join(unused[:20])}{' …' if len(unused) > 20 else ''}", highlight=False)
    if lacking := missing(kind, mapping):
        raise ValueError(f"no column for {', '.join(lacking)}; say which with --map FIELD=COLUMN")
    return {name: column for name, column in mapping.items() if column}


def _dry_run(plan: Plan, opened: IO[bytes]) -> None:
    counts: Counter[str] = Counter()
    problems: list[tuple[int, str]] = []
    for row, message in importer.events(plan, opened):
        counts["rejected" if isinstance(message, str) else "good"] += 1
        if isinstance(message, str) and len(problems) < SHOWN:
            problems.append((row.number, message))
    out.print(
        f"{counts.total():,} rows: {counts['good']:,} good, {counts['rejected']:,} not usable. Nothing was stored."
    )
    for number, reason in problems:
        out.print(f"  row {number}: {reason}", highlight=False, markup=False)


async def _take_in(plan: Plan, opened: IO[bytes], rejected: "_Rejected") -> ImportView:
    settings = read_settings()
    async with wiring.database(settings) as url, wiring.services(settings, url, "import") as parts:
        await wiring.migrated(settings, url)
        with _bar() as bar:
            task = bar.add_task(plan.name, total=None, rows=0, rate="")
            began: list[ImportView] = []

            def moved(view: ImportView) -> None:
                if not began:
                    began.append(view)
                    rejected.begin(view.rows)
                    bar.update(task, total=view.size)
                elapsed = bar.tasks[task].elapsed or 0.0
                rate = f"{(view.rows - began[0].rows) / elapsed:,.0f}/s" if elapsed else ""
                bar.update(task, completed=view.position, rows=view.rows, rate=rate)

            try:
                return await importer.take_in(
                    parts.engine, parts.inbox, plan, opened, actor=ACTOR, rejected=rejected.write, progress=moved
                )
            finally:
                rejected.close()


class _Rejected:
    """Rows that were not usable, with the reason, beside the file: to be corrected and imported on their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def begin(self, dealt_with: int) -> None:
        """Keep what belongs to the rows before; a kill may have come between a line and its commit."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _row_of(line) <= dealt_with]
        if kept:
            self.path.write_text("".join(kept), encoding="utf-8")
        else:
            self.path.unlink()

    def write(self, row: Row, reason: str) -> None:
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(
            json.dumps({"row": row.number, "reason": reason, "values": row.values}, ensure_ascii=False) + "\n"
        )
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _row_of(line: str) -> float:
    """The row's number; of a line that was cut off, beyond all."""
    try:
        return float(json.loads(line)["row"])
    except ValueError:
        return math.inf


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows  {task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err,
    )


def _told(done: ImportView) -> str:
    parts = [
        f"{done.accepted:,} accepted",
        f"{done.duplicates:,} known before",
        f"{done.newer:,} older than the store's",
    ]
    return f"{done.name}: {done.rows:,} rows: {', '.join(parts)}, {done.rejected:,} rejected."


# ----------------------------------------------------------------------------------------------- from the store


def backfill(
    kind: Annotated[Kind | None, typer.Argument(help="customers, products or orders; all without.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only what changed since then (UTC); everything without.")
    ] = None,
) -> None:
    """Take in what the store has, straight from its lists, after everything live. May be repeated at any time."""
    settings = read_settings()

    async def work() -> bool:
        async with wiring.database(settings) as url, wiring.services(settings, url, "backfill") as parts:
            await wiring.migrated(settings, url)
            store: object = parts.store
            if not isinstance(store, ListsEntities):
                raise ValueError(  # noqa: TRY004  # said to a person
                    f"the store {settings.store.adapter or '(none is set)'} has no lists; export a file: relay import"
                )
            well = True
            with _bar() as bar:
                for each in (kind,) if kind else ORDER:
                    task = bar.add_task(str(each), total=None, rows=0, rate="")

                    def moved(done: Polled, task: TaskID = task) -> None:
                        elapsed = bar.tasks[task].elapsed or 0.0
                        bar.update(task, rows=done.seen, rate=f"{done.seen / elapsed:,.0f}/s" if elapsed else "")

                    done = await read_shop(
                        parts.inbox, store, settings.store.adapter or "", each, in_utc(since), progress=moved
                    )
                    ended = f"; ended early: {escape(done.failed.text)}" if done.failed else ""
                    out.print(f"{each}: {done.seen:,} seen, {done.new:,} new{ended}", highlight=False)
                    well = well and done.failed is None
            return well

    if not run(work()):
        raise typer.Exit(1)


def in_utc(moment: datetime | None) -> datetime | None:
    """What was typed without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
