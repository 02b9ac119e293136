"""`relay import` and `relay backfill`: accept files and the store's lists, after live events."""

import json
import math
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Final, TextIO

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.terminal import ACTOR, err, out
from platform_relay.core import exact_json
from platform_relay.imports import importer
from platform_relay.imports.files import FileFormat, FileRow, column_names, format_of
from platform_relay.imports.importer import ImportView
from platform_relay.imports.mapping import guess_mapping, missing_fields, parse_mapping
from platform_relay.imports.rows import ImportPlan, read_messages
from platform_relay.inbox.events import EventKind, instant
from platform_relay.stores.native import ListsEntities
from platform_relay.sync.backfill import backfill as read_store
from platform_relay.sync.background_reads import BackgroundReads
from platform_relay.sync.polling import PollResult, kinds_in_order

PROBLEMS_SHOWN: Final = 10


def import_file(
    kind: Annotated[EventKind, typer.Argument(help="What the file contains.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, NDJSON or JSON.")],
    field: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN. May be repeated. FIELD= leaves a field out.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv, ndjson or json. Default: from the file name.")
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(help="When the file was exported (UTC): the version of rows without updatedAt.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count rows and print the first problems.")] = False,
) -> None:
    """Import a file. Its rows are processed after all live events. Run the command again to resume."""
    chosen: FileFormat = format_of(f"x.{form}" if form else file.name)
    with file.open("rb") as opened:
        mapping = _mapping(kind, chosen, opened, field or [])
        plan = ImportPlan(file.name, chosen, kind, mapping, in_utc(as_of))
        if dry_run:
            _dry_run(plan, opened)
            return
        rejected = RejectedRows(file)
        done = run(_import(plan, opened, rejected))
    out.print(_summary(done))
    if done.rejected:
        out.print(f"Rejected rows, with reasons: {rejected.path}")


def _mapping(kind: EventKind, form: FileFormat, opened: IO[bytes], options: list[str]) -> dict[str, str]:
    """Print and return the mapping: guessed from the headers, overridden by --map. Raises ValueError for a missing column."""
    names = column_names(opened, form)
    mapping = {**guess_mapping(kind, names), **parse_mapping(kind, options, names)}
    table = Table("field", "column", title=f"How {kind} are read", title_justify="left")
    for name, column in mapping.items():
        table.add_row(name, column or "(left out)")
    out.print(table)
    unused = [name for name in names if name not in mapping.values()]
    if unused:
        out.print(f"Not mapped: {', '.join(unused[:20])}{' …' if len(unused) > 20 else ''}")
    if lacking := missing_fields(kind, mapping):
        raise ValueError(f"No column found for {', '.join(lacking)}. Name it with --map FIELD=COLUMN.")
    return {name: column for name, column in mapping.items() if column}


def _dry_run(plan: ImportPlan, opened: IO[bytes]) -> None:
    counts: Counter[str] = Counter()
    problems: list[tuple[int, str]] = []
    now = datetime.now(UTC)
    for row, parsed in read_messages(plan, opened):
        message = importer.with_possible_version(parsed, now)
        counts["rejected" if isinstance(message, str) else "good"] += 1
        if isinstance(message, str) and len(problems) < PROBLEMS_SHOWN:
            problems.append((row.number, message))
    out.print(
        f"{counts.total():,} rows: {counts['good']:,} valid, {counts['rejected']:,} rejected. Nothing was stored."
    )
    for number, reason in problems:
        out.print(f"  row {number}: {reason}")


async def _import(plan: ImportPlan, opened: IO[bytes], rejected: "RejectedRows") -> ImportView:
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
                    rejected.begin(view.rows)
                    bar.update(task, total=view.size)
                elapsed = bar.tasks[task].elapsed or 0.0
                rate = f"{(view.rows - began[0].rows) / elapsed:,.0f}/s" if elapsed else ""
                bar.update(task, completed=view.position, rows=view.rows, rate=rate)

            try:
                return await importer.import_file(
                    parts.engine, parts.inbox, plan, opened, actor=ACTOR, rejected=rejected.write, progress=moved
                )
            finally:
                rejected.close()


class RejectedRows:
    """The file of rejected rows with reasons, beside the imported file and with its mode. Correct it and import it on its own."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.path = source.with_name(f"{source.name}.rejected.ndjson")
        self._file: TextIO | None = None

    def begin(self, committed: int) -> None:
        """Keep only the lines of committed rows; the process may have been killed between a line and its commit."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _row_of(line) <= committed]
        if kept:
            self.path.write_text("".join(kept), encoding="utf-8")
        else:
            self.path.unlink()

    def write(self, row: FileRow, reason: str) -> None:
        if self._file is None:
            mode = self._source.stat().st_mode & 0o666
            self._file = os.fdopen(
                os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode), "a", encoding="utf-8"
            )
            self.path.chmod(mode)  # of a file that was there before, and whatever the umask is
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
