"""Coupons in Shopify's words and back. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, foreign_items, not_supported
from platform_relay.stores.shopify.documents import ITEMS_READ

Object = Mapping[str, JsonValue]
TITLE_CHARS: Final = 255
TAG: Final = re.compile(r"pr:([A-Za-z0-9-]{1,37})", re.ASCII)
"""A tag with a redemption's id: 40 characters, the fewest that Shopify takes of any resource's tags, and no comma."""


def gid(kind: str, plain: str) -> str:
    """`4711` → `gid://shopify/Customer/4711`; what is a gid already stays."""
    return plain if plain.startswith("gid://") else f"gid://shopify/{kind}/{plain}"


def plain_id(value: JsonValue) -> str:
    """`gid://shopify/Customer/4711` → `4711`: the number that Shopify's webhooks carry too."""
    return str(value).rpartition("/")[2]


def inexpressible(order: CouponSpec) -> Reject | None:
    """What only some of Shopify's discounts cannot express; `Shopify.CANNOT` names what none can."""
    items = "variant_ids" if order.variant_ids else "product_ids"
    if refused := foreign_items(order, [each for each in order.items if not each.isdecimal()]):
        return refused  # a gid would be read back as its number
    if len(order.items) > ITEMS_READ:
        return not_supported(order, items, f"a coupon can be for at most {ITEMS_READ} of them")
    if order.items and order.kind is CouponKind.FREE_SHIPPING:
        return not_supported(order, items, "Shopify cannot limit free shipping to products or variants")
    if order.customer_id is not None and not plain_id(order.customer_id).isdecimal():
        problem = "its customer_id is not the id of a Shopify customer"  # without the id, which is personal
        return Reject(because(ReasonCode.COUPON_INVALID, code=order.code, field="customer_id", problem=problem))
    return None


def coupon_input(order: CouponSpec, now: datetime) -> dict[str, JsonValue]:
    """`DiscountCodeBasicInput`, for free shipping `DiscountCodeFreeShippingInput`.

    `startsAt` must be given (a blank one is refused). Times are whole seconds in UTC, amounts texts, a percentage a
    fraction from 0 to 1. A free shipping discount cannot be combined with another of its class.
    """
    shipping = order.kind is CouponKind.FREE_SHIPPING
    customers: dict[str, JsonValue] = {"customers": {"add": [gid("Customer", order.customer_id or "")]}}
    coupon: dict[str, JsonValue] = {
        "title": (order.title or order.code)[:TITLE_CHARS],
        "code": order.code,
        "startsAt": _written(order.starts_at or now),
        "endsAt": _written(order.expires_at) if order.expires_at else None,
        "usageLimit": order.usage_limit,
        "appliesOncePerCustomer": order.per_customer_limit == 1,
        "combinesWith": {
            "orderDiscounts": order.combinable,
            "productDiscounts": order.combinable,
            "shippingDiscounts": order.combinable and not shipping,
        },
        "context": customers if order.customer_id else {"all": "ALL"},
    }
    if order.reference and TAG.fullmatch(f"pr:{order.reference}"):
        coupon["tags"] = [f"pr:{order.reference}"]
    if order.minimum_spend:
        coupon["minimumRequirement"] = {"subtotal": {"greaterThanOrEqualToSubtotal": f"{order.minimum_spend:f}"}}
    if shipping:
        coupon["destination"] = {"all": True}
    else:
        coupon["customerGets"] = {"value": _value(order), "items": _items(order)}
    return {name: value for name, value in coupon.items() if value is not None}


def _value(order: CouponSpec) -> JsonValue:
    value = order.value or Decimal(0)
    if order.kind is CouponKind.PERCENTAGE:
        return {"percentage": float(value / 100)}
    return {"discountAmount": {"amount": f"{value:f}", "appliesOnEachItem": False}}


def _items(order: CouponSpec) -> JsonValue:
    if order.variant_ids:
        return {"products": {"productVariantsToAdd": [gid("ProductVariant", each) for each in order.variant_ids]}}
    if order.product_ids:
        return {"products": {"productsToAdd": [gid("Product", each) for each in order.product_ids]}}
    return {"all": True}


