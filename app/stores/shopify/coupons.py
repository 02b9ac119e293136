"""Shopify discounts: the input of a spec, and the translation of a store's discount. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.outcomes import Reject
from platform_relay.core.plain_numbers import is_count
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.base import CouponKind, CouponSpec, StoreCoupon, invalid_items, not_supported
from platform_relay.stores.clock import immediate_start
from platform_relay.stores.parsing import format_time, json_number, value_at
from platform_relay.stores.shopify.documents import ITEMS_READ

Object = Mapping[str, JsonValue]
TITLE_CHARS: Final = 255
TAG: Final = re.compile(r"pr:([A-Za-z0-9-]{1,37})", re.ASCII)
"""A tag with a redemption's id. 40 characters is the shortest limit of all resources of Shopify; commas are not allowed."""


def gid(kind: str, plain: str) -> str:
    """`4711` → `gid://shopify/Customer/4711`. A gid is returned unchanged."""
    return plain if plain.startswith("gid://") else f"gid://shopify/{kind}/{plain}"


def plain_id(value: JsonValue) -> str:
    """`gid://shopify/Customer/4711` → `4711`, the number that Shopify's webhooks contain."""
    return str(value).rpartition("/")[2]


def unsupported(spec: CouponSpec) -> Reject | None:
    """Reject for options that some of Shopify's discounts do not support. `Shopify.CANNOT` has those that none supports."""
    items = "variant_ids" if spec.variant_ids else "product_ids"
    if refused := invalid_items(spec, [item_id for item_id in spec.items if not is_count(item_id)]):
        return refused  # Shopify would return a gid as its number
    if len(spec.items) > ITEMS_READ:
        return not_supported(spec, items, f"a coupon can be restricted to at most {ITEMS_READ} of them")
    if spec.items and spec.kind is CouponKind.FREE_SHIPPING:
        return not_supported(spec, items, "Shopify cannot limit free shipping to products or variants")
    if spec.customer_id is not None and not is_count(plain_id(spec.customer_id)):
        problem = "its customer_id is not the id of a Shopify customer"  # without the id, which is personal data
        return Reject(because(ReasonCode.COUPON_INVALID, code=spec.code, field="customer_id", problem=problem))
    return None


def coupon_input(spec: CouponSpec, now: datetime) -> dict[str, JsonValue]:
    """`DiscountCodeBasicInput`, for free shipping `DiscountCodeFreeShippingInput`.

    `startsAt` is required; if the coupon is valid immediately, it is in the past. Times are whole seconds in UTC, amounts are
    strings, and a percentage is a fraction from 0 to 1. A free shipping discount cannot be combined with another one.
    """
    shipping = spec.kind is CouponKind.FREE_SHIPPING
    customers: dict[str, JsonValue] = {"customers": {"add": [gid("Customer", spec.customer_id or "")]}}
    coupon: dict[str, JsonValue] = {
        "title": (spec.title or spec.code)[:TITLE_CHARS],
        "code": spec.code,
        "startsAt": format_time(spec.starts_at or immediate_start(now)),
        "endsAt": format_time(spec.expires_at),
        "usageLimit": spec.usage_limit,
        "appliesOncePerCustomer": spec.per_customer_limit == 1,
        "combinesWith": {
            "orderDiscounts": spec.combinable,
            "productDiscounts": spec.combinable,
            "shippingDiscounts": spec.combinable and not shipping,
        },
        "context": customers if spec.customer_id else {"all": "ALL"},
    }
    if spec.reference and TAG.fullmatch(f"pr:{spec.reference}"):
        coupon["tags"] = [f"pr:{spec.reference}"]
    if spec.minimum_spend:
        coupon["minimumRequirement"] = {"subtotal": {"greaterThanOrEqualToSubtotal": f"{spec.minimum_spend:f}"}}
    if shipping:
        coupon["destination"] = {"all": True}
    else:
        coupon["customerGets"] = {"value": _value(spec), "items": _items(spec)}
    return {name: value for name, value in coupon.items() if value is not None}


def _value(spec: CouponSpec) -> JsonValue:
    value = spec.value or Decimal(0)
    if spec.kind is CouponKind.PERCENTAGE:
        return {"percentage": json_number(value / 100)}
    return {"discountAmount": {"amount": f"{value:f}", "appliesOnEachItem": False}}


def _items(spec: CouponSpec) -> JsonValue:
    if spec.variant_ids:
        return {"products": {"productVariantsToAdd": [gid("ProductVariant", item_id) for item_id in spec.variant_ids]}}
    if spec.product_ids:
        return {"products": {"productsToAdd": [gid("Product", item_id) for item_id in spec.product_ids]}}
    return {"all": True}


def parse_coupon(node: JsonValue, code: str) -> StoreCoupon | None:
    """Translate a `DiscountCodeNode`; None if the value is not one. `code` is the code of the lookup.

    A discount that is neither basic nor free shipping (buy X get Y, or one of an app) has no kind.
    """
    discount = value_at(node, "codeDiscount")
    if not isinstance(node, dict) or not isinstance(node.get("id"), str) or not isinstance(discount, dict):
        return None
    if discount.get("__typename") not in ("DiscountCodeBasic", "DiscountCodeFreeShipping"):
        return StoreCoupon(str(node["id"]), code, None, active=False, restrictions=(str(discount.get("__typename")),))
    try:
        return _coupon(str(node["id"]), discount, code)
    except (InvalidOperation, KeyError, TypeError, ValueError):
        return None


