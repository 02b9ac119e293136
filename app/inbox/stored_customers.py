"""Customers as the store sent them, for orders that the Platform rejects because it does not know the customer."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import event_or_body
from platform_relay.core.reasons import Reason, stored

_NEWEST: Final = text("""
SELECT message.id, message.encrypted_with, coalesce(message.event, message.body) AS body,
       message.event IS NOT NULL AS translated
FROM message JOIN job ON job.message_id = message.id
WHERE message.customer_ref = :customer AND message.kind = 'customers' AND message.body IS NOT NULL
  AND job.kind = 'forward_customer'
ORDER BY coalesce(job.version, message.received_at) DESC, job.seq DESC LIMIT 1
""")
_DELIVERY: Final = text("""
SELECT state, reason_code, facts FROM job WHERE message_id = :message AND kind = 'forward_customer' ORDER BY seq DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class CustomerDelivery:
    """The state of a customer's delivery: `open`, `failed` (dead or dropped), or `ended`."""

    state: Literal["open", "failed", "ended"]
    reason: Reason | None


class Customers:
    """Reads only."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def newest(self, customer_id: str) -> bytes | None:
        """The event of the newest version of a customer that the store has sent; None if there is none. Raises
        UnreadableBodyError."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_NEWEST, {"customer": customer_id})).one_or_none()
            if row is None:
                return None
            purpose = event_or_body(translated=row.translated)
            return key_ring_of(connection).decrypt(row.id, row.encrypted_with, row.body, purpose)

    async def delivery_for(self, message_id: UUID) -> CustomerDelivery | None:
        """The state of the customer's delivery that was enqueued for this order's message; None if there is none yet."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_DELIVERY, {"message": message_id})).one_or_none()
        if row is None:
            return None
        reason = stored(row.reason_code, row.facts)
        if row.state in ("waiting", "running"):
            return CustomerDelivery("open", reason)
        return CustomerDelivery("failed" if row.state in ("dead", "dropped") else "ended", reason)
