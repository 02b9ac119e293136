"""The store's own lists, read from end to end: to take in what the store has, or to compare with it.

Pages that fail for a moment are asked for again; nothing is kept of how far it was, since what was taken in before is
recognised by its dedupe key.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from platform_relay.core.outcomes import Retry, Unknown, reason_of
from platform_relay.core.reasons import Reason
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Kind
from platform_relay.stores.native import ListsEntities, NativeEvent, Page
from platform_relay.sync.polling import Polled, item_of

TRIES: Final = 5
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The list ended early, and why."""

    reason: Reason


async def listing(
    store: ListsEntities, kind: Kind, since: datetime | None, *, first_delay: float = FIRST_DELAY
) -> AsyncIterator[tuple[NativeEvent, ...] | Failed]:
    """Every page of what changed since (None: all); last a Failed when the store does not answer any more."""
    cursor: str | None = None
    failures = 0
    while True:
        page = await store.list_entities(kind, since, cursor)
        if isinstance(page, Retry | Unknown) and failures < TRIES:
            wished = page.after if isinstance(page, Retry) and page.after else 0.0
            await asyncio.sleep(min(max(first_delay * 2**failures, wished), LONGEST_DELAY))
            failures += 1
            continue
        if not isinstance(page, Page):
            yield Failed(reason_of(page))
            return
        failures = 0
        yield page.events
        cursor = page.next
        if cursor is None:
            return


async def backfill(
    inbox: Inbox,
    store: ListsEntities,
    source: str,
    kind: Kind,
    since: datetime | None,
    progress: Callable[[Polled], None] = lambda _: None,
) -> Polled:
    """Take in what the store has, behind everything live. Raises DatabaseAway; the same again is harmless."""
    seen = new = 0
    async for page in listing(store, kind, since):
        if isinstance(page, Failed):
            return Polled(seen, new, page.reason)
        receipts = await inbox.accept_many([item_of(event, source, backfill=True) for event in page])
        seen += len(receipts)
        new += sum(receipt.status == "accepted" for receipt in receipts)
        progress(Polled(seen, new))
    return Polled(seen, new)
