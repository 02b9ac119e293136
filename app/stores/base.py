"""The contract of a store adapter: what it receives, what it returns, and the checks that all adapters share.

A store adapter is one package with a settings class and an adapter class, named in `stores.ADAPTERS`. `tests/contract/` runs
one suite over all of them; docs/adapters.md explains how to add one.

Requirements for every adapter:

- `issue_coupon` is idempotent by code. After any number of calls, crashes and lost responses, the store has one coupon. The
  adapter looks up the code before it creates the coupon whenever `spec.first_try` is false, and always if the store
  allows two coupons with one code. If the store already has the code, the adapter compares the coupon field by field: Done if
  it is the same, Reject with the differences otherwise.
- If a coupon takes several calls, a half-created coupon is completed. It does not count as a different coupon.
- An option that the store cannot express is a Reject that names the option. It is never left out.
- The adapter compares the store's response to the creation with the request, because stores accept invalid values with a 2xx.
  If the new coupon differs, the adapter deletes it and returns Reject.
- A response to a write that cannot be trusted (5xx, not JSON, another structure, no response) is Unknown.
- Outcomes contain no credentials, no e-mail address and no id of a customer.
- No method raises an exception for anything that a store can do. It returns an outcome. Tokens are renewed inside the adapter.
- The queue never runs two calls for one code at the same time, over all replicas.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import JsonValue

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.failures import returns_failures


class CouponKind(StrEnum):
    """The kind of discount that a coupon gives."""

    FIXED_AMOUNT = "fixed_amount"
    PERCENTAGE = "percentage"
    FREE_SHIPPING = "free_shipping"
    FREE_PRODUCT = "free_product"
    GIFT_CARD = "gift_card"


THE_STORE: Final = "the store"
"""The fact `destination` of the reasons in this module, which are the same for every store."""
AMOUNTS: Final = frozenset({CouponKind.FIXED_AMOUNT, CouponKind.GIFT_CARD})
"""The kinds whose `value` is an amount of money in `currency`."""


@dataclass(frozen=True, slots=True)
class CouponSpec:
    """The coupon that the store is asked to create.

    `code` is used exactly as it is. `value` is an amount in `currency` (FIXED_AMOUNT, GIFT_CARD), a percentage above 0 and
    up to 100 (PERCENTAGE), and None for the other kinds. `product_ids` and `variant_ids` are the store's ids: the coupon is
    valid for all variants of these products, or for these variants only; never both. FREE_PRODUCT needs at least one id.
    `usage_limit` None means unlimited. `customer_id` and `email` restrict the coupon to one customer; if both are set, the
    store may use either. `starts_at` None means immediately. `reference` is the relay's id of the redemption, for stores that
    can keep one. `first_try` is true only if no earlier attempt can have reached the store.
    """

    code: str
    kind: CouponKind
    value: Decimal | None = None
    currency: str | None = None
    title: str | None = None
    product_ids: tuple[str, ...] = ()
    variant_ids: tuple[str, ...] = ()
    minimum_spend: Decimal | None = None
    usage_limit: int | None = 1
    per_customer_limit: int | None = None
    customer_id: str | None = None
    email: str | None = None
    combinable: bool = True
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    reference: str | None = None
    first_try: bool = False

    @property
    def items(self) -> tuple[str, ...]:
        """The products or variants that the coupon is restricted to. Empty: it is valid for the whole order."""
        return self.product_ids or self.variant_ids


@dataclass(frozen=True, slots=True)
class StoreCoupon:
    """A coupon as the store has it, in the terms of `CouponSpec`. None: not set in the store.

    `unreadable` names the fields that this store cannot return. `active`: the store accepts the coupon now, unless it is used
    up. `any_case`: the store's customers may enter the code in upper and in lower case; otherwise `code` must be the requested
    one exactly. `currency` is the one of the value and of the minimum spend. `shared_item_list`: the store keeps products
    and variants in one list, so `product_ids` and `variant_ids` both contain the whole list, and only the requested field is
    compared. `restrictions` are conditions, in the store's terms, that no CouponSpec can request. `reference` is the one of
    the CouponSpec, if the store keeps it: it proves that the relay created the coupon, also when the coupon differs from the
    spec.
    """

    store_id: str
    code: str
    kind: CouponKind | None
    value: Decimal | None = None
    currency: str | None = None
    product_ids: tuple[str, ...] = ()
    variant_ids: tuple[str, ...] = ()
    shared_item_list: bool = False
    minimum_spend: Decimal | None = None
    usage_limit: int | None = None
    per_customer_limit: int | None = None
    used: int | None = None
    email: str | None = None
    customer_id: str | None = None
    combinable: bool = True
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    active: bool = True
    restrictions: tuple[str, ...] = ()
    unreadable: frozenset[str] = frozenset()
    reference: str | None = None
    any_case: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The result of a successful `check()`: the store responds, and the credentials are sufficient.

    `currencies` (ISO 4217) are those in which the relay can create coupons; empty if the store does not name them.
    """

    detail: str
    currencies: frozenset[str] = frozenset()


