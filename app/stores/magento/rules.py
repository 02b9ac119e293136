"""A coupon as Magento's cart price rule with one coupon code, and back. Pure.

Magento keeps days only; the time that was ordered stands at the end of the rule's description and counts as long as it
fits the rule's day.

percentage      by_percent                          minimum spend   condition base_subtotal >=
fixed amount    cart_fixed                          items           action condition on their SKUs
free shipping   simple_free_shipping, amount 0      expiry          to_date: a day, in the store's time zone, inclusive
free product    by_percent 100, discount_qty 1      not combinable  stop_rules_processing

A variant is a product of its own, which a configurable product sells as its child. A percentage counts for an item whose
child fits (SalesRule's RulesApplier); a fixed amount is shared out among the items that fit by themselves, and free shipping
looks at these alone (SalesRule's Validator::initTotals, OfflineShipping's Calculator): either would come to nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, Difference, differences, not_supported
from platform_relay.stores.reading import with_cents

CLASSES: Final = "Magento\\SalesRule\\Model\\Rule\\Condition\\"
CENT: Final = Decimal("0.01")
NOTED: Final = re.compile(r"until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$")
REFERENCE: Final = re.compile(r"(?:^| )\(([^()]+)\)$")
"""How a description ends, apart from the time."""


@dataclass(frozen=True, slots=True)
class Market:
    """What the store's own configuration says, and where our rules are to hold."""

    currency: str
    zone: ZoneInfo
    media_url: str
    website_ids: tuple[int, ...]
    customer_group_ids: tuple[int, ...]
    unrestricted: bool = False
    """Coupons for one customer are made for everybody, by setting."""


def inexpressible(order: CouponSpec) -> Reject | None:
    """What only some of Magento's rules cannot say; `Magento.CANNOT` names what none can."""
    if not order.variant_ids or order.kind in (CouponKind.PERCENTAGE, CouponKind.FREE_PRODUCT):
        return None
    problem = "Magento takes a percentage off variants, no amount and no shipping; name the products in a reward rule"
    return not_supported(order, "variant_ids", problem)


def rule_name(code: str) -> str:
    """The name that our rule for a code is found by again: Magento lets any number of rules have one name."""
    return f"Platform Relay coupon {code}"


def rule_body(order: CouponSpec, market: Market, skus: tuple[str, ...]) -> dict[str, JsonValue]:
    """The rule as it is sent; `skus` are the ordered products' or variants' SKUs. Dates are the store's days."""
    free_product, free_shipping = order.kind is CouponKind.FREE_PRODUCT, order.kind is CouponKind.FREE_SHIPPING
    percent = free_product or order.kind is CouponKind.PERCENTAGE
    amount = Decimal(100) if free_product else Decimal(0) if free_shipping else order.value or Decimal(0)
    body: dict[str, JsonValue] = {
        "name": rule_name(order.code),
        "description": " ".join(filter(None, (order.title, order.reference and f"({order.reference})", _noted(order)))),
        "website_ids": list(market.website_ids),
        "customer_group_ids": list(market.customer_group_ids),
        "is_active": True,
        "coupon_type": "SPECIFIC_COUPON",
        "use_auto_generation": False,
        "uses_per_coupon": order.usage_limit or 0,
        "uses_per_customer": order.per_customer_limit or 0,
        "simple_action": "by_percent" if percent else "cart_fixed",
        "discount_amount": float(amount),
        "discount_qty": 1 if free_product else 0,
        "discount_step": 0,
        "apply_to_shipping": False,
        "simple_free_shipping": "1" if free_shipping else "0",
        "stop_rules_processing": not order.combinable,
        "sort_order": 0,
        "is_advanced": True,
        "is_rss": False,
        "times_used": 0,
    }
    if order.expires_at:
        body["to_date"] = last_day(order.expires_at, market.zone).isoformat()
    if order.minimum_spend:
        body["condition"] = _all_of("Combine", "Address", "base_subtotal", ">=", f"{order.minimum_spend:f}")
    if skus:
        operator = "==" if len(skus) == 1 else "()"
        body["action_condition"] = _all_of("Product\\Combine", "Product", "sku", operator, ",".join(skus))
    return body


