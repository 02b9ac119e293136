"""`relay webhooks install` and `relay poll`: the store's webhooks, and its lists."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.terminal import err, mark, out
from platform_relay.cli.times import in_utc
from platform_relay.core.outcomes import Done, Skip, reason_of
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import Ready
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks
from platform_relay.sync import polling, webhooks
from platform_relay.sync.background_reads import POLL, BackgroundReads

INTEGRATIONS: Final = (
    Path(__file__).parents[2] / "integrations",
    Path(sys.prefix) / "share" / "platform-relay" / "integrations",
)
"""In a checkout, and where the wheel installs them."""
webhooks_cli = typer.Typer(no_args_is_help=True, help="Install the store's webhooks to the relay.")
webhooks_cli.callback()(lambda: None)  # keeps `install` a subcommand while it is the only one


@webhooks_cli.command("install")
def install(
    adapter: Annotated[
        str | None, typer.Argument(help="The store adapter. Default, and the only one possible: STORE__ADAPTER.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Where the store reaches the relay, such as https://relay.example. Default: PUBLIC_URL."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the webhooks.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
) -> None:
    """Check the credentials and install the store's webhooks. Can be repeated at any time."""
    settings = read_settings()
    name = settings.store.adapter
    if name is None or adapter not in (None, name):
        raise ValueError(
            f"STORE__ADAPTER is {name or 'not set'}. Set it to {adapter or 'the name of the store adapter'}, and set the adapter's"
            " variables (docs/stores.md)."
        )
    public = address or (str(settings.public_url) if settings.public_url else None)

    async def work() -> bool:
        async with database_setup.database(settings) as url, wiring.services(settings, url, "cli") as parts:
            store: object = parts.store
            ready = await parts.store.check() if parts.store else None
            if not isinstance(ready, Ready):
                reason = reason_of(ready) if ready else because(ReasonCode.NO_STORE)
                out.print(mark("FAIL", "red"), f" {reason.text} {reason.next_step}")
                return False
            out.print(mark("ok", "green"), f"   {ready.detail}")
            if not isinstance(store, SetsUpWebhooks):
                out.print(f"{name} has no webhooks that the relay can install.")
                _show_integration(name)
                return True
            if public is None:
                raise ValueError(
                    "Give the address at which the store reaches the relay: --address https://… or PUBLIC_URL."
                )
            return await _carry_out(store, f"{public.rstrip('/')}/v1/store-webhooks/{name}", remove, dry_run)

    if not run(work()):
        raise typer.Exit(1)


def _show_integration(adapter: str) -> None:
    """Print the code to paste into the store on standard output, so that `> file` works; instructions go to standard error."""
    folder = next((place / adapter for place in INTEGRATIONS if (place / adapter).is_dir()), None)
    if folder is not None:
        err.print((folder / "README.md").read_text())
        for piece in sorted(folder.glob("*.ts")):
            err.print(f"---- {piece.name}")
            sys.stdout.write(piece.read_text())
    err.print("Or let the relay poll the store's lists: set STORE__POLL_INTERVAL=60.")


async def _carry_out(store: SetsUpWebhooks, target: str, remove: bool, dry_run: bool) -> bool:
    present = await store.list_webhooks(target)
    if not isinstance(present, tuple):
        problem = f"The store's webhooks cannot be listed: {reason_of(present).text}"
        out.print(mark("FAIL", "red"), f" {problem}")
        return False
    succeeded = True
    for change in webhooks.plan(store.webhook_topics(), present, remove=remove):
        outcome = Done() if dry_run else await webhooks.apply(store, target, change)
        fine = isinstance(outcome, Done | Skip)
        succeeded = succeeded and fine
        result = mark("ok  ", "green") if fine else mark("FAIL", "red")
        problem = "" if fine else f": {reason_of(outcome).text}"
        out.print(result, f" {'would ' if dry_run else ''}{change.action} {change.topic} -> {target}{problem}")
    return succeeded


def poll(
    kind: Annotated[EventKind | None, typer.Argument(help="customers, products or orders. Default: all.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="On the first run: start with what changed since then. Default: everything.")
    ] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="Process after all live events.")] = False,
) -> None:
    """Read the store's changes since the last poll, once. With STORE__POLL_INTERVAL the worker polls automatically.

    Exit code 1: a list could not be read to its end, or contains entities that cannot be read.
    """
    settings = read_settings()

    async def work() -> bool:
        async with (
            database_setup.migrated_database(settings) as url,
            wiring.services(settings, url, "cli") as parts,
        ):
            store: object = parts.store
            if not isinstance(store, ListsEntities):
                raise ValueError(  # noqa: TRY004  # a configuration error
                    f"The store {settings.store.adapter or '(none configured)'} has no lists to read."
                )
            start = in_utc(since)
            succeeded = True
            for one_kind in (kind,) if kind else polling.kinds_in_order(store):
                result = await polling.poll(
                    parts.engine,
                    parts.inbox,
                    store,
                    settings.store.adapter or "",
                    one_kind,
                    start=start,
                    backfill=backfill,
                )
                summary = "another process is reading them" if result is None else result.summary
                out.print(
                    f"{one_kind}: {summary}{f'; {result.failed.text}' if result and result.failed else ''}",
                )
                if result is not None:
                    await BackgroundReads(parts.engine).record(f"{POLL}{one_kind}", result.failed)
                succeeded = succeeded and (result is None or result.complete)
            return succeeded

    if not run(work()):
        raise typer.Exit(1)
