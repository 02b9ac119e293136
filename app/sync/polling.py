"""Polls the store for changes since the last poll: for stores without webhooks, and for webhooks that were missed.

The cursor of each kind is a row with a lease, so that one replica polls at a time. No transaction is open during a call.
Each poll begins `OVERLAP` before the last one, because stores list changes late. The inbox recognises what it has already
accepted by its dedupe key.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Outcome, reason_of
from platform_relay.core.reasons import Reason
from platform_relay.forwarding.fetch import event_json, store_message
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Incoming
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent, Page, Unreadable, listed_kinds

log: Final = structlog.get_logger(__name__)

OVERLAP: Final = timedelta(minutes=10)
LEASE_SECONDS: Final = 120.0
KINDS_IN_ORDER: Final = (EventKind.CUSTOMER, EventKind.PRODUCT, EventKind.ORDER)
"""Customers come before the orders that depend on them."""


def kinds_in_order(store: object) -> tuple[EventKind, ...]:
    """The kinds whose lists the store has, in this order."""
    listed = listed_kinds(store)
    return tuple(kind for kind in KINDS_IN_ORDER if kind in listed)


_ACQUIRE: Final = text("""
INSERT INTO poll_cursor AS mine (source, kind, since, leased_until)
VALUES (:source, :kind, CAST(:start AS timestamptz), now() + make_interval(secs => :lease))
ON CONFLICT (source, kind) DO UPDATE SET leased_until = excluded.leased_until WHERE mine.leased_until < now()
RETURNING since, now() AS started
""")
_RENEW: Final = text("""
UPDATE poll_cursor SET leased_until = now() + make_interval(secs => :lease) WHERE source = :source AND kind = :kind
""")
_RELEASE: Final = text("""
UPDATE poll_cursor SET since = :since, leased_until = '-infinity' WHERE source = :source AND kind = :kind
""")


@dataclass(frozen=True, slots=True)
class PollResult:
    """The number of entities that the lists contained, and how many of them were `new`, or `unreadable`: those are dead jobs.
    `failed`: why the poll ended early."""

    seen: int
    new: int
    failed: Reason | None = None
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether everything was read."""
        return self.failed is None and not self.unreadable

    @property
    def summary(self) -> str:
        """The counts, for the command line."""
        unreadable = (
            f", {self.unreadable:,} unreadable (dead jobs; see GET /v1/jobs?state=dead)" if self.unreadable else ""
        )
        return f"{self.seen:,} seen, {self.new:,} new{unreadable}"


async def poll(
    engine: AsyncEngine,
    inbox: Inbox,
    store: ListsEntities,
    source: str,
    kind: EventKind,
    *,
    start: datetime | None = None,
    backfill: bool = False,
) -> PollResult | None:
    """Read and accept what changed. Returns None if another replica is polling this kind now.

    The first poll begins at `start` (None: everything). Raises DatabaseAway if something could not be accepted; the next
    poll reads it again.
    """
    where = {"source": source, "kind": str(kind), "lease": LEASE_SECONDS}
    async with engine.begin() as connection:
        row = (await connection.execute(_ACQUIRE, {**where, "start": start})).one_or_none()
    if row is None:
        return None
    since = row.since - OVERLAP if row.since is not None else None
    fetches = isinstance(cast("object", store), FetchesEntities)
    seen = new = unreadable = 0
    failed: Reason | None = None
    cursor: str | None = None
    while True:
        page: Page | Outcome = await store.list_entities(kind, since, cursor)
        if not isinstance(page, Page):
            failed = reason_of(page)
            log.warning(
                "poll_failed", source=source, kind=kind, reason_code=failed.code, text=failed.without("response").text
            )
            break
        items = inbox_items(page, source, backfill=backfill, fetches=fetches)
        unreadable += len(page.unreadable)
        receipts = await inbox.accept_many(items)
        seen += len(receipts)
        new += sum(receipt.status == "accepted" for receipt in receipts)
        cursor = page.next
        if cursor is None:
            break
        async with engine.begin() as connection:
            await connection.execute(_RENEW, where)
    async with engine.begin() as connection:
        await connection.execute(_RELEASE, {**where, "since": row.since if failed else row.started})
    return PollResult(seen, new, failed, unreadable)


def inbox_items(page: Page, source: str, *, backfill: bool, fetches: bool = False) -> list[tuple[UUID, Incoming]]:
    """The messages of a page, also of the entities that cannot be read."""
    entities: list[NativeEvent | Unreadable] = [*page.events, *page.unreadable]
    return [inbox_item(entity, source, backfill=backfill, fetches=fetches) for entity in entities]


def inbox_item(
    event: NativeEvent | Unreadable, source: str, *, backfill: bool, fetches: bool = False
) -> tuple[UUID, Incoming]:
    """An entity of the store's lists as the message that the inbox accepts. `fetches`: as in `store_message`."""
    message_id = uuid_utils.compat.uuid7()
    raw = event.raw if isinstance(event, Unreadable) else event_json(event)
    message = store_message(event, raw, source=source, message_id=str(message_id), backfill=backfill, fetches=fetches)
    return message_id, message
