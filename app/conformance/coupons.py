"""What every adapter promises about a coupon while the store behaves."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final  # Any: an order's fields by name

from platform_relay.conformance.sandbox import Broken, Facts, Sandbox, Skipped, fields_of, named, shown, soon
from platform_relay.core.outcomes import Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponFound, CouponKind, CouponSpec, Ready, differences

Fields = Mapping[str, Any]  # Any: as above

KINDS: Final[Mapping[CouponKind, Fields]] = {
    CouponKind.FIXED_AMOUNT: {"value": Decimal("12.34")},
    CouponKind.PERCENTAGE: {"value": Decimal("7.5"), "currency": None},
    CouponKind.FREE_SHIPPING: {"value": None, "currency": None},
    CouponKind.FREE_PRODUCT: {"value": None, "currency": None},
    CouponKind.GIFT_CARD: {"value": Decimal(25)},
}
PERCENTAGE: Final[Fields] = {"kind": CouponKind.PERCENTAGE, **KINDS[CouponKind.PERCENTAGE]}
OPTIONS: Final[Mapping[str, Callable[[Facts], Fields]]] = {
    "minimum_spend": lambda _: {"minimum_spend": Decimal("30.00")},
    "usage_limit": lambda _: {"usage_limit": 3},
    "unlimited": lambda _: {"usage_limit": None},
    "per_customer_limit": lambda _: {"usage_limit": 10, "per_customer_limit": 2},
    "email": lambda facts: {"email": facts.email},
    "customer_id": lambda facts: {"customer_id": facts.customer_id},
    "combinable": lambda _: {"combinable": False},
    "product_ids": lambda facts: {"product_ids": facts.product_ids},
    "variant_ids": lambda facts: {**PERCENTAGE, "variant_ids": facts.variant_ids},
    "expires_at": lambda _: {"expires_at": soon() + timedelta(microseconds=123456)},
    "starts_at": lambda _: {"starts_at": soon()},
    "started": lambda _: {"starts_at": soon() - timedelta(days=40)},
    "title and reference": lambda _: {"title": "Thank you", "reference": "0192-77"},
}
NONSENSE: Final[Mapping[str, Fields]] = {
    "a value of 0": {"value": Decimal(0)},
    "a value that is no number": {"value": Decimal("NaN")},
    "no value": {"value": None},
    "150 %": {"kind": CouponKind.PERCENTAGE, "value": Decimal(150)},
    "a free product without a product": {"kind": CouponKind.FREE_PRODUCT, "value": None},
    "no uses": {"usage_limit": 0},
    "no uses per customer": {"per_customer_limit": 0},
    "a negative minimum": {"minimum_spend": Decimal(-1)},
    "products and variants": {"product_ids": ("1",), "variant_ids": ("11",)},
    "an end in the past": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
    "a blank code": {"code": " "},
}
READABLE: Final = frozenset(
    {"minimum_spend", "usage_limit", "per_customer_limit", "product_ids", "variant_ids", "expires_at"}
)
"""What an adapter may not call unreadable when the store has it: a coupon would be worth more than was ordered."""
OTHER: Final[Mapping[str, Fields]] = {
    "value": {"value": Decimal("7.50")},
    "kind": {"kind": CouponKind.FREE_SHIPPING, "value": None, "currency": None},
    "usage_limit": {"usage_limit": 5},
    "minimum_spend": {"minimum_spend": Decimal("30.00")},
    "expires_at": {"expires_at": soon()},
}


async def calls_go_through_the_clients(box: Sandbox) -> None:
    """Every call goes through a client that the adapter was given, and waits for its turn."""
    outcome = await box.adapter.check()
    if not box.wire.seen:
        raise Broken(f"check made no call by way of HttpClients.make; its outcome: {shown(outcome)}")
    await box.adapter.find_coupon(box.order().code)
    if box.wire.turns < len(box.wire.seen):
        raise Broken(f"{len(box.wire.seen)} calls were made in {box.wire.turns} turns")


async def check_is_ready(box: Sandbox) -> None:
    """`check` says that the store is ready."""
    outcome = await box.adapter.check()
    if not isinstance(outcome, Ready):
        raise Broken(f"check was answered with {shown(outcome)}")
    if not outcome.detail:
        raise Broken("Ready says nothing")


async def what_was_made_is_found(box: Sandbox) -> None:
    """A coupon that was made is found again under its code and its id, as ordered, once."""
    order = box.order()
    store_id = await box.made(order)
    found = await box.found(order.code)
    if found is None:
        raise Broken("it is not found")
    if found.store_id != store_id:
        raise Broken(f"it was made as {store_id} and is found as {found.store_id}")
    if not found.active:
        raise Broken("it is found as not active")
    await box.holds_one(order)


async def the_same_order_again_is_the_same_coupon(box: Sandbox) -> None:
    """The same order twice is one coupon, and Done with the same id, whether or not it claims to be the first try."""
    for first_try in (True, False):
        order = box.order()
        store_id = await box.made(order)
        if await box.made(order, first_try=first_try) != store_id:
            raise Broken(f"with first_try={first_try} the second Done names another coupon")
        await box.holds_one(order)


async def another_order_under_the_code_is_rejected_by_name(field: str, box: Sandbox) -> None:
    """A code that the store holds with other values is Reject, naming the field; the store's coupon stays as it is."""
    cannot = box.adapter_class.CANNOT
    if field in cannot or (field == "kind" and CouponKind.FREE_SHIPPING not in box.adapter_class.KINDS):
        raise Skipped(f"the store has no {field} to differ in")
    for first_try in (True, False):
        order = box.order()
        await box.made(order)
        outcome = await box.adapter.issue_coupon(replace(order, **OTHER[field], first_try=first_try))
        if not isinstance(outcome, Reject):
            raise Broken(f"another {field} was answered with {shown(outcome)}")
        if outcome.reason.code is not ReasonCode.CODE_TAKEN:
            raise Broken(f"another {field} was answered with {shown(outcome)}, not with code_taken")
        if field not in fields_of(outcome):
            raise Broken(f"the fact `differences` does not name {field}: {shown(outcome)}")
        await box.holds_one(order)


