"""Searches the messages that an erasure changes: those of the customer, and those of others that name the customer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import key_ring_of
from platform_relay.forwarding.fetch import IGNORED
from platform_relay.forwarding.unreadable import UNREADABLE
from platform_relay.platform.webhooks import REFERRALS
from platform_relay.privacy.bodies import BODIES, CHUNK, chunks, decrypted
from platform_relay.privacy.identity import CUSTOMER_KINDS, CustomerIdentity, own_address
from platform_relay.privacy.spellings import HIDING

SCANNED: Final = 5000
"""Bodies that one statement searches."""

_OWN: Final = text("""
SELECT id, kind FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[]))
   OR order_ref IN (SELECT order_ref FROM message WHERE customer_ref = ANY(CAST(:refs AS text[])) AND order_ref IS NOT NULL)
ORDER BY kind = 'customers', id
""")
"""The customer's own events come last, because they contain the addresses, which are needed again after an interruption."""
_SCAN: Final = text("""
WITH chunk AS (
    SELECT id, lower(encode(body, 'escape')) || ' ' || lower(encode(coalesce(event, ''), 'escape')) AS bodies FROM message
    WHERE body IS NOT NULL AND encrypted_with IS NULL AND id > :after ORDER BY id LIMIT :chunk
)
SELECT (array_agg(id ORDER BY id DESC))[1] AS last,
       coalesce(array_agg(id) FILTER (WHERE EXISTS (
           SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle) WHERE position(needle IN bodies) > 0)), '{}') AS found,
       coalesce(array_agg(id) FILTER (WHERE bodies ~ :hiding OR :beyond_ascii AND strpos(bodies, '\\3') > 0), '{}') AS unclear
FROM chunk
""")
"""`encode` shows a backslash as two, and each byte that is not ASCII as a backslash and digits. `unclear` bodies have to be
decoded: they hold escapes, or letters for which there is no `lower` here."""
_SCAN_ENCRYPTED: Final = text("""
SELECT id, encrypted_with, body, event FROM message
WHERE body IS NOT NULL AND encrypted_with IS NOT NULL AND id > :after ORDER BY id LIMIT :chunk
""")


@dataclass(frozen=True, slots=True)
class CustomerMessages:
    """`customer`: with the ids that only bodies show which the relay cannot read. `own`: the customer's messages. `mentions`:
    those of other customers that name the customer."""

    customer: CustomerIdentity
    own: list[UUID]
    mentions: list[UUID]


async def find_messages(engine: AsyncEngine, customer: CustomerIdentity) -> CustomerMessages:
    """The messages of the customer, and those that name the customer. Reads every stored body once, and again as long as a body
    shows another id of the customer, which only what the relay cannot read does. Raises UnreadableBodyError."""
    while True:
        own, mentions = await _find(engine, customer)
        unreadable, refs = await _unreadable_own(engine, customer, mentions)
        if refs <= set(customer.refs):
            return CustomerMessages(customer, own + unreadable, sorted(set(mentions) - set(unreadable)))
        customer = CustomerIdentity.of({*customer.refs, *refs}, customer.emails)


async def _find(engine: AsyncEngine, customer: CustomerIdentity) -> tuple[list[UUID], list[UUID]]:
    """The customer's own messages, and those of other customers that name the customer. A referral is always also
    another customer's message."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_OWN, {"refs": list(customer.refs)})).all()
    own = [row.id for row in rows if row.kind not in REFERRALS]
    mentions = {row.id for row in rows if row.kind in REFERRALS}
    after: UUID | None = UUID(int=0)
    while customer.needles and after is not None:
        async with engine.connect() as connection:
            parameters = {"after": after, "chunk": SCANNED, "needles": list(customer.needles)}
            beyond_ascii = not all(needle.isascii() for needle in customer.needles)
            parameters |= {"hiding": HIDING, "beyond_ascii": beyond_ascii}
            row = (await connection.execute(_SCAN, parameters)).one()
            mentions.update(row.found)
            for ids in chunks(row.unclear):
                bodies = await connection.execute(BODIES, {"ids": ids})
                mentions.update(message.id for message in bodies if _names(customer, message.body, message.event))
        after = row.last
    mentions.update(await _encrypted_mentions(engine, customer))
    return own, sorted(mentions - set(own))


async def _encrypted_mentions(engine: AsyncEngine, customer: CustomerIdentity) -> set[UUID]:
    """The same as _SCAN for encrypted bodies, which are decrypted and searched here."""
    mentions, after = set[UUID](), UUID(int=0)
    while customer.needles:
        async with engine.connect() as connection:
            ring = key_ring_of(connection)
            rows = (await connection.execute(_SCAN_ENCRYPTED, {"after": after, "chunk": CHUNK})).all()
        if not rows:
            break
        for row in rows:
            if _names(customer, *decrypted(ring, row)):
                mentions.add(row.id)
        after = rows[-1].id
    return mentions


def _names(customer: CustomerIdentity, *bodies: bytes | None) -> bool:
    return any(customer.named_in_bytes(body) for body in bodies)


async def _unreadable_own(
    engine: AsyncEngine, customer: CustomerIdentity, mentions: Sequence[UUID]
) -> tuple[list[UUID], set[str]]:
    """Of messages that name the customer, those that are about the customer although the relay could not read them, and the
    customer's ids in them."""
    own, refs = list[UUID](), set[str]()
    for ids in chunks(mentions):
        async with engine.connect() as connection:
            rows = (await connection.execute(BODIES, {"ids": ids})).all()
            ring = key_ring_of(connection)
        for row in rows:
            body, event = decrypted(ring, row)
            address = own_address(bytes(event or body or b""))
            is_own = address in customer.emails
            if is_own and row.kind in CUSTOMER_KINDS and row.customer_ref is not None:
                refs.add(row.customer_ref)
            if (is_own and row.kind in CUSTOMER_KINDS) or (_not_relayed(row.kind) and (is_own or address is None)):
                own.append(row.id)
    return own, refs


def _not_relayed(kind: str) -> bool:
    """Whether such a message is kept as it arrived, because it is not for the Platform or cannot be read."""
    return kind == IGNORED or kind.endswith(UNREADABLE)
