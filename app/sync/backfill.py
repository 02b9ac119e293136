"""Reads the store's lists from beginning to end, to accept what the store has or to compare with it.

A page that fails temporarily is requested again. The position is not stored: a second run reads everything again, and the
inbox recognises what it has already accepted by its dedupe key.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, TypeVar, cast

from platform_relay.core.outcomes import Outcome, Retry, Unknown, reason_of
from platform_relay.core.reasons import Reason
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import FetchesEntities, ListsEntities, Page
from platform_relay.sync.polling import PollResult, inbox_items

T = TypeVar("T")
ATTEMPTS: Final = 5
"""For each page."""
FIRST_DELAY: Final = 1.0
MAX_DELAY: Final = 60.0


@dataclass(frozen=True, slots=True)
class ListFailed:
    """The list could not be read to its end."""

    reason: Reason


HeldBack = Callable[[], Awaitable[Reason | None]]
"""Why the store may not be called in the background now; None if it may."""


async def never() -> None:
    """Nothing holds the calls back."""


async def with_retries(call: Callable[[], Awaitable[T | Outcome]], *, first_delay: float = FIRST_DELAY) -> T | Outcome:
    """Call again what fails temporarily, after growing delays (seconds). Returns the last outcome if it fails to the end."""
    failures = 0
    while True:
        result = await call()
        if not isinstance(result, Retry | Unknown) or failures == ATTEMPTS:
            return result
        requested = result.after if isinstance(result, Retry) and result.after else 0.0
        await asyncio.sleep(min(max(first_delay * 2**failures, requested), MAX_DELAY))
        failures += 1


async def list_pages(
    store: ListsEntities,
    kind: EventKind,
    since: datetime | None,
    *,
    first_delay: float = FIRST_DELAY,
    held_back: HeldBack = never,
) -> AsyncIterator[Page | ListFailed]:
    """The pages of entities that changed since `since` (None: all). The last item is a ListFailed if the store fails, or if
    the calls to it are held back before a page."""
    cursor: str | None = None
    while True:
        if (reason := await held_back()) is not None:
            yield ListFailed(reason)
            return
        page = await with_retries(partial(store.list_entities, kind, since, cursor), first_delay=first_delay)
        if not isinstance(page, Page):
            yield ListFailed(reason_of(page))
            return
        yield page
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
    held_back: HeldBack = never,
) -> PollResult:
    """Accept what the store has as events, which are sent after all live events. It can be repeated.

    `held_back` is asked before each page. Raises DatabaseAway.
    """
    done = PollResult(0, 0)
    async for done in backfill_pages(inbox, store, source, kind, since, held_back=held_back):
        if done.failed is None:
            progress(done)
    return done


async def backfill_pages(
    inbox: Inbox,
    store: ListsEntities,
    source: str,
    kind: EventKind,
    since: datetime | None,
    held_back: HeldBack = never,
) -> AsyncIterator[PollResult]:
    """As `backfill`, with the counts after each page. The last item has `failed` if the list could not be read to its end."""
    fetches = isinstance(cast("object", store), FetchesEntities)
    seen = new = unreadable = 0
    async for page in list_pages(store, kind, since, held_back=held_back):
        if isinstance(page, ListFailed):
            yield PollResult(seen, new, page.reason, unreadable)
            return
        receipts = await inbox.accept_many(inbox_items(page, source, backfill=True, fetches=fetches))
        seen += len(receipts)
        new += sum(receipt.status == "accepted" for receipt in receipts)
        unreadable += len(page.unreadable)
        yield PollResult(seen, new, None, unreadable)
