"""Medusa's promotions: the request body of a spec, and the translation of a store's promotion. Pure.

    fixed amount       type fixed, in one currency (without one it would apply in every currency), on the order
                       with product_ids or variant_ids: spread over their items; `is_tax_inclusive`: the customer saves this
                       amount, whether prices include tax or not (without it, the amount is taken off before tax is added)
    percentage         type percentage on the order; with product_ids or variant_ids on their items
    free shipping      100 % on the shipping methods
    free product       100 % on these items, allocation `once`: one unit in the whole cart
                       (`each` would give one unit of every product)
    usage_limit        `limit`
    per customer       the campaign's budget `use_by_attribute`, counted by the e-mail address of the order
    one customer       rule `customer.id`; for a guest, without an id or with an address as id, rule `email`
    minimum spend      rule `original_item_total` (with tax, before discounts: from `item_total` the coupon itself is
                       deducted, so that it disappears when the cart changes), and one currency, also for a percentage:
                       without it, carts in every currency would be compared with the same number
    starts, expires    the campaign's; its unique identifier is the code of the coupon

Verified in carts of Medusa 2.21.2; the live suite repeats it.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponKind, CouponSpec, StoreCoupon, not_supported
from platform_relay.stores.parsing import CENT, Row, format_time, json_number, parse_time, whole_number

REFERENCE: Final = "platform_relay_reference"
PRODUCTS, VARIANTS, MINIMUM, CUSTOMER, EMAIL = (
    "items.product.id", "items.variant.id", "original_item_total", "customer.id", "email",
)  # fmt: skip
NUMBER_DIGITS: Final = 15
"""Digits that a number of JavaScript keeps exactly."""
PER_EMAIL: Final = ("use_by_attribute", "customer_email")


def unsupported(spec: CouponSpec) -> Reject | None:
    """Reject for options that some of Medusa's promotions do not support. `Medusa.CANNOT` has those that none supports."""
    value = spec.value or Decimal(0)
    if (spec.kind is CouponKind.FIXED_AMOUNT or spec.minimum_spend) and not spec.currency:
        problem = "without a currency, Medusa would apply the amount in every currency"
        return not_supported(spec, "currency", problem)
    if spec.kind is CouponKind.FREE_SHIPPING and spec.items:
        problem = "Medusa cannot restrict free shipping to products or variants"
        return not_supported(spec, "product_ids, variant_ids", problem)
    if len(value.normalize().as_tuple().digits) > NUMBER_DIGITS:
        return not_supported(spec, "value", f"{value} has more digits than a number in Medusa can have")
    return None


def promotion_body(spec: CouponSpec) -> Row:
    """The body of a creation. Values are numbers; times are whole seconds in UTC."""
    rules: list[JsonValue] = [_rule(MINIMUM, "gte", f"{spec.minimum_spend:f}")] if spec.minimum_spend else []
    if customer_rule := _customer_rule(spec):
        rules.append(customer_rule)
    body: Row = {
        "code": spec.code,
        "type": "standard",
        "status": "active",
        "is_automatic": False,
        "application_method": _method(spec),
        "rules": rules,
        "limit": spec.usage_limit,
    }
    if spec.kind is CouponKind.FIXED_AMOUNT:
        body["is_tax_inclusive"] = True
    if campaign := _campaign(spec):
        body["campaign"] = campaign
    if spec.reference:
        body["metadata"] = {REFERENCE: spec.reference}
    return body


def parse_promotion(row: Row, now: datetime) -> StoreCoupon | None:
    """Translate a promotion of Medusa; None if the value is not a promotion."""
    method, campaign = row.get("application_method"), row.get("campaign") or {}
    if not isinstance(method, dict) or not isinstance(campaign, dict):
        return None
    if not isinstance(row.get("id"), str) or not isinstance(row.get("code"), str):
        return None
    try:
        return _coupon(row, method, campaign, now)
    except (InvalidOperation, ValueError, TypeError):
        return None


def _coupon(row: Row, method: Row, campaign: Row, now: datetime) -> StoreCoupon:
    rules, other_rules = _known_rules(row.get("rules"), {MINIMUM: "gte", CUSTOMER: "eq", EMAIL: "in"})
    targets, other_targets = _known_rules(method.get("target_rules"), {PRODUCTS: "in", VARIANTS: "in"})
    limit, budget = _budget(campaign)
    expires_at = parse_time(campaign.get("ends_at"))
    kind = _kind(method, bool(targets))
    extras = (
        (row.get("type") != "standard" or method.get("buy_rules"), "the conditions of a buy-get promotion"),
        (row.get("is_automatic"), "is_automatic"),
        (
            method.get("type") == "fixed" and row.get("is_tax_inclusive") is not True,
            "its amount without tax (is_tax_inclusive is not set)",
        ),
        (budget, f"a campaign budget ({budget})"),
    )
    email, customer = {address.casefold() for address in rules.get(EMAIL, ())}, rules.get(CUSTOMER, ())
    return StoreCoupon(
        store_id=str(row["id"]),
        code=str(row["code"]),
        kind=kind,
        value=_amount(method, "value") if kind is not CouponKind.FREE_PRODUCT else None,
        currency=str(method["currency_code"]).upper() if method.get("currency_code") else None,
        product_ids=targets.get(PRODUCTS, ()),
        variant_ids=targets.get(VARIANTS, ()),
        minimum_spend=plain_numbers.decimal(rules[MINIMUM][0]) if MINIMUM in rules else None,
        usage_limit=whole_number(row.get("limit")),
        per_customer_limit=limit,
        used=whole_number(row.get("used")),
        email=", ".join(sorted(email)) or None,
        customer_id=", ".join(customer) or None,
        starts_at=parse_time(campaign.get("starts_at")),
        expires_at=expires_at,
        active=row.get("status") == "active" and (expires_at is None or expires_at > now),
        restrictions=(*other_rules, *other_targets, *(name for present, name in extras if present)),
        unreadable=frozenset({"customer_id"} if email and not customer else {"email"} if customer else ()),
        reference=_reference(row.get("metadata")),
    )