def _coupon(store_id: str, discount: Object, code: str) -> StoreCoupon:
    """Raises KeyError, TypeError, ValueError or InvalidOperation if the discount does not fit the schema."""
    codes = [str(_object(row)["code"]) for row in _rows(discount["codes"])]
    restrictions: list[str] = [] if _object(discount["codesCount"])["count"] == 1 else ["further codes"]
    customer_id = _buyers(_object(discount["context"]), restrictions)
    minimum, minimum_currency = _minimum(discount.get("minimumRequirement"), restrictions)
    combines = _object(discount["combinesWith"])
    kind, value, currency = _discount(discount, restrictions)
    products, variants = _restricted_items(discount, restrictions)
    used, limit = discount["asyncUsageCount"], discount["usageLimit"]
    return StoreCoupon(
        store_id=store_id,
        code=next((known for known in codes if known.casefold() == code.casefold()), codes[0] if codes else code),
        kind=kind,
        value=value,
        currency=currency or minimum_currency,
        product_ids=products,
        variant_ids=variants,
        minimum_spend=minimum,
        usage_limit=limit if isinstance(limit, int) else None,
        per_customer_limit=1 if discount["appliesOncePerCustomer"] is True else None,
        used=used if isinstance(used, int) else None,
        customer_id=customer_id,
        combinable=any(combines[name] is True for name in ("orderDiscounts", "productDiscounts", "shippingDiscounts")),
        starts_at=_parse_time(discount["startsAt"]),
        expires_at=_parse_time(discount["endsAt"]),
        active=discount["status"] in ("ACTIVE", "SCHEDULED"),
        restrictions=tuple(restrictions),
        unreadable=frozenset({"email"}) if customer_id else frozenset(),
        reference=_reference(discount.get("tags")),
        any_case=True,
    )


def _reference(tags: JsonValue) -> str | None:
    matches = [TAG.fullmatch(str(tag)) for tag in tags] if isinstance(tags, list) else []
    return next((match[1] for match in matches if match), None)


def _discount(discount: Object, restrictions: list[str]) -> tuple[CouponKind | None, Decimal | None, str | None]:
    """The kind, value and currency."""
    if discount["__typename"] == "DiscountCodeFreeShipping":
        if _object(discount["destinationSelection"])["__typename"] != "DiscountCountryAll":
            restrictions.append("countries")
        if discount.get("maximumShippingPrice") is not None:
            restrictions.append("a maximum shipping price")
        return CouponKind.FREE_SHIPPING, None, None
    value = _object(_object(discount["customerGets"])["value"])
    match value["__typename"]:
        case "DiscountPercentage":
            return CouponKind.PERCENTAGE, _amount(value["percentage"]) * 100, None
        case "DiscountAmount":
            money = _object(value["amount"])
            if value["appliesOnEachItem"] is True:
                restrictions.append("its amount on each item")
            return CouponKind.FIXED_AMOUNT, _amount(money["amount"]), str(money["currencyCode"])
    return None, None, None


def _restricted_items(discount: Object, restrictions: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The products and the variants. A discount for both is valid for either."""
    if discount["__typename"] == "DiscountCodeFreeShipping":
        return (), ()
    items = _object(_object(discount["customerGets"])["items"])
    if items["__typename"] == "DiscountCollections":
        restrictions.append("collections")
    if items["__typename"] != "DiscountProducts":
        return (), ()
    for name, text in (("products", "further products"), ("productVariants", "further variants")):
        if _object(_object(items[name])["pageInfo"])["hasNextPage"] is True:
            restrictions.append(text)
    products, variants = (
        tuple(plain_id(_object(row)["id"]) for row in _rows(items[name])) for name in ("products", "productVariants")
    )
    return products, variants


def _buyers(context: Object, restrictions: list[str]) -> str | None:
    match context["__typename"]:
        case "DiscountBuyerSelectionAll":
            return None
        case "DiscountCustomers":
            customers = context["customers"]
            ids = [plain_id(_object(row)["id"]) for row in customers] if isinstance(customers, list) else []
            return ", ".join(ids) or "nobody"
    restrictions.append(f"buyers: {context['__typename']}")
    return None


def _minimum(requirement: JsonValue, restrictions: list[str]) -> tuple[Decimal | None, str | None]:
    """The minimum spend and its currency."""
    if requirement is None:
        return None, None
    rule = _object(requirement)
    if rule["__typename"] == "DiscountMinimumSubtotal":
        money = _object(rule["greaterThanOrEqualToSubtotal"])
        return _amount(money["amount"]) or None, str(money["currencyCode"])
    restrictions.append("a minimum quantity")
    return None, None


def _object(value: JsonValue) -> Object:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _rows(connection: JsonValue) -> list[JsonValue]:
    nodes = _object(connection)["nodes"]
    if not isinstance(nodes, list):
        raise TypeError("not a connection")
    return nodes


def _amount(value: JsonValue) -> Decimal:
    """An amount with at least two decimal places. Shopify returns 5.00 as 5.0."""
    amount = plain_numbers.amount(value)
    return amount.quantize(Decimal("0.01")) if int(amount.as_tuple().exponent) > -2 else amount


def _parse_time(value: JsonValue) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value)).astimezone(UTC)
