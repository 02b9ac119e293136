"""The contract between the coupon journey and a store.

A store is one folder in this package: its settings class and its adapter class, named in `stores.ADAPTERS`.
`tests/contract/` runs one behaviour suite over every adapter; docs/adapters.md tells how to add one.

Promises of an adapter:

- `issue_coupon` is idempotent by code: called twice, killed between, answered or not, the store holds one coupon.
  It looks the code up before it creates whenever `order.first_try` is false; always, when the store itself lets two
  coupons have one code. A code that the store already holds is compared field by field: the same values are Done,
  other values Reject naming the differences.
- Where the store needs several calls for one coupon, a coupon left half made is finished, not called different.
- What the store cannot express is Reject naming it, never left out in silence.
- The store's echo is compared with the request: stores accept nonsense with success. A coupon just made that is not
  what was ordered is removed again, and the outcome is Reject.
- An answer to a write that cannot be trusted (5xx, no JSON, another shape, no answer) is Unknown.
- Credentials never appear in an outcome's words, nor do a customer's e-mail address and id.
- No method raises for anything that the store can do; it answers with an outcome. Tokens are renewed inside the adapter.
- The engine never runs two calls for one code at a time, over all replicas.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol

from pydantic import JsonValue

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.settings import EnvironmentSettings
from platform_relay.stores.failing import answers_failures


class CouponKind(StrEnum):
    """What a coupon gives."""

    FIXED_AMOUNT = "fixed_amount"
    PERCENTAGE = "percentage"
    FREE_SHIPPING = "free_shipping"
    FREE_PRODUCT = "free_product"
    GIFT_CARD = "gift_card"


THE_STORE: Final = "the store"
"""The destination in the facts of the reasons below, which are the same for every store."""
AMOUNTS: Final = frozenset({CouponKind.FIXED_AMOUNT, CouponKind.GIFT_CARD})
"""The kinds whose `value` is an amount of money in `currency`."""


@dataclass(frozen=True, slots=True)
class CouponSpec:
    """What to issue.

    `value` is an amount in `currency` (FIXED_AMOUNT, GIFT_CARD), a percentage above 0 and up to 100 (PERCENTAGE), and
    None for the others. `code` is to be used exactly as it is. `product_ids` and `variant_ids` are the store's own: it is
    for all variants of these products, or for these variants alone, never both. FREE_PRODUCT needs one at least.
    `usage_limit` None: unlimited. `reference` is our own id of the redemption (for stores that can keep
    one). `customer_id` and `email` restrict the coupon to one customer when given; with both, the one that the store
    can restrict by is enough. `starts_at` None: at once. `first_try` is true only when no earlier attempt can have
    reached the store.
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
        """The products, or the variants, that it is restricted to; empty: it is for the whole order."""
        return self.product_ids or self.variant_ids


@dataclass(frozen=True, slots=True)
class CouponFound:
    """A coupon as the store holds it, translated back into our words. None: not set in the store.

    `unreadable` names the fields that this store cannot tell. `active`: the store would accept it now (apart from
    having been used up). `one_list`: the store has one list for products and variants; `product_ids` and `variant_ids` are
    two readings of it, and the ordered one counts. `restrictions` are conditions in the store's own words that no order can
    ask for. `reference`: the order's, where the store keeps it; it says that a coupon is ours, however it came out.
    """

    store_id: str
    code: str
    kind: CouponKind | None
    value: Decimal | None = None
    currency: str | None = None
    product_ids: tuple[str, ...] = ()
    variant_ids: tuple[str, ...] = ()
    one_list: bool = False
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


@dataclass(frozen=True, slots=True)
class Ready:
    """`check()`: the store answers and our credentials suffice."""

    detail: str


class StoreAdapter(Protocol):
    """One shop. Close it with `aclose()`."""

    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """Done.result holds `store_id`."""

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """The coupon, None when the store has none of this code, or the outcome of a look-up that failed."""

    async def retire_coupon(self, code: str) -> Outcome:
        """Make the coupon unusable (delete or disable); Done when it is gone already."""

    async def check(self) -> Ready | Outcome:
        """Cheap, changes nothing: is the address right, are the credentials good, may we write coupons?"""

    async def aclose(self) -> None: ...


class StoreAdapterClass(Protocol):
    """What an adapter's class itself offers, for `stores.build` and for the documentation.

    `CANNOT` names the fields of CouponSpec that the store has nothing for, each with the reason in words.
    """

    Settings: type[EnvironmentSettings]
    KINDS: frozenset[CouponKind]
    CANNOT: Mapping[str, str]

    @classmethod
    def from_environment(cls, clients: HttpClients) -> StoreAdapter:
        """An adapter with its Settings read. Every call goes through a client of `clients`, which keeps the time limit
        and the pace that all replicas share. Raises pydantic's ValidationError."""


