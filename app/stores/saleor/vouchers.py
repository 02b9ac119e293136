"""Saleor vouchers: the inputs of a spec, and the translation of a store's voucher with its listing in one channel. Pure.

    percentage      ENTIRE_ORDER, PERCENTAGE         free product        SPECIFIC_PRODUCT, 100 %, once per order
    fixed amount    ENTIRE_ORDER, FIXED              minimum spend       minAmountSpent of the listing
    free shipping   SHIPPING, 100 %                  once per customer   applyOncePerCustomer (by e-mail address)

With products or variants the type is SPECIFIC_PRODUCT. A fixed amount then applies once per order, to one unit, because
Saleor would otherwise apply it to each unit.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponKind, CouponSpec, Difference, StoreCoupon, differences, not_supported
from platform_relay.stores.clock import has_started, immediate_start
from platform_relay.stores.parsing import amount_with_cents, parse_time, value_at
from platform_relay.stores.saleor.api import Node, nodes

LISTING: Final = ("value", "minimum_spend", "currency", "active")
"""The fields that the second call sets. A voucher without a listing is compared without them."""
REFERENCE: Final = "platform_relay_reference"
"""The key of the private metadata with the reference (also used in `documents.py`)."""
NAME_REFERENCE: Final = re.compile(r" \[([^\[\]]+)\]$")
"""The end of the name of a voucher that the relay created: the reference. The metadata are only set in the second call."""
NAME_CHARS: Final = 255
HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel in which coupons are valid."""

    id: str
    slug: str
    currency: str


def unsupported(spec: CouponSpec) -> Reject | None:
    """Reject for options that some of Saleor's vouchers do not support. `Saleor.CANNOT` has those that none supports."""
    if not spec.items or spec.kind is not CouponKind.FREE_SHIPPING:
        return None
    problem = "Saleor's shipping vouchers cannot be restricted to products or variants"
    return not_supported(spec, "product_ids, variant_ids", problem)


def voucher_input(spec: CouponSpec, now: datetime) -> Node:
    """The input of the first call: the voucher and its code, without its value.

    Saleor sets a voucher without a start to start now, by its own clock; the relay sets one in the past.
    """
    free_product, free_shipping = spec.kind is CouponKind.FREE_PRODUCT, spec.kind is CouponKind.FREE_SHIPPING
    fixed = spec.kind is CouponKind.FIXED_AMOUNT
    body: Node = {
        "type": "SHIPPING" if free_shipping else "SPECIFIC_PRODUCT" if spec.items else "ENTIRE_ORDER",
        "name": _name(spec),
        "addCodes": [spec.code],
        "discountValueType": "FIXED" if fixed else "PERCENTAGE",
        "applyOncePerOrder": free_product or (fixed and bool(spec.items)),
        "applyOncePerCustomer": spec.per_customer_limit == 1,
        "singleUse": False,
        "onlyForStaff": False,
        "usageLimit": spec.usage_limit,
        "startDate": _format_time(spec.starts_at or immediate_start(now)),
        "endDate": _format_time(spec.expires_at),
        "products": list(spec.product_ids),
        "variants": list(spec.variant_ids),
    }
    return {name: value for name, value in body.items() if value not in (None, [])}


def _name(spec: CouponSpec) -> str:
    suffix = f" [{spec.reference}]" if spec.reference else ""
    return (spec.title or spec.code)[: max(0, NAME_CHARS - len(suffix))] + suffix


def listing_input(spec: CouponSpec, channel: Channel) -> Node:
    """The input of the second call: the voucher's value in the channel. Amounts are strings, which Saleor reads exactly."""
    value = spec.value if spec.kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE) else HUNDRED
    listing: Node = {"channelId": channel.id, "discountValue": f"{value or Decimal(0):f}"}
    if spec.minimum_spend:
        listing["minAmountSpent"] = f"{spec.minimum_spend:f}"
    return {"addChannels": [listing]}


def metadata(spec: CouponSpec) -> list[JsonValue]:
    """The private metadata with the reference. It is set in the second call, so every voucher with a value has it."""
    return [{"key": REFERENCE, "value": spec.reference}] if spec.reference else []


def _format_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def lacks_only_listing(spec: CouponSpec, voucher: Node, channel: Channel, at: datetime) -> bool:
    """Whether the voucher has no listing and fits the spec otherwise. The second call then completes it."""
    if nodes(voucher.get("channelListings")):
        return False
    coupon = parse_voucher(voucher, spec.code, channel, at)
    return coupon is not None and not differences(spec, _without_listing(coupon))


