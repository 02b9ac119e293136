"""Magento's cart price rules with one coupon code: the bodies of a spec, and the translation of a store's rule. Pure.

Magento stores only days. The requested time is written at the end of the rule's description, and it is used as long as it fits
the rule's day.

percentage      by_percent                          minimum spend   condition base_subtotal >=
fixed amount    cart_fixed                          items           action condition on their SKUs
free shipping   simple_free_shipping, amount 0      expiry          to_date: a day in the store's time zone, inclusive
free product    by_percent 100, discount_qty 1,     not combinable  stop_rules_processing
                for one product: discount_qty counts in each line of the cart

A variant is a product, and a configurable product sells it as a child. A percentage applies to an item whose child fits
(SalesRule's RulesApplier). A fixed amount is divided among the items that fit themselves, and free shipping considers only these
(SalesRule's Validator::initTotals, OfflineShipping's Calculator): for variants, both would have no effect.
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
from platform_relay.stores.base import CouponKind, CouponSpec, StoreCoupon, not_supported
from platform_relay.stores.clock import has_started, immediate_start
from platform_relay.stores.parsing import amount_with_cents, format_time, json_number, objects, whole_number

CLASSES: Final = "Magento\\SalesRule\\Model\\Rule\\Condition\\"
EXPIRY_NOTE: Final = re.compile(r"until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$")
REFERENCE: Final = re.compile(r"(?:^| )\(([^()]+)\)$")
"""The end of a description, before the expiry note: the reference."""


@dataclass(frozen=True, slots=True)
class Market:
    """The configuration of the store, and where the relay's rules are valid. `currencies`: the base currencies of these
    websites."""

    currency: str
    currencies: frozenset[str]
    zone: ZoneInfo
    media_url: str
    website_ids: tuple[int, ...]
    customer_group_ids: tuple[int, ...]
    unrestricted: bool = False
    """Whether coupons for one customer are created for everyone, because of the setting."""


def unsupported(spec: CouponSpec) -> Reject | None:
    """Reject for options that some of Magento's rules do not support. `Magento.CANNOT` has those that none supports."""
    if spec.kind is CouponKind.FREE_PRODUCT and len(spec.items) > 1:
        problem = "Magento would make one unit of each of them free; name one in a reward rule"
        return not_supported(spec, "variant_ids" if spec.variant_ids else "product_ids", problem)
    if not spec.variant_ids or spec.kind in (CouponKind.PERCENTAGE, CouponKind.FREE_PRODUCT):
        return None
    problem = "for variants, Magento supports only percentages; name the products in a reward rule"
    return not_supported(spec, "variant_ids", problem)


def ambiguous_currency(spec: CouponSpec, market: Market) -> Reject | None:
    """Reject for an amount if the websites have several base currencies: a rule has one number for all of them."""
    if len(market.currencies) == 1 or not (spec.kind is CouponKind.FIXED_AMOUNT or spec.minimum_spend):
        return None
    currencies = ", ".join(sorted(market.currencies))
    problem = f"the websites have the currencies {currencies}, and Magento would apply the same amount in each of them"
    return not_supported(spec, "currency", problem)


def rule_name(code: str) -> str:
    """The name of the relay's rule for a code. Magento does not require unique names."""
    return f"Platform Relay coupon {code}"


def rule_body(spec: CouponSpec, market: Market, skus: tuple[str, ...], now: datetime) -> dict[str, JsonValue]:
    """The body of the rule. `skus` are those of the requested products or variants. Dates are days of the store; the first one
    is in the past, because midnight comes at another moment by the store's clock."""
    free_product, free_shipping = spec.kind is CouponKind.FREE_PRODUCT, spec.kind is CouponKind.FREE_SHIPPING
    percent = free_product or spec.kind is CouponKind.PERCENTAGE
    amount = Decimal(100) if free_product else Decimal(0) if free_shipping else spec.value or Decimal(0)
    body: dict[str, JsonValue] = {
        "name": rule_name(spec.code),
        "description": " ".join(
            filter(None, (spec.title, spec.reference and f"({spec.reference})", _expiry_note(spec)))
        ),
        "website_ids": list(market.website_ids),
        "customer_group_ids": list(market.customer_group_ids),
        "is_active": True,
        "from_date": immediate_start(now).astimezone(market.zone).date().isoformat(),
        "coupon_type": "SPECIFIC_COUPON",
        "use_auto_generation": False,
        "uses_per_coupon": spec.usage_limit or 0,
        "uses_per_customer": spec.per_customer_limit or 0,
        "simple_action": "by_percent" if percent else "cart_fixed",
        "discount_amount": json_number(amount),
        "discount_qty": 1 if free_product else 0,
        "discount_step": 0,
        "apply_to_shipping": False,
        "simple_free_shipping": "1" if free_shipping else "0",
        "stop_rules_processing": not spec.combinable,
        "sort_order": 0,
        "is_advanced": True,
        "is_rss": False,
        "times_used": 0,
    }
    if spec.expires_at:
        body["to_date"] = last_day(spec.expires_at, market.zone).isoformat()
    if spec.minimum_spend:
        body["condition"] = _all_of("Combine", "Address", "base_subtotal", ">=", f"{spec.minimum_spend:f}")
    if skus:
        operator = "==" if len(skus) == 1 else "()"
        body["action_condition"] = _all_of("Product\\Combine", "Product", "sku", operator, ",".join(skus))
    return body


def _expiry_note(spec: CouponSpec) -> str | None:
    return f"until {format_time(spec.expires_at)}" if spec.expires_at else None


