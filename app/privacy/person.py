"""Who a person is in the tables, and their traces in the bodies of others. Pure but for `find_person`.

A person is asked for by the store's id or by an e-mail address. To the id belong the addresses that the customer's own
reports told, and to an address the accounts that reported it: an order's address does not count, since shops' staff order
for others under their own.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final  # Any: JSON of others

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import keys_of
from platform_relay.core.models import FIRST_EMAIL
from platform_relay.inbox.messages import Kind
from platform_relay.platform.webhooks import REFERRALS, parse

GONE: Final = "erased"
SHORTEST: Final = 6
"""An id of fewer characters stands in texts by chance."""
_IDS: Final = ("externalId", "customerId", "customer_id", "external_id")

_ACCOUNTS: Final = text(f"""
SELECT DISTINCT customer_ref FROM message
WHERE kind = 'customers' AND body IS NOT NULL AND {FIRST_EMAIL} = :email AND customer_ref IS NOT NULL
UNION SELECT customer_ref FROM message
WHERE email_mark = ANY(CAST(:marks AS bytea[])) AND body IS NOT NULL AND customer_ref IS NOT NULL
""")  # noqa: S608  # constants only
_OWN: Final = text("""
SELECT id, kind, encrypted_with, coalesce(event, body) AS told FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[])) AND body IS NOT NULL
  AND (kind = 'customers' OR source = 'platform')
ORDER BY id DESC LIMIT 1000
""")


@dataclass(frozen=True, slots=True)
class Person:
    """`refs`: what messages, lanes and coupons know the person by; `emails` in lower case."""

    refs: tuple[str, ...]
    emails: tuple[str, ...]

    @property
    def needles(self) -> tuple[str, ...]:
        """What is sure to be the person wherever it stands in a text, in lower case."""
        long = (ref.lower() for ref in self.refs if len(ref) >= SHORTEST)
        return tuple(dict.fromkeys((*self.emails, *long)))

    def named_in(self, words: str) -> bool:
        lower = words.lower()
        return any(needle in lower for needle in self.needles)


async def find_person(connection: AsyncConnection, asked: str) -> Person:
    """Everybody that `asked` (the store's id of a customer, or an e-mail address) stands for. Raises
    UnreadableBodyError."""
    ring = keys_of(connection)
    refs, emails = {asked}, set[str]()
    if "@" in asked:
        emails.add(asked.lower())
        sought = {"email": asked.lower(), "marks": ring.marks(asked)}
        refs |= {row.customer_ref for row in await connection.execute(_ACCOUNTS, sought)}
    for row in await connection.execute(_OWN, {"refs": sorted(refs)}):
        emails |= set(_addresses(row.kind, ring.open(row.id, row.encrypted_with, row.told) or b"", refs))
    return Person(tuple(sorted(refs | emails)), tuple(sorted(emails)))


def _addresses(kind: str, raw: bytes, refs: set[str]) -> Iterable[str]:
    if kind == Kind.CUSTOMER:
        told = _loaded(raw)
        found = told.get("email") if isinstance(told, dict) else None
        return [found.strip().lower()] if isinstance(found, str) and "@" in found else []
    webhook = parse(kind, raw)
    people = [webhook.customer, webhook.friend] if webhook else []
    return [each.email.lower() for each in people if each and each.email and each.external_id in refs]


def belongs_to(person: Person, topic: str, place: str, raw: bytes) -> bool:
    """Whether a webhook's coupon at `place` is the person's. Others' are only those of referrals."""
    if topic not in REFERRALS:
        return True
    webhook = parse(topic, raw)
    redemption = dict(webhook.redemptions).get(place) if webhook else None
    return redemption is None or redemption.customer_ref in person.refs


def redacted(person: Person, raw: bytes) -> bytes | None:
    """Somebody else's body without the person: their objects emptied, their address and id removed. None: they are not in
    it. What is no JSON and holds an address is emptied."""
    told = _loaded(raw)
    if told is None:
        words = raw.decode("utf-8", "replace").lower()
        return b"" if any(email in words for email in person.emails) else None
    without = _without(person, told, top=True)
    if without == told:
        return None
    return json.dumps(without, ensure_ascii=False).encode("utf-8", "backslashreplace")  # as problems.respond


def _without(person: Person, value: Any, *, top: bool = False) -> Any:  # Any: JSON
    match value:
        case dict():
            if not top and _is_theirs(person, value):
                return {GONE: True}
            return {
                name: GONE if _names(person, name, each) else _without(person, each) for name, each in value.items()
            }
        case list():
            return [_without(person, each) for each in value]
        case str() if any(email in value.lower() for email in person.emails):
            return GONE
        case _:
            return value


def _is_theirs(person: Person, value: dict[str, Any]) -> bool:  # Any: JSON
    email = value.get("email")
    return (isinstance(email, str) and email.strip().lower() in person.emails) or any(
        _names(person, name, value.get(name)) for name in _IDS[:1]
    )


def _names(person: Person, name: str, value: object) -> bool:
    return name in _IDS and isinstance(value, str | int) and not isinstance(value, bool) and str(value) in person.refs


def _loaded(raw: bytes) -> Any:  # Any: JSON
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
