"""What a store may do with the Platform's news: one more ability beside coupons, asked for by `isinstance`.

A store without an endpoint of the merchant's keeps, on its own customer, where the customer stands: the tier's title, the
points, and as of when. It is read first and written only where it differs: a write is a change of the customer, which
the store tells, which the Platform tells again; equal values end that circle.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import JsonValue

from platform_relay.core.http import Answer
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.responses import Responses

TIER: Final = "tier"
POINTS: Final = "points"
AS_OF: Final = "as_of"
NAMES: Final = (TIER, POINTS, AS_OF)
"""What is kept on a customer; each store puts its prefix or namespace before them."""
Kept = Mapping[str, JsonValue]
"""What a customer has, by `NAMES`."""

CLOCKS: Final = timedelta(days=1)
"""So far the Platform's clock, which tells `as_of`, may be ahead of ours."""


@runtime_checkable
class SyncsLoyalty(Protocol):
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """Tell the store what the Platform said: a topic of its webhooks and their body. May come twice, with the same
        `message_id`; the newest about a customer comes last."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a customer stands. `customer_id` is the store's; None: the news does not tell it, and what is there stays."""

    customer_id: str
    tier: str | None
    points: int | None
    as_of: datetime | None


async def keep_standing(
    responses: Responses,
    topic: str,
    body: Mapping[str, JsonValue],
    *,
    own_id: Callable[[str], str | None],
    read: Callable[[str], Coroutine[Any, Any, Kept]],
    write: Callable[[str, Mapping[str, str]], Coroutine[Any, Any, Kept]],
) -> Outcome:
    """Keep on the store's customer where the customer stands. `own_id` is the customer's id as the store writes it, None
    for what is none; `write` returns what the store shows after it. Raises CallFailed as `read` and `write` do."""
    news = standing(topic, body)
    if isinstance(news, Skip):
        return news
    customer_id = own_id(news.customer_id)
    if customer_id is None:
        return _nothing(f"the webhook's customer has no id of {responses.destination}")
    wanted = due(news, await read(customer_id), datetime.now(UTC))
    if isinstance(wanted, Skip):
        return wanted
    kept = await write(customer_id, wanted)
    if any(_text(kept.get(name)) != value for name, value in wanted.items()):
        raise responses.unreadable("the change of the customer", "it does not show what was changed")
    return Done()


def whole_id(customer_id: str) -> str | None:
    """The id of a customer in a store that counts them from 1."""
    number = int(customer_id) if customer_id.isascii() and customer_id.isdigit() else 0
    return str(number) if number else None


def no_such_customer(responses: Responses, customer_id: str, answer: Answer | None = None) -> CallFailed:
    """To raise: the store does not know the customer."""
    reason = responses.reason(ReasonCode.ENTITY_NOT_FOUND, answer, entity="customer", id=customer_id)
    return CallFailed(Reject(reason, answer.evidence() if answer else Evidence()))


def of_customers_alone(failed: CallFailed) -> CallFailed:
    """The failure of a call about a customer. A permission that only these calls need is no reason to pause the store,
    coupons and all: Reject instead of Blocked."""
    missing = failed.outcome.reason.code is ReasonCode.PERMISSION_MISSING
    return CallFailed(Reject(failed.outcome.reason, failed.outcome.evidence)) if missing else failed


def _nothing(explanation: str) -> Skip:
    return Skip(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))


def standing(topic: str, body: Mapping[str, JsonValue]) -> Standing | Skip:
    """Where the customer of a webhook stands, by the names of `platform.webhooks`; Skip when it tells none."""
    customer = body if topic == "customers/updated" else body.get("customer")
    customer_id = _text(customer.get("externalId")) if isinstance(customer, dict) else None
    if not isinstance(customer, dict) or customer_id is None:
        return _nothing("the webhook names no customer of the store")
    tier = _title(body.get("newTier")) or _title(customer.get("currentLoyaltyTier"))
    points = _whole(customer.get("pointBalance"))
    if tier is None and points is None:
        return _nothing("the webhook carries neither a tier nor a balance")
    return Standing(customer_id, tier, points, _moment(customer.get("updatedAt")))


def due(news: Standing, held: Kept, now: datetime) -> dict[str, str] | Skip:
    """What has to be written, by `NAMES`, where the customer has `held` now; Skip when nothing has, or it is newer.

    What claims to be of a time to come was not written by us, and would stay for ever.
    """
    shown = _moment(held.get(AS_OF))
    if shown and news.as_of and news.as_of < shown < now + CLOCKS:
        return Skip(because(ReasonCode.NEWER_VERSION, newer=shown.isoformat()))
    wanted = {TIER: news.tier, POINTS: None if news.points is None else str(news.points)}
    if all(value is None or value == _text(held.get(name)) for name, value in wanted.items()):
        return Skip(because(ReasonCode.UNCHANGED, destination="the store"))
    wanted[AS_OF] = news.as_of.isoformat() if news.as_of else None
    return {name: value for name, value in wanted.items() if value is not None}


def _title(tier: JsonValue) -> str | None:
    return _text(tier.get("title")) if isinstance(tier, dict) else None


def _whole(value: JsonValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    sensible = number.is_finite() and abs(number.adjusted()) <= 15
    return int(number) if sensible and number == int(number) else None


def _text(value: JsonValue) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (value.strip()[:255] or None) if isinstance(value, str) else None


def _moment(value: JsonValue) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None