class StoreAdapter(Protocol):
    """One store. `aclose()` closes its connections."""

    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """Create the coupon, or confirm that the store has it. Done.result contains `store_id`."""

    async def find_coupon(self, code: str) -> StoreCoupon | Outcome | None:
        """Return the coupon, None if the store has no coupon with this code, or the outcome of a failed lookup."""

    async def retire_coupon(self, code: str) -> Outcome:
        """Make the coupon unusable (delete or disable it). Done also if it no longer exists."""

    async def check(self) -> Ready | Outcome:
        """Check the address, the credentials and the permission to write coupons. Cheap; changes nothing."""

    async def aclose(self) -> None: ...


@runtime_checkable
class RemovesRemainders(Protocol):
    """Needed if a part of a coupon, left by an attempt whose response was lost, is not found by the coupon's code."""

    async def remove_remainder(self, code: str) -> Outcome:
        """Delete what the relay created for this code and what does not have the code. A coupon with the code is kept."""


class StoreAdapterClass(Protocol):
    """The class members of an adapter, used by `stores.build` and by the documentation.

    `KINDS` are the kinds of coupons that the store supports. `CANNOT` maps each field of CouponSpec that the store does not
    support to the reason, as a clause.
    """

    Settings: type[EnvironmentSettings]
    KINDS: frozenset[CouponKind]
    CANNOT: Mapping[str, str]

    @classmethod
    def from_environment(cls, clients: HttpClients) -> StoreAdapter:
        """Create the adapter and read its settings from the environment. Raises pydantic's ValidationError.

        All calls must go through a client from `clients`, which applies the timeout and the rate limit that all replicas share.
        """


def check_spec(spec: CouponSpec, adapter: StoreAdapterClass, now: datetime) -> Reject | None:
    """Reject for a spec that is invalid, or that this store cannot express; None otherwise."""
    if invalid := _invalid_field(spec, now):
        field, problem = invalid
        return _invalid(spec, field, problem)
    if spec.kind not in adapter.KINDS:
        return not_supported(spec, "kind", f"it has no coupons of the kind {spec.kind}")
    no_customers = {"customer_id", "email"} <= adapter.CANNOT.keys()
    requested = {
        name: problem
        for name, problem in adapter.CANNOT.items()
        if _requests(spec, name, now, no_customers=no_customers)
    }
    if not requested:
        return None
    first = next(iter(requested.values()))
    return not_supported(spec, ", ".join(name for name, problem in requested.items() if problem == first), first)


def not_supported(spec: CouponSpec, field: str, problem: str) -> Reject:
    """Reject because the store has nothing for `field` of the spec."""
    facts = {"destination": THE_STORE, "code": spec.code, "field": field, "problem": problem}
    return Reject(because(ReasonCode.NOT_SUPPORTED_BY_STORE, **facts))


def invalid_items(spec: CouponSpec, invalid_ids: Sequence[str]) -> Reject | None:
    """Reject for ids that no product or variant of the store can have; None if there are none."""
    if not invalid_ids:
        return None
    problem = f"{', '.join(invalid_ids)[:200]}: not the id of a product or variant of the store"
    return _invalid(spec, "product_ids" if spec.product_ids else "variant_ids", problem)


def items_not_found(spec: CouponSpec, missing: Collection[str]) -> Reject:
    """Reject because the store does not have these products or variants of the spec."""
    field = "variant_ids" if spec.variant_ids else "product_ids"
    return _invalid(spec, field, f"the store has no {field.removesuffix('_ids')} {', '.join(sorted(missing))}")


def has_amount(spec: CouponSpec) -> bool:
    """Whether the spec contains an amount of money in a currency: its value or its minimum spend."""
    return bool(spec.currency) and (spec.kind in AMOUNTS or bool(spec.minimum_spend))