def differences_before_listing(
    spec: CouponSpec, voucher: Node, channel: Channel, at: datetime
) -> tuple[Difference, ...]:
    """The differences between the spec and the voucher of the first call."""
    coupon = parse_voucher(voucher, spec.code, channel, at)
    return (Difference("code", None, spec.code),) if coupon is None else differences(spec, _without_listing(coupon))


def _without_listing(coupon: StoreCoupon) -> StoreCoupon:
    return replace(coupon, unreadable=coupon.unreadable | {*LISTING})


def parse_voucher(voucher: Node, code: str, channel: Channel, at: datetime | None) -> StoreCoupon | None:
    """Translate a voucher that has exactly this code; None if it has not, or if the value is not a voucher.

    `active` is the state at the time `at`. None: now, or the voucher's start if that is later.
    """
    own_code = next((row for row in nodes(voucher.get("codes")) if row.get("code") == code), None)
    voucher_id = voucher.get("id")
    if own_code is None or not isinstance(voucher_id, str):
        return None
    listings = nodes(voucher.get("channelListings"))
    listing = next((row for row in listings if value_at(row, "channel", "id") == channel.id), None)
    try:
        value = amount_with_cents(listing.get("discountValue")) if listing else None
        minimum = amount_with_cents(value_at(listing, "minSpent", "amount")) if listing else None
        starts_at, expires_at = parse_time(voucher.get("startDate")), parse_time(voucher.get("endDate"))
    except (InvalidOperation, ValueError):
        return None
    kind = _kind(voucher, value)
    usage_limit = 1 if voucher.get("singleUse") is True else voucher.get("usageLimit")
    at = at or max(datetime.now(UTC), starts_at or datetime.min.replace(tzinfo=UTC))
    valid = has_started(starts_at, at) and (expires_at is None or expires_at > at)
    used = own_code.get("used")
    return StoreCoupon(
        store_id=voucher_id,
        code=code,
        kind=kind,
        value=value if kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, None) else None,
        currency=str(listing.get("currency")) if listing else None,
        product_ids=tuple(str(row.get("id")) for row in nodes(voucher.get("products"))),
        variant_ids=tuple(str(row.get("id")) for row in nodes(voucher.get("variants"))),
        minimum_spend=minimum or None,
        usage_limit=usage_limit if isinstance(usage_limit, int) else None,
        per_customer_limit=1 if voucher.get("applyOncePerCustomer") is True else None,
        used=used if isinstance(used, int) else None,
        starts_at=starts_at,
        expires_at=expires_at,
        active=listing is not None and own_code.get("isActive") is not False and valid,
        restrictions=_restrictions(voucher),
        unreadable=frozenset({"combinable"}),
        reference=_reference(voucher),
    )


def _reference(voucher: Node) -> str | None:
    if voucher.get("privateMetafield"):
        return str(voucher["privateMetafield"])
    match = None if nodes(voucher.get("channelListings")) else NAME_REFERENCE.search(str(voucher.get("name") or ""))
    return match[1] if match else None


def is_remainder(voucher: Node, reference: str | None) -> bool:
    """Whether an earlier attempt for this redemption created the voucher and did not complete it."""
    incomplete = not nodes(voucher.get("channelListings"))
    return incomplete and reference is not None and _reference(voucher) == reference


def _kind(voucher: Node, value: Decimal | None) -> CouponKind | None:
    """The kind of the voucher. Without a listing the value is None, which counts as the fitting value."""
    complete = value in (HUNDRED, None)
    match voucher.get("type"), voucher.get("discountValueType"), voucher.get("applyOncePerOrder") is True:
        case "SHIPPING", "PERCENTAGE", False if complete:
            return CouponKind.FREE_SHIPPING
        case "SPECIFIC_PRODUCT", "PERCENTAGE", True if complete:
            return CouponKind.FREE_PRODUCT
        case ("SPECIFIC_PRODUCT", "FIXED", True) | ("ENTIRE_ORDER", "FIXED", False):
            return CouponKind.FIXED_AMOUNT
        case (("SPECIFIC_PRODUCT" | "ENTIRE_ORDER"), "PERCENTAGE", False):
            return CouponKind.PERCENTAGE
    return None


def _restrictions(voucher: Node) -> tuple[str, ...]:
    names = ("categories", "collections", "countries")
    lists = [name for name in names if nodes(voucher.get(name))]
    return (*lists, *(name for name in ("onlyForStaff", "minCheckoutItemsQuantity") if voucher.get(name)))
