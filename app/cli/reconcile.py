"""`relay reconcile`: what the store has, against what was received and delivered."""

from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.progress import Progress, TextColumn
from rich.table import Table

from platform_relay import wiring
from platform_relay.cli.imports import in_utc
from platform_relay.cli.parts import read_settings, run
from platform_relay.cli.terminal import err, out
from platform_relay.inbox.messages import Kind
from platform_relay.reconcile.compare import reconcile
from platform_relay.reconcile.differences import CAUSES
from platform_relay.reconcile.repairs import Repaired, repair
from platform_relay.reconcile.runs import ReconciliationDetail, Reconciliations
from platform_relay.sync.polling import ORDER

ACTOR: Final = "cli"


def compare(
    kind: Annotated[Kind | None, typer.Argument(help="customers, products or orders; all without.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="What changed in the store since then (UTC); everything without, and what only the Platform has."
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(min=0, help="Seconds: what changed so shortly before may be on its way. 0 after a restore."),
    ] = 600.0,
    mend: Annotated[bool, typer.Option("--repair", help="Set right what was found.")] = False,
    show: Annotated[int, typer.Option(min=0, help="How many differences are printed.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="For programs: the counts and the differences.")] = False,
) -> None:
    """Compare the store with what was received and with what the Platform has. Exit code 1: something is not right yet."""
    settings = read_settings()

    async def work() -> tuple[ReconciliationDetail, Repaired | None]:
        async with (
            wiring.database(settings) as url,
            wiring.services(settings, url, "reconcile") as parts,
            wiring.destinations(parts) as far,
        ):
            await wiring.migrated(settings, url)
            sides = wiring.reconciled(parts, far)
            if sides is None:
                raise ValueError(
                    f"the store {settings.store.adapter or '(none is set)'} has no lists that could be compared"
                )
            books = Reconciliations(parts.engine)
            asked = await books.take(await books.ask(ACTOR, in_utc(since), timedelta(seconds=grace)))
            if asked is None:
                raise ValueError("a worker has taken it already; see: GET /v1/reconciliations")
            with Progress(TextColumn("{task.description}: {task.completed:,} compared"), console=err) as bar:
                tasks = {each: bar.add_task(str(each), total=None) for each in ([kind] if kind else ORDER)}
                done = await reconcile(
                    parts.engine,
                    sides,
                    asked,
                    kinds=list(tasks),
                    progress=lambda each, seen: bar.update(tasks[each], completed=seen),
                )
            repaired = await repair(wiring.repair_tools(parts), done.id, ACTOR) if mend else None
            found = await books.find(done.id, limit=max(show, 1))
            if found is None:
                raise ValueError("the reconciliation was removed meanwhile")
            return found, repaired

    found, repaired = run(work())
    if json:
        print(found.model_dump_json(indent=2))
    else:
        _tell(found, repaired, show)
    if found.notes or (found.differences and repaired is None):
        raise typer.Exit(1)


def _tell(found: ReconciliationDetail, repaired: Repaired | None, show: int) -> None:
    seen = ", ".join(f"{count:,} {kind}" for kind, count in found.compared.items()) or "nothing"
    out.print(f"Compared {seen}: {found.differences:,} differences.", highlight=False)
    for cause in CAUSES:
        if count := found.found.get(cause):
            does = f"  ({repaired.does[cause]})" if repaired and cause in repaired.does else ""
            out.print(f"  {count:>7,} {cause}{does}", highlight=False)
    if found.items and show:
        table = Table("kind", "id", "cause", "what")
        for each in found.items[:show]:
            table.add_row(each.kind, each.entity_id, each.cause, each.detail)
        out.print(table)
        if found.next_cursor:
            out.print(f"More: GET /v1/reconciliations/{found.id}", highlight=False)
    for note in found.notes:
        out.print(f"[yellow]note[/yellow]  {escape(note)}", highlight=False)
    if found.differences and repaired is None:
        out.print("Set it right: the same with --repair", highlight=False)
