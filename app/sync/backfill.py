"""Reads the store's lists from beginning to end, to accept what the store has or to compare with it.

A page that fails temporarily is requested again. The position is not stored: a second run reads everything again, and the
inbox recognises what it has already accepted by its dedupe key.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from platform_relay.core.outcomes import Retry, Unknown, reason_of
from platform_relay.core.reasons import Reason
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import ListsEntities, NativeEvent, Page
from platform_relay.sync.polling import PollResult, inbox_item

ATTEMPTS: Final = 5
"""For each page."""
FIRST_DELAY: Final = 1.0
MAX_DELAY: Final = 60.0


@dataclass(frozen=True, slots=True)
class ListFailed:
    """The list could not be read to its end."""

    reason: Reason


async def list_pages(
    store: ListsEntities, kind: EventKind, since: datetime | None, *, first_delay: float = FIRST_DELAY
) -> AsyncIterator[tuple[NativeEvent, ...] | ListFailed]:
    """The pages of entities that changed since `since` (None: all). The last item is a ListFailed if the store fails."""
    cursor: str | None = None
    failures = 0
    while True:
        page = await store.list_entities(kind, since, cursor)
        if isinstance(page, Retry | Unknown) and failures < ATTEMPTS:
            requested = page.after if isinstance(page, Retry) and page.after else 0.0
            await asyncio.sleep(min(max(first_delay * 2**failures, requested), MAX_DELAY))
            failures += 1
            continue
        if not isinstance(page, Page):
            yield ListFailed(reason_of(page))
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
    kind: EventKind,
    since: datetime | None,
    progress: Callable[[PollResult], None] = lambda _: None,
) -> PollResult:
    """Accept what the store has as events, which are sent after all live events. It can be repeated.

    Raises DatabaseAway.
    """
    seen = new = 0
    async for page in list_pages(store, kind, since):
        if isinstance(page, ListFailed):
            return PollResult(seen, new, page.reason)
        receipts = await inbox.accept_many([inbox_item(event, source, backfill=True) for event in page])
        seen += len(receipts)
        new += sum(receipt.status == "accepted" for receipt in receipts)
        progress(PollResult(seen, new))
    return PollResult(seen, new)
