"""WooCommerce coupons: as they are ordered, and as the store shows them. Pure. Observed on WooCommerce 9.9.5.

A variation is a post as its product is, with an id that no product has, and stands in the coupon's `product_ids` as well:
an item counts when the list has its own id or its parent's (WC_Coupon::is_valid_for_product and
WC_Discounts::validate_coupon_product_ids). The list is read as what was ordered.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, foreign_items
from platform_relay.stores.reading import count, finite

REFERENCE: Final = "_platform_relay_reference"


def coupon_body(order: CouponSpec) -> dict[str, JsonValue]:
    """The coupon as it is sent: amounts as texts, the expiry in UTC with Z and without fractions, and no null.

    WordPress refuses null for an integer; `date_expires_gmt` is ignored on writing.
    """
    amounts = {CouponKind.FREE_PRODUCT: Decimal(100), CouponKind.FREE_SHIPPING: Decimal(0)}
    percent = order.kind in (CouponKind.PERCENTAGE, CouponKind.FREE_PRODUCT)
    expires_at = order.expires_at.astimezone(UTC) if order.expires_at else None
    body: dict[str, JsonValue] = {
        "code": order.code,
        "discount_type": "percent" if percent else "fixed_cart",
        "amount": f"{amounts.get(order.kind, order.value or Decimal(0)):f}",
        "description": order.title or "",
        "individual_use": not order.combinable,
        "free_shipping": order.kind is CouponKind.FREE_SHIPPING,
        "product_ids": [int(each) for each in order.items],
        "limit_usage_to_x_items": 1 if order.kind is CouponKind.FREE_PRODUCT else None,
        "usage_limit": order.usage_limit,
        "usage_limit_per_user": order.per_customer_limit,
        "minimum_amount": f"{order.minimum_spend or Decimal(0):f}",
        "email_restrictions": [order.email] if order.email else [],
        "date_expires": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ") if expires_at else None,
        "meta_data": [{"key": REFERENCE, "value": order.reference}] if order.reference else [],
    }
    return {name: value for name, value in body.items() if value is not None}


def coupon_found(row: JsonValue, now: datetime) -> CouponFound | None:
    """A coupon object of WooCommerce in our words; None when it is no such object."""
    if not isinstance(row, dict) or not isinstance(row.get("code"), str) or not isinstance(row.get("id"), int):
        return None
    try:
        amount, minimum, maximum = (finite(row.get(name)) for name in ("amount", "minimum_amount", "maximum_amount"))
        expires_at = _moment(row.get("date_expires_gmt"))
    except (InvalidOperation, ValueError):
        return None
    kind = _kind(row, amount)
    emails, listed = row.get("email_restrictions"), row.get("product_ids")
    items = tuple(str(each) for each in listed) if isinstance(listed, list) else ()
    foreign = ("excluded_product_ids", "product_categories", "excluded_product_categories", "exclude_sale_items")
    restrictions = [name for name in foreign if row.get(name)]
    if maximum:
        restrictions.append("maximum_amount")
    return CouponFound(
        store_id=str(row["id"]),
        code=str(row["code"]),
        kind=kind,
        value=amount if kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, None) else None,
        product_ids=items,
        variant_ids=items,
        one_list=True,
        minimum_spend=minimum or None,
        usage_limit=count(row.get("usage_limit")) or None,
        per_customer_limit=count(row.get("usage_limit_per_user")) or None,
        used=count(row.get("usage_count")),
        email=", ".join(str(each) for each in emails) or None if isinstance(emails, list) else None,
        combinable=row.get("individual_use") is not True,
        expires_at=expires_at,
        active=row.get("status") == "publish" and (expires_at is None or expires_at > now),
        restrictions=tuple(restrictions),
        unreadable=frozenset({"currency", "customer_id", "starts_at"}),
        reference=_reference(row.get("meta_data")),
    )


def _reference(rows: JsonValue) -> str | None:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("key") == REFERENCE and isinstance(found := row.get("value"), str):
            return found
    return None


def _kind(row: Mapping[str, JsonValue], amount: Decimal) -> CouponKind | None:
    shipping, one_item = row.get("free_shipping") is True, row.get("limit_usage_to_x_items") == 1
    match row.get("discount_type"), shipping, row.get("limit_usage_to_x_items"):
        case "fixed_cart", False, None:
            return CouponKind.FIXED_AMOUNT
        case "percent", False, None:
            return CouponKind.PERCENTAGE
        case "percent", False, _ if one_item and amount == 100 and row.get("product_ids"):
            return CouponKind.FREE_PRODUCT
        case _, True, None if amount == 0:
            return CouponKind.FREE_SHIPPING
    return None


def foreign_product(order: CouponSpec) -> Reject | None:
    """Reject for ids that are not those of products or variations."""
    return foreign_items(order, [each for each in order.items if not (each.isascii() and each.isdigit())])


def _moment(value: JsonValue) -> datetime | None:
    """`date_expires_gmt`: UTC without a zone."""
    if not value:
        return None
    moment = datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