def refusal(order: CouponSpec, adapter: StoreAdapterClass, now: datetime) -> Reject | None:
    """Reject for an order that no store can carry out, or that this store cannot express; None when it may be tried."""
    if flaw := _flaw(order, now):
        field, problem = flaw
        return Reject(because(ReasonCode.COUPON_INVALID, code=order.code, field=field, problem=problem))
    if order.kind not in adapter.KINDS:
        return not_supported(order, "kind", f"it has no coupons of the kind {order.kind}")
    neither = {"customer_id", "email"} <= adapter.CANNOT.keys()
    asked = {name: why for name, why in adapter.CANNOT.items() if _asked(order, name, now, neither=neither)}
    if not asked:
        return None
    first = next(iter(asked.values()))
    return not_supported(order, ", ".join(name for name, why in asked.items() if why == first), first)


def not_supported(order: CouponSpec, field: str, problem: str) -> Reject:
    """The store has nothing for `field` of the order."""
    facts = {"destination": THE_STORE, "code": order.code, "field": field, "problem": problem}
    return Reject(because(ReasonCode.NOT_SUPPORTED_BY_STORE, **facts))


def foreign_items(order: CouponSpec, wrong: Sequence[str]) -> Reject | None:
    """Reject for `wrong`, ids of the order that no product or variant of the store can have; None when there are none."""
    if not wrong:
        return None
    field = "product_ids" if order.product_ids else "variant_ids"
    problem = f"{', '.join(wrong)[:200]}: not the id of a product or variant of the store"
    return Reject(because(ReasonCode.COUPON_INVALID, code=order.code, field=field, problem=problem))


def has_amount(order: CouponSpec) -> bool:
    """Whether the order names an amount of money in a currency: its value, or the minimum spend."""
    return bool(order.currency) and (order.kind in AMOUNTS or bool(order.minimum_spend))


def other_currency(order: CouponSpec, sold: Collection[str]) -> Reject | None:
    """Reject for an amount in another currency than those that the store sells in."""
    if not has_amount(order) or order.currency in sold:
        return None
    facts = {"code": order.code, "ordered": order.currency, "currency": ", ".join(sorted(sold))}
    return Reject(because(ReasonCode.CURRENCY_MISMATCH, destination=THE_STORE, **facts))


def no_such_items(order: CouponSpec, missing: Collection[str]) -> Reject:
    """The store has none of these products, or variants, that the order names."""
    field = "variant_ids" if order.variant_ids else "product_ids"
    problem = f"the store has no {field.removesuffix('_ids')} {', '.join(sorted(missing))}"
    return Reject(because(ReasonCode.COUPON_INVALID, code=order.code, field=field, problem=problem))


def _flaw(order: CouponSpec, now: datetime) -> tuple[str, str] | None:
    """The field that nobody could carry out, and the problem with it."""
    value = order.value if order.value is not None and order.value.is_finite() else Decimal(0)
    spend = order.minimum_spend or Decimal(0)
    rules = (
        (not order.code.strip(), "code", "its code is empty"),
        (
            order.kind in AMOUNTS and value <= 0,
            "value",
            f"a {order.kind} needs a value above 0, not {_words(order.value)}",
        ),
        (
            order.kind is CouponKind.PERCENTAGE and not 0 < value <= 100,
            "value",
            f"a percentage has to be above 0 and at most 100, not {_words(order.value)}",
        ),
        (
            order.kind is CouponKind.FREE_PRODUCT and not order.items,
            "product_ids",
            "free_product without product_ids or variant_ids would make everything free",
        ),
        (
            order.product_ids and order.variant_ids,
            "variant_ids",
            "product_ids and variant_ids cannot be combined; give the variants alone",
        ),
        (not spend.is_finite() or spend < 0, "minimum_spend", f"minimum_spend cannot be {_words(spend)}"),
        (order.usage_limit is not None and order.usage_limit < 1, "usage_limit", "usage_limit is below 1"),
        (
            order.per_customer_limit is not None and order.per_customer_limit < 1,
            "per_customer_limit",
            "per_customer_limit is below 1",
        ),
        (
            order.expires_at is not None and order.expires_at <= now,
            "expires_at",
            f"expires_at ({_words(order.expires_at)}) is past",
        ),
    )
    return next(((field, problem) for broken, field, problem in rules if broken), None)


