"""`relay connect` and `relay poll`: set up the store's webhooks, read the store's lists."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from platform_relay import wiring
from platform_relay.cli.parts import read_settings, run
from platform_relay.cli.terminal import err, out
from platform_relay.core.outcomes import Done, Skip, reason_of
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.messages import Kind
from platform_relay.stores.base import Ready
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks
from platform_relay.sync import webhooks
from platform_relay.sync.polling import ORDER, poll

INTEGRATIONS: Final = (
    Path(__file__).parents[2] / "integrations",
    Path(sys.prefix) / "share" / "platform-relay" / "integrations",
)
"""In a checkout, and where the wheel puts them."""


def connect(
    adapter: Annotated[str, typer.Argument(help="The store's adapter; must be the one of STORE__ADAPTER.")],
    address: Annotated[
        str | None,
        typer.Option(help="Where the store reaches the relay, e.g. https://relay.example; else STORE__PUBLIC_URL."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the webhooks down.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Set the store's own webhooks up, and check the credentials in words. May be run again at any time."""
    settings = read_settings()
    if settings.store.adapter != adapter:
        raise ValueError(
            f"STORE__ADAPTER is {settings.store.adapter or 'not set'}; set it to {adapter} and its variables"
        )
    public = address or (str(settings.store.public_url) if settings.store.public_url else None)

    async def work() -> bool:
        async with wiring.database(settings) as url, wiring.services(settings, url, "cli") as parts:
            store: object = parts.store
            ready = await parts.store.check() if parts.store else None
            if not isinstance(ready, Ready):
                reason = reason_of(ready) if ready else because(ReasonCode.NO_STORE)
                out.print(f"[red]FAIL[/red]  {escape(f'{reason.text} {reason.next_step}')}", highlight=False)
                return False
            out.print(f"[green]ok[/green]    {escape(ready.detail)}", highlight=False)
            if not isinstance(store, SetsUpWebhooks):
                out.print(f"{adapter} has no webhooks to set up.", highlight=False)
                _show_integration(adapter)
                return True
            if public is None:
                raise ValueError("say where the store reaches the relay: --address https://... or STORE__PUBLIC_URL")
            return await _carry_out(store, f"{public.rstrip('/')}/v1/store-webhooks/{adapter}", remove, dry_run)

    if not run(work()):
        raise typer.Exit(1)


def _show_integration(adapter: str) -> None:
    """What to paste into the shop: it goes to standard output as it is, so that `> file` works; the words go beside it."""
    folder = next((place / adapter for place in INTEGRATIONS if (place / adapter).is_dir()), None)
    if folder is not None:
        err.print((folder / "README.md").read_text(), highlight=False, markup=False)
        for piece in sorted(folder.glob("*.ts")):
            err.print(f"---- {piece.name}", highlight=False, markup=False)
            sys.stdout.write(piece.read_text())
    err.print("Or let the relay read the store's lists: set STORE__POLL=60.", highlight=False)


async def _carry_out(store: SetsUpWebhooks, target: str, remove: bool, dry_run: bool) -> bool:
    present = await store.list_hooks(target)
    if not isinstance(present, tuple):
        problem = f"The store's webhooks cannot be listed: {reason_of(present).text}"
        out.print(f"[red]FAIL[/red]  {escape(problem)}", highlight=False)
        return False
    well = True
    for step in webhooks.plan(store.wanted_topics(), present, remove=remove):
        outcome = Done() if dry_run else await webhooks.carry_out(store, target, step)
        fine = isinstance(outcome, Done | Skip)
        well = well and fine
        mark = "[green]ok[/green]  " if fine else "[red]FAIL[/red]"
        problem = "" if fine else f": {escape(reason_of(outcome).text)}"
        out.print(f"{mark}  {'would ' if dry_run else ''}{step.act} {step.topic} -> {target}{problem}", highlight=False)
    return well


def poll_now(
    kind: Annotated[Kind | None, typer.Argument(help="customers, products or orders; all without.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="The first time: begin with what changed since then; everything without.")
    ] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="After everything live.")] = False,
) -> None:
    """Read the store's changes since last time, once. STORE__POLL lets the worker do it by itself."""
    settings = read_settings()

    async def work() -> bool:
        async with wiring.database(settings) as url, wiring.services(settings, url, "cli") as parts:
            await wiring.migrated(settings, url)
            store: object = parts.store
            if not isinstance(store, ListsEntities):
                raise ValueError(  # noqa: TRY004  # said to a person
                    f"the store {settings.store.adapter or '(none is set)'} has no lists that can be read"
                )
            start = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
            well = True
            for each in (kind,) if kind else ORDER:
                done = await poll(
                    parts.engine, parts.inbox, store, settings.store.adapter or "", each, start=start, backfill=backfill
                )
                told = "another process reads them now" if done is None else f"{done.seen} seen, {done.new} new"
                out.print(
                    f"{each}: {told}{f'; {escape(done.failed.text)}' if done and done.failed else ''}", highlight=False
                )
                well = well and (done is None or done.failed is None)
            return well

    if not run(work()):
        raise typer.Exit(1)