def _reference(metadata: object) -> str | None:
    reference = metadata.get(REFERENCE) if isinstance(metadata, dict) else None
    return reference if isinstance(reference, str) else None


def _method(spec: CouponSpec) -> Row:
    currency: Row = {"currency_code": spec.currency.lower()} if spec.currency and spec.minimum_spend else {}
    hundred: Row = {"type": "percentage", "value": 100, **currency}
    of_items: Row = {
        "target_type": "items",
        "allocation": "across",
        "target_rules": [_rule(VARIANTS if spec.variant_ids else PRODUCTS, "in", *spec.items)],
    }
    where: Row = of_items if spec.items else {"target_type": "order"}
    match spec.kind:
        case CouponKind.FREE_SHIPPING:
            return {**hundred, "target_type": "shipping_methods", "allocation": "across"}
        case CouponKind.FREE_PRODUCT:
            return {**hundred, **of_items, "allocation": "once", "max_quantity": 1}
        case CouponKind.PERCENTAGE:
            return {"type": "percentage", "value": json_number(spec.value), **where, **currency}
    return {
        "type": "fixed", "value": json_number(spec.value), "currency_code": (spec.currency or "").lower(), **where,
    }  # fmt: skip


def _kind(method: Row, items: bool) -> CouponKind | None:
    free = _number(method, "value") == 100
    one_unit = free and items and method.get("max_quantity") == 1
    shapes = {
        ("fixed", "order", None): CouponKind.FIXED_AMOUNT,
        ("fixed", "items", "across"): CouponKind.FIXED_AMOUNT if items else None,
        ("percentage", "order", None): CouponKind.PERCENTAGE,
        ("percentage", "items", "across"): CouponKind.PERCENTAGE,
        ("percentage", "items", "once"): CouponKind.FREE_PRODUCT if one_unit else None,
        ("percentage", "shipping_methods", "across"): CouponKind.FREE_SHIPPING if free else None,
    }
    target = str(method.get("target_type"))
    allocation = None if target == "order" else str(method.get("allocation"))
    return shapes.get((str(method.get("type")), target, allocation))


def _customer_rule(spec: CouponSpec) -> Row | None:
    """The Platform identifies a guest by e-mail address, so the id can be an address. Medusa compares addresses with case."""
    if spec.customer_id and not (spec.email and "@" in spec.customer_id):
        return _rule(CUSTOMER, "eq", spec.customer_id)
    return _rule(EMAIL, "in", *sorted({spec.email, spec.email.lower()})) if spec.email else None


def _campaign(spec: CouponSpec) -> Row | None:
    if spec.starts_at is None and spec.expires_at is None and spec.per_customer_limit is None:
        return None
    campaign: Row = {"name": f"Coupon {spec.code}", "campaign_identifier": spec.code}
    if spec.starts_at:
        campaign["starts_at"] = format_time(spec.starts_at)
    if spec.expires_at:
        campaign["ends_at"] = format_time(spec.expires_at)
    if spec.per_customer_limit:
        kind, attribute = PER_EMAIL
        campaign["budget"] = {"type": kind, "attribute": attribute, "limit": spec.per_customer_limit}
    return campaign


def _budget(campaign: Row) -> tuple[int | None, str]:
    """The limit per customer, or the kind of another budget."""
    budget = campaign.get("budget")
    if not isinstance(budget, dict):
        return None, ""
    if (budget.get("type"), budget.get("attribute")) == PER_EMAIL:
        return int(_number(budget, "limit")), ""
    return None, str(budget.get("type"))


def _rule(attribute: str, operator: str, *values: str) -> Row:
    return {"attribute": attribute, "operator": operator, "values": list(values)}


def _known_rules(rules: JsonValue, known: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The values of the rules that the relay creates, by attribute, and the descriptions of all other rules."""
    values_by_attribute: dict[str, tuple[str, ...]] = {}
    other = []
    for rule in rules if isinstance(rules, list) else ():
        if not isinstance(rule, dict):
            raise TypeError("a rule that is not an object")
        attribute, values = str(rule.get("attribute")), _values(rule.get("values"))
        operators = {known.get(attribute), "eq" if len(values) == 1 and known.get(attribute) == "in" else None}
        if rule.get("operator") in operators and values and attribute not in values_by_attribute:
            values_by_attribute[attribute] = values
        else:
            other.append(f"the rule {attribute} {rule.get('operator')}")
    return values_by_attribute, other


def _values(values: JsonValue) -> tuple[str, ...]:
    items = (values or ()) if isinstance(values, list) else (values,)
    plain = (item.get("value") if isinstance(item, dict) else item for item in items)
    return tuple(str(value) for value in plain if value is not None)


def _number(row: Row, name: str) -> Decimal:
    """A number, from the exact string in `raw_…` if there is one."""
    raw = row.get(f"raw_{name}")
    return plain_numbers.amount(raw.get("value") if isinstance(raw, dict) else row.get(name))


def _amount(row: Row, name: str) -> Decimal:
    """An amount with at least two decimal places. Medusa's strings omit zeros."""
    number = _number(row, name)
    cents = number.quantize(CENT)
    return cents if cents == number else number
