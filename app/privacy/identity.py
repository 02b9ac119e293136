"""The ids and e-mail addresses of a customer, and their removal from other customers' messages. Pure except `identify_customer`.

A customer is looked up by the store's id or by an e-mail address. The customer's own events give the addresses of an id,
and the ids of an address. The address of an order is ignored, because the store's staff order for others under their own.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self  # Any: JSON of others

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core import exact_json
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import event_or_body, first_email
from platform_relay.core.models import FIRST_EMAIL
from platform_relay.inbox.events import EventKind
from platform_relay.platform.webhooks import REFERRALS, parse_webhook
from platform_relay.privacy.spellings import address_spellings, readings, texts_of

ERASED: Final = "erased"
SHORTEST_ID: Final = 6
"""A shorter id may accidentally be part of a text."""
_ID_NAMES: Final = ("externalId", "customerId", "customer_id", "external_id")

_ACCOUNTS: Final = text(f"""
SELECT DISTINCT customer_ref FROM message
WHERE kind = 'customers' AND body IS NOT NULL AND {FIRST_EMAIL} = ANY(CAST(:emails AS text[])) AND customer_ref IS NOT NULL
UNION SELECT customer_ref FROM message
WHERE email_mark = ANY(CAST(:marks AS bytea[])) AND body IS NOT NULL AND customer_ref IS NOT NULL
""")  # noqa: S608  # constants only
CUSTOMER_KINDS: Final = frozenset(EventKind.CUSTOMER + suffix for suffix in ("", ":id", ":unreadable"))
"""Messages about a customer: an event, a webhook that only names the customer, and what the relay cannot read."""
_OWN: Final = text("""
SELECT id, kind, encrypted_with, coalesce(event, body) AS event, event IS NOT NULL AS translated FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[])) AND body IS NOT NULL
  AND (kind IN ('customers', 'customers:id', 'customers:unreadable') OR source = 'platform')
ORDER BY id DESC LIMIT 1000
""")


@dataclass(frozen=True, slots=True)
class CustomerIdentity:
    """`refs` are the customer's keys in messages, lanes and coupons: ids and e-mail addresses. `emails` are in lower case, in
    each spelling of their domains."""

    refs: tuple[str, ...]
    emails: tuple[str, ...]

    @classmethod
    def of(cls, refs: Iterable[str], emails: Iterable[str]) -> Self:
        """The customer with these ids and addresses, and the addresses' other spellings."""
        spelled = {spelling for email in emails for spelling in address_spellings(email)}
        return cls(tuple(sorted({*refs, *spelled})), tuple(sorted(spelled)))

    @property
    def needles(self) -> tuple[str, ...]:
        """Strings in lower case that identify the customer wherever they occur in a text."""
        long = (ref.lower() for ref in self.refs if len(ref) >= SHORTEST_ID)
        return tuple(dict.fromkeys((*self.emails, *long)))

    def named_in(self, text: str) -> bool:
        """Whether the text names the customer, plainly or behind escapes."""
        return any(needle in reading for reading in readings(text) for needle in self.needles)

    def addressed_in(self, text: str) -> bool:
        """The same for the e-mail addresses only: an id may be part of other texts."""
        return any(email in reading for reading in readings(text) for email in self.emails)

    def named_in_bytes(self, raw: bytes | None) -> bool:
        return any(self.named_in(text) for text in texts_of(raw or b""))


async def identify_customer(connection: AsyncConnection, id_or_email: str) -> CustomerIdentity:
    """All ids and addresses of the customer with this id (the store's) or e-mail address. Raises UnreadableBodyError."""
    ring = key_ring_of(connection)
    refs, emails = {id_or_email}, set[str]()
    if "@" in id_or_email:
        emails = address_spellings(id_or_email)
        marks = [mark for email in sorted(emails) for mark in ring.email_marks(email)]
        parameters = {"emails": sorted(_indexed(emails)), "marks": marks}
        refs |= {row.customer_ref for row in await connection.execute(_ACCOUNTS, parameters)}
    for row in await connection.execute(_OWN, {"refs": sorted(refs | emails)}):
        event = ring.decrypt(row.id, row.encrypted_with, row.event, event_or_body(translated=row.translated)) or b""
        emails |= set(_addresses(row.kind, event, refs))
    return CustomerIdentity.of(refs, emails)