def coupon_found(node: JsonValue, code: str) -> CouponFound | None:
    """A `DiscountCodeNode` in our words; None when it is none. `code` is the one it was asked for by.

    A discount that is neither basic nor free shipping (buy X get Y, an app's own) has no kind of ours.
    """
    discount = node.get("codeDiscount") if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(node.get("id"), str) or not isinstance(discount, dict):
        return None
    if discount.get("__typename") not in ("DiscountCodeBasic", "DiscountCodeFreeShipping"):
        return CouponFound(str(node["id"]), code, None, active=False, restrictions=(str(discount.get("__typename")),))
    try:
        return _found(str(node["id"]), discount, code)
    except (InvalidOperation, KeyError, TypeError, ValueError):
        return None


def _found(store_id: str, discount: Object, code: str) -> CouponFound:
    """Raises KeyError, TypeError, ValueError or InvalidOperation where the shape is not the schema's."""
    spelled = [str(_object(each)["code"]) for each in _rows(discount["codes"])]
    restrictions: list[str] = [] if _object(discount["codesCount"])["count"] == 1 else ["further codes"]
    customer_id = _buyers(_object(discount["context"]), restrictions)
    minimum = _minimum(discount.get("minimumRequirement"), restrictions)
    combines = _object(discount["combinesWith"])
    kind, value, currency = _gives(discount, restrictions)
    products, variants = _items_found(discount, restrictions)
    used, limit = discount["asyncUsageCount"], discount["usageLimit"]
    return CouponFound(
        store_id=store_id,
        code=next((each for each in spelled if each.casefold() == code.casefold()), spelled[0] if spelled else code),
        kind=kind,
        value=value,
        currency=currency,
        product_ids=products,
        variant_ids=variants,
        minimum_spend=minimum,
        usage_limit=limit if isinstance(limit, int) else None,
        per_customer_limit=1 if discount["appliesOncePerCustomer"] is True else None,
        used=used if isinstance(used, int) else None,
        customer_id=customer_id,
        combinable=any(combines[name] is True for name in ("orderDiscounts", "productDiscounts", "shippingDiscounts")),
        starts_at=_moment(discount["startsAt"]),
        expires_at=_moment(discount["endsAt"]),
        active=discount["status"] in ("ACTIVE", "SCHEDULED"),
        restrictions=tuple(restrictions),
        unreadable=frozenset({"email"}) if customer_id else frozenset(),
        reference=_reference(discount.get("tags")),
    )


def _reference(tags: JsonValue) -> str | None:
    found = [TAG.fullmatch(str(tag)) for tag in tags] if isinstance(tags, list) else []
    return next((each[1] for each in found if each), None)


def _gives(discount: Object, restrictions: list[str]) -> tuple[CouponKind | None, Decimal | None, str | None]:
    """Kind, value, currency."""
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


def _items_found(discount: Object, restrictions: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Products, variants; what is for both is for either."""
    if discount["__typename"] == "DiscountCodeFreeShipping":
        return (), ()
    items = _object(_object(discount["customerGets"])["items"])
    if items["__typename"] == "DiscountCollections":
        restrictions.append("collections")
    if items["__typename"] != "DiscountProducts":
        return (), ()
    for name, words in (("products", "further products"), ("productVariants", "further variants")):
        if _object(_object(items[name])["pageInfo"])["hasNextPage"] is True:
            restrictions.append(words)
    products, variants = (
        tuple(plain_id(_object(each)["id"]) for each in _rows(items[name])) for name in ("products", "productVariants")
    )
    return products, variants


def _buyers(context: Object, restrictions: list[str]) -> str | None:
    match context["__typename"]:
        case "DiscountBuyerSelectionAll":
            return None
        case "DiscountCustomers":
            customers = context["customers"]
            ids = [plain_id(_object(each)["id"]) for each in customers] if isinstance(customers, list) else []
            return ", ".join(ids) or "nobody"
    restrictions.append(f"buyers: {context['__typename']}")
    return None


def _minimum(requirement: JsonValue, restrictions: list[str]) -> Decimal | None:
    if requirement is None:
        return None
    rule = _object(requirement)
    if rule["__typename"] == "DiscountMinimumSubtotal":
        return _amount(_object(rule["greaterThanOrEqualToSubtotal"])["amount"]) or None
    restrictions.append("a minimum quantity")
    return None


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
    """Written with two places at least: Shopify shows 5.00 as 5.0."""
    amount = Decimal(str(value))
    if not amount.is_finite():
        raise InvalidOperation
    return amount.quantize(Decimal("0.01")) if int(amount.as_tuple().exponent) > -2 else amount


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(value: JsonValue) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value)).astimezone(UTC)
