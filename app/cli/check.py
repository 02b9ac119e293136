"""`relay check`."""

import json
from typing import Annotated

import typer

from platform_relay import database_setup, wiring
from platform_relay.checks import configuration
from platform_relay.checks.check import Check
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.terminal import mark, out, print_json
from platform_relay.setup.checklist import checklist
from platform_relay.setup.collect import collect
from platform_relay.setup.views import setup_view


def check(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the checks, and the checklist of the page Set-up, as JSON.")
    ] = False,
) -> None:
    """Check the configuration. Calls the Platform and the store, and changes nothing. Exit code 1: a check failed."""
    if not run(_as_json() if as_json else check_and_print()):
        raise typer.Exit(1)


async def check_and_print() -> bool:
    """Run and print every check. Returns whether none failed."""
    settings, passed = read_settings(), True
    async with (
        database_setup.database(settings) as url,
        wiring.services(settings, url, "check", rate_limits=False) as parts,
        wiring.clients(parts) as clients,
    ):
        async for item in configuration.check_all(settings, parts.engine, clients.platform, parts.store):
            show(item)
            passed = passed and item.ok is not False
    return passed


def show(item: Check) -> None:
    """Print one check."""
    result = {True: mark("ok  ", "green"), False: mark("FAIL", "red"), None: mark("note", "yellow")}[item.ok]
    out.print(result, mark(item.name, "bold"), item.detail, sep="  ")
    if item.next_step:
        out.print(f"      next: {item.next_step}")


async def _as_json() -> bool:
    settings = read_settings()
    async with (
        database_setup.database(settings) as url,
        wiring.services(settings, url, "check", rate_limits=False) as parts,
        wiring.clients(parts) as clients,
    ):
        checks = [item async for item in configuration.check_all(settings, parts.engine, clients.platform, parts.store)]
        items = checklist(await collect(settings, parts.engine, clients.platform, parts.store))
    passed = all(item.ok is not False for item in checks)
    shown = [{"name": item.name, "ok": item.ok, "text": item.detail, "next_step": item.next_step} for item in checks]
    print_json(json.dumps({"passed": passed, "checks": shown, "setup": setup_view(items).model_dump(mode="json")}))
    return passed
