"""What a shop may do with the Platform's news: one more ability beside coupons, asked for by `isinstance`.

A shop without an endpoint of the merchant's keeps, on its own customer, where the shopper stands: the tier's title, the
points, and as of when. It is read first and written only where it differs: a write is a change of the customer, which
the shop tells, which the Platform tells again; equal values end that circle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol, runtime_checkable

from pydantic import JsonValue

from app.outcomes import Outcome, Skip

TIER: Final = "tier"
POINTS: Final = "points"
AS_OF: Final = "as_of"
NAMES: Final = (TIER, POINTS, AS_OF)
"""What is kept on a customer; each shop puts its prefix or namespace before them."""


CLOCKS: Final = timedelta(days=1)
"""So far the Platform's clock, which tells `as_of`, may be ahead of ours."""


@runtime_checkable
class TakesNews(Protocol):
    async def take_news(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """Tell the shop what the Platform said: a topic of its webhooks and their body. May come twice, with the same
        `message_id`; the newest about a customer comes last."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a shopper stands. `customer_id` is the shop's; None: the news does not tell it, and what is there stays."""

    customer_id: str
    tier: str | None
    points: int | None
    as_of: datetime | None


def standing(topic: str, body: Mapping[str, JsonValue]) -> Standing | Skip:
    """Where the shopper of a webhook stands, by the names of `platform.webhooks`; Skip, in words, when it tells none."""
    customer = body if topic == "customers/updated" else body.get("customer")
    customer_id = _text(customer.get("externalId")) if isinstance(customer, dict) else None
    if not isinstance(customer, dict) or customer_id is None:
        return Skip("the Platform's news is about nobody with an id of this shop")
    tier = _title(body.get("newTier")) or _title(customer.get("currentLoyaltyTier"))
    points = _whole(customer.get("pointBalance"))
    if tier is None and points is None:
        return Skip("the Platform's news tells neither a tier nor a balance")
    return Standing(customer_id, tier, points, _moment(customer.get("updatedAt")))


def due(told: Standing, held: Mapping[str, JsonValue], now: datetime) -> dict[str, str] | Skip:
    """What has to be written, by `NAMES`, where the customer has `held` now; Skip when nothing has, or it is newer.

    What claims to be of a time to come was not written by us, and would stay for ever.
    """
    shown = _moment(held.get(AS_OF))
    if shown and told.as_of and told.as_of < shown < now + CLOCKS:
        return Skip("the shop's customer has newer news already")
    wanted = {TIER: told.tier, POINTS: None if told.points is None else str(told.points)}
    if all(value is None or value == _text(held.get(name)) for name, value in wanted.items()):
        return Skip("the shop's customer has this tier and these points already")
    wanted[AS_OF] = told.as_of.isoformat() if told.as_of else None
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
