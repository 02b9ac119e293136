"""A coupon as Saleor's voucher with its listing in one channel, and back. Pure.

    percentage      ENTIRE_ORDER, PERCENTAGE         free product    SPECIFIC_PRODUCT, 100 %, once per order
    fixed amount    ENTIRE_ORDER, FIXED              minimum spend   minAmountSpent of the listing
    free shipping   SHIPPING, 100 %                  once per customer   applyOncePerCustomer (by e-mail address)

With products or variants the type is SPECIFIC_PRODUCT; a fixed amount then is taken off one unit only (once per order), as
Saleor would otherwise take it off each.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Reject
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, Difference, differences, not_supported
from platform_relay.stores.reading import with_cents, within
from platform_relay.stores.saleor.api import Node, nodes

CENT: Final = Decimal("0.01")
LISTING: Final = ("value", "minimum_spend", "currency", "active")
"""What the second call sets; a voucher without a listing is compared without these."""
REFERENCE: Final = "platform_relay_reference"
"""The key of the private metadata that says whose a voucher is (named in `documents.py` too)."""
HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Channel:
    id: str
    slug: str
    currency: str


def inexpressible(order: CouponSpec) -> Reject | None:
    """What only some of Saleor's vouchers cannot say; `Saleor.CANNOT` names what none can."""
    if not order.items or order.kind is not CouponKind.FREE_SHIPPING:
        return None
    problem = "Saleor's shipping vouchers look at no products and no variants"
    return not_supported(order, "product_ids, variant_ids", problem)


def voucher_input(order: CouponSpec) -> Node:
    """The first call: the voucher and its code, without its worth."""
    free_product, free_shipping = order.kind is CouponKind.FREE_PRODUCT, order.kind is CouponKind.FREE_SHIPPING
    fixed = order.kind is CouponKind.FIXED_AMOUNT
    body: Node = {
        "type": "SHIPPING" if free_shipping else "SPECIFIC_PRODUCT" if order.items else "ENTIRE_ORDER",
        "name": (order.title or order.code)[:255],
        "addCodes": [order.code],
        "discountValueType": "FIXED" if fixed else "PERCENTAGE",
        "applyOncePerOrder": free_product or (fixed and bool(order.items)),
        "applyOncePerCustomer": order.per_customer_limit == 1,
        "singleUse": False,
        "onlyForStaff": False,
        "usageLimit": order.usage_limit,
        "startDate": _written(order.starts_at),
        "endDate": _written(order.expires_at),
        "products": list(order.product_ids),
        "variants": list(order.variant_ids),
    }
    return {name: value for name, value in body.items() if value not in (None, [])}


def listing_input(order: CouponSpec, channel: Channel) -> Node:
    """The second call: what the voucher is worth in the channel. Amounts as texts, which Saleor reads exactly."""
    worth = order.value if order.kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE) else HUNDRED
    listing: Node = {"channelId": channel.id, "discountValue": f"{worth or Decimal(0):f}"}
    if order.minimum_spend:
        listing["minAmountSpent"] = f"{order.minimum_spend:f}"
    return {"addChannels": [listing]}


def metadata(order: CouponSpec) -> list[JsonValue]:
    """Goes with the second call: a voucher that is worth something says whose it is."""
    return [{"key": REFERENCE, "value": order.reference}] if order.reference else []


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def half_made(order: CouponSpec, voucher: Node, channel: Channel, at: datetime) -> bool:
    """Whether the voucher has no listing at all and is otherwise what was ordered: the first call's, to be finished."""
    if nodes(voucher.get("channelListings")):
        return False
    found = voucher_found(voucher, order.code, channel, at)
    return found is not None and not differences(order, _without_listing(found))


def unlike_so_far(order: CouponSpec, voucher: Node, channel: Channel, at: datetime) -> tuple[Difference, ...]:
    """Where the first call's voucher is not what was ordered."""
    found = voucher_found(voucher, order.code, channel, at)
    return (Difference("code", None, order.code),) if found is None else differences(order, _without_listing(found))


def _without_listing(found: CouponFound) -> CouponFound:
    return replace(found, unreadable=found.unreadable | {*LISTING})


def voucher_found(voucher: Node, code: str, channel: Channel, at: datetime | None) -> CouponFound | None:
    """A voucher that has exactly this code, in our words; None when it has not, or is no voucher.

    `active` is said of the time `at`; None: of now, or of the voucher's start when that is still to come.
    """
    own = next((each for each in nodes(voucher.get("codes")) if each.get("code") == code), None)
    voucher_id = voucher.get("id")
    if own is None or not isinstance(voucher_id, str):
        return None
    listings = nodes(voucher.get("channelListings"))
    listing = next((each for each in listings if within(each, "channel", "id") == channel.id), None)
    try:
        value = with_cents(listing.get("discountValue")) if listing else None
        minimum = with_cents(within(listing, "minSpent", "amount")) if listing else None
        starts_at, expires_at = moment(voucher.get("startDate")), moment(voucher.get("endDate"))
    except (InvalidOperation, ValueError):
        return None
    kind = _kind(voucher, value)
    usage_limit = 1 if voucher.get("singleUse") is True else voucher.get("usageLimit")
    at = at or max(datetime.now(UTC), starts_at or datetime.min.replace(tzinfo=UTC))
    valid = (starts_at is None or starts_at <= at) and (expires_at is None or expires_at > at)
    used = own.get("used")
    return CouponFound(
        store_id=voucher_id,
        code=code,
        kind=kind,
        value=value if kind in (CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, None) else None,
        currency=str(listing.get("currency")) if listing else None,
        product_ids=tuple(str(each.get("id")) for each in nodes(voucher.get("products"))),
        variant_ids=tuple(str(each.get("id")) for each in nodes(voucher.get("variants"))),
        minimum_spend=minimum or None,
        usage_limit=usage_limit if isinstance(usage_limit, int) else None,
        per_customer_limit=1 if voucher.get("applyOncePerCustomer") is True else None,
        used=used if isinstance(used, int) else None,
        starts_at=starts_at,
        expires_at=expires_at,
        active=listing is not None and own.get("isActive") is not False and valid,
        restrictions=_restrictions(voucher),
        unreadable=frozenset({"combinable"}),
        reference=str(voucher["privateMetafield"]) if voucher.get("privateMetafield") else None,
    )


def _kind(voucher: Node, value: Decimal | None) -> CouponKind | None:
    """What it gives; without a listing as far as it shows: a value of None counts as the fitting one."""
    whole = value in (HUNDRED, None)
    match voucher.get("type"), voucher.get("discountValueType"), voucher.get("applyOncePerOrder") is True:
        case "SHIPPING", "PERCENTAGE", False if whole:
            return CouponKind.FREE_SHIPPING
        case "SPECIFIC_PRODUCT", "PERCENTAGE", True if whole:
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


def moment(value: JsonValue) -> datetime | None:
    """A time with its zone. Raises ValueError for anything else."""
    if not value:
        return None
    read = datetime.fromisoformat(str(value))
    if read.tzinfo is None:
        raise ValueError("a time without a zone")
    return read.astimezone(UTC)
