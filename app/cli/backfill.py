"""`relay backfill`: accept what the store's lists have, after live events."""

from datetime import datetime
from typing import Annotated

import typer
from rich.progress import TaskID

from platform_relay import database_setup, wiring
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.import_tables import progress_bar
from platform_relay.cli.terminal import out
from platform_relay.cli.times import in_utc
from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import ListsEntities
from platform_relay.sync.backfill import backfill as read_store
from platform_relay.sync.background_reads import BackgroundReads
from platform_relay.sync.polling import PollResult, kinds_in_order


def backfill(
    kind: Annotated[EventKind | None, typer.Argument(help="customers, products or orders. Default: all.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only what changed since then (UTC). Default: everything.")
    ] = None,
) -> None:
    """Read the store's lists and accept what is new, after all live events. Can be repeated at any time.

    Exit code 1: a list could not be read to its end, or contains entities that cannot be read.
    """
    settings = read_settings()

    async def work() -> bool:
        async with (
            database_setup.migrated_database(settings) as url,
            wiring.services(settings, url, "backfill") as parts,
        ):
            store: object = parts.store
            if not isinstance(store, ListsEntities):
                raise ValueError(  # noqa: TRY004  # a configuration error
                    f"The store {settings.store.adapter or '(none configured)'} has no lists. Export a file and use: relay import"
                )
            succeeded, held_back = True, BackgroundReads(parts.engine).held_back
            with progress_bar() as bar:
                for one_kind in (kind,) if kind else kinds_in_order(store):
                    task = bar.add_task(str(one_kind), total=None, rows=0, rate="")

                    def moved(done: PollResult, task: TaskID = task) -> None:
                        elapsed = bar.tasks[task].elapsed or 0.0
                        bar.update(task, rows=done.seen, rate=f"{done.seen / elapsed:,.0f}/s" if elapsed else "")

                    done = await read_store(
                        parts.inbox,
                        store,
                        settings.store.adapter or "",
                        one_kind,
                        in_utc(since),
                        progress=moved,
                        held_back=held_back,
                    )
                    ended = f"; stopped early: {done.failed.text}" if done.failed else ""
                    out.print(f"{one_kind}: {done.summary}{ended}")
                    succeeded = succeeded and done.complete
            return succeeded

    if not run(work()):
        raise typer.Exit(1)