async def a_kind_is_made_or_rejected_by_name(kind: CouponKind, box: Sandbox) -> None:
    """Every kind in KINDS is made as ordered, every other is Reject by name and makes nothing."""
    products = box.facts.product_ids if kind is CouponKind.FREE_PRODUCT else ()
    can = kind in box.adapter_class.KINDS
    if kind is CouponKind.FREE_PRODUCT and not products:
        if can:
            raise Skipped("needs products of the store (--product)")
        products = ("1",)
    await _made_or_rejected(box, {"kind": kind, "product_ids": products, **KINDS[kind]}, "kind", can=can)


async def an_option_is_kept_or_rejected_by_name(option: str, box: Sandbox) -> None:
    """What an order asks for is kept by the store, or Reject by name when it stands in CANNOT; never left out."""
    fields = OPTIONS[option](box.facts)
    if "kind" in fields and fields["kind"] not in box.adapter_class.KINDS:
        raise Skipped(f"the store has no coupons of the kind {fields['kind']}, which {option} is tried with")
    if not all(value or value is None or value is False for value in fields.values()) or (
        option in ("email", "customer_id") and fields[option] is None
    ):
        raise Skipped(f"needs to know one of the store (--{option.removesuffix('_ids').replace('_', '-')})")
    await _made_or_rejected(box, fields, option, can=option not in box.adapter_class.CANNOT)


async def _made_or_rejected(box: Sandbox, fields: Fields, field: str, *, can: bool) -> None:
    order = box.order(**fields)
    if can:
        await box.made(order)
        found = await box.found(order.code)
        if found is not None and (wrong := differences(order, _as_asked(found, order))):
            raise Broken(f"the store's coupon is not what was ordered: {named(wrong)}")
        if found is None or not _readable(field, found):
            raise Broken(f"{field} cannot be read back, so nobody knows whether the store kept it; name it in CANNOT")
        await box.made(order, first_try=False)
        retired = await box.adapter.retire_coupon(order.code)
        if not isinstance(retired, Done) or await box.usable(order.code):
            raise Broken(f"it could not be retired ({shown(retired)}), or was made twice")
        return
    outcome = await box.adapter.issue_coupon(replace(order, first_try=True))
    if not isinstance(outcome, Reject):
        raise Broken(f"{field} is none that the store can do, and was answered with {shown(outcome)}")
    if outcome.reason.code not in (ReasonCode.NOT_SUPPORTED_BY_STORE, ReasonCode.COUPON_INVALID):
        raise Broken(f"{field} was answered with {shown(outcome)}, not with not_supported_by_store")
    if field not in fields_of(outcome):
        raise Broken(f"the fact `field` does not name {field}: {shown(outcome)}")
    if await box.found(order.code) is not None:
        raise Broken("it was rejected, and the store has it")


