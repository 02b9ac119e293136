"""`relay coupons`: what an operator decides about coupons, the ledger, the drift check and open alerts."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from platform_relay import wiring
from platform_relay.alerts.alerts import AlertRecord, open_alerts
from platform_relay.cli.context import database_engine, run, services
from platform_relay.cli.numbers import WHOLE, whole
from platform_relay.cli.terminal import ACTOR, mark, out, print_json, whole_table
from platform_relay.core import plain_numbers
from platform_relay.core.paging import Page
from platform_relay.core.reason_texts.rendering import shown
from platform_relay.core.reasons import ReasonCode
from platform_relay.coupons import drift_check, ledger, queries
from platform_relay.coupons.actions import CouponActions
from platform_relay.coupons.records import CouponRecord, CouponState
from platform_relay.platform.rules import RewardKind

coupons_cli = typer.Typer(
    no_args_is_help=True, help="List, approve, value and retire coupons; return points; ledger, drift check and alerts."
)
Code = Annotated[str, typer.Argument(help="The exact coupon code.")]
Why = Annotated[str, typer.Option("--why", help="The reason. Kept in the audit.")]


def _actions(parts: wiring.Services) -> CouponActions:
    return CouponActions(parts.engine, parts.actions, parts.settings.coupons)


def _act(action: Callable[[CouponActions], Awaitable[CouponRecord]]) -> None:
    async def work() -> CouponRecord:
        async with services() as parts:
            return await action(_actions(parts))

    coupon = run(work())
    out.print(f"{coupon.code} is {coupon.state}. A worker carries out the decision.")


@coupons_cli.command("list")
def show_coupons(
    state: Annotated[
        CouponState | None, typer.Option(help="Only coupons in this state: `held` ones need a decision.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Only coupons of this customer, by the store's id.")] = None,
    reason_code: Annotated[
        ReasonCode | None,
        typer.Option(metavar="CODE", help="Only coupons with this reason code (docs/reason-codes.md)."),
    ] = None,
    limit: Annotated[int, typer.Option(parser=whole(1, 1000), metavar=WHOLE, help="How many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per coupon.")] = False,
) -> None:
    """List coupons, the newest first, with the reason of their state."""

    async def work() -> Page[queries.CouponView]:
        async with database_engine() as engine, engine.connect() as connection:
            return await queries.list_coupons(
                connection, state=state, customer=customer, reason_code=reason_code, limit=limit
            )

    coupons = run(work()).items
    if as_json:
        for coupon in coupons:
            print_json(coupon.model_dump_json())
        return
    table = whole_table("code", "state", "reason code", "received", "what", "next step", one_line=("code", "state"))
    for coupon in coupons:
        texts = (coupon.text or "", coupon.next_step or "")
        received = f"{coupon.received_at:%Y-%m-%d %H:%M}"
        table.add_row(coupon.code, coupon.state, coupon.reason_code or "", received, *texts)
    out.print(table)


@coupons_cli.command("approve")
def approve(code: Code, why: Why) -> None:
    """Issue a held or refused coupon without further verification, even if an issuance limit is reached."""
    _act(lambda actions: actions.approve(code, ACTOR, why))


@coupons_cli.command("set-value")
def set_value(
    code: Code,
    why: Why,
    value: Annotated[str | None, typer.Argument(help="An amount in the store's currency, or a percentage.")] = None,
    kind: Annotated[RewardKind | None, typer.Option(help="Needed if the coupon's kind is unknown.")] = None,
) -> None:
    """Set the value of a held coupon and approve it."""
    try:
        amount = None if value is None else plain_numbers.decimal(value)
    except plain_numbers.NotANumberError:
        raise ValueError(f"{value!r} is not an amount. Write it as 5.00") from None
    _act(lambda actions: actions.set_value(code, kind, amount, ACTOR, why))


@coupons_cli.command("retire")
def retire(code: Code, why: Why) -> None:
    """Make a coupon unusable in the store, or stop it from being issued."""
    _act(lambda actions: actions.retire(code, ACTOR, why))


@coupons_cli.command("return-points")
def return_points(
    code: Code,
    why: Why,
    points: Annotated[
        int | None, typer.Option(parser=whole(1), metavar=WHOLE, help="How many. Default: the redeemed points.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="An attempt had an unknown result, and the points are missing at the Platform."),
    ] = False,
    arrived: Annotated[
        bool, typer.Option("--arrived", help="An attempt had an unknown result, and the points are there. Sends none.")
    ] = False,
) -> None:
    """Return the points of a retired coupon, once."""
    _act(lambda actions: actions.return_points(code, ACTOR, why, points, again=again, arrived=arrived))


@coupons_cli.command("release-limit")
def release_limit(
    why: Why, customer: Annotated[str | None, typer.Option(help="Only the limit of this customer.")] = None
) -> None:
    """Release issuance limits that were reached. Coupons held by them continue."""

    async def work() -> tuple[int, int]:
        async with services() as parts:
            return await _actions(parts).release_limit(ACTOR, why, customer)

    released, woken = run(work())
    out.print(f"{released} issuance limits released, {woken} coupons continue.")


@coupons_cli.command("dismiss")
def dismiss(code: Code, why: Why) -> None:
    """Dismiss the alerts about a coupon that do not end automatically: used too often, or points in doubt."""

    async def work() -> int:
        async with services() as parts:
            return await _actions(parts).dismiss(code, ACTOR, why)

    dismissed = run(work())
    if not dismissed:
        raise ValueError(
            f"There is no open alert about {code} that can be dismissed. List alerts with: relay coupons alerts"
        )
    out.print(f"{dismissed} alerts dismissed.")


@coupons_cli.command("ledger")
def show_ledger() -> None:
    """Print the ledger as JSON: redeemed, active, used, held and retired coupons by currency."""

    async def work() -> ledger.Ledger:
        async with database_engine() as engine, engine.connect() as connection:
            return await ledger.read_ledger(connection)

    print_json(run(work()).model_dump_json(indent=2))


@coupons_cli.command("alerts")
def show_alerts() -> None:
    """List the open alerts: what an operator has to look at, and the next step."""

    async def work() -> list[AlertRecord]:
        async with database_engine() as engine, engine.connect() as connection:
            return await open_alerts(connection)

    table = whole_table("since", "code", "about", "what", "next step", one_line=("about",))
    for alert in run(work()):
        at_first = f" At first: {alert.first.text}" if alert.first else ""
        texts = (alert.subject, alert.reason.text + at_first, alert.reason.next_step)
        table.add_row(f"{alert.at:%Y-%m-%d %H:%M}", alert.reason.code, *texts)
    out.print(table)


@coupons_cli.command("check-drift")
def check_drift(
    again: Annotated[bool, typer.Option("--all", help="Also coupons that were checked within the last hour.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding.")] = False,
) -> None:
    """Find coupons that were edited, deleted, used too often or expired early in the store. Changes nothing there."""

    async def work() -> drift_check.DriftCheckResult:
        async with services() as parts:
            if parts.store is None:
                raise ValueError("No store is configured. Set STORE__ADAPTER (docs/stores.md).")
            if again:
                await drift_check.make_all_due(parts.engine)
            return await drift_check.check_drift(parts.engine, parts.store, limit=100_000)

    result = run(work())
    for finding in result.findings:
        difference = finding.difference.as_fact()
        if as_json:
            print_json(json.dumps({"code": finding.code, "kind": finding.kind, **difference}))
        else:
            out.print(finding.code, mark(finding.kind, "bold"), shown(difference), sep="  ")
    if not as_json:
        out.print(f"{result.checked} coupons checked, {len(result.findings)} findings.")
    if result.stopped:
        out.print(mark("stopped", "red"), result.stopped.text, sep="  ")
    if result.stopped or result.findings:
        raise typer.Exit(1)
