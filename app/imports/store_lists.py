"""Reads a list of the store as an import: its progress is stored, it can be cancelled, and another process can begin it again.

A store's cursor is not stored. A list that is taken over is read from its beginning; the inbox recognises what it has.
"""

import asyncio
import json
from contextlib import suppress
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.imports.runs import Claim, kept_alive, save_progress
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import CountsEntities, ListsEntities
from platform_relay.sync.backfill import backfill_pages
from platform_relay.sync.background_reads import BackgroundReads
from platform_relay.sync.polling import PollResult

COUNT_SECONDS: Final = 5.0


async def count_of(store: object, kind: EventKind, since: datetime | None) -> int:
    """How many entities the list has, for the progress; 0 if the store cannot count them, or not within COUNT_SECONDS."""
    if not isinstance(store, CountsEntities):
        return 0
    with suppress(TimeoutError):
        async with asyncio.timeout(COUNT_SECONDS):
            counted = await store.count(kind, since)
            return counted if isinstance(counted, int) else 0
    return 0


async def read_list(engine: AsyncEngine, inbox: Inbox, store: ListsEntities, adapter: str, claim: Claim) -> None:
    """Accept what the list has, after all live events. Raises TakenOverError, and DatabaseAway; other ends are stored."""
    kind, since = EventKind(claim.view.kind), claim.view.since
    held_back = BackgroundReads(engine).held_back
    done = PollResult(0, 0, None, 0)
    async with kept_alive(engine, claim):
        async for done in backfill_pages(inbox, store, adapter, kind, since, held_back=held_back):
            if done.failed is None and await save_progress(engine, claim, _values(done, "running")) == "cancelled":
                return
        if done.failed is not None:
            await save_progress(engine, claim, {**_values(done, "failed"), "error": done.failed.text[:500]})
        else:
            await save_progress(engine, claim, _values(done, "done"))


def _values(done: PollResult, state: str) -> dict[str, object]:
    note = f"Entities that could not be read: {done.unreadable:,}. Each is a dead-lettered job, with the reason."
    return {
        "state": state,
        "position": done.seen,
        "last_row": done.seen,
        "rows": done.seen,
        "accepted": done.new,
        "duplicates": max(0, done.seen - done.new),
        "newer": 0,
        "rejected": 0,
        "problems": "[]",
        "columns": "[]",
        "notes": json.dumps([note] if done.unreadable else []),
    }
