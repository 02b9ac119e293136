"""`relay`: run the relay, set it up and operate it. Exit codes: 0 success, 1 failure, 2 configuration error."""

import gc
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple  # Any: the parser's types, for which Typer has no public names

import typer
from typer.core import TyperGroup

from platform_relay.core.shared_folders import check_settings_file, is_shared


class Command(NamedTuple):
    """A command, or a group of commands: where it is in `platform_relay.cli`, and its line in `relay --help`."""

    module: str
    name: str
    summary: str


COMMANDS: Final = {
    "init": Command(
        "init",
        "init",
        "Set up a relay: answer some questions, or give the answers as options. Writes `.env`, and checks that everything"
        " works.",
    ),
    "serve": Command(
        "processes", "serve", "Run the web server and the worker in one process. Enough for a small store."
    ),
    "web": Command("processes", "web", "Run the web server only. Also run `relay worker`, which makes the calls."),
    "worker": Command("processes", "worker", "Run a worker only. Any number of workers can run, on any machine."),
    "migrate": Command(
        "processes",
        "migrate",
        "Migrate the database to this release. Safe to run many times, and from many machines at once.",
    ),
    "check": Command(
        "check",
        "check",
        "Check the configuration. Calls the Platform and the store, and changes nothing. Exit code 1: a check failed.",
    ),
    "demo": Command(
        "processes",
        "demo",
        "Run a simulated day: a store, a Platform with an outage, and the whole service. Needs nothing else.",
    ),
    "explain": Command(
        "explain",
        "explain",
        "Explain the state of an order, customer, coupon or message: cause first, then history. Exit code 1: nothing found.",
    ),
    "events": Command(
        "events",
        "events",
        "List what was received, newest first, with its state and the last response. --follow prints what arrives.",
    ),
    "import": Command(
        "imports",
        "import_file",
        "Import a file. Its rows are processed after all live events. Run the command again to resume.",
    ),
    "backfill": Command(
        "backfill",
        "backfill",
        "Read the store's lists and accept what is new, after all live events. Can be repeated at any time.",
    ),
    "poll": Command(
        "webhooks",
        "poll",
        "Read the store's changes since the last poll, once. With STORE__POLL_INTERVAL the worker polls automatically.",
    ),
    "reconcile": Command(
        "reconcile",
        "reconcile",
        "Compare the store, the relay and the Platform. Exit code 1: differences remain, or not everything could be compared.",
    ),
    "reconciliations": Command(
        "reconciliations", "reconciliations_cli", "List, show and cancel reconciliations, and repair what they found."
    ),
    "conformance": Command(
        "conformance",
        "check_adapter",
        "Test an adapter on a SANDBOX store. Creates and retires coupons there. Needs no database.",
    ),
    "shadow": Command("shadow", "shadow_cli", "The trial beside an existing connector."),
    "webhooks": Command("webhooks", "webhooks_cli", "Install the store's webhooks to the relay."),
    "coupons": Command(
        "coupons",
        "coupons_cli",
        "List, approve, value and retire coupons; return points; ledger, drift check and alerts.",
    ),
    "rules": Command("rules", "rules_cli", "Define what the Platform's redeem rules are worth."),
    "keys": Command("keys", "keys_cli", "Create, list, rotate and revoke API keys."),
    "jobs": Command("jobs", "jobs_cli", "Act on a single job."),
    "platform": Command("platform", "platform_cli", "Test what the relay assumes about the Platform."),
    "privacy": Command("privacy", "privacy_cli", "Export and erase the data of one customer."),
    "audit": Command("maintenance", "audit_cli", "Verify the audit log."),
    "bodies": Command("maintenance", "bodies_cli", "Encrypt stored bodies."),
    "backup": Command("maintenance", "backup_cli", "Use a database that was restored from a backup."),
}
"""In the order of `relay --help`. The module of a command is imported when the command is run, and no other."""


class Program(TyperGroup):
    """The commands of COMMANDS. The list of them needs their summaries only."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # Any: as above
        """The command that was named first, imported."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = imported(args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # Any: as above
        """Run the command. Typer shows a wrong value with a prefix of its own validation, which helps no user."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


def imported(name: str) -> Any:  # Any: as above
    """The command or group of this name, with its options and commands.

    Garbage is not collected meanwhile: what modules create stays, and looking for garbage in it took a seventh of the time.
    """
    command = COMMANDS[name]
    gc.disable()
    try:
        target = getattr(import_module(f"platform_relay.cli.{command.module}"), command.name)
    finally:
        gc.enable()
    program = typer.Typer()
    if isinstance(target, typer.Typer):
        program.add_typer(target, name=name)
    else:
        program.command(name)(target)
    return typer.main.get_group(program).commands[name]


def find_packages_in_this_folder() -> None:
    """Let every command import STORE__ADAPTER=package.module:Class from the current folder: an adapter in development is usually
    not installed. The folder comes last, so that none of its modules hides an installed one. A folder such as /tmp, where every
    user can write, is left out: any of them could run code with the rights of who runs a command there."""
    if (folder := os.getcwd()) not in sys.path and not is_shared(Path(folder)):
        sys.path.append(folder)


cli = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    help=__doc__,
    pretty_exceptions_enable=False,
    callback=find_packages_in_this_folder,
)
for _name, _command in COMMANDS.items():
    cli.command(_name, help=_command.summary)(lambda: None)  # replaced by `Program` before it is called


def main() -> None:
    """The entry point. A configuration error ends with a message and exit code 2, an unreachable database with a message
    and exit code 1, both without a traceback."""
    try:
        check_settings_file(Path(".env"))
        cli()
    except Exception as error:
        from platform_relay.cli.failures import exit_code  # noqa: PLC0415  # no command that succeeds needs it

        code = exit_code(error)
        if code is None:
            raise
        sys.exit(code)
