"""`relay coupons`, `relay patrol` and `relay audit`: what a person does about coupons, and what proves it."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from platform_relay import wiring
from platform_relay.alerts.alerts import AlertRecord, open_alerts
from platform_relay.audit import integrity
from platform_relay.cli.parts import all_parts, own_engine, run
from platform_relay.cli.terminal import out
from platform_relay.core.reason_texts import shown
from platform_relay.coupons import drift_check as patrols
from platform_relay.coupons import ledger
from platform_relay.coupons.actions import Correction, CouponActions
from platform_relay.coupons.transitions import CouponRecord
from platform_relay.platform.rules import RewardKind

ACTOR: Final = "cli"
coupons_cli = typer.Typer(no_args_is_help=True, help="Redeemed coupons: approve, correct, retire, give points back.")
audit_cli = typer.Typer(no_args_is_help=True, help="The audit's integrity.")
Code = Annotated[str, typer.Argument(help="The exact code.")]
Why = Annotated[str, typer.Option("--why", help="Kept in the audit.")]


def register(cli: typer.Typer) -> None:
    """Add the commands of this file."""
    cli.add_typer(coupons_cli, name="coupons")
    cli.add_typer(audit_cli, name="audit")
    cli.command("patrol")(patrol)


def _desk(parts: wiring.Services) -> CouponActions:
    return CouponActions(parts.engine, parts.operator, parts.settings.coupons)


def _act(act: Callable[[CouponActions], Awaitable[CouponRecord]]) -> None:
    async def work() -> CouponRecord:
        async with all_parts() as parts:
            return await act(_desk(parts))

    coupon = run(work())
    out.print(f"{coupon.code} is {coupon.state}; the worker carries it out.", highlight=False)


@coupons_cli.command("approve")
def approve(code: Code, why: Why) -> None:
    """Make a held coupon without further proof, past the fuse."""
    _act(lambda desk: desk.approve(code, ACTOR, why))


@coupons_cli.command("value")
def correct(
    code: Code,
    why: Why,
    value: Annotated[str | None, typer.Argument(help="Amount in the store's currency, or per cent.")] = None,
    kind: Annotated[RewardKind | None, typer.Option(help="Needed when nothing told its kind.")] = None,
) -> None:
    """Say what a held coupon is worth; it counts as approved."""
    try:
        amount = None if value is None else Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{value!r} is no amount; write it as 5.00") from None
    _act(lambda desk: desk.correct(code, Correction(kind, amount), ACTOR, why))


@coupons_cli.command("retire")
def retire(code: Code, why: Why) -> None:
    """Make a coupon unusable in the store, or never make it."""
    _act(lambda desk: desk.retire(code, ACTOR, why))


@coupons_cli.command("return-points")
def return_points(
    code: Code,
    why: Why,
    points: Annotated[int | None, typer.Option(min=1, help="How many; left out: what was redeemed.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="A try ended in doubt, and the points are missing at the Platform.")
    ] = False,
    arrived: Annotated[
        bool, typer.Option("--arrived", help="A try ended in doubt, and the points are there: none are sent.")
    ] = False,
) -> None:
    """Give a retired coupon's points back, once."""
    _act(lambda desk: desk.return_points(code, ACTOR, why, points, again=again, arrived=arrived))


@coupons_cli.command("release-fuse")
def release_limit(
    why: Why, customer: Annotated[str | None, typer.Option(help="Only this customer's fuse.")] = None
) -> None:
    """Let coupons go on that were held because a limit was reached."""

    async def work() -> tuple[int, int]:
        async with all_parts() as parts:
            return await _desk(parts).release_limit(ACTOR, why, customer)

    released, woken = run(work())
    out.print(f"{released} fuses released, {woken} coupons go on.", highlight=False)


@coupons_cli.command("dismiss")
def dismiss(code: Code, why: Why) -> None:
    """End the alerts about a coupon that nothing else ends: it is over-used, or its points are in doubt."""

    async def work() -> int:
        async with all_parts() as parts:
            return await _desk(parts).dismiss(code, ACTOR, why)

    ended = run(work())
    if not ended:
        raise ValueError(f"no alert about {code} is open that is dismissed by hand; relay coupons alerts lists them")
    out.print(f"{ended} alerts dismissed.", highlight=False)


@coupons_cli.command("ledger")
def show_ledger() -> None:
    """What was redeemed and what became of it, as JSON."""

    async def work() -> ledger.Ledger:
        async with own_engine() as engine, engine.connect() as connection:
            return await ledger.read_ledger(connection)

    out.print_json(run(work()).model_dump_json())


@coupons_cli.command("alerts")
def show_alerts() -> None:
    """List the open alerts: what an operator has to look at, and the next step."""

    async def work() -> list[AlertRecord]:
        async with own_engine() as engine, engine.connect() as connection:
            return await open_alerts(connection)

    table = Table("since", "code", "about", "what", "next step")
    for alert in run(work()):
        texts = (escape(text) for text in (alert.subject, alert.reason.text, alert.reason.next_step))
        table.add_row(f"{alert.at:%Y-%m-%d %H:%M}", alert.reason.code, *texts)
    out.print(table)


def patrol(
    again: Annotated[bool, typer.Option("--all", help="Also coupons that were checked within the last hour.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding.")] = False,
) -> None:
    """Find coupons that were edited, deleted, used too often or cut short in the store. Changes nothing there."""

    async def work() -> patrols.DriftCheckResult:
        async with all_parts() as parts:
            if parts.store is None:
                raise ValueError("no store is configured; set STORE__ADAPTER (docs/adapters.md)")
            if again:
                await patrols.forget(parts.engine)
            return await patrols.tour(parts.engine, parts.store, most=100_000)

    checked = run(work())
    for finding in checked.findings:
        difference = finding.difference.as_fact()
        if as_json:
            print(json.dumps({"code": finding.code, "kind": finding.kind, **difference}))
        else:
            out.print(f"{finding.code}  [bold]{finding.kind}[/bold]  {escape(shown(difference))}", highlight=False)
    if not as_json:
        out.print(f"{checked.looked_at} coupons checked, {len(checked.findings)} findings.", highlight=False)
    if checked.stopped:
        out.print(f"[red]stopped[/red]  {escape(checked.stopped.text)}", highlight=False)
    if checked.stopped or checked.findings:
        raise typer.Exit(1)


@audit_cli.command("verify")
def verify(
    head: Annotated[
        str | None, typer.Option(help="A hash noted before (log line `audit_head`), to be found in it.")
    ] = None,
) -> None:
    """Whether the audit is what was written, line by line."""

    async def work() -> integrity.Verdict:
        async with own_engine() as engine:
            return await integrity.verify(engine, head)

    verdict = run(work())
    if verdict.broken is None:
        told = f"{verdict.lines} lines; the newest hash is {verdict.head}"
        out.print(f"[green]ok[/green]  {told}", highlight=False)
    else:
        told = f"after {verdict.lines} good lines: {verdict.broken}"
        out.print(f"[red]BROKEN[/red]  {told}", highlight=False)
    if not verdict.noted:
        told = "the hash that was noted is not in it: lines were cut off, or all were written anew"
        out.print(f"[red]BROKEN[/red]  {told}", highlight=False)
    if verdict.broken or not verdict.noted:
        raise typer.Exit(1)