def check_currency(spec: CouponSpec, currencies: Collection[str]) -> Reject | None:
    """Reject for an amount in a currency that is not one of the store's `currencies`; None otherwise."""
    if not has_amount(spec) or spec.currency in currencies:
        return None
    facts = {"code": spec.code, "ordered": spec.currency, "currency": ", ".join(sorted(currencies))}
    return Reject(because(ReasonCode.CURRENCY_MISMATCH, destination=THE_STORE, **facts))


def _invalid(spec: CouponSpec, field: str, problem: str) -> Reject:
    return Reject(because(ReasonCode.COUPON_INVALID, code=spec.code, field=field, problem=problem))


def _invalid_field(spec: CouponSpec, now: datetime) -> tuple[str, str] | None:
    """The first field whose value is invalid for every store, and the problem."""
    value = spec.value if spec.value is not None and spec.value.is_finite() else Decimal(0)
    spend, per_customer, expires_at = spec.minimum_spend or Decimal(0), spec.per_customer_limit, spec.expires_at
    money, percentage = spec.kind in AMOUNTS, spec.kind is CouponKind.PERCENTAGE
    everything = spec.kind is CouponKind.FREE_PRODUCT and not spec.items
    given = _format_or_not_set(spec.value)
    rules = (
        (not spec.code.strip(), "code", "its code is empty"),
        (money and value <= 0, "value", f"the value of a {spec.kind} must be above 0, not {given}"),
        (percentage and not 0 < value <= 100, "value", f"a percentage must be above 0 and at most 100, not {given}"),
        (everything, "product_ids", "a free_product without product_ids or variant_ids would make every product free"),
        (
            spec.product_ids and spec.variant_ids,
            "variant_ids",
            "product_ids and variant_ids cannot be combined; give only the variants",
        ),
        (not spend.is_finite() or spend < 0, "minimum_spend", f"minimum_spend cannot be {_format_or_not_set(spend)}"),
        (spec.usage_limit is not None and spec.usage_limit < 1, "usage_limit", "usage_limit is below 1"),
        (per_customer is not None and per_customer < 1, "per_customer_limit", "per_customer_limit is below 1"),
        (
            expires_at is not None and expires_at <= now,
            "expires_at",
            f"expires_at ({_format(expires_at)}) is in the past",
        ),
    )
    return next(((field, problem) for broken, field, problem in rules if broken), None)


