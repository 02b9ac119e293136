"""The coupon spec of a redemption, and whether the redemption may have its code at all. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any  # Any: JSON columns
from uuid import UUID

from platform_relay.core.outcomes import Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.records import CouponRecord
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.coupons.verification_rules import email_differs
from platform_relay.platform.redemptions import Redemption
from platform_relay.queue.jobs import Job
from platform_relay.setting_groups import CouponSettings
from platform_relay.stores.base import CouponKind, CouponSpec


def already_decided(coupon: CouponRecord, redemption: Redemption, message_id: UUID) -> Skip | Reject | None:
    """Why no coupon is issued for this message; None when its redemption may still get the code.

    A code that was never admitted belongs to no redemption: the first verified one gets it. A customer may first be known
    by the e-mail address (a referred friend) and later by the store's id.
    """
    code, first, decision = redemption.code, coupon.redemption_id, coupon.decision
    others = coupon.message_id != message_id and (coupon.admitted or decision is not None)
    if others and first != redemption.id:
        return Reject(because(ReasonCode.CODE_OF_ANOTHER_REDEMPTION, code=code, redemption=first))
    if others and coupon.customer_ref is not None and coupon.customer_ref not in redemption.identities:
        facts = {"code": code, "redemption": first, "owner": "another customer"}
        return Reject(because(ReasonCode.CODE_OF_ANOTHER_REDEMPTION, **facts))
    if decision is not None and decision.retire:
        return Skip(because(ReasonCode.OPERATOR_DECIDED, by=decision.by, comment=decision.why))
    if coupon.state in ("active", "used", "retired", "points_returned"):
        return Skip(because(ReasonCode.COUPON_ALREADY_FINAL, state=coupon.state))
    return Skip(because(ReasonCode.SAME_REDEMPTION, message=str(coupon.message_id))) if others else None


def email_changed(redemption: Redemption, coupon: CouponRecord, current: str | None) -> bool:
    """Whether the customer's e-mail address at the Platform is another one than the webhook's. It stays as it was when the
    coupon was admitted, because the store may have the coupon for that address."""
    return coupon.email_changed if coupon.admitted else email_differs(redemption, current)


def coupon_spec(
    redemption: Redemption,
    value: RewardValue,
    coupon: CouponRecord,
    settings: CouponSettings,
    job: Job,
    current_email: str | None = None,
) -> CouponSpec | Reject:
    """The spec is the same at every attempt: the expiry counts from when the webhook was stored, to the second.

    `current_email`: the customer's address at the Platform. A coupon for one customer is for this address where it is not
    the webhook's.
    """
    changed = email_changed(redemption, coupon, current_email)
    email = (current_email if changed else None) or redemption.email or current_email
    restricted = settings.restrict_to_customer
    if restricted and not redemption.identities:
        setting = "COUPONS__RESTRICT_TO_CUSTOMER"
        return Reject(because(ReasonCode.NO_CUSTOMER, entity="webhook", setting=setting))
    expires_after = value.expires_after or settings.expires_after
    return CouponSpec(
        code=redemption.code,
        kind=CouponKind(value.kind.value),
        value=value.value,
        currency=value.currency,
        title=value.title,
        product_ids=value.product_ids,
        variant_ids=value.variant_ids,
        minimum_spend=value.minimum_spend,
        usage_limit=settings.usage_limit,
        customer_id=redemption.customer_id if restricted else None,
        email=email if restricted else None,
        combinable=settings.combinable,
        expires_at=coupon.received_at.replace(microsecond=0) + expires_after if expires_after else None,
        reference=redemption.id,
        first_try=job.attempt == 1 and not job.uncertain and not coupon.admitted,
    )


def stored_spec(spec: CouponSpec) -> Mapping[str, object]:
    """The spec as it is stored with the coupon: without the customer, whose data are pruned with the webhook's body."""
    return {
        "kind": spec.kind.value,
        "value": None if spec.value is None else f"{spec.value:f}",
        "currency": spec.currency,
        "product_ids": list(spec.product_ids),
        "variant_ids": list(spec.variant_ids),
        "minimum_spend": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}",
        "usage_limit": spec.usage_limit,
        "combinable": spec.combinable,
        "expires_at": None if spec.expires_at is None else spec.expires_at.astimezone(UTC).isoformat(),
        "restricted": spec.customer_id is not None or spec.email is not None,
    }


def read_stored_spec(code: str, stored: Mapping[str, Any]) -> CouponSpec:  # Any: JSON
    """The spec of `stored_spec`, which has no title, no customer and no reference."""
    expires_at = stored["expires_at"]
    return CouponSpec(
        code=code,
        kind=CouponKind(stored["kind"]),
        value=_decimal(stored["value"]),
        currency=stored["currency"],
        product_ids=tuple(stored["product_ids"]),
        variant_ids=tuple(stored["variant_ids"]),
        minimum_spend=_decimal(stored["minimum_spend"]),
        usage_limit=stored["usage_limit"],
        combinable=stored["combinable"],
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )


def _decimal(number: str | None) -> Decimal | None:
    return None if number is None else Decimal(number)