def _all_of(root: str, leaf: str, attribute: str, operator: str, value: str) -> dict[str, JsonValue]:
    condition: JsonValue = {
        "condition_type": CLASSES + leaf, "attribute_name": attribute, "operator": operator, "value": value,
    }  # fmt: skip
    return {
        "condition_type": CLASSES + root, "aggregator_type": "all", "operator": "", "value": "1", "conditions": [condition],
    }  # fmt: skip


def coupon_body(spec: CouponSpec, rule_id: int) -> dict[str, JsonValue]:
    """The body of the second call: the code on the rule."""
    return {
        "rule_id": rule_id,
        "code": spec.code,
        "usage_limit": spec.usage_limit or 0,
        "usage_per_customer": spec.per_customer_limit or 0,
        "times_used": 0,
        "is_primary": True,
        "type": 0,
    }


def last_day(moment: datetime, zone: ZoneInfo) -> date:
    """The last day of a coupon, in the store's time zone, so that it does not end before `moment`."""
    return (moment.astimezone(zone) - timedelta(microseconds=1)).date()


def align_expiry(spec: CouponSpec, coupon: StoreCoupon, zone: ZoneInfo) -> StoreCoupon:
    """The coupon with the expiry of the spec, if both are on the same day of the store."""
    if spec.expires_at is None or coupon.expires_at is None:
        return coupon
    same_day = last_day(spec.expires_at, zone) == last_day(coupon.expires_at, zone)
    return replace(coupon, expires_at=spec.expires_at) if same_day else coupon


def sku_values(rule: Mapping[str, JsonValue]) -> tuple[str, ...] | None:
    """The SKUs that the rule is restricted to; None if the rule has any other condition on products."""
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
            return tuple(sku.strip() for sku in value.split(","))
    return None


def parse_coupon(
    rule: Mapping[str, JsonValue], coupon: Mapping[str, JsonValue], market: Market, ids: Mapping[str, str],
    now: datetime,
) -> StoreCoupon | None:  # fmt: skip
    """Translate a rule and its coupon; None if the values are not of Magento. `ids` are product ids by SKU."""
    code, rule_id = coupon.get("code"), rule.get("rule_id")
    if not isinstance(code, str) or not isinstance(rule_id, int):
        return None
    try:
        amount = amount_with_cents(rule.get("discount_amount"))
        minimum, conditions = _minimum(rule)
        first_day, end_day = _day(rule.get("from_date")), _day(rule.get("to_date"))
    except (InvalidOperation, ValueError):
        return None
    skus = sku_values(rule)
    items = tuple(ids.get(sku, f"SKU {sku}") for sku in skus or ())
    kind = _kind(rule, amount, bool(skus))
    expires_at = _expiry(rule, end_day, market.zone) if end_day else None
    started = first_day is None or has_started(datetime.combine(first_day, time(), market.zone), now)
    ended = end_day is not None and end_day < now.astimezone(market.zone).date()
    return StoreCoupon(
        store_id=str(rule_id),
        code=code,
        kind=kind,
        value=amount if kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, None) else None,
        currency=market.currency,
        product_ids=items,
        variant_ids=items,
        shared_item_list=True,
        minimum_spend=minimum,
        usage_limit=whole_number(coupon.get("usage_limit")) or None,
        per_customer_limit=whole_number(coupon.get("usage_per_customer")) or None,
        used=whole_number(coupon.get("times_used")) or 0,
        combinable=rule.get("stop_rules_processing") is not True,
        expires_at=expires_at,
        active=rule.get("is_active") is True and started and not ended,
        restrictions=(*conditions, *_restrictions(rule, market, kind, skus)),
        unreadable=frozenset({"starts_at", "email", "customer_id"} if market.unrestricted else {"starts_at"}),
        reference=_reference(rule),
        any_case=True,
    )


def _reference(rule: Mapping[str, JsonValue]) -> str | None:
    match = REFERENCE.search(EXPIRY_NOTE.sub("", str(rule.get("description") or "")).rstrip())
    return match[1] if match else None


def _expiry(rule: Mapping[str, JsonValue], day: date, zone: ZoneInfo) -> datetime:
    """The time in the description, if it fits the last day of the rule; otherwise the end of that day."""
    note = EXPIRY_NOTE.search(str(rule.get("description") or ""))
    moment = datetime.fromisoformat(note[1]) if note else None
    if moment and last_day(moment, zone) == day:
        return moment
    return datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC)


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
    for name, required in (("website_ids", market.website_ids), ("customer_group_ids", market.customer_group_ids)):
        actual = rule.get(name)
        if not isinstance(actual, list) or not {str(number) for number in required} <= {
            str(number) for number in actual
        }:
            restrictions.append(f"{name} lacks some of the configured ones")
    if rule.get("discount_qty") and kind is not CouponKind.FREE_PRODUCT:
        restrictions.append("a maximum quantity (discount_qty)")
    if skus is None:
        restrictions.append("other conditions on the products")
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
        return amount_with_cents(leaves[0].get("value")), []
    return None, ["other conditions on the cart"]


def _leaves(root: JsonValue) -> list[dict[str, JsonValue]] | None:
    """The conditions directly under "all of these are true"; [] if there are none; None for any other tree."""
    if not isinstance(root, dict) or not root.get("conditions"):
        return []
    children = root["conditions"]
    flat = isinstance(children, list) and all(isinstance(row, dict) and not row.get("conditions") for row in children)
    if not flat or root.get("aggregator_type") != "all" or str(root.get("value")) != "1":
        return None
    return objects(children)


def _day(value: JsonValue) -> date | None:
    """Parse a date. Magento may add the time 00:00:00."""
    return date.fromisoformat(str(value)[:10]) if value else None
