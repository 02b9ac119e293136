"""The requirements for coupons while the store works."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final  # Any: fields of a spec, by name

from platform_relay.conformance.sandbox import (
    Sandbox,
    SandboxData,
    Skipped,
    Violation,
    describe,
    describe_differences,
    in_30_days,
    rejected_fields,
)
from platform_relay.core.outcomes import Done, Outcome, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind, CouponSpec, Ready, StoreCoupon, differences

Fields = Mapping[str, Any]  # Any: as above

KINDS: Final[Mapping[CouponKind, Fields]] = {
    CouponKind.FIXED_AMOUNT: {"value": Decimal("12.34")},
    CouponKind.PERCENTAGE: {"value": Decimal("7.5"), "currency": None},
    CouponKind.FREE_SHIPPING: {"value": None, "currency": None},
    CouponKind.FREE_PRODUCT: {"value": None, "currency": None},
    CouponKind.GIFT_CARD: {"value": Decimal(25)},
}
PERCENTAGE: Final[Fields] = {"kind": CouponKind.PERCENTAGE, **KINDS[CouponKind.PERCENTAGE]}
OPTIONS: Final[Mapping[str, Callable[[SandboxData], Fields]]] = {
    "minimum_spend": lambda _: {"minimum_spend": Decimal("37.45")},
    "usage_limit": lambda _: {"usage_limit": 3},
    "unlimited": lambda _: {"usage_limit": None},
    "per_customer_limit": lambda _: {"usage_limit": 10, "per_customer_limit": 2},
    "email": lambda data: {"email": data.email},
    "customer_id": lambda data: {"customer_id": data.customer_id},
    "combinable": lambda _: {"combinable": False},
    "product_ids": lambda data: {**PERCENTAGE, "product_ids": data.product_ids},
    "variant_ids": lambda data: {**PERCENTAGE, "variant_ids": data.variant_ids},
    "expires_at": lambda _: {"expires_at": in_30_days() + timedelta(microseconds=123456)},
    "starts_at": lambda _: {"starts_at": in_30_days()},
    "started": lambda _: {"starts_at": in_30_days() - timedelta(days=40)},
    "title and reference": lambda _: {"title": "Thank you", "reference": "0192-77"},
}
INVALID: Final[Mapping[str, Fields]] = {
    "a value of 0": {"value": Decimal(0)},
    "a value that is not a number": {"value": Decimal("NaN")},
    "no value": {"value": None},
    "150 %": {"kind": CouponKind.PERCENTAGE, "value": Decimal(150)},
    "a free product without a product": {"kind": CouponKind.FREE_PRODUCT, "value": None},
    "no uses": {"usage_limit": 0},
    "no uses per customer": {"per_customer_limit": 0},
    "a negative minimum spend": {"minimum_spend": Decimal(-1)},
    "products and variants": {"product_ids": ("1",), "variant_ids": ("11",)},
    "an expiry in the past": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
    "a blank code": {"code": " "},
}
READABLE: Final = frozenset(
    {"minimum_spend", "usage_limit", "per_customer_limit", "product_ids", "variant_ids", "expires_at"}
)
"""Fields that must be readable if the store supports them. Otherwise a coupon could be worth more than requested."""
OTHER_VALUES: Final[Mapping[str, Fields]] = {
    "value": {"value": Decimal("7.50")},
    "kind": {"kind": CouponKind.FREE_SHIPPING, "value": None, "currency": None},
    "usage_limit": {"usage_limit": 5},
    "minimum_spend": {"minimum_spend": Decimal("30.00")},
    "expires_at": {"expires_at": in_30_days()},
}


async def all_calls_use_the_given_clients(sandbox: Sandbox) -> None:
    """Every call uses a client that the adapter was given, and waits for the rate limit."""
    outcome = await sandbox.adapter.check()
    if not sandbox.network.calls:
        raise Violation(f"check made no call through HttpClients.make; it returned {describe(outcome)}")
    await sandbox.adapter.find_coupon(sandbox.spec().code)
    calls, acquired = len(sandbox.network.calls), sandbox.network.acquired
    if acquired < calls:
        raise Violation(f"{calls} calls were made, but only {acquired} waited for the rate limit")


async def check_returns_ready(sandbox: Sandbox) -> None:
    """`check` returns Ready, with a detail."""
    outcome = await sandbox.adapter.check()
    if not isinstance(outcome, Ready):
        raise Violation(f"check returned {describe(outcome)}")
    if not outcome.detail:
        raise Violation("Ready has no detail")


async def a_created_coupon_is_found(sandbox: Sandbox) -> None:
    """A created coupon is found by its code, with its id and as requested, and only once."""
    spec = sandbox.spec()
    store_id = await sandbox.issue(spec)
    coupon = await sandbox.find(spec.code)
    if coupon is None:
        raise Violation("it is not found")
    if coupon.store_id != store_id:
        raise Violation(f"it was created as {store_id}, but is found as {coupon.store_id}")
    if not coupon.active:
        raise Violation("it is found, but is not active")
    await sandbox.expect_one(spec)


async def the_same_spec_twice_gives_one_coupon(sandbox: Sandbox) -> None:
    """The same spec twice gives one coupon, and Done with the same id, with any value of `first_try`."""
    for first_try in (True, False):
        spec = sandbox.spec()
        store_id = await sandbox.issue(spec)
        if await sandbox.issue(spec, first_try=first_try) != store_id:
            raise Violation(f"with first_try={first_try}, the second Done contains another id")
        await sandbox.expect_one(spec)


async def a_code_with_other_values_is_rejected(field: str, sandbox: Sandbox) -> None:
    """If the store has the code with another value, the outcome is Reject with the field; the coupon is not changed."""
    cannot = sandbox.adapter_class.CANNOT
    if field in cannot or (field == "kind" and CouponKind.FREE_SHIPPING not in sandbox.adapter_class.KINDS):
        raise Skipped(f"the store does not support {field}")
    for first_try in (True, False):
        spec = sandbox.spec()
        await sandbox.issue(spec)
        outcome = await sandbox.adapter.issue_coupon(replace(spec, **OTHER_VALUES[field], first_try=first_try))
        if not isinstance(outcome, Reject):
            raise Violation(f"another {field}: {describe(outcome)}")
        if outcome.reason.code is not ReasonCode.CODE_TAKEN:
            raise Violation(f"another {field}: {describe(outcome)} instead of code_taken")
        if field not in rejected_fields(outcome):
            raise Violation(f"the fact `differences` does not contain {field}: {describe(outcome)}")
        await sandbox.expect_one(spec)


async def a_kind_is_created_or_rejected(kind: CouponKind, sandbox: Sandbox) -> None:
    """Every kind in KINDS is created as requested. Every other kind is a Reject with the field, and creates nothing."""
    products = sandbox.data.product_ids[:1] if kind is CouponKind.FREE_PRODUCT else ()
    supported = kind in sandbox.adapter_class.KINDS
    if kind is CouponKind.FREE_PRODUCT and not products:
        if supported:
            raise Skipped("needs products of the store (--product)")
        products = ("1",)
    fields = {"kind": kind, "product_ids": products, **KINDS[kind]}
    await _created_or_rejected(sandbox, fields, "kind", supported=supported)


async def an_option_is_kept_or_rejected(option: str, sandbox: Sandbox) -> None:
    """The store keeps a requested option, or it is in CANNOT and the outcome is Reject with the field. It is never left out."""
    fields = OPTIONS[option](sandbox.data)
    if "kind" in fields and fields["kind"] not in sandbox.adapter_class.KINDS:
        raise Skipped(f"the store has no coupons of the kind {fields['kind']}, with which {option} is tested")
    if not all(value or value is None or value is False for value in fields.values()) or (
        option in ("email", "customer_id") and fields[option] is None
    ):
        raise Skipped(f"needs an id or address of the store (--{option.removesuffix('_ids').replace('_', '-')})")
    await _created_or_rejected(sandbox, fields, option, supported=option not in sandbox.adapter_class.CANNOT)


async def _created_or_rejected(sandbox: Sandbox, fields: Fields, field: str, *, supported: bool) -> None:
    spec = sandbox.spec(**fields)
    outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
    if not supported:
        _check_rejection(outcome, field)
    if not supported or _is_rejected_by_name(outcome, field, spec):
        if await sandbox.find(spec.code) is not None:
            raise Violation("it was rejected, but the store has it")
        return
    if not isinstance(outcome, Done):
        raise Violation(f"issue_coupon returned {describe(outcome)} for a spec that the store supports")
    await sandbox.issue(spec, first_try=False)
    coupon = await sandbox.find(spec.code)
    if coupon is not None and (different := differences(spec, _one_restriction(coupon, spec))):
        raise Violation(f"the store's coupon differs from the spec: {describe_differences(different)}")
    if coupon is None or not _is_readable(field, coupon):
        raise Violation(f"{field} cannot be read back, so it is unknown whether the store kept it; add it to CANNOT")
    outcome = await sandbox.adapter.retire_coupon(spec.code)
    if not isinstance(outcome, Done) or await sandbox.is_usable(spec.code):
        raise Violation(f"it could not be retired ({describe(outcome)}), or it was created twice")


def _check_rejection(outcome: Outcome, field: str) -> None:
    if not isinstance(outcome, Reject):
        raise Violation(f"the store does not support {field}, but issue_coupon returned {describe(outcome)}")
    if outcome.reason.code not in (ReasonCode.NOT_SUPPORTED_BY_STORE, ReasonCode.COUPON_INVALID):
        raise Violation(f"{field}: {describe(outcome)} instead of not_supported_by_store")
    if field not in rejected_fields(outcome):
        raise Violation(f"the fact `field` does not contain {field}: {describe(outcome)}")


def _is_rejected_by_name(outcome: Outcome, field: str, spec: CouponSpec) -> bool:
    """Whether a spec that the store supports in general is rejected with the name of a field of this case."""
    codes = (ReasonCode.NOT_SUPPORTED_BY_STORE, ReasonCode.COUPON_INVALID, ReasonCode.CURRENCY_MISMATCH)
    named = {field, *(("kind",) if spec.kind is not CouponKind.FIXED_AMOUNT else ())}
    return isinstance(outcome, Reject) and outcome.reason.code in codes and bool(named & rejected_fields(outcome))


def _is_readable(field: str, coupon: StoreCoupon) -> bool:
    if field in ("email", "customer_id"):
        return bool(coupon.email or coupon.customer_id)
    return field not in coupon.unreadable & READABLE


def _one_restriction(coupon: StoreCoupon, spec: CouponSpec) -> StoreCoupon:
    """The coupon without its customer, if the store restricts it by the other one of `customer_id` and `email`."""
    by_id = spec.email is not None and coupon.email is None and coupon.customer_id is not None
    by_email = spec.customer_id is not None and coupon.customer_id is None and coupon.email is not None
    return replace(coupon, unreadable=coupon.unreadable | {"email", "customer_id"}) if by_id or by_email else coupon


async def an_invalid_spec_never_reaches_the_store(name: str, sandbox: Sandbox) -> None:
    """A spec that is invalid for every store is a Reject before any call."""
    fields = INVALID[name]
    sandbox.network.mark()
    outcome = await sandbox.adapter.issue_coupon(sandbox.spec(**fields))
    if not isinstance(outcome, Reject):
        raise Violation(f"{name}: {describe(outcome)}")
    if sandbox.network.calls_since_mark:
        raise Violation(f"{name} was rejected after a call to the store")


async def amounts_are_exact(sandbox: Sandbox) -> None:
    """Amounts are read back exactly."""
    for amount in ("0.07", "19.99", "1000.05"):
        spec = sandbox.spec(value=Decimal(amount))
        await sandbox.issue(spec)
        coupon = await sandbox.find(spec.code)
        if coupon is None or coupon.value != Decimal(amount):
            raise Violation(f"{amount} is read back as {coupon.value if coupon else 'nothing'}")


async def time_zones_do_not_matter(sandbox: Sandbox) -> None:
    """The same moment in another time zone is the same expiry."""
    if "expires_at" in sandbox.adapter_class.CANNOT:
        raise Skipped("the store does not support expires_at")
    moment, zone = in_30_days(), timezone(timedelta(hours=-9, minutes=-30))
    spec = sandbox.spec(expires_at=moment.astimezone(zone))
    await sandbox.issue(spec)
    coupon = await sandbox.find(spec.code)
    if coupon is None or coupon.expires_at is None or coupon.expires_at.tzinfo is None:
        raise Violation("the expiry cannot be read back, or has no time zone")
    await sandbox.issue(replace(spec, expires_at=moment), first_try=False)


async def a_lookup_finds_only_its_code(sandbox: Sandbox) -> None:
    """A lookup finds only the given code, and no similar one."""
    spec = sandbox.spec()
    await sandbox.issue(spec)
    for code in (spec.code[:-1], spec.code + "X", "a b&c=d/e+f%20g", "ü", '"'):
        if (coupon := await sandbox.find(code)) is not None:
            raise Violation(f"the lookup of {code!r} found {coupon.code}")


async def a_retired_coupon_cannot_be_used(sandbox: Sandbox) -> None:
    """A retired coupon is deleted or not active, and no other one. Retiring it again, or an unknown code, is Done."""
    spec, other = sandbox.spec(), sandbox.spec()
    for created in (spec, other):
        await sandbox.issue(created)
    unknown = await sandbox.adapter.retire_coupon(sandbox.spec().code)
    if not isinstance(unknown, Done):
        raise Violation(f"retire_coupon of an unknown code returned {describe(unknown)}")
    for _ in range(2):
        outcome = await sandbox.adapter.retire_coupon(spec.code)
        if not isinstance(outcome, Done):
            raise Violation(f"retire_coupon returned {describe(outcome)}")
        if await sandbox.is_usable(spec.code):
            raise Violation("the outcome was Done, but the store has an active coupon")
    await sandbox.expect_one(other)


async def concurrent_coupons_do_not_mix(sandbox: Sandbox) -> None:
    """Coupons that are issued concurrently do not affect each other."""
    specs = [sandbox.spec(value=Decimal(number)) for number in range(3, 8)]
    await asyncio.gather(*(sandbox.issue(spec) for spec in specs))
    for spec in specs:
        await sandbox.expect_one(spec)
