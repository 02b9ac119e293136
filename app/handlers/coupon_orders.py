"""What is ordered from the shop for a redemption, and whether the redemption may have that code at all. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from app.engine.jobs import Job
from app.outcomes import Reject, Skip
from app.platform.rewards import Redemption, Valued
from app.settings import CouponSettings
from app.stores.base import CouponKind, CouponOrder


class Decision(Protocol):
    """What an operator decided about a coupon (`operations.coupons.Ruling`)."""

    @property
    def by(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def approve(self) -> bool: ...
    @property
    def retire(self) -> bool: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def value(self) -> Decimal | None: ...


class OpenCoupon(Protocol):
    """A coupon's row. `priced`: the shop may have been told of it. `received_at`: when this redemption's webhook came.
    `unchanged_for` is in seconds."""

    @property
    def message_id(self) -> UUID: ...
    @property
    def ruling(self) -> Decision | None: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def state(self) -> str: ...
    @property
    def redemption_id(self) -> str | None: ...
    @property
    def customer_ref(self) -> str | None: ...
    @property
    def priced(self) -> bool: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def store_id(self) -> str | None: ...
    @property
    def unchanged_for(self) -> float: ...


def closed(coupon: OpenCoupon, redemption: Redemption, message_id: UUID) -> Skip | Reject | None:
    """Why nothing is to be made for this message; None when its redemption may still get the code.

    A code that was never priced belongs to nobody: whoever is proven gets it. A person may first be known by the e-mail
    (a referred friend) and later by the shop's id.
    """
    code, first, ruling = redemption.code, coupon.redemption_id, coupon.ruling
    others = coupon.message_id != message_id and (coupon.priced or ruling is not None)
    if others and first != redemption.id:
        return Reject(f"the code {code} belongs to another redemption ({first}), not to {redemption.id}")
    if others and coupon.customer_ref is not None and coupon.customer_ref not in redemption.identities:
        return Reject(f"the code {code} belongs to redemption {first} of another customer")
    if coupon.state == "refused":
        return Reject(f"the redemption was refused: {coupon.reason}")
    if ruling is not None and ruling.retire:
        return Skip(f"{ruling.by} decided that it is not made: {ruling.why}")
    if coupon.state in ("active", "used", "retired", "given_back"):
        return Skip(f"the coupon is {coupon.state} already")
    return Skip(f"the same redemption is dealt with by message {coupon.message_id}") if others else None


def coupon_order(
    redemption: Redemption, valued: Valued, coupon: OpenCoupon, settings: CouponSettings, job: Job
) -> CouponOrder | Reject:
    """The same at every attempt: an expiry counts from when the webhook was taken in, to the second."""
    restricted = settings.restrict_to_customer
    if restricted and not redemption.identities:
        return Reject("coupons are for one shopper only (COUPONS__RESTRICT_TO_CUSTOMER) and the webhook names none")
    expires_after = valued.expires_after or settings.expires_after
    return CouponOrder(
        code=redemption.code,
        kind=CouponKind(valued.kind.value),
        value=valued.value,
        currency=valued.currency,
        title=valued.title,
        product_ids=valued.product_ids,
        variant_ids=valued.variant_ids,
        minimum_spend=valued.minimum_spend,
        usage_limit=settings.usage_limit,
        customer_id=redemption.customer_id if restricted else None,
        email=redemption.email if restricted else None,
        combinable=settings.combinable,
        expires_at=coupon.received_at.replace(microsecond=0) + expires_after if expires_after else None,
        reference=redemption.id,
        first_try=job.attempt == 1 and not job.uncertain and not coupon.priced,
    )


def written(order: CouponOrder) -> Mapping[str, object]:
    """The order as it is kept with the coupon: without the shopper, whose data are pruned with the webhook's body."""
    return {
        "kind": order.kind.value,
        "value": None if order.value is None else f"{order.value:f}",
        "currency": order.currency,
        "product_ids": list(order.product_ids),
        "variant_ids": list(order.variant_ids),
        "minimum_spend": None if order.minimum_spend is None else f"{order.minimum_spend:f}",
        "usage_limit": order.usage_limit,
        "combinable": order.combinable,
        "expires_at": None if order.expires_at is None else order.expires_at.astimezone(UTC).isoformat(),
        "restricted": order.customer_id is not None or order.email is not None,
    }
