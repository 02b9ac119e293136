"""Vendure's promotions and our coupons, each in the words of the other. Pure.

    fixed amount       action order_fixed_discount, in minor units (digits by the server's money strategy)
                       with products or variants: condition contains_products, one of them has to be in the order
    percentage         action order_percentage_discount, with products or variants products_percentage_discount
    free shipping      action free_shipping, with products or variants as for the fixed amount
    free product       condition and action buy_x_get_y_free, "buy 1 of these, get 1 of these free": one unit
                       (products_percentage_discount would give every unit)
    usage_limit        usageLimit; per customer perCustomerUsageLimit
    minimum spend      condition minimum_order_amount, tax included
    starts, expires    startsAt, endsAt

Values of arguments are texts; lists of ids are JSON in a text. Products are named by all of their variants: the one list
is read as variants, and as the products that it covers.
Verified in orders of Vendure 3.7.3, which the live suite does again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, not_supported
from platform_relay.stores.reading import Row, count

FIXED, PERCENT, OF_PRODUCTS = "order_fixed_discount", "order_percentage_discount", "products_percentage_discount"
SHIPPING, FREE, CONTAINS, MINIMUM = "free_shipping", "buy_x_get_y_free", "contains_products", "minimum_order_amount"
REDEMPTION: Final = "Redemption "
"""What stands before the reference in a promotion's description."""
KINDS: Final[Mapping[str, CouponKind]] = {
    FIXED: CouponKind.FIXED_AMOUNT,
    PERCENT: CouponKind.PERCENTAGE,
    OF_PRODUCTS: CouponKind.PERCENTAGE,
    SHIPPING: CouponKind.FREE_SHIPPING,
    FREE: CouponKind.FREE_PRODUCT,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """What has to be known of one."""

    product_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Market:
    """What has to be known of the channel. `digits`: how many digits of a stored amount are minor units."""

    name: str
    currency: str
    currencies: frozenset[str]
    language: str
    digits: int


def variant_found(row: Row) -> Variant:
    """A row of the query Variants; one whose time cannot be read has been there always."""
    try:
        created_at = _moment(row.get("createdAt"))
    except ValueError:
        created_at = None
    return Variant(str(row.get("productId")), created_at or datetime.min.replace(tzinfo=UTC))


def market_found(data: Row) -> Market | None:
    """The channel as the query Market shows it; None when that is not what was answered."""
    channel, settings = data.get("activeChannel"), data.get("globalSettings")
    config = settings.get("serverConfig") if isinstance(settings, dict) else None
    digits = config.get("moneyStrategyPrecision") if isinstance(config, dict) else None
    if not isinstance(channel, dict) or not isinstance(digits, int):
        return None
    several = channel.get("availableCurrencyCodes")
    currency = str(channel.get("defaultCurrencyCode"))
    return Market(
        name=str(channel.get("code")),
        currency=currency,
        currencies=frozenset(str(each) for each in several) if isinstance(several, list) else frozenset({currency}),
        language=str(channel.get("defaultLanguageCode")),
        digits=digits,
    )


def inexpressible(order: CouponSpec, market: Market) -> Reject | None:
    """What this channel cannot say; `Vendure.CANNOT` names what none can."""
    if order.kind is CouponKind.FIXED_AMOUNT and len(market.currencies) > 1:
        several = ", ".join(sorted(market.currencies))
        problem = f"the channel {market.name} sells in {several}, and Vendure would give the same amount in each"
        return not_supported(order, "currency", problem)
    if any(_minor(amount, market) is None for amount in (order.minimum_spend, _amount(order)) if amount):
        return not_supported(order, "value", f"this Vendure keeps {market.digits} digits of an amount")
    return None


def promotion_input(order: CouponSpec, market: Market, variants: tuple[str, ...]) -> Row:
    """The input of createPromotion. `variants`: those that were ordered, or those of the ordered products."""
    ids = json.dumps(list(variants))
    conditions: list[JsonValue] = []
    if order.minimum_spend:
        amount = _minor(order.minimum_spend, market) or ""
        conditions.append(_operation(MINIMUM, amount=amount, taxInclusive="true"))
    if order.kind is CouponKind.FREE_PRODUCT:
        conditions.append(_operation(FREE, amountX="1", variantIdsX=ids, amountY="1", variantIdsY=ids))
    elif variants and order.kind is not CouponKind.PERCENTAGE:
        conditions.append(_operation(CONTAINS, minimum="1", productVariantIds=ids))
    reference = f"{REDEMPTION}{order.reference}" if order.reference else ""
    return {
        "enabled": True,
        "couponCode": order.code,
        "startsAt": _written(order.starts_at),
        "endsAt": _written(order.expires_at),
        "usageLimit": order.usage_limit,
        "perCustomerUsageLimit": order.per_customer_limit,
        "conditions": conditions,
        "actions": [_action(order, market, ids)],
        "translations": [
            {"languageCode": market.language, "name": order.title or order.code, "description": reference}
        ],
    }


def promotion_found(row: Row, market: Market, known: Mapping[str, Variant], now: datetime) -> CouponFound | None:
    """A promotion of Vendure in our words; None when it is no such object.

    `known`: the variants of the products that it is about; one that is not in it counts as a product of its own. An
    argument that is no number leaves the kind unknown.
    """
    conditions, actions = _operations(row.get("conditions")), _operations(row.get("actions"))
    if not isinstance(row.get("id"), str) or not isinstance(row.get("couponCode"), str):
        return None
    if conditions is None or actions is None:
        return None
    try:
        made_at, starts_at, expires_at = (_moment(row.get(name)) for name in ("createdAt", "startsAt", "endsAt"))
    except ValueError:
        return None
    found = CouponFound(
        store_id=str(row["id"]),
        code=str(row["couponCode"]),
        kind=None,
        usage_limit=count(row.get("usageLimit")),
        per_customer_limit=count(row.get("perCustomerUsageLimit")),
        starts_at=starts_at,
        expires_at=expires_at,
        active=row.get("enabled") is True and (expires_at is None or expires_at > now),
        one_list=True,
        unreadable=frozenset({"currency"}),
        reference=_reference(row.get("description")),
    )
    try:
        read = _understood(found, conditions, actions, market)
        return replace(read, product_ids=_covered(frozenset(read.variant_ids), known, made_at or now))
    except (InvalidOperation, ValueError, KeyError):
        return replace(found, restrictions=("an argument that cannot be read",))


def _reference(description: JsonValue) -> str | None:
    ours = isinstance(description, str) and description.startswith(REDEMPTION)
    return str(description).removeprefix(REDEMPTION) if ours else None


def variant_ids(row: Row) -> frozenset[str]:
    """The variants that a promotion names."""
    operations = [*(_operations(row.get("conditions")) or ()), *(_operations(row.get("actions")) or ())]
    named = (value for _, arguments in operations for name, value in arguments.items() if "ariantIds" in name)
    return frozenset(each for value in named for each in _ids(value))


def _covered(named: frozenset[str], known: Mapping[str, Variant], made_at: datetime) -> tuple[str, ...]:
    """The products all of whose variants are named, those apart that came after the promotion; the rest as variants."""
    others = {each.product_id for key, each in known.items() if key not in named and each.created_at < made_at}
    products = {key: each.product_id for key, each in known.items() if each.product_id not in others}
    return tuple(sorted({products.get(each, f"variant {each}") for each in named}))


def _understood(
    found: CouponFound,
    conditions: list[tuple[str, dict[str, str]]],
    actions: list[tuple[str, dict[str, str]]],
    market: Market,
) -> CouponFound:
    foreign: list[str] = []
    minimum, variants = None, frozenset[str]()
    for code, given in conditions:
        match code, given:
            case "minimum_order_amount", {"taxInclusive": "true"}:
                minimum = _major(given["amount"], market)
            case "contains_products", {"minimum": "1"}:
                variants |= _ids(given["productVariantIds"])
            case "buy_x_get_y_free", {"amountX": "1", "amountY": "1"} if given["variantIdsX"] == given["variantIdsY"]:
                variants |= _ids(given["variantIdsX"])
            case _:
                foreign.append(f"the condition {code}")
    foreign += [f"the action {code}" for code, _ in actions[1:]]
    action, arguments = actions[0] if actions else ("none", {})
    value = None
    if action == FIXED:
        value = _major(arguments["discount"], market)
    elif action in (PERCENT, OF_PRODUCTS):
        value = _number(arguments["discount"])
        variants |= _ids(arguments.get("productVariantIds", "[]"))
        if action == PERCENT and variants:
            foreign.append("the condition contains_products for a percentage of the whole order")
    if (action == FREE) != any(code == FREE for code, _ in conditions):
        foreign.append("half of buy_x_get_y_free")
    return replace(
        found,
        kind=KINDS.get(action),
        value=value,
        minimum_spend=minimum,
        variant_ids=tuple(sorted(variants)),
        restrictions=tuple(foreign),
    )


def _action(order: CouponSpec, market: Market, ids: str) -> Row:
    percentage = f"{order.value or Decimal(0):f}"
    match order.kind:
        case CouponKind.FREE_SHIPPING:
            return _operation(SHIPPING)
        case CouponKind.FREE_PRODUCT:
            return _operation(FREE)
        case CouponKind.PERCENTAGE if order.items:
            return _operation(OF_PRODUCTS, discount=percentage, productVariantIds=ids)
        case CouponKind.PERCENTAGE:
            return _operation(PERCENT, discount=percentage)
    return _operation(FIXED, discount=_minor(order.value or Decimal(0), market) or "")


def _operation(code: str, **arguments: str) -> Row:
    return {"code": code, "arguments": [{"name": name, "value": value} for name, value in arguments.items()]}


def _operations(value: JsonValue) -> list[tuple[str, dict[str, str]]] | None:
    """Each operation's code and arguments; None when these are no operations."""
    if not isinstance(value, list):
        return None
    read = []
    for each in value:
        arguments = each.get("args") if isinstance(each, dict) else None
        if not isinstance(each, dict) or not isinstance(arguments, list):
            return None
        pairs = [pair for pair in arguments if isinstance(pair, dict)]
        read.append((str(each.get("code")), {str(pair.get("name")): str(pair.get("value")) for pair in pairs}))
    return read


def _ids(value: str) -> frozenset[str]:
    ids = json.loads(value)
    if not isinstance(ids, list):
        raise ValueError("no list of ids")  # noqa: TRY004  # read as every other argument that is wrong
    return frozenset(str(each) for each in ids)


def _amount(order: CouponSpec) -> Decimal | None:
    return order.value if order.kind is CouponKind.FIXED_AMOUNT else None


def _minor(amount: Decimal, market: Market) -> str | None:
    """An amount in minor units; None when it has a fraction of one."""
    minor = amount.scaleb(market.digits)
    return f"{minor:.0f}" if minor == minor.to_integral_value() else None


def _major(value: str, market: Market) -> Decimal:
    return _number(value).scaleb(-market.digits)


def _number(value: str) -> Decimal:
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidOperation
    return number


def _moment(value: JsonValue) -> datetime | None:
    return datetime.fromisoformat(str(value)) if value else None


def _written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
