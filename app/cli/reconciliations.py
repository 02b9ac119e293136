"""`relay reconciliations`: what reconciliations found, and its repair. `relay reconcile` runs one."""

from typing import Annotated, Final
from uuid import UUID

import typer
from pydantic_core import to_json

from platform_relay import database_setup, wiring
from platform_relay.cli.context import database_engine, read_settings, run, services
from platform_relay.cli.events import TABLE_WIDTH
from platform_relay.cli.numbers import WHOLE, whole
from platform_relay.cli.terminal import ACTOR, mark, out, print_json, whole_table
from platform_relay.core.errors import WrongState
from platform_relay.core.paging import Page
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.difference_list import (
    DifferenceGroup,
    DifferenceView,
    Selection,
    group_differences,
    list_differences,
)
from platform_relay.reconcile.differences import Cause
from platform_relay.reconcile.repair_plan import RepairPreview
from platform_relay.reconcile.repairs import RepairResult
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.reconcile.values import DifferenceValues, ValueReader

reconciliations_cli: Final = typer.Typer(
    no_args_is_help=True, help="List, show and cancel reconciliations, and repair what they found."
)

RunId = Annotated[UUID, typer.Argument(metavar="ID", help="The id, from `relay reconciliations list`.")]
OfCause = Annotated[
    Cause | None,
    typer.Option(metavar="CAUSE", help="Only this cause: never_sent, lost_by_webhook, rejected, stale or extra."),
]
OfKind = Annotated[EventKind | None, typer.Option(help="Only this kind: customers, products or orders.")]
OfEntity = Annotated[str | None, typer.Option("--entity", help="Only the entity with this id of the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@reconciliations_cli.callback()
def reconciliations() -> None:
    """List, show and cancel reconciliations, and repair what they found."""


@reconciliations_cli.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(parser=whole(1, 200), metavar=WHOLE, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List reconciliations, newest first."""

    async def work() -> Page[ReconciliationView]:
        async with database_engine() as engine:
            return await Reconciliations(engine).list_newest(limit=limit)

    runs = run(work())
    if as_json:
        print_json(to_json(runs.model_dump(), indent=2).decode())
        return
    table = whole_table(
        "id",
        "started (UTC)",
        "by",
        "compares",
        "state",
        "differences",
        one_line=("id", "started (UTC)", "by", "state", "differences"),
    )
    for item in runs.items:
        since = f", changed since {item.since:%Y-%m-%d %H:%M}" if item.since else ""
        scope = f"{item.kind or 'everything'}{since}"
        started = f"{item.started_at:%Y-%m-%d %H:%M}"
        table.add_row(str(item.id), started, item.actor, scope, item.state, f"{item.difference_count:,}")
        line = f"{item.id}  {started}  {item.state}  {item.difference_count:,} differences  {scope}, by {item.actor}"
        if out.width < TABLE_WIDTH:
            out.print(line)
    if not runs.items:
        out.print("There are no reconciliations.")
    elif out.width >= TABLE_WIDTH:
        out.print(table)


@reconciliations_cli.command("show")
def show(
    reconciliation_id: RunId,
    cause: OfCause = None,
    kind: OfKind = None,
    entity: OfEntity = None,
    limit: Annotated[int, typer.Option(parser=whole(1, 1000), metavar=WHOLE, help="How many differences.")] = 50,
    values: Annotated[
        bool,
        typer.Option("--values", help="Read both sides' values of one difference; needs --kind and --entity."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the differences that a reconciliation found, and what became of their repairs."""
    selection = Selection(cause, kind, entity)

    async def work() -> tuple[list[DifferenceGroup], Page[DifferenceView]]:
        async with database_engine() as engine:
            await _existing(Reconciliations(engine), reconciliation_id)
            groups = await group_differences(engine, reconciliation_id, selection)
            return groups, await list_differences(engine, reconciliation_id, selection, limit=limit)

    if values:
        if kind is None or entity is None:
            raise ValueError("--values needs --kind and --entity: the values of one difference are read.")
        _show_values(run(_read_values(reconciliation_id, kind, entity)), as_json=as_json)
        return
    groups, page = run(work())
    if as_json:
        shown = {"groups": [group.model_dump() for group in groups], "differences": page.model_dump()}
        print_json(to_json(shown, indent=2).decode())
        return
    for group in groups:
        outcomes = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in group.outcomes.items())
        out.print(f"{group.differences:>7,} {group.kind} {group.cause}: {outcomes}")
    table = whole_table("kind", "id", "cause", "outcome", "what", one_line=("id",))
    for item in page.items:
        fields = f" ({', '.join(item.fields)})" if item.fields else ""
        table.add_row(item.kind, item.entity_id, item.cause, item.outcome.replace("_", " "), f"{item.detail}{fields}")
    out.print(table if page.items else "There are no such differences.")
    if page.next_cursor:
        out.print(
            f"There are more. Use --cause, --kind or --limit (GET /v1/reconciliations/{reconciliation_id}/differences)."
        )


@reconciliations_cli.command("repair")
def repair(
    reconciliation_id: RunId,
    cause: OfCause = None,
    kind: OfKind = None,
    entity: OfEntity = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
) -> None:
    """Repair differences: all of a reconciliation, or those selected. Shows what will be sent, then asks.

    Exit code 1: some could not be repaired.
    """
    selection = Selection(cause, kind, entity)

    async def look() -> RepairPreview:
        async with services() as parts:
            preview = await wiring.repairer(parts).preview(reconciliation_id, selection)
            if preview is None:
                raise ValueError(f"No reconciliation has the id {reconciliation_id}.")
            return preview

    async def work() -> RepairResult | None:
        async with services() as parts:
            try:
                return await wiring.repairer(parts).repair(reconciliation_id, ACTOR, selection)
            except WrongState as error:
                raise ValueError(error.detail) from None

    preview = run(look())
    _show_preview(preview)
    if dry_run or not preview.differences:
        return
    if preview.refusal:
        raise ValueError(preview.refusal)
    if preview.repairable and (yes or typer.confirm(f"Repair {preview.repairable:,} differences?")):
        result = run(work())
        repaired = sum(result.repaired.values()) if result else 0
        out.print(f"Repaired {repaired:,}. What became of them: relay reconciliations show {reconciliation_id}")
    if preview.repairable < preview.differences:
        raise typer.Exit(1)


@reconciliations_cli.command("cancel")
def cancel(reconciliation_id: RunId) -> None:
    """Cancel a reconciliation that waits or runs. What it found until then is kept."""

    async def work() -> bool | None:
        async with database_engine() as engine:
            return await Reconciliations(engine).cancel(reconciliation_id, ACTOR)

    if not run(work()):
        raise ValueError(f"No reconciliation that waits or runs has the id {reconciliation_id}.")
    out.print("The reconciliation is cancelled.")


async def _existing(runs: Reconciliations, reconciliation_id: UUID) -> None:
    """Raises ValueError."""
    if await runs.find(reconciliation_id) is None:
        raise ValueError(f"No reconciliation has the id {reconciliation_id}.")


async def _read_values(reconciliation_id: UUID, kind: EventKind, entity_id: str) -> DifferenceValues:
    settings = read_settings()
    async with (
        database_setup.migrated_database(settings) as url,
        wiring.services(settings, url, "cli") as parts,
        wiring.clients(parts) as clients,
    ):
        selected = Selection(kind=kind, entity_id=entity_id)
        if not (await list_differences(parts.engine, reconciliation_id, selected, limit=1)).items:
            raise ValueError(f"The reconciliation {reconciliation_id} has no difference of {kind} with this id.")
        platform = clients.platform if settings.platform.api_key else None
        source = settings.store.adapter or ""
        reader = ValueReader(parts.engine, parts.store, source, platform, clients.platform.fields)
        return await reader.read(kind, entity_id)


def _show_values(values: DifferenceValues, *, as_json: bool) -> None:
    if as_json:
        print_json(to_json(values.model_dump(), indent=2).decode())
        return
    for name, side in (("store", values.store), ("relay", values.sent), ("Platform", values.platform)):
        out.print(mark(name, "bold"), side.text, sep="  ")
    table = whole_table("field", "store", "last received", "Platform", "differs")
    for field in values.fields:
        table.add_row(
            field.field, field.store or "", field.sent or "", field.platform or "", "yes" if field.differs else ""
        )
    out.print(table)


def _show_preview(preview: RepairPreview) -> None:
    out.print(f"{preview.differences:,} open differences, of which {preview.repairable:,} can be repaired.")
    for step in preview.steps:
        out.print(f"{step.differences:>7,} {step.kind} {step.cause}: {step.text}")
    for call in preview.calls:
        out.print(f"{call.count:>7,} × {call.call}")
    if preview.calls:
        out.print(preview.advice)
    if preview.refusal:
        out.print(mark("refused", "red"), preview.refusal, sep="  ")
