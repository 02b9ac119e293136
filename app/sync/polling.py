"""Reads what changed in the store since the last time: for stores without webhooks, and where webhooks were missed.

The cursor of each kind is a row with a lease, so one replica polls at a time, and no transaction is open during a call.
Each round begins `OVERLAP` before the last one, because stores list changes late; what was read before is recognised by
its dedupe key.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Outcome, reason_of
from platform_relay.core.reasons import Reason
from platform_relay.forwarding.fetch import message_of
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Incoming, Kind
from platform_relay.stores.native import ListsEntities, NativeEvent, Page

log: Final = structlog.get_logger(__name__)

OVERLAP: Final = timedelta(minutes=10)
LEASE_SECONDS: Final = 120.0
ORDER: Final = (Kind.CUSTOMER, Kind.PRODUCT, Kind.ORDER)
"""Customers before the orders that need them."""

_TAKE: Final = text("""
INSERT INTO poll_cursor AS mine (source, kind, since, leased_until)
VALUES (:source, :kind, CAST(:start AS timestamptz), now() + make_interval(secs => :lease))
ON CONFLICT (source, kind) DO UPDATE SET leased_until = excluded.leased_until WHERE mine.leased_until < now()
RETURNING since, now() AS started
""")
_RENEW: Final = text("""
UPDATE poll_cursor SET leased_until = now() + make_interval(secs => :lease) WHERE source = :source AND kind = :kind
""")
_MOVE: Final = text("""
UPDATE poll_cursor SET since = :since, leased_until = '-infinity' WHERE source = :source AND kind = :kind
""")


@dataclass(frozen=True, slots=True)
class Polled:
    """One round: entities seen, of which `new` were not known; `failed`: why it ended early."""

    seen: int
    new: int
    failed: Reason | None = None


async def poll(
    engine: AsyncEngine,
    inbox: Inbox,
    store: ListsEntities,
    source: str,
    kind: Kind,
    *,
    start: datetime | None = None,
    backfill: bool = False,
) -> Polled | None:
    """Read what changed and take it in; None when another replica does so now. The first round begins at `start`
    (None: everything). Raises DatabaseAway when something could not be taken in; the next round reads it again."""
    where = {"source": source, "kind": str(kind), "lease": LEASE_SECONDS}
    async with engine.begin() as connection:
        taken = (await connection.execute(_TAKE, {**where, "start": start})).one_or_none()
    if taken is None:
        return None
    since = taken.since - OVERLAP if taken.since is not None else None
    seen = new = 0
    failed: Reason | None = None
    cursor: str | None = None
    while True:
        page: Page | Outcome = await store.list_entities(kind, since, cursor)
        if not isinstance(page, Page):
            failed = reason_of(page)
            log.warning("poll_failed", source=source, kind=kind, reason_code=failed.code, text=failed.text)
            break
        items = [item_of(event, source, backfill=backfill) for event in page.events]
        receipts = await inbox.accept_many(items)
        seen += len(receipts)
        new += sum(receipt.status == "accepted" for receipt in receipts)
        cursor = page.next
        if cursor is None:
            break
        async with engine.begin() as connection:
            await connection.execute(_RENEW, where)
    async with engine.begin() as connection:
        await connection.execute(_MOVE, {**where, "since": taken.since if failed else taken.started})
    return Polled(seen, new, failed)


def item_of(event: NativeEvent, source: str, *, backfill: bool) -> tuple[UUID, Incoming]:
    """What the inbox accepts for an entity of the store's lists."""
    message_id = uuid_utils.compat.uuid7()
    raw = event.event.model_dump_json(exclude_none=True, by_alias=True).encode()
    return message_id, message_of(event, raw, source=source, message_id=str(message_id), backfill=backfill)