def _requests(spec: CouponSpec, name: str, now: datetime, *, no_customers: bool) -> bool:
    """Whether the spec needs this field, which the store does not support. If a store supports one of `customer_id` and
    `email`, that one is enough; `no_customers`: it supports neither."""
    match name:
        case "starts_at":
            return spec.starts_at is not None and spec.starts_at > now
        case "customer_id":
            return spec.customer_id is not None and (spec.email is None or no_customers)
        case "email":
            return spec.email is not None and (spec.customer_id is None or no_customers)
        case "combinable":
            return not spec.combinable
        case _:
            return getattr(spec, name) not in (None, ())


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which a store's coupon differs from the spec. None: not set.

    E-mail addresses and customer ids are personal data: for these, `actual` and `expected` are "set" or "another value".
    """

    field: str
    actual: str | None
    expected: str | None

    def as_fact(self) -> dict[str, JsonValue]:
        """The difference as a fact of a reason."""
        return {"field": self.field, "actual": self.actual, "expected": self.expected}


def difference_facts(different: Sequence[Difference]) -> list[JsonValue]:
    """The fact `differences` of a reason."""
    return [difference.as_fact() for difference in different]


def differences(spec: CouponSpec, coupon: StoreCoupon) -> tuple[Difference, ...]:
    """The fields in which a store's coupon differs from the spec.

    Codes are compared exactly, unless the store's customers may enter them in any case. E-mail addresses are compared without
    case, times to the second, and the currency if the spec contains an amount. Fields that the store cannot return are not
    compared. Each restriction is a difference in the field `restrictions`.
    """
    different: list[Difference] = []

    def compare(name: str, actual: object, expected: object, personal: bool = False) -> None:
        if name in coupon.unreadable or actual == expected:
            return
        if personal:
            other = "set" if expected is None else "another value"
            different.append(Difference(name, None if actual is None else other, None if expected is None else "set"))
        else:
            different.append(Difference(name, _format(actual), _format(expected)))

    if not (coupon.any_case and coupon.code.casefold() == spec.code.casefold()):
        compare("code", coupon.code, spec.code)
    compare("kind", coupon.kind, spec.kind)
    if spec.kind in AMOUNTS or spec.kind is CouponKind.PERCENTAGE:
        compare("value", coupon.value, spec.value)
    if has_amount(spec):
        compare("currency", coupon.currency, spec.currency)
    requested = ("variant_ids",) if spec.variant_ids else ("product_ids",)
    for name in requested if coupon.shared_item_list else ("product_ids", "variant_ids"):
        compare(name, tuple(sorted(getattr(coupon, name))), tuple(sorted(getattr(spec, name))))
    compare("minimum_spend", coupon.minimum_spend or None, spec.minimum_spend or None)
    compare("usage_limit", coupon.usage_limit, spec.usage_limit)
    compare("per_customer_limit", coupon.per_customer_limit, spec.per_customer_limit)
    compare("customer_id", coupon.customer_id, spec.customer_id, personal=True)
    compare("email", (coupon.email or "").casefold() or None, (spec.email or "").casefold() or None, personal=True)
    compare("combinable", coupon.combinable, spec.combinable)
    if spec.starts_at is not None:
        compare("starts_at", _second(coupon.starts_at), _second(spec.starts_at))
    compare("expires_at", _second(coupon.expires_at), _second(spec.expires_at))
    compare("active", coupon.active, True)
    different += [Difference("restrictions", _format(restriction), None) for restriction in coupon.restrictions]
    return tuple(different)


def compare_existing(spec: CouponSpec, coupon: StoreCoupon) -> Done | Reject:
    """The outcome for a coupon that the store already had: Done if it fits the spec, else Reject with the differences."""
    if different := differences(spec, coupon):
        facts = {"destination": THE_STORE, "code": spec.code, "store_id": coupon.store_id}
        return Reject(because(ReasonCode.CODE_TAKEN, **facts, differences=difference_facts(different)))
    return Done({"store_id": coupon.store_id})


async def find_existing(store: StoreAdapter, spec: CouponSpec) -> Outcome | None:
    """Look up the code of the spec, and compare the coupon. None: the store has no coupon with this code."""
    coupon = await store.find_coupon(spec.code)
    return compare_existing(spec, coupon) if isinstance(coupon, StoreCoupon) else coupon


Delete = Callable[[str], Coroutine[Any, Any, Outcome]]
"""Deletes a coupon by its store id."""


async def confirm_created(
    spec: CouponSpec, coupon: StoreCoupon, delete: Delete, evidence: Evidence = Evidence()
) -> Done | Reject:
    """The outcome for a coupon that the store has just created. A coupon that differs from the spec is deleted."""
    if different := differences(spec, coupon):
        return await reject_and_delete(created_differently(spec, different), delete, coupon.store_id)
    return Done({"store_id": coupon.store_id}, evidence=evidence)


def created_differently(spec: CouponSpec, different: Sequence[Difference]) -> Reject:
    """Reject because the coupon that the store created differs from the spec."""
    return Reject(because(ReasonCode.COUPON_DIFFERS, code=spec.code, differences=difference_facts(different)))


async def reject_and_delete(rejection: Reject, delete: Delete, store_id: str) -> Reject:
    """Delete what was created for a rejected coupon. Returns the rejection, with the result of the deletion."""
    return with_cleanup(rejection, await returns_failures(delete)(store_id), store_id)


def with_cleanup(rejection: Reject, deletion: Outcome, store_id: str) -> Reject:
    """The rejection with the result of deleting what was created for the coupon."""
    deleted = isinstance(deletion, Done)
    cleanup = "It was deleted again." if deleted else f"It is still there: delete coupon {store_id} in the store."
    store_id = str(rejection.reason.facts.get("store_id", store_id))  # CODE_TAKEN has the id of the other coupon
    return replace(rejection, reason=rejection.reason.also(store_id=store_id, cleanup=cleanup, removed=deleted))


def _second(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0)


def _format(value: object) -> str | None:
    match value:
        case None | ():
            return None
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case tuple():
            return _format(", ".join(value))
        case _:
            return str(value)[:300].replace("\x00", "\ufffd")


def _format_or_not_set(value: object) -> str:
    return _format(value) or "not set"