def _asked(order: CouponSpec, name: str, now: datetime, *, neither: bool) -> bool:
    """Whether the order wants something of the field that a store without it would not give. Of a customer's id and e-mail
    one is enough; `neither`: the store can restrict by none of them."""
    match name:
        case "starts_at":
            return order.starts_at is not None and order.starts_at > now
        case "customer_id":
            return order.customer_id is not None and (order.email is None or neither)
        case "email":
            return order.email is not None and (order.customer_id is None or neither)
        case "combinable":
            return not order.combinable
        case _:
            return getattr(order, name) not in (None, ())


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a store's coupon that is not what was ordered. None: not set.

    The e-mail address and the customer's id are personal: `actual` and `expected` are then no values, but "set" or
    "another value".
    """

    field: str
    actual: str | None
    expected: str | None

    def as_fact(self) -> dict[str, JsonValue]:
        """The difference as a fact of a reason."""
        return {"field": self.field, "actual": self.actual, "expected": self.expected}


def as_facts(different: Sequence[Difference]) -> list[JsonValue]:
    """The fact `differences` of a reason."""
    return [each.as_fact() for each in different]


def judge(order: CouponSpec, found: CouponFound) -> Done | Reject:
    """What a coupon that the store already held means for this order."""
    if different := differences(order, found):
        facts = {"destination": THE_STORE, "code": order.code, "store_id": found.store_id}
        return Reject(because(ReasonCode.CODE_TAKEN, **facts, differences=as_facts(different)))
    return Done({"store_id": found.store_id})


async def already_held(store: StoreAdapter, order: CouponSpec) -> Outcome | None:
    """What the coupon that the store holds under the order's code means; None when it holds none."""
    found = await store.find_coupon(order.code)
    return judge(order, found) if isinstance(found, CouponFound) else found


async def as_made(
    order: CouponSpec,
    found: CouponFound,
    remove: Callable[[str], Coroutine[Any, Any, Outcome]],
    evidence: Evidence = Evidence(),
) -> Done | Reject:
    """What a coupon that the store has just made means: one that is not as ordered is removed again by its store id."""
    if different := differences(order, found):
        return await undone(not_as_ordered(order, different), remove, found.store_id)
    return Done({"store_id": found.store_id}, evidence=evidence)


def not_as_ordered(order: CouponSpec, different: Sequence[Difference]) -> Reject:
    """The store made another coupon than was ordered."""
    return Reject(because(ReasonCode.COUPON_DIFFERS, code=order.code, differences=as_facts(different)))


def cleaned_up(refused: Reject, removed: Outcome, store_id: str) -> Reject:
    """The refusal of a coupon of which something was made already; `removed` is how taking it away again went."""
    gone = isinstance(removed, Done)
    cleanup = "It was deleted again." if gone else f"It is still there: delete coupon {store_id} in the store."
    store_id = str(refused.reason.facts.get("store_id", store_id))  # of CODE_TAKEN: the other coupon's
    return replace(refused, reason=refused.reason.also(store_id=store_id, cleanup=cleanup, removed=gone))


async def undone(refused: Reject, remove: Callable[[str], Coroutine[Any, Any, Outcome]], store_id: str) -> Reject:
    """The refusal of a coupon of which something was made already, which is removed again by its store id."""
    return cleaned_up(refused, await answers_failures(remove)(store_id), store_id)


def differences(order: CouponSpec, found: CouponFound) -> tuple[Difference, ...]:
    """Where a store's coupon is not what was ordered; empty when it is.

    E-mail addresses are compared without case, times to the second; fields that the store cannot tell are passed over.
    Codes are compared without case too: stores that keep one spelling find a coupon under any. Each restriction that was
    not ordered is a difference of its own, in the field `restrictions`.
    """
    different: list[Difference] = []

    def compare(name: str, actual: object, expected: object, secret: bool = False) -> None:
        if name in found.unreadable or actual == expected:
            return
        if secret:
            other = "set" if expected is None else "another value"
            different.append(Difference(name, None if actual is None else other, None if expected is None else "set"))
        else:
            different.append(Difference(name, _shown(actual), _shown(expected)))

    compare("code", found.code.casefold(), order.code.casefold())
    compare("kind", found.kind, order.kind)
    if order.kind in AMOUNTS or order.kind is CouponKind.PERCENTAGE:
        compare("value", found.value, order.value)
    if order.kind in AMOUNTS and order.currency:
        compare("currency", found.currency, order.currency)
    readings = ("variant_ids",) if order.variant_ids else ("product_ids",)
    for name in readings if found.one_list else ("product_ids", "variant_ids"):
        compare(name, tuple(sorted(getattr(found, name))), tuple(sorted(getattr(order, name))))
    compare("minimum_spend", found.minimum_spend or None, order.minimum_spend or None)
    compare("usage_limit", found.usage_limit, order.usage_limit)
    compare("per_customer_limit", found.per_customer_limit, order.per_customer_limit)
    compare("customer_id", found.customer_id, order.customer_id, secret=True)
    compare("email", (found.email or "").casefold() or None, (order.email or "").casefold() or None, secret=True)
    compare("combinable", found.combinable, order.combinable)
    if order.starts_at is not None:
        compare("starts_at", _second(found.starts_at), _second(order.starts_at))
    compare("expires_at", _second(found.expires_at), _second(order.expires_at))
    compare("active", found.active, True)
    different += [Difference("restrictions", _shown(restriction), None) for restriction in found.restrictions]
    return tuple(different)


def _second(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0)


def _shown(value: object) -> str | None:
    match value:
        case None | ():
            return None
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case tuple():
            return _shown(", ".join(value))
        case _:
            return str(value)[:300].replace("\x00", "\ufffd")


def _words(value: object) -> str:
    return _shown(value) or "not set"