def _noted(order: CouponSpec) -> str | None:
    return f"until {order.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if order.expires_at else None


def _all_of(root: str, leaf: str, attribute: str, operator: str, value: str) -> dict[str, JsonValue]:
    only: JsonValue = {
        "condition_type": CLASSES + leaf, "attribute_name": attribute, "operator": operator, "value": value,
    }  # fmt: skip
    return {
        "condition_type": CLASSES + root, "aggregator_type": "all", "operator": "", "value": "1", "conditions": [only],
    }  # fmt: skip


def coupon_body(order: CouponSpec, rule_id: int) -> dict[str, JsonValue]:
    """The second call's coupon: the code on the rule."""
    return {
        "rule_id": rule_id,
        "code": order.code,
        "usage_limit": order.usage_limit or 0,
        "usage_per_customer": order.per_customer_limit or 0,
        "times_used": 0,
        "is_primary": True,
        "type": 0,
    }


def last_day(moment: datetime, zone: ZoneInfo) -> date:
    """The day in the store's time zone through which a coupon has to be valid so as not to end before `moment`."""
    return (moment.astimezone(zone) - timedelta(microseconds=1)).date()


def unlike(order: CouponSpec, found: CouponFound, zone: ZoneInfo) -> tuple[Difference, ...]:
    """`base.differences`, with the expiry compared by the day."""
    return differences(order, aligned(order, found, zone))


def aligned(order: CouponSpec, found: CouponFound, zone: ZoneInfo) -> CouponFound:
    """`found`, its expiry the ordered one when both are on one day of the store."""
    if order.expires_at is None or found.expires_at is None:
        return found
    same = last_day(order.expires_at, zone) == last_day(found.expires_at, zone)
    return replace(found, expires_at=order.expires_at) if same else found


def sku_values(rule: Mapping[str, JsonValue]) -> tuple[str, ...] | None:
    """The SKUs that the rule is restricted to; None when its products are chosen by anything else as well."""
    leaves = _leaves(rule.get("action_condition"))
    if not leaves:
        return () if leaves == [] else None
    leaf = leaves[0]
    value = leaf.get("value")
    if len(leaves) > 1 or leaf.get("attribute_name") != "sku" or not isinstance(value, str):
        return None
    match leaf.get("operator"):
        case "==":
            return (value,)
        case "()":
            return tuple(each.strip() for each in value.split(","))
    return None


def coupon_found(
    rule: Mapping[str, JsonValue], coupon: Mapping[str, JsonValue], market: Market, ids: Mapping[str, str],
    now: datetime,
) -> CouponFound | None:  # fmt: skip
    """A rule and its coupon in our words, None when they are not Magento's. `ids` by SKU."""
    code, rule_id = coupon.get("code"), rule.get("rule_id")
    if not isinstance(code, str) or not isinstance(rule_id, int):
        return None
    try:
        amount = with_cents(rule.get("discount_amount"))
        minimum, conditions = _minimum(rule)
        begins, ends = _day(rule.get("from_date")), _day(rule.get("to_date"))
    except (InvalidOperation, ValueError):
        return None
    skus = sku_values(rule)
    items = tuple(ids.get(sku, f"SKU {sku}") for sku in skus or ())
    kind = _kind(rule, amount, bool(skus))
    expires_at = _end(rule, ends, market.zone) if ends else None
    over = ends is not None and ends < now.astimezone(market.zone).date()
    started = begins is None or begins <= now.astimezone(market.zone).date()
    return CouponFound(
        store_id=str(rule_id),
        code=code,
        kind=kind,
        value=amount if kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, None) else None,
        currency=market.currency,
        product_ids=items,
        variant_ids=items,
        one_list=True,
        minimum_spend=minimum,
        usage_limit=_count(coupon.get("usage_limit")),
        per_customer_limit=_count(coupon.get("usage_per_customer")),
        used=_count(coupon.get("times_used")) or 0,
        combinable=rule.get("stop_rules_processing") is not True,
        expires_at=expires_at,
        active=rule.get("is_active") is True and started and not over,
        restrictions=(*conditions, *_restrictions(rule, market, kind, skus)),
        unreadable=frozenset({"starts_at", "email", "customer_id"} if market.unrestricted else {"starts_at"}),
        reference=_reference(rule),
    )