def stored_spellings(needles: Iterable[str]) -> set[str]:
    """The needles also as PostgreSQL's `lower` may leave them (with the collation C, it changes ASCII letters only), and with
    letters that are composed of two characters."""
    upper = {"".join(char if char.isascii() else char.upper() for char in needle) for needle in needles}
    spelled = {*needles, *upper}
    return spelled | {unicodedata.normalize("NFD", needle) for needle in spelled}


def _indexed(emails: Iterable[str]) -> set[str]:
    """The addresses as FIRST_EMAIL shows them: `encode` writes a byte beyond ASCII as a backslash and three octal digits, and a
    backslash, as in a JSON escape, as two."""
    spelled = stored_spellings(emails)
    octal = {"".join(chr(b) if b < 0x80 else f"\\{b:03o}" for b in email.encode()) for email in spelled}
    return octal | {json.dumps(email)[1:-1].replace("\\", "\\\\").lower() for email in spelled}


def _addresses(kind: str, raw: bytes, refs: set[str]) -> Iterable[str]:
    if kind in CUSTOMER_KINDS:
        email = own_address(raw)
        return [email] if email and "@" in email else []
    webhook = parse_webhook(kind, raw)
    customers = [webhook.customer, webhook.friend] if webhook else []
    return [
        customer.email.lower() for customer in customers if customer and customer.email and customer.external_id in refs
    ]


def own_address(raw: bytes) -> str | None:
    """The e-mail address of a body about one customer, in lower case: its member `email`, or the first one in a body that
    cannot be parsed. None: it has no such member."""
    body = _parsed(raw)
    email = body.get("email") if isinstance(body, dict) else None
    if isinstance(email, str):
        return email.strip().lower()
    first = first_email(EventKind.CUSTOMER, raw)
    return None if first is None else list(readings(first.strip()))[-1]


def belongs_to(customer: CustomerIdentity, topic: str, place: str, raw: bytes) -> bool:
    """Whether the coupon at `place` of a webhook is the customer's. Only referrals have coupons of two customers."""
    if topic not in REFERRALS:
        return True
    webhook = parse_webhook(topic, raw)
    redemption = dict(webhook.redemptions).get(place) if webhook else None
    return redemption is None or redemption.customer_ref in customer.refs


def redacted(customer: CustomerIdentity, raw: bytes) -> bytes | None:
    """Another customer's body without this customer: their objects, addresses and ids are replaced.

    None: the body does not name the customer. A body that is not JSON and contains an address becomes empty, and so does one
    that is nested too deeply and contains an address or an id.
    """
    body = _parsed(raw)
    if body is None:
        return b"" if any(customer.addressed_in(text) for text in texts_of(raw)) else None
    try:
        without = _without(customer, body, top=True)
        return None if without == body else exact_json.dumps(without)
    except (RecursionError, ValueError):
        with_ids = CustomerIdentity(customer.refs, (*customer.emails, *(ref.lower() for ref in customer.refs)))
        return b"" if any(with_ids.addressed_in(text) for text in texts_of(raw)) else None


def _without(customer: CustomerIdentity, value: Any, *, top: bool = False) -> Any:  # Any: JSON
    match value:
        case dict():
            if not top and _describes(customer, value):
                return {ERASED: True}
            return {
                (ERASED if customer.addressed_in(name) else name): (
                    ERASED if _is_id(customer, name, member) else _without(customer, member)
                )
                for name, member in value.items()
            }
        case list():
            return [_without(customer, item) for item in value]
        case str() if customer.addressed_in(value):
            return ERASED
        case _:
            return value


def _describes(customer: CustomerIdentity, value: dict[str, Any]) -> bool:  # Any: JSON
    """Whether the object is the customer's."""
    email = value.get("email")
    return (isinstance(email, str) and email.strip().lower() in customer.emails) or _is_id(
        customer, "externalId", value.get("externalId")
    )


def _is_id(customer: CustomerIdentity, name: str, value: object) -> bool:
    if name not in _ID_NAMES or not isinstance(value, str | int) or isinstance(value, bool):
        return False
    return str(value) in customer.refs


def _parsed(raw: bytes) -> Any:  # Any: JSON
    try:
        return exact_json.loads(raw)
    except ValueError:
        return None
