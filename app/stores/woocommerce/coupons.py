"""WooCommerce coupons: the request body of a spec, and the translation of a store's coupon. Pure. Observed on 9.9.5.

A variation is a post like its product, with an id that no product has, and it is also listed in the coupon's `product_ids`.
An item of a cart is covered if the list contains its own id or the id of its parent (WC_Coupon::is_valid_for_product and
WC_Discounts::validate_coupon_product_ids). Therefore the list is read both as products and as variants.

A `fixed_cart` coupon with products needs one of them in the cart, but takes its amount off the whole cart. Therefore a fixed
amount for products is a `fixed_product` coupon for one item: off one unit, and not more than its price.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.stores.base import CouponKind, CouponSpec, StoreCoupon, invalid_items
from platform_relay.stores.parsing import exact_amount, format_time, objects, whole_number

REFERENCE: Final = "_platform_relay_reference"


def coupon_body(spec: CouponSpec) -> dict[str, JsonValue]:
    """The body of a creation. Amounts are strings, the expiry is in UTC with Z and without fractions.

    WordPress rejects null for an integer. It ignores `date_expires_gmt` in a write.
    """
    amounts = {CouponKind.FREE_PRODUCT: Decimal(100), CouponKind.FREE_SHIPPING: Decimal(0)}
    percent = spec.kind in (CouponKind.PERCENTAGE, CouponKind.FREE_PRODUCT)
    amount_off_items = spec.kind is CouponKind.FIXED_AMOUNT and bool(spec.items)
    body: dict[str, JsonValue] = {
        "code": spec.code,
        "discount_type": "percent" if percent else "fixed_product" if amount_off_items else "fixed_cart",
        "amount": f"{amounts.get(spec.kind, spec.value or Decimal(0)):f}",
        "description": spec.title or "",
        "individual_use": not spec.combinable,
        "free_shipping": spec.kind is CouponKind.FREE_SHIPPING,
        "product_ids": [integer(item_id) for item_id in spec.items],
        "limit_usage_to_x_items": 1 if spec.kind is CouponKind.FREE_PRODUCT or amount_off_items else None,
        "usage_limit": spec.usage_limit,
        "usage_limit_per_user": spec.per_customer_limit,
        "minimum_amount": f"{spec.minimum_spend or Decimal(0):f}",
        "email_restrictions": [spec.email] if spec.email else [],
        "date_expires": format_time(spec.expires_at),
        "meta_data": [{"key": REFERENCE, "value": spec.reference}] if spec.reference else [],
    }
    return {name: value for name, value in body.items() if value is not None}


def parse_coupon(row: JsonValue, now: datetime) -> StoreCoupon | None:
    """Translate a coupon of WooCommerce; None if the value is not a coupon."""
    if not isinstance(row, dict) or not isinstance(row.get("code"), str) or not isinstance(row.get("id"), int):
        return None
    try:
        amount, minimum, maximum = (
            exact_amount(row.get(name)) for name in ("amount", "minimum_amount", "maximum_amount")
        )
        expires_at = _parse_utc(row.get("date_expires_gmt"))
    except (InvalidOperation, ValueError):
        return None
    kind = _kind(row, amount)
    emails, listed = row.get("email_restrictions"), row.get("product_ids")
    items = tuple(str(item_id) for item_id in listed) if isinstance(listed, list) else ()
    other = ("excluded_product_ids", "product_categories", "excluded_product_categories", "exclude_sale_items")
    restrictions = [name for name in other if row.get(name)]
    if maximum:
        restrictions.append("maximum_amount")
    if kind is CouponKind.FIXED_AMOUNT and items and row.get("discount_type") == "fixed_cart":
        restrictions.append("fixed_cart: its amount is taken off the whole cart")
    return StoreCoupon(
        store_id=str(row["id"]),
        code=str(row["code"]),
        kind=kind,
        value=amount if kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, None) else None,
        product_ids=items,
        variant_ids=items,
        shared_item_list=True,
        minimum_spend=minimum or None,
        usage_limit=whole_number(row.get("usage_limit")) or None,
        per_customer_limit=whole_number(row.get("usage_limit_per_user")) or None,
        used=whole_number(row.get("usage_count")),
        email=", ".join(str(email) for email in emails) or None if isinstance(emails, list) else None,
        combinable=row.get("individual_use") is not True,
        expires_at=expires_at,
        active=row.get("status") == "publish" and (expires_at is None or expires_at > now),
        restrictions=tuple(restrictions),
        unreadable=frozenset({"currency", "customer_id", "starts_at"}),
        reference=_reference(row.get("meta_data")),
        any_case=True,
    )


def _reference(meta: JsonValue) -> str | None:
    values = (row.get("value") for row in objects(meta) if row.get("key") == REFERENCE)
    return next((value for value in values if isinstance(value, str)), None)


def _kind(row: Mapping[str, JsonValue], amount: Decimal) -> CouponKind | None:
    shipping, one_item = row.get("free_shipping") is True, row.get("limit_usage_to_x_items") == 1
    match row.get("discount_type"), shipping, row.get("limit_usage_to_x_items"):
        case ("fixed_cart", False, None) | ("fixed_product", False, 1):
            return CouponKind.FIXED_AMOUNT
        case "percent", False, None:
            return CouponKind.PERCENTAGE
        case "percent", False, _ if one_item and amount == 100 and row.get("product_ids"):
            return CouponKind.FREE_PRODUCT
        case _, True, None if amount == 0:
            return CouponKind.FREE_SHIPPING
    return None


def unsupported(spec: CouponSpec) -> Reject | None:
    """Reject for ids that cannot be ids of products or variations."""
    return invalid_items(spec, [item_id for item_id in spec.items if not is_count(item_id)])


def _parse_utc(value: JsonValue) -> datetime | None:
    """`date_expires_gmt` is in UTC, without a time zone."""
    if not value:
        return None
    moment = datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
