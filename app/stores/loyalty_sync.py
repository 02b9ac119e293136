"""The optional ability of an adapter to sync loyalty data: the customer's tier and points, written to the store's customer.

Stores without an endpoint of the merchant keep three fields on their own customer: the title of the tier, the points, and
the time that both belong to. The relay reads the fields first and writes only differences. Each write changes the customer,
which the store reports to the relay, and the Platform then reports again; writing equal values would never end.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.http import HttpResponse
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.responses import Responses

TIER: Final = "tier"
POINTS: Final = "points"
AS_OF: Final = "as_of"
FIELDS: Final = (TIER, POINTS, AS_OF)
"""The fields that are stored on a customer."""
PREFIX: Final = "platform_relay_"
"""The prefix of the fields, in stores without namespaces."""
StoredFields = Mapping[str, JsonValue]
"""The stored fields of a customer, by `FIELDS`."""

CLOCK_TOLERANCE: Final = timedelta(days=1)
"""How far the Platform's clock, which sets `as_of`, may be ahead of the relay's clock."""


@runtime_checkable
class SyncsLoyalty(Protocol):
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """Write the tier and points in one webhook of the Platform to the store. `topic` and `body` are the webhook's.

        May be called twice with the same `message_id`. The newest webhook of a customer comes last.
        """


@runtime_checkable
class ChecksLoyaltySync(Protocol):
    async def check_loyalty_sync(self) -> Outcome:
        """Check the permission that `sync_loyalty` needs. Changes no customer. The reason code is `permission_missing` if it
        is missing; a Reject for another reason (the customer does not exist, the request is invalid) means that it is there."""


@dataclass(frozen=True, slots=True)
class LoyaltyStatus:
    """A customer's tier and points at the time `as_of`. `customer_id` is the store's. None: not in the webhook; the stored
    value is kept."""

    customer_id: str
    tier: str | None
    points: int | None
    as_of: datetime | None


async def sync_customer(
    responses: Responses,
    topic: str,
    body: Mapping[str, JsonValue],
    *,
    parse_id: Callable[[str], str | None],
    read: Callable[[str], Coroutine[Any, Any, StoredFields]],
    write: Callable[[str, Mapping[str, str]], Coroutine[Any, Any, StoredFields]],
) -> Outcome:
    """Write a customer's tier and points to the store's customer, where they differ.

    `parse_id` returns the id in the form that the store uses, or None if it is not an id of the store. `read` returns the
    stored fields, `write` the stored fields after the change. Raises CallFailed if `read` or `write` do.
    """
    status = loyalty_status(topic, body)
    if isinstance(status, Skip):
        return status
    customer_id = parse_id(status.customer_id)
    if customer_id is None:
        return _not_applicable(f"the customer in the webhook has no id of {responses.destination}")
    changes = fields_to_write(status, await read(customer_id), datetime.now(UTC))
    if isinstance(changes, Skip):
        return changes
    stored = await write(customer_id, changes)
    if any(_text(stored.get(name)) != value for name, value in changes.items()):
        raise responses.unreadable("the change of the customer", "it does not contain the changed fields")
    return Done()


def stored_fields(values: Mapping[Any, JsonValue], prefix: str) -> StoredFields:
    """The stored fields among a customer's metadata, whose keys have a prefix."""
    return {name: values[prefix + name] for name in FIELDS if prefix + name in values}


def numeric_id(customer_id: str) -> str | None:
    """The id of a customer in a store whose ids are numbers from 1; None for any other text."""
    number = plain_numbers.integer(customer_id) if plain_numbers.is_count(customer_id) else 0
    return str(number) if number else None


def customer_not_found(responses: Responses, customer_id: str, answer: HttpResponse | None = None) -> CallFailed:
    """To raise: the store has no customer with this id."""
    reason = responses.reason(ReasonCode.ENTITY_NOT_FOUND, answer, entity="customer", id=customer_id)
    return CallFailed(Reject(reason, answer.evidence() if answer else Evidence()))


def not_blocking(failed: CallFailed) -> CallFailed:
    """The failure of a call about a customer: Reject instead of Blocked if a permission is missing. Only these calls need the
    permission, so its absence must not pause the store and its coupons."""
    missing = failed.outcome.reason.code is ReasonCode.PERMISSION_MISSING
    return CallFailed(Reject(failed.outcome.reason, failed.outcome.evidence)) if missing else failed


def _not_applicable(explanation: str) -> Skip:
    return Skip(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))


def loyalty_status(topic: str, body: Mapping[str, JsonValue]) -> LoyaltyStatus | Skip:
    """Read the customer's tier and points from a webhook of the Platform. Skip if it contains none."""
    customer = body if topic == "customers/updated" else body.get("customer")
    customer_id = _text(customer.get("externalId")) if isinstance(customer, dict) else None
    if not isinstance(customer, dict) or customer_id is None:
        return _not_applicable("the webhook contains no customer of the store")
    tier = _title(body.get("newTier")) or _title(customer.get("currentLoyaltyTier"))
    points = _integer(customer.get("pointBalance"))
    if tier is None and points is None:
        return _not_applicable("the webhook contains neither a tier nor a point balance")
    return LoyaltyStatus(customer_id, tier, points, _parse_time(customer.get("updatedAt")))


def fields_to_write(status: LoyaltyStatus, stored: StoredFields, now: datetime) -> dict[str, str] | Skip:
    """The fields that must be written, by `FIELDS`. Skip if none differs, or if the stored fields are newer.

    A stored time in the future does not count as newer: the relay did not write it, and it would block all updates.
    """
    stored_at = _parse_time(stored.get(AS_OF))
    if stored_at and status.as_of and status.as_of < stored_at < now + CLOCK_TOLERANCE:
        return Skip(because(ReasonCode.NEWER_VERSION, newer=stored_at.isoformat()))
    fields = {TIER: status.tier, POINTS: None if status.points is None else str(status.points)}
    if all(value is None or value == _text(stored.get(name)) for name, value in fields.items()):
        return Skip(because(ReasonCode.UNCHANGED, destination="the store"))
    fields[AS_OF] = status.as_of.isoformat() if status.as_of else None
    return {name: value for name, value in fields.items() if value is not None}


def _title(tier: JsonValue) -> str | None:
    return _text(tier.get("title")) if isinstance(tier, dict) else None


def _integer(value: JsonValue) -> int | None:
    try:
        number = plain_numbers.amount(value)
    except plain_numbers.NotANumberError:
        return None
    return int(number) if abs(number.adjusted()) <= 15 and number == int(number) else None


def _text(value: JsonValue) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (value.strip()[:255] or None) if isinstance(value, str) else None


def _parse_time(value: JsonValue) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None
