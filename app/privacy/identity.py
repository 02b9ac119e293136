"""The ids and e-mail addresses of a customer, and their removal from other customers' messages. Pure except `identify_customer`.

A customer is looked up by the store's id or by an e-mail address. The customer's own events give the addresses of an id,
and the ids of an address. The address of an order is ignored, because the store's staff order for others under their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final  # Any: JSON of others

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core import exact_json
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import event_or_body
from platform_relay.core.models import FIRST_EMAIL
from platform_relay.inbox.events import EventKind
from platform_relay.platform.webhooks import REFERRALS, parse_webhook

ERASED: Final = "erased"
SHORTEST_ID: Final = 6
"""A shorter id may accidentally be part of a text."""
_ID_NAMES: Final = ("externalId", "customerId", "customer_id", "external_id")

_ACCOUNTS: Final = text(f"""
SELECT DISTINCT customer_ref FROM message
WHERE kind = 'customers' AND body IS NOT NULL AND {FIRST_EMAIL} = :email AND customer_ref IS NOT NULL
UNION SELECT customer_ref FROM message
WHERE email_mark = ANY(CAST(:marks AS bytea[])) AND body IS NOT NULL AND customer_ref IS NOT NULL
""")  # noqa: S608  # constants only
_OWN: Final = text("""
SELECT id, kind, encrypted_with, coalesce(event, body) AS event, event IS NOT NULL AS translated FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[])) AND body IS NOT NULL
  AND (kind = 'customers' OR source = 'platform')
ORDER BY id DESC LIMIT 1000
""")


@dataclass(frozen=True, slots=True)
class CustomerIdentity:
    """`refs` are the customer's keys in messages, lanes and coupons: ids and e-mail addresses. `emails` are in lower case."""

    refs: tuple[str, ...]
    emails: tuple[str, ...]

    @property
    def needles(self) -> tuple[str, ...]:
        """Strings in lower case that identify the customer wherever they occur in a text."""
        long = (ref.lower() for ref in self.refs if len(ref) >= SHORTEST_ID)
        return tuple(dict.fromkeys((*self.emails, *long)))

    def named_in(self, text: str) -> bool:
        lower = text.lower()
        return any(needle in lower for needle in self.needles)


async def identify_customer(connection: AsyncConnection, id_or_email: str) -> CustomerIdentity:
    """All ids and addresses of the customer with this id (the store's) or e-mail address. Raises UnreadableBodyError."""
    ring = key_ring_of(connection)
    refs, emails = {id_or_email}, set[str]()
    if "@" in id_or_email:
        emails.add(id_or_email.lower())
        parameters = {"email": id_or_email.lower(), "marks": ring.email_marks(id_or_email)}
        refs |= {row.customer_ref for row in await connection.execute(_ACCOUNTS, parameters)}
    for row in await connection.execute(_OWN, {"refs": sorted(refs)}):
        event = ring.decrypt(row.id, row.encrypted_with, row.event, event_or_body(translated=row.translated)) or b""
        emails |= set(_addresses(row.kind, event, refs))
    return CustomerIdentity(tuple(sorted(refs | emails)), tuple(sorted(emails)))


def _addresses(kind: str, raw: bytes, refs: set[str]) -> Iterable[str]:
    if kind == EventKind.CUSTOMER:
        event = _parsed(raw)
        email = event.get("email") if isinstance(event, dict) else None
        return [email.strip().lower()] if isinstance(email, str) and "@" in email else []
    webhook = parse_webhook(kind, raw)
    customers = [webhook.customer, webhook.friend] if webhook else []
    return [
        customer.email.lower() for customer in customers if customer and customer.email and customer.external_id in refs
    ]


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
        return _emptied(raw, customer.emails)
    try:
        without = _without(customer, body, top=True)
        return None if without == body else exact_json.dumps(without)
    except (RecursionError, ValueError):
        return _emptied(raw, customer.refs)


def _emptied(raw: bytes, texts: Iterable[str]) -> bytes | None:
    """Nothing for a body that contains one of the texts; None for another body."""
    body = raw.decode("utf-8", "replace").lower()
    return b"" if any(text.lower() in body for text in texts) else None


def _without(customer: CustomerIdentity, value: Any, *, top: bool = False) -> Any:  # Any: JSON
    match value:
        case dict():
            if not top and _describes(customer, value):
                return {ERASED: True}
            return {
                name: ERASED if _is_id(customer, name, member) else _without(customer, member)
                for name, member in value.items()
            }
        case list():
            return [_without(customer, item) for item in value]
        case str() if any(email in value.lower() for email in customer.emails):
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
