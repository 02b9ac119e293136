"""`relay check`."""

import typer

from platform_relay import database_setup, wiring
from platform_relay.checks import configuration
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.terminal import mark, out


def check() -> None:
    """Check the configuration. Calls the Platform and the store, and changes nothing. Exit code 1: a check failed."""
    settings = read_settings()

    async def work() -> bool:
        passed = True
        async with (
            database_setup.database(settings) as url,
            wiring.services(settings, url, "check", rate_limits=False) as parts,
            wiring.clients(parts) as clients,
        ):
            async for item in configuration.check_all(settings, parts.engine, clients.platform, parts.store):
                result = {True: mark("ok  ", "green"), False: mark("FAIL", "red"), None: mark("note", "yellow")}[
                    item.ok
                ]
                out.print(result, mark(item.name, "bold"), item.detail, sep="  ")
                if item.next_step:
                    out.print(f"      next: {item.next_step}")
                passed = passed and item.ok is not False
        return passed

    if not run(work()):
        raise typer.Exit(1)