def _readable(field: str, found: CouponFound) -> bool:
    if field in ("email", "customer_id"):
        return bool(found.email or found.customer_id)
    return field not in found.unreadable & READABLE


def _as_asked(found: CouponFound, order: CouponSpec) -> CouponFound:
    """A store restricts a coupon by a customer's id or by the address; the one that it keeps is enough."""
    by_id = order.email is not None and found.email is None and found.customer_id is not None
    by_address = order.customer_id is not None and found.customer_id is None and found.email is not None
    return replace(found, unreadable=found.unreadable | {"email", "customer_id"}) if by_id or by_address else found


async def nonsense_never_reaches_the_shop(name: str, box: Sandbox) -> None:
    """What nobody can make is Reject before any call."""
    fields = NONSENSE[name]
    box.wire.mark()
    outcome = await box.adapter.issue_coupon(box.order(**fields))
    if not isinstance(outcome, Reject):
        raise Broken(f"{name} was answered with {shown(outcome)}")
    if box.wire.since:
        raise Broken(f"{name} was rejected after a call to the shop")


async def amounts_are_exact(box: Sandbox) -> None:
    """Amounts come back to the cent."""
    for amount in ("0.07", "19.99", "1000.05"):
        order = box.order(value=Decimal(amount))
        await box.made(order)
        found = await box.found(order.code)
        if found is None or found.value != Decimal(amount):
            raise Broken(f"{amount} is found as {found.value if found else 'nothing'}")


async def times_are_moments(box: Sandbox) -> None:
    """The same moment in another time zone is the same time."""
    if "expires_at" in box.adapter_class.CANNOT:
        raise Skipped("the store has no expiry")
    moment, zone = soon(), timezone(timedelta(hours=-9, minutes=-30))
    order = box.order(expires_at=moment.astimezone(zone))
    await box.made(order)
    found = await box.found(order.code)
    if found is None or found.expires_at is None or found.expires_at.tzinfo is None:
        raise Broken("the expiry is not found again, or without a zone")
    await box.made(replace(order, expires_at=moment), first_try=False)


async def a_code_is_found_exactly(box: Sandbox) -> None:
    """A look-up finds the code that was asked for and no similar one."""
    order = box.order()
    await box.made(order)
    for code in (order.code[:-1], order.code + "X", "a b&c=d/e+f%20g", "ü", '"'):
        if (found := await box.found(code)) is not None:
            raise Broken(f"the look-up of {code!r} found {found.code}")


async def a_retired_coupon_cannot_be_used(box: Sandbox) -> None:
    """A retired coupon is gone or not active, alone; retiring it again, or one never made, is Done."""
    order, other = box.order(), box.order()
    for each in (order, other):
        await box.made(each)
    never = await box.adapter.retire_coupon(box.order().code)
    if not isinstance(never, Done):
        raise Broken(f"retiring what was never made was answered with {shown(never)}")
    for _ in range(2):
        outcome = await box.adapter.retire_coupon(order.code)
        if not isinstance(outcome, Done):
            raise Broken(f"retire_coupon was answered with {shown(outcome)}")
        if await box.usable(order.code):
            raise Broken("the outcome was Done, and the store shows an active coupon")
    await box.holds_one(other)


async def orders_side_by_side_do_not_mix(box: Sandbox) -> None:
    """Orders of several codes at once do not get into each other's way."""
    orders = [box.order(value=Decimal(number)) for number in range(3, 8)]
    await asyncio.gather(*(box.made(order) for order in orders))
    for order in orders:
        await box.holds_one(order)
