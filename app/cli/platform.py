"""`relay platform verify`: tests what the relay assumes about the Platform on the merchant's own account."""

import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from platform_relay.checks.tls_probe import offers_http2
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.numbers import NUMBER, number
from platform_relay.cli.terminal import err, mark, out
from platform_relay.core import exact_json
from platform_relay.core.http import HttpClients
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import THE_PLATFORM
from platform_relay.platform.verify.assumptions import BY_ID
from platform_relay.platform.verify.calls import Call, left_behind, plan
from platform_relay.platform.verify.observations import Observations
from platform_relay.platform.verify.report import as_json, counts, settings_lines
from platform_relay.platform.verify.runner import Verification
from platform_relay.platform.verify.samples import Samples
from platform_relay.platform.verify.verdict import Verdict
from platform_relay.platform.verify.verdicts import verdicts
from platform_relay.settings import Settings

STYLES: Final = {"confirmed": "green", "refuted": "red", "undecidable": "yellow"}
BODY_CHARS: Final = 4000
platform_cli = typer.Typer(no_args_is_help=True, help="Test what the relay assumes about the Platform.")
platform_cli.callback()(lambda: None)  # keeps `verify` a subcommand while it is the only one


@platform_cli.command("verify")
def verify(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print every call. Calls nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Creates test data at the Platform.")] = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The file of the result. Default: platform-contract-TIME.json.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="The currency of the test orders. Default: COUPONS__CURRENCY, or else USD.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            parser=number(0, 300),
            metavar=NUMBER,
            help="Seconds to wait for points to change after an order, at most 300.",
        ),
    ] = 10.0,
    every: Annotated[bool, typer.Option("--all", help="Also print the undecidable assumptions.")] = False,
) -> None:
    """Test what the relay assumes about the Platform on YOUR account. Creates a test customer, a product and orders there.

    Exit code 1: an assumption is refuted, or the Platform could not be called.
    """
    settings = read_settings(calls_store=False)
    if settings.mode == "shadow" and not dry_run:
        raise ValueError(
            "MODE is shadow, and in a trial the relay changes nothing at the Platform. This command creates test data there. Use"
            " --dry-run, or run it without MODE."
        )
    samples = Samples(secrets.token_hex(4), currency or settings.coupons.currency or "USD")
    calls = plan(samples, Fields(settings.platform.fields), has_launcher=settings.platform.shop_key is not None)
    _introduce(settings, samples, calls)
    if dry_run:
        for call in calls:
            _show_call(call)
        out.print("Nothing was called.")
        return
    if settings.platform.api_key is None:
        raise ValueError("PLATFORM__API_KEY is not set. Copy the key from the Platform's account page and set it.")
    if not yes:
        _ask(settings)
    file = out_file or Path(f"platform-contract-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        seen = run(_verification(settings, samples, wait))
        results = () if seen.stopped else verdicts(seen)
        opened.write(as_json(str(settings.platform.url), datetime.now(UTC), seen, results))
    if seen.stopped:
        out.print(mark("FAIL", "red"), f" {seen.stopped.text} {seen.stopped.next_step}")
        out.print("The Platform was not verified. Nothing was created there.")
        raise typer.Exit(1)
    _show(settings, results, every=every)
    out.print(f"Saved: {file}")
    if counts(results)["refuted"]:
        raise typer.Exit(1)


async def _verification(settings: Settings, samples: Samples, wait: float) -> Observations:
    platform = settings.platform
    key = platform.api_key.get_secret_value() if platform.api_key else ""
    http = HttpClients(platform.timeout, private_networks=settings.private_networks).make(
        platform.url, platform.launcher_url, destination=THE_PLATFORM, ca_file=platform.ca_file, secrets=(key,)
    )
    try:
        with err.status("") as status:
            verification = Verification(
                http,
                platform,
                samples,
                points_wait=wait,
                on_call=lambda call: status.update(f"{call.method} {call.step}"),
            )
            seen = await verification.run()
    finally:
        await http.aclose()
    seen.http2 = await offers_http2(str(platform.url), platform.ca_file, settings.private_networks)
    return seen


def _introduce(settings: Settings, samples: Samples, calls: tuple[Call, ...]) -> None:
    """Where the calls go, and what stays there."""
    platform = settings.platform
    out.print(f"Platform: {platform.url}")
    out.print(f"Launcher: {platform.launcher_url}")
    out.print(f"Shop key: {platform.shop_key or 'not set (PLATFORM__SHOP_KEY): the Launcher is not verified'}")
    always = sum(not call.condition for call in calls)
    out.print(f"Calls: about {always}, and up to 60 more if the Platform uses other names or forms")
    out.print("These stay at the Platform. Its API has no known call that deletes them:")
    for item in left_behind(samples):
        out.print(f"  - {item}")


def _show_call(call: Call) -> None:
    where = "Launcher " if call.launcher else ""
    out.print(mark(f"{call.method:5} {where}{call.path}", "bold"), f" {call.purpose}")
    if call.body is not None:
        out.print(f"      {exact_json.dumps(call.body).decode()[:BODY_CHARS]}")
    for note in (call.condition, f"leaves {call.leaves}" if call.leaves else ""):
        if note:
            out.print(f"      {note}")


def _ask(settings: Settings) -> None:
    """Ask for consent. Raises ValueError without a terminal, and typer.Exit without consent."""
    if not sys.stdin.isatty():
        raise ValueError(
            "relay platform verify creates test data at the Platform, so it asks first, and there is no terminal to ask."
            " Read the calls with --dry-run, then run it with --yes."
        )
    answer = input(f"Make these calls to {settings.platform.url} now? Write yes to continue: ")
    if answer.strip().lower() != "yes":
        out.print("Nothing was called.")
        raise typer.Exit(1)


def _show(settings: Settings, results: tuple[Verdict, ...], *, every: bool) -> None:
    table = Table("assumption", "result", "finding", title="The contract of the Platform", title_justify="left")
    for verdict in results:
        if every or verdict.result != "undecidable":
            finding = f"Assumed: {BY_ID[verdict.id].statement}. " if verdict.result == "refuted" else ""
            table.add_row(verdict.id, mark(verdict.result, STYLES[verdict.result]), finding + verdict.finding)
    out.print(table)
    number = counts(results)
    out.print(", ".join(f"{count} {result}" for result, count in number.items()))
    if number["undecidable"] and not every:
        out.print("The file, and --all, list the undecidable ones.")
    if lines := settings_lines(settings.platform.fields, results):
        out.print("Set these, restart the relay, and run relay platform verify again:")
        for line in lines:
            out.print(f"  {line}")