def _reference(rule: Mapping[str, JsonValue]) -> str | None:
    found = REFERENCE.search(NOTED.sub("", str(rule.get("description") or "")).rstrip())
    return found[1] if found else None


def _end(rule: Mapping[str, JsonValue], ends: date, zone: ZoneInfo) -> datetime:
    """The time that we noted, where it belongs to the day that the rule ends with, else the end of that day."""
    noted = NOTED.search(str(rule.get("description") or ""))
    moment = datetime.fromisoformat(noted[1]) if noted else None
    if moment and last_day(moment, zone) == ends:
        return moment
    return datetime.combine(ends, time(23, 59, 59), zone).astimezone(UTC)


def _kind(rule: Mapping[str, JsonValue], amount: Decimal, products: bool) -> CouponKind | None:
    free_shipping = str(rule.get("simple_free_shipping") or "0") != "0"
    match rule.get("simple_action"), free_shipping:
        case _, True:
            return CouponKind.FREE_SHIPPING if amount == 0 else None
        case "by_percent", _ if products and amount == 100 and rule.get("discount_qty") == 1:
            return CouponKind.FREE_PRODUCT
        case "by_percent", _:
            return CouponKind.PERCENTAGE
        case "cart_fixed", _:
            return CouponKind.FIXED_AMOUNT
    return None


def _restrictions(
    rule: Mapping[str, JsonValue], market: Market, kind: CouponKind | None, skus: tuple[str, ...] | None
) -> list[str]:
    restrictions = []
    for name, ours in (("website_ids", market.website_ids), ("customer_group_ids", market.customer_group_ids)):
        theirs = rule.get(name)
        if not isinstance(theirs, list) or not {str(each) for each in ours} <= {str(each) for each in theirs}:
            restrictions.append(f"{name} without some of ours")
    if rule.get("discount_qty") and kind is not CouponKind.FREE_PRODUCT:
        restrictions.append("a largest quantity (discount_qty)")
    if skus is None:
        restrictions.append("conditions of its own on the products")
    if rule.get("coupon_type") != "SPECIFIC_COUPON":
        restrictions.append("another coupon_type")
    return restrictions


def _minimum(rule: Mapping[str, JsonValue]) -> tuple[Decimal | None, list[str]]:
    leaves = _leaves(rule.get("condition"))
    if leaves == []:
        return None, []
    if leaves and len(leaves) == 1 and (leaves[0].get("attribute_name"), leaves[0].get("operator")) == (
        "base_subtotal", ">=",
    ):  # fmt: skip
        return with_cents(leaves[0].get("value")), []
    return None, ["conditions of its own on the cart"]


def _leaves(root: JsonValue) -> list[dict[str, JsonValue]] | None:
    """The conditions right under "all of these are true"; [] for none; None for any other or deeper tree."""
    if not isinstance(root, dict) or not root.get("conditions"):
        return []
    below = root["conditions"]
    plain = isinstance(below, list) and all(isinstance(each, dict) and not each.get("conditions") for each in below)
    if not plain or root.get("aggregator_type") != "all" or str(root.get("value")) != "1":
        return None
    return [each for each in below if isinstance(each, dict)] if isinstance(below, list) else None


def _count(value: JsonValue) -> int | None:
    return value or None if isinstance(value, int) else None


def _day(value: JsonValue) -> date | None:
    """A date, which Magento may write with a time of 00:00:00 behind it."""
    return date.fromisoformat(str(value)[:10]) if value else None
