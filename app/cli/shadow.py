"""`relay shadow`: the trial beside an existing connector (docs/trial.md)."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.numbers import WHOLE, whole
from platform_relay.cli.terminal import ACTOR, mark, out, print_json, whole_table
from platform_relay.cli.times import in_utc
from platform_relay.trial import go_live as switch
from platform_relay.trial.report import Reporter, TrialReport

shadow_cli = typer.Typer(no_args_is_help=True, help="The trial beside an existing connector.")


@shadow_cli.callback()
def shadow() -> None:
    """The trial beside an existing connector."""


@shadow_cli.command("report")
def report(
    days: Annotated[int, typer.Option(parser=whole(1), metavar=WHOLE, help="How many days to look back.")] = 7,
    limit: Annotated[int, typer.Option(parser=whole(1), metavar=WHOLE, help="How many of the newest to list.")] = 100,
    compare: Annotated[
        bool, typer.Option(help="Read customers at the Platform and coupons in the store. Changes nothing.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show what would have been sent, compared with what the Platform and the store have."""
    settings = read_settings()

    async def work() -> TrialReport:
        async with (
            database_setup.migrated_database(settings) as url,
            wiring.services(settings, url, "cli") as parts,
            wiring.clients(parts) as clients,
        ):
            reporter = Reporter(parts.engine, clients.platform if compare else None, parts.store)
            return await reporter.report(timedelta(days=days), limit)

    result = run(work())
    if json:
        print_json(result.model_dump_json(indent=2))
    else:
        _print(result)


def _print(result: TrialReport) -> None:
    if result.started_at is None:
        out.print("This relay was never in a trial.")
        return
    ended = f", ended {result.live_at:%Y-%m-%d %H:%M} UTC" if result.live_at else ", and still runs"
    out.print(f"The trial began {result.started_at:%Y-%m-%d %H:%M} UTC{ended}.")
    for count in result.counts:
        what = f"would have been sent: {count.call}" if count.call else f"would not have been sent: {count.cause}"
        out.print(f"  {count.jobs:>9,} {count.kind}  {what}")
    table = whole_table("time", "entity", "call", "compared", "what", one_line=("time", "entity"))
    for item in result.items:
        comparison = item.comparison
        what = "; ".join(filter(None, (", ".join(comparison.fields), comparison.detail)))
        table.add_row(f"{item.at:%m-%d %H:%M}", item.lane, item.call or str(item.cause), comparison.result, what)
    if result.items:
        out.print(table)
    if result.older:
        out.print("There are older ones: use --limit.")


@shadow_cli.command("go-live")
def go_live(
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Also send the newest event of each customer, order and product that arrived since then (UTC)."
            " Default: only what arrives after the switch."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """End the trial: from now on, send what arrives. There is no way back. Shows a preview and asks first."""
    settings = read_settings()
    if settings.mode == "shadow":
        raise ValueError("MODE is still shadow. Remove it from every process and restart them; then run this again.")

    async def work() -> None:
        async with (
            database_setup.migrated_database(settings) as url,
            wiring.services(settings, url, "cli") as parts,
        ):
            if (unfinished := await switch.resend(parts.engine)) is not None:
                out.print(f"The relay is live. {unfinished:,} more events since the chosen time will be sent.")
                return
            moment = in_utc(since)
            plan = await switch.preview(parts.engine, moment)
            _print_preview(plan, moment)
            if not yes and not typer.confirm("Is the other connector switched off, and should the relay go live?"):
                out.print("Nothing was changed.")
                return
            live_at = await switch.go_live(parts.engine, moment, ACTOR)
            out.print(mark("live", "green"), f"since {live_at:%Y-%m-%d %H:%M:%S} UTC", sep="  ")
            if (sent := await switch.resend(parts.engine)) is not None:
                out.print(f"{sent:,} events since the chosen time will be sent.")

    run(work())


def _print_preview(plan: switch.Preview, since: datetime | None) -> None:
    if since is None:
        out.print("Nothing that arrived before the switch is sent. To send a part of it, use --since.")
    else:
        entities = ", ".join(f"{count:,} {kind}" for kind, count in sorted(plan.resent.items())) or "nothing"
        out.print(f"Of what arrived since {since:%Y-%m-%d %H:%M:%S} UTC, the newest event of each is sent: {entities}.")
        out.print("Orders are updated first, and created only if the Platform does not have them.")
    out.print(f"{plan.redemptions:,} redemptions of the trial are never issued by the relay.")
    out.print(f"{plan.waiting:,} jobs that wait now end as skipped.")
