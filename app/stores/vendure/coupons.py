"""Vendure's promotions: the input of a spec, and the translation of a store's promotion. Pure.

    fixed amount       action order_fixed_discount, in minor units (the server's money strategy defines the digits)
                       with products or variants: rejected, because Vendure takes it off the whole order
    percentage         action order_percentage_discount; with products or variants products_percentage_discount
    free shipping      action free_shipping; with products or variants also the condition contains_products, so the order
                       must contain one of them
    free product       condition and action buy_x_get_y_free, "buy 1 of these, get 1 of these free": one unit
                       (products_percentage_discount would make every unit free)
    usage_limit        usageLimit; per customer perCustomerUsageLimit
    minimum spend      condition minimum_order_amount, tax included
    starts, expires    startsAt, endsAt

Values of arguments are strings; a list of ids is JSON in a string. A product is expressed by all of its variants: the list is read
as variants, and as the products whose variants it contains.
Verified in orders of Vendure 3.7.3; the live suite repeats it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponKind, CouponSpec, StoreCoupon, not_supported
from platform_relay.stores.parsing import Row, format_time, objects, parse_time, value_at, whole_number

FIXED, PERCENT, OF_PRODUCTS = "order_fixed_discount", "order_percentage_discount", "products_percentage_discount"
SHIPPING, FREE, CONTAINS, MINIMUM = "free_shipping", "buy_x_get_y_free", "contains_products", "minimum_order_amount"
REDEMPTION: Final = "Redemption "
"""The text before the reference in the description of a promotion."""
KINDS: Final[Mapping[str, CouponKind]] = {
    FIXED: CouponKind.FIXED_AMOUNT,
    PERCENT: CouponKind.PERCENTAGE,
    OF_PRODUCTS: CouponKind.PERCENTAGE,
    SHIPPING: CouponKind.FREE_SHIPPING,
    FREE: CouponKind.FREE_PRODUCT,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """The product of a variant, and the time at which the variant was created."""

    product_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Market:
    """The channel in which coupons are valid. `digits`: the number of decimal digits in a stored amount."""

    name: str
    currency: str
    currencies: frozenset[str]
    language: str
    digits: int


def parse_variant(row: Row) -> Variant:
    """Translate a row of the query Variants. If its time cannot be read, it counts as created before every promotion."""
    try:
        created_at = parse_time(row.get("createdAt"))
    except ValueError:
        created_at = None
    return Variant(str(row.get("productId")), created_at or datetime.min.replace(tzinfo=UTC))


def parse_market(data: Row) -> Market | None:
    """Translate the response to the query Market; None if it has another structure."""
    channel, digits = (
        data.get("activeChannel"),
        value_at(data, "globalSettings", "serverConfig", "moneyStrategyPrecision"),
    )
    if not isinstance(channel, dict) or not isinstance(digits, int):
        return None
    currencies = channel.get("availableCurrencyCodes")
    currency = str(channel.get("defaultCurrencyCode"))
    return Market(
        name=str(channel.get("code")),
        currency=currency,
        currencies=frozenset(str(code) for code in currencies)
        if isinstance(currencies, list)
        else frozenset({currency}),
        language=str(channel.get("defaultLanguageCode")),
        digits=digits,
    )


def unsupported(spec: CouponSpec, market: Market) -> Reject | None:
    """Reject for options that this channel does not support. `Vendure.CANNOT` has those that no channel supports."""
    if spec.kind is CouponKind.FIXED_AMOUNT and spec.items:
        problem = "Vendure takes a fixed amount off the whole order, also off other products; use a percentage"
        return not_supported(spec, "variant_ids" if spec.variant_ids else "product_ids", problem)
    if (spec.kind is CouponKind.FIXED_AMOUNT or spec.minimum_spend) and len(market.currencies) > 1:
        currencies = ", ".join(sorted(market.currencies))
        problem = (
            f"the channel {market.name} sells in {currencies}, and Vendure would apply the same amount in each of them"
        )
        return not_supported(spec, "currency", problem)
    if any(_minor(amount, market) is None for amount in (spec.minimum_spend, _amount(spec)) if amount):
        return not_supported(spec, "value", f"this store keeps {market.digits} decimal digits of an amount")
    return None


def promotion_input(spec: CouponSpec, market: Market, variants: tuple[str, ...]) -> Row:
    """The input of createPromotion. `variants`: the requested variants, or those of the requested products."""
    ids = json.dumps(list(variants))
    conditions: list[JsonValue] = []
    if spec.minimum_spend:
        amount = _minor(spec.minimum_spend, market) or ""
        conditions.append(_operation(MINIMUM, amount=amount, taxInclusive="true"))
    if spec.kind is CouponKind.FREE_PRODUCT:
        conditions.append(_operation(FREE, amountX="1", variantIdsX=ids, amountY="1", variantIdsY=ids))
    elif variants and spec.kind is not CouponKind.PERCENTAGE:
        conditions.append(_operation(CONTAINS, minimum="1", productVariantIds=ids))
    reference = f"{REDEMPTION}{spec.reference}" if spec.reference else ""
    return {
        "enabled": True,
        "couponCode": spec.code,
        "startsAt": format_time(spec.starts_at),
        "endsAt": format_time(spec.expires_at),
        "usageLimit": spec.usage_limit,
        "perCustomerUsageLimit": spec.per_customer_limit,
        "conditions": conditions,
        "actions": [_action(spec, market, ids)],
        "translations": [{"languageCode": market.language, "name": spec.title or spec.code, "description": reference}],
    }


def parse_promotion(row: Row, market: Market, known: Mapping[str, Variant], now: datetime) -> StoreCoupon | None:
    """Translate a promotion of Vendure; None if the value is not a promotion.

    `known`: all variants of the products whose variants the promotion contains. A variant that is not in it counts as a product.
    If an argument is not a number, the kind is unknown.
    """
    conditions, actions = _operations(row.get("conditions")), _operations(row.get("actions"))
    if not isinstance(row.get("id"), str) or not isinstance(row.get("couponCode"), str):
        return None
    if conditions is None or actions is None:
        return None
    try:
        created_at, starts_at, expires_at = (parse_time(row.get(name)) for name in ("createdAt", "startsAt", "endsAt"))
    except ValueError:
        return None
    coupon = StoreCoupon(
        store_id=str(row["id"]),
        code=str(row["couponCode"]),
        kind=None,
        usage_limit=whole_number(row.get("usageLimit")),
        per_customer_limit=whole_number(row.get("perCustomerUsageLimit")),
        starts_at=starts_at,
        expires_at=expires_at,
        active=row.get("enabled") is True and (expires_at is None or expires_at > now),
        shared_item_list=True,
        unreadable=frozenset({"currency"}),
        reference=_reference(row.get("description")),
        any_case=True,
    )
    try:
        coupon = _with_operations(coupon, conditions, actions, market)
        return replace(coupon, product_ids=_products(frozenset(coupon.variant_ids), known, created_at or now))
    except (InvalidOperation, ValueError, KeyError):
        return replace(coupon, restrictions=("an argument that cannot be read",))


def _reference(description: JsonValue) -> str | None:
    if not isinstance(description, str) or not description.startswith(REDEMPTION):
        return None
    return description.removeprefix(REDEMPTION)


def variant_ids(row: Row) -> frozenset[str]:
    """The variants in the arguments of a promotion."""
    operations = [*(_operations(row.get("conditions")) or ()), *(_operations(row.get("actions")) or ())]
    lists = (value for _, arguments in operations for name, value in arguments.items() if "ariantIds" in name)
    return frozenset(variant_id for value in lists for variant_id in _ids(value))


def _products(variants: frozenset[str], known: Mapping[str, Variant], created_at: datetime) -> tuple[str, ...]:
    """The products whose variants the promotion contains, without regard to variants that were created after it.

    A variant whose product is not complete, or not known, is returned as "variant …".
    """
    incomplete = {
        variant.product_id for key, variant in known.items() if key not in variants and variant.created_at < created_at
    }
    products = {key: variant.product_id for key, variant in known.items() if variant.product_id not in incomplete}
    return tuple(sorted({products.get(variant_id, f"variant {variant_id}") for variant_id in variants}))


def _with_operations(
    coupon: StoreCoupon,
    conditions: list[tuple[str, dict[str, str]]],
    actions: list[tuple[str, dict[str, str]]],
    market: Market,
) -> StoreCoupon:
    """The coupon with the kind, value, minimum spend, variants and restrictions in the conditions and actions."""
    restrictions: list[str] = []
    minimum, variants = None, frozenset[str]()
    for code, values in conditions:
        match code, values:
            case "minimum_order_amount", {"taxInclusive": "true"}:
                minimum = _major(values["amount"], market)
            case "contains_products", {"minimum": "1"}:
                variants |= _ids(values["productVariantIds"])
            case "buy_x_get_y_free", {"amountX": "1", "amountY": "1"} if values["variantIdsX"] == values["variantIdsY"]:
                variants |= _ids(values["variantIdsX"])
            case _:
                restrictions.append(f"the condition {code}")
    restrictions += [f"the action {code}" for code, _ in actions[1:]]
    action, arguments = actions[0] if actions else ("none", {})
    value = None
    if action == FIXED:
        value = _major(arguments["discount"], market)
    elif action in (PERCENT, OF_PRODUCTS):
        value = _number(arguments["discount"])
        variants |= _ids(arguments.get("productVariantIds", "[]"))
    if action in (FIXED, PERCENT) and variants:
        restrictions.append(f"the condition contains_products for {action}, which is taken off the whole order")
    if (action == FREE) != any(code == FREE for code, _ in conditions):
        restrictions.append("only one half of buy_x_get_y_free")
    return replace(
        coupon,
        kind=KINDS.get(action),
        value=value,
        minimum_spend=minimum,
        variant_ids=tuple(sorted(variants)),
        restrictions=tuple(restrictions),
    )


def _action(spec: CouponSpec, market: Market, ids: str) -> Row:
    percentage = f"{spec.value or Decimal(0):f}"
    match spec.kind:
        case CouponKind.FREE_SHIPPING:
            return _operation(SHIPPING)
        case CouponKind.FREE_PRODUCT:
            return _operation(FREE)
        case CouponKind.PERCENTAGE if spec.items:
            return _operation(OF_PRODUCTS, discount=percentage, productVariantIds=ids)
        case CouponKind.PERCENTAGE:
            return _operation(PERCENT, discount=percentage)
    return _operation(FIXED, discount=_minor(spec.value or Decimal(0), market) or "")


def _operation(code: str, **arguments: str) -> Row:
    return {"code": code, "arguments": [{"name": name, "value": value} for name, value in arguments.items()]}


def _operations(value: JsonValue) -> list[tuple[str, dict[str, str]]] | None:
    """The code and the arguments of each operation; None if the value is not a list of operations."""
    if not isinstance(value, list):
        return None
    operations = []
    for row in value:
        arguments = value_at(row, "args")
        if not isinstance(row, dict) or not isinstance(arguments, list):
            return None
        values = {str(argument.get("name")): str(argument.get("value")) for argument in objects(arguments)}
        operations.append((str(row.get("code")), values))
    return operations


def _ids(value: str) -> frozenset[str]:
    ids = json.loads(value)
    if not isinstance(ids, list):
        raise ValueError("not a list of ids")  # noqa: TRY004  # handled like every other invalid argument
    return frozenset(str(variant_id) for variant_id in ids)


def _amount(spec: CouponSpec) -> Decimal | None:
    return spec.value if spec.kind is CouponKind.FIXED_AMOUNT else None


def _minor(amount: Decimal, market: Market) -> str | None:
    """An amount in minor units; None if it has a fraction of a minor unit."""
    minor = amount.scaleb(market.digits)
    return f"{minor:.0f}" if minor == minor.to_integral_value() else None


def _major(value: str, market: Market) -> Decimal:
    return _number(value).scaleb(-market.digits)


def _number(value: str) -> Decimal:
    return plain_numbers.decimal(value)
