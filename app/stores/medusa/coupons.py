"""Medusa's promotions and our coupons, each in the words of the other. Pure.

    fixed amount       type fixed, in one currency (without one it would count in any), on the order
                       with product_ids or variant_ids: spread over their items
    percentage         type percentage on the order, with product_ids or variant_ids on their items
    free shipping      100 % on the shipping methods
    free product       100 % on the items of these, allocation `once`: one unit in the whole cart
                       (`each` would give one unit of every product named)
    usage_limit        `limit`
    per customer       the campaign's budget `use_by_attribute`, counted by the e-mail address of the order
    one customer       rule `customer.id`; for a guest, whose id is none or his address, rule `email`
    minimum spend      rule `item_total`, in the cart's currency
    starts, expires    the campaign's; its unique identifier is the coupon's code

Verified in carts of Medusa 2.21.2, which the live suite does again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, not_supported
from platform_relay.stores.medusa.api import Row

REFERENCE: Final = "platform_relay_reference"
PRODUCTS, VARIANTS, MINIMUM, CUSTOMER, EMAIL = (
    "items.product.id", "items.variant.id", "item_total", "customer.id", "email",
)  # fmt: skip
PER_EMAIL: Final = ("use_by_attribute", "customer_email")


def inexpressible(order: CouponSpec) -> Reject | None:
    """What only some of Medusa's promotions cannot say; `Medusa.CANNOT` names what none can."""
    value = order.value or Decimal(0)
    if order.kind is CouponKind.FIXED_AMOUNT and not order.currency:
        problem = "Medusa would give an amount without a currency in every currency, and none was ordered"
        return not_supported(order, "currency", problem)
    if order.kind is CouponKind.FREE_SHIPPING and order.items:
        problem = "Medusa cannot limit free shipping to products or variants"
        return not_supported(order, "product_ids, variant_ids", problem)
    if Decimal(repr(float(value))) != value:
        return not_supported(order, "value", f"{value} has more digits than Medusa's numbers carry")
    return None


def promotion_body(order: CouponSpec) -> Row:
    """The promotion as it is sent: values are numbers, times UTC in whole seconds."""
    rules: list[JsonValue] = [_rule(MINIMUM, "gte", f"{order.minimum_spend:f}")] if order.minimum_spend else []
    if who := _customer_rule(order):
        rules.append(who)
    body: Row = {
        "code": order.code,
        "type": "standard",
        "status": "active",
        "is_automatic": False,
        "application_method": _method(order),
        "rules": rules,
        "limit": order.usage_limit,
    }
    if campaign := _campaign(order):
        body["campaign"] = campaign
    if order.reference:
        body["metadata"] = {REFERENCE: order.reference}
    return body


def promotion_found(row: Row, now: datetime) -> CouponFound | None:
    """A promotion object of Medusa in our words; None when it is no such object."""
    method, campaign = row.get("application_method"), row.get("campaign") or {}
    if not isinstance(method, dict) or not isinstance(campaign, dict):
        return None
    if not isinstance(row.get("id"), str) or not isinstance(row.get("code"), str):
        return None
    try:
        return _found(row, method, campaign, now)
    except (InvalidOperation, ValueError, TypeError):
        return None


def _found(row: Row, method: Row, campaign: Row, now: datetime) -> CouponFound:
    rules, foreign = _understood(row.get("rules"), {MINIMUM: "gte", CUSTOMER: "eq", EMAIL: "in"})
    targets, others = _understood(method.get("target_rules"), {PRODUCTS: "in", VARIANTS: "in"})
    limit, budget = _budget(campaign)
    expires_at = _moment(campaign.get("ends_at"))
    kind = _kind(method, bool(targets))
    odd = (
        (row.get("type") != "standard" or method.get("buy_rules"), "the conditions of a buy-get promotion"),
        (row.get("is_automatic"), "is_automatic"),
        (row.get("is_tax_inclusive"), "is_tax_inclusive"),
        (budget, f"a campaign budget ({budget})"),
    )
    email, customer = ({each.casefold() for each in rules.get(EMAIL, ())}, rules.get(CUSTOMER, ()))
    return CouponFound(
        store_id=str(row["id"]),
        code=str(row["code"]),
        kind=kind,
        value=_shown(_number(method, "value")) if kind is not CouponKind.FREE_PRODUCT else None,
        currency=str(method["currency_code"]).upper() if method.get("currency_code") else None,
        product_ids=targets.get(PRODUCTS, ()),
        variant_ids=targets.get(VARIANTS, ()),
        minimum_spend=Decimal(rules[MINIMUM][0]) if MINIMUM in rules else None,
        usage_limit=_count(row.get("limit")),
        per_customer_limit=limit,
        used=_count(row.get("used")),
        email=", ".join(sorted(email)) or None,
        customer_id=", ".join(customer) or None,
        starts_at=_moment(campaign.get("starts_at")),
        expires_at=expires_at,
        active=row.get("status") == "active" and (expires_at is None or expires_at > now),
        restrictions=(*foreign, *others, *(name for present, name in odd if present)),
        unreadable=frozenset({"customer_id"} if email and not customer else {"email"} if customer else ()),
        reference=_reference(row.get("metadata")),
    )


