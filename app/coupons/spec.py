"""What is ordered from the store for a redemption, and whether the redemption may have that code at all. Pure."""

from collections.abc import Mapping
from datetime import UTC
from uuid import UUID

from platform_relay.core.outcomes import Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.transitions import CouponRecord
from platform_relay.platform.rewards import Redemption, Valued
from platform_relay.queue.jobs import Job
from platform_relay.settings import CouponSettings
from platform_relay.stores.base import CouponKind, CouponSpec


def closed(coupon: CouponRecord, redemption: Redemption, message_id: UUID) -> Skip | Reject | None:
    """Why no coupon is made for this message; None when its redemption may still get the code.

    A code that was never priced belongs to no redemption: the first that is verified gets it. A customer may first be
    known by the e-mail (a referred friend) and later by the store's id.
    """
    code, first, decision = redemption.code, coupon.redemption_id, coupon.decision
    others = coupon.message_id != message_id and (coupon.priced or decision is not None)
    if others and first != redemption.id:
        return Reject(because(ReasonCode.CODE_OF_ANOTHER_REDEMPTION, code=code, redemption=first))
    if others and coupon.customer_ref is not None and coupon.customer_ref not in redemption.identities:
        facts = {"code": code, "redemption": first, "owner": "another customer"}
        return Reject(because(ReasonCode.CODE_OF_ANOTHER_REDEMPTION, **facts))
    if coupon.state == "refused":
        return Reject(coupon.reason or because(ReasonCode.NOT_GENUINE))
    if decision is not None and decision.retire:
        return Skip(because(ReasonCode.OPERATOR_DECIDED, by=decision.by, comment=decision.why))
    if coupon.state in ("active", "used", "retired", "given_back"):
        return Skip(because(ReasonCode.COUPON_ALREADY_FINAL, state=coupon.state))
    return Skip(because(ReasonCode.SAME_REDEMPTION, message=str(coupon.message_id))) if others else None


def coupon_spec(
    redemption: Redemption, valued: Valued, coupon: CouponRecord, settings: CouponSettings, job: Job
) -> CouponSpec | Reject:
    """The same at every attempt: an expiry counts from when the webhook was stored, to the second."""
    restricted = settings.restrict_to_customer
    if restricted and not redemption.identities:
        setting = "COUPONS__RESTRICT_TO_CUSTOMER"
        return Reject(because(ReasonCode.NO_CUSTOMER, entity="webhook", setting=setting))
    expires_after = valued.expires_after or settings.expires_after
    return CouponSpec(
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


def written(order: CouponSpec) -> Mapping[str, object]:
    """The order as it is kept with the coupon: without the customer, whose data are pruned with the webhook's body."""
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
