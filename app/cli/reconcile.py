"""`relay reconcile`: compare the store with what was received and delivered."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from pydantic_core import to_json
from rich.progress import Progress, TextColumn

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.numbers import NUMBER, WHOLE, number, whole
from platform_relay.cli.terminal import ACTOR, err, mark, out, print_json, whole_table
from platform_relay.cli.times import in_utc
from platform_relay.core.errors import WrongState
from platform_relay.core.paging import Page
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile import compare
from platform_relay.reconcile.difference_list import DifferenceView, list_differences
from platform_relay.reconcile.differences import CAUSES
from platform_relay.reconcile.repairs import RepairResult
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.sync.polling import KINDS_IN_ORDER


def reconcile(
    kind: Annotated[EventKind | None, typer.Argument(help="customers, products or orders. Default: all.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Compare what changed in the store since then (UTC). Default: everything, and what only the Platform has."
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            parser=number(0, 1e9),
            metavar=NUMBER,
            help="Ignore changes of the last seconds, which may be in progress. Use 0 after a restore.",
        ),
    ] = 600.0,
    repair_differences: Annotated[bool, typer.Option("--repair", help="Repair the differences.")] = False,
    show: Annotated[int, typer.Option(parser=whole(0), metavar=WHOLE, help="How many differences to print.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print counts and differences as JSON.")] = False,
) -> None:
    """Compare the store, the relay and the Platform. Exit code 1: differences remain, or not everything could be compared."""
    settings = read_settings()

    async def work() -> tuple[ReconciliationView, Page[DifferenceView], RepairResult | None]:
        async with (
            database_setup.migrated_database(settings) as url,
            wiring.services(settings, url, "reconcile") as parts,
            wiring.clients(parts) as clients,
        ):
            systems = wiring.compared_systems(parts, clients)
            if systems is None:
                raise ValueError(f"The store {settings.store.adapter or '(none configured)'} has no lists to compare.")
            runs = Reconciliations(parts.engine)
            request = await runs.claim(await runs.request(ACTOR, in_utc(since), timedelta(seconds=grace), kind))
            if request is None:
                raise ValueError("A worker has already started it. See GET /v1/reconciliations.")
            with Progress(
                TextColumn("{task.description}: {task.completed:,} compared", markup=False), console=err
            ) as bar:
                tasks = {name: bar.add_task(str(name), total=None) for name in ([kind] if kind else KINDS_IN_ORDER)}
                compared = await compare.reconcile(
                    parts.engine,
                    systems,
                    request,
                    progress=lambda name, seen: bar.update(tasks[name], completed=seen),
                )
            if compared.state == "cancelled":
                raise ValueError(
                    "The reconciliation was cancelled. What it found until then: relay reconciliations show"
                )
            repaired = await _repair(parts, compared.id) if repair_differences else None
            result = await runs.find(compared.id)
            if result is None:
                raise ValueError("The reconciliation was deleted while it ran.")
            return result, await list_differences(parts.engine, compared.id, limit=max(show, 1)), repaired

    result, differences, repaired = run(work())
    if json:
        print_json(to_json({**result.model_dump(), "differences": differences.model_dump()}, indent=2).decode())
    else:
        _print(result, differences, repaired, show)
    is_read = result.complete or kind is not None  # the comparison of one kind is never complete
    if not is_read or result.notes or (result.difference_count and repaired is None) or (repaired and repaired.left):
        raise typer.Exit(1)


async def _repair(parts: wiring.Services, reconciliation_id: UUID) -> RepairResult | None:
    """Raises ValueError where nothing may be repaired."""
    try:
        return await wiring.repairer(parts).repair(reconciliation_id, ACTOR)
    except WrongState as error:
        raise ValueError(error.detail) from None


def _print(
    result: ReconciliationView, differences: Page[DifferenceView], repaired: RepairResult | None, show: int
) -> None:
    compared = ", ".join(_compared(result, kind) for kind in result.compared) or "nothing"
    out.print(f"Compared {compared}: {result.difference_count:,} differences.")
    for cause in CAUSES:
        if count := result.difference_counts.get(cause):
            action = f"  ({repaired.texts[cause]})" if repaired and cause in repaired.texts else ""
            out.print(f"  {count:>7,} {cause}{action}")
    if differences.items and show:
        table = whole_table("kind", "id", "cause", "what", one_line=("id",))
        for difference in differences.items[:show]:
            table.add_row(difference.kind, difference.entity_id, difference.cause, difference.detail)
        out.print(table)
        if differences.next_cursor:
            out.print(f"More: relay reconciliations show {result.id}")
    for note in result.notes:
        out.print(mark("note", "yellow"), note, sep="  ")
    if result.difference_count and repaired is None:
        out.print(f"To fix these, run: relay reconciliations repair {result.id}")
    if repaired and repaired.left:
        out.print(
            mark("not repaired", "red"), f"{repaired.left:,}; relay reconciliations repair {result.id} shows why."
        )


def _compared(result: ReconciliationView, kind: str) -> str:
    """The figures of one kind: how many entities were compared, and how many the store has."""
    text = f"{result.compared[kind]:,} {kind}"
    counted = result.store_counts.get(kind)
    counts = () if counted is None else (counted.before, counted.after)
    known = sorted({count for count in counts if count is not None})
    if known:
        text += f" (the store counts {' to '.join(f'{count:,}' for count in known)})"
    if unreadable := result.unreadable.get(kind):
        text += f", {unreadable:,} could not be read"
    return text