def _reference(metadata: object) -> str | None:
    found = metadata.get(REFERENCE) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None


def _method(order: CouponSpec) -> Row:
    hundred: Row = {"type": "percentage", "value": 100}
    of_items: Row = {
        "target_type": "items",
        "allocation": "across",
        "target_rules": [_rule(VARIANTS if order.variant_ids else PRODUCTS, "in", *order.items)],
    }
    where: Row = of_items if order.items else {"target_type": "order"}
    match order.kind:
        case CouponKind.FREE_SHIPPING:
            return {**hundred, "target_type": "shipping_methods", "allocation": "across"}
        case CouponKind.FREE_PRODUCT:
            return {**hundred, **of_items, "allocation": "once", "max_quantity": 1}
        case CouponKind.PERCENTAGE:
            return {"type": "percentage", "value": float(order.value or 0), **where}
    currency = (order.currency or "").lower()
    return {"type": "fixed", "value": float(order.value or 0), "currency_code": currency, **where}


def _kind(method: Row, items: bool) -> CouponKind | None:
    whole = _number(method, "value") == 100
    one_unit = whole and items and method.get("max_quantity") == 1
    shapes = {
        ("fixed", "order", None): CouponKind.FIXED_AMOUNT,
        ("fixed", "items", "across"): CouponKind.FIXED_AMOUNT if items else None,
        ("percentage", "order", None): CouponKind.PERCENTAGE,
        ("percentage", "items", "across"): CouponKind.PERCENTAGE,
        ("percentage", "items", "once"): CouponKind.FREE_PRODUCT if one_unit else None,
        ("percentage", "shipping_methods", "across"): CouponKind.FREE_SHIPPING if whole else None,
    }
    target = str(method.get("target_type"))
    allocation = None if target == "order" else str(method.get("allocation"))
    return shapes.get((str(method.get("type")), target, allocation))


def _customer_rule(order: CouponSpec) -> Row | None:
    """The Platform knows a guest by his address, so an id may be one. Addresses are compared with case by Medusa."""
    if order.customer_id and not (order.email and "@" in order.customer_id):
        return _rule(CUSTOMER, "eq", order.customer_id)
    return _rule(EMAIL, "in", *sorted({order.email, order.email.lower()})) if order.email else None


def _campaign(order: CouponSpec) -> Row | None:
    if order.starts_at is None and order.expires_at is None and order.per_customer_limit is None:
        return None
    campaign: Row = {"name": f"Coupon {order.code}", "campaign_identifier": order.code}
    if order.starts_at:
        campaign["starts_at"] = _written(order.starts_at)
    if order.expires_at:
        campaign["ends_at"] = _written(order.expires_at)
    if order.per_customer_limit:
        kind, attribute = PER_EMAIL
        campaign["budget"] = {"type": kind, "attribute": attribute, "limit": order.per_customer_limit}
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


def _understood(rules: JsonValue, known: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The values of the rules that we make, by attribute; and the other rules in words."""
    ours: dict[str, tuple[str, ...]] = {}
    foreign = []
    for rule in rules if isinstance(rules, list) else ():
        if not isinstance(rule, dict):
            raise TypeError("a rule that is no object")
        attribute, values = str(rule.get("attribute")), _values(rule.get("values"))
        operators = {known.get(attribute), "eq" if len(values) == 1 and known.get(attribute) == "in" else None}
        if rule.get("operator") in operators and values and attribute not in ours:
            ours[attribute] = values
        else:
            foreign.append(f"the rule {attribute} {rule.get('operator')}")
    return ours, foreign


def _values(values: JsonValue) -> tuple[str, ...]:
    each = [value.get("value") if isinstance(value, dict) else value for value in values or ()] \
        if isinstance(values, list) else [values]  # fmt: skip
    return tuple(str(value) for value in each if value is not None)


def _number(row: Row, name: str) -> Decimal:
    """An amount from the exact text beside it (`raw_value`), else from the number."""
    raw = row.get(f"raw_{name}")
    number = Decimal(str(raw.get("value") if isinstance(raw, dict) else row.get(name)))
    if not number.is_finite():
        raise InvalidOperation
    return number


def _shown(number: Decimal) -> Decimal:
    """An amount with its cents, as people write it; Medusa's texts leave zeros out."""
    cents = number.quantize(Decimal("0.01"))
    return cents if cents == number else number


def _count(value: JsonValue) -> int | None:
    return value if isinstance(value, int) else None


def _moment(value: JsonValue) -> datetime | None:
    return datetime.fromisoformat(str(value)) if value else None


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
