"""The contract between the coupon journey and a shop.

A shop is one folder in this package: its settings class and its adapter class, named in `stores.ADAPTERS`.
`tests/contract/` runs one behaviour suite over every adapter; docs/adapters.md tells how to add one.

Promises of an adapter:

- `issue_coupon` is idempotent by code: called twice, killed between, answered or not, the shop holds one coupon.
  It looks the code up before it creates whenever `order.first_try` is false; always, when the shop itself lets two
  coupons have one code. A code that the shop already holds is compared field by field: the same values are Done,
  other values Reject naming the differences.
- Where the shop needs several calls for one coupon, a coupon left half made is finished, not called different.
- What the shop cannot express is Reject naming it, never left out in silence.
- The shop's echo is compared with the request: shops accept nonsense with success. A coupon just made that is not
  what was ordered is removed again, and the outcome is Reject.
- An answer to a write that cannot be trusted (5xx, no JSON, another shape, no answer) is Unknown.
- Credentials never appear in an outcome's words, nor do a shopper's e-mail address and id.
- No method raises for anything that the shop can do; it answers with an outcome. Tokens are renewed inside the adapter.
- The engine never runs two calls for one code at a time, over all replicas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from app.http import HttpClients
from app.outcomes import Done, Outcome, Reject
from app.settings import EnvironmentSettings


class CouponKind(StrEnum):
    """What a coupon gives."""

    FIXED_AMOUNT = "fixed_amount"
    PERCENTAGE = "percentage"
    FREE_SHIPPING = "free_shipping"
    FREE_PRODUCT = "free_product"
    GIFT_CARD = "gift_card"


AMOUNTS: Final = frozenset({CouponKind.FIXED_AMOUNT, CouponKind.GIFT_CARD})
"""The kinds whose `value` is an amount of money in `currency`."""


@dataclass(frozen=True, slots=True)
class CouponOrder:
    """What to issue.

    `value` is an amount in `currency` (FIXED_AMOUNT, GIFT_CARD), a percentage above 0 and up to 100 (PERCENTAGE), and
    None for the others. `code` is to be used exactly as it is. `product_ids` and `variant_ids` are the shop's own: it is
    for all variants of these products, or for these variants alone, never both. FREE_PRODUCT needs one at least.
    `usage_limit` None: unlimited. `reference` is our own id of the redemption (for shops that can keep
    one). `customer_id` and `email` restrict the coupon to one shopper when given; with both, the one that the shop
    can restrict by is enough. `starts_at` None: at once. `first_try` is true only when no earlier attempt can have
    reached the shop.
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
    """A coupon as the shop holds it, translated back into our words. None: not set in the shop.

    `unreadable` names the fields that this shop cannot tell. `active`: the shop would accept it now (apart from
    having been used up). `one_list`: the shop has one list for products and variants; `product_ids` and `variant_ids` are
    two readings of it, and the ordered one counts. `restrictions` are conditions in the shop's own words that no order can
    ask for. `reference`: the order's, where the shop keeps it; it says that a coupon is ours, however it came out.
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
    """`check()`: the shop answers and our credentials suffice."""

    detail: str


class StoreAdapter(Protocol):
    """One shop. Close it with `aclose()`."""

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """Done.result holds `store_id`."""

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """The coupon, None when the shop has none of this code, or the outcome of a look-up that failed."""

    async def retire_coupon(self, code: str) -> Outcome:
        """Make the coupon unusable (delete or disable); Done when it is gone already."""

    async def check(self) -> Ready | Outcome:
        """Cheap, changes nothing: is the address right, are the credentials good, may we write coupons?"""

    async def aclose(self) -> None: ...


class StoreAdapterClass(Protocol):
    """What an adapter's class itself offers, for `stores.build` and for the documentation.

    `CANNOT` names the fields of CouponOrder that the shop has nothing for, each with the reason in words.
    """

    Settings: type[EnvironmentSettings]
    KINDS: frozenset[CouponKind]
    CANNOT: Mapping[str, str]

    @classmethod
    def from_environment(cls, clients: HttpClients) -> StoreAdapter:
        """An adapter with its Settings read. Every call goes through a client of `clients`, which keeps the time limit
        and the pace that all replicas share. Raises pydantic's ValidationError."""


def refusal(order: CouponOrder, adapter: StoreAdapterClass, now: datetime) -> Reject | None:
    """Reject for an order that nobody could carry out, or that this shop cannot express; None when it may be tried."""
    why = _flaw(order, now)
    if why is None and order.kind not in adapter.KINDS:
        why = f"this shop has no coupons of the kind {order.kind}"
    if why is None:
        neither = {"customer_id", "email"} <= adapter.CANNOT.keys()
        asked = {name: why for name, why in adapter.CANNOT.items() if _asked(order, name, now, neither=neither)}
        first = next(iter(asked.values()), None)
        why = f"{', '.join(name for name, each in asked.items() if each == first)}: {first}" if first else None
    return None if why is None else Reject(f"coupon {order.code} was not created: {why}")


def _flaw(order: CouponOrder, now: datetime) -> str | None:
    value = order.value if order.value is not None and order.value.is_finite() else Decimal(0)
    spend = order.minimum_spend or Decimal(0)
    rules = (
        (not order.code.strip(), "its code is empty"),
        (order.kind in AMOUNTS and value <= 0, f"a {order.kind} needs a value above 0, not {_show(order.value)}"),
        (
            order.kind is CouponKind.PERCENTAGE and not 0 < value <= 100,
            f"a percentage has to be above 0 and at most 100, not {_show(order.value)}",
        ),
        (
            order.kind is CouponKind.FREE_PRODUCT and not order.items,
            "free_product without product_ids or variant_ids would make everything free",
        ),
        (order.product_ids and order.variant_ids, "product_ids beside variant_ids: the variants alone say it all"),
        (not spend.is_finite() or spend < 0, f"minimum_spend cannot be {_show(spend)}"),
        (order.usage_limit is not None and order.usage_limit < 1, "usage_limit is below 1"),
        (order.per_customer_limit is not None and order.per_customer_limit < 1, "per_customer_limit is below 1"),
        (order.expires_at is not None and order.expires_at <= now, f"expires_at ({_show(order.expires_at)}) is past"),
    )
    return next((why for broken, why in rules if broken), None)


def _asked(order: CouponOrder, name: str, now: datetime, *, neither: bool) -> bool:
    """Whether the order wants something of the field that a shop without it would not give. Of a shopper's id and e-mail
    one is enough; `neither`: the shop can restrict by none of them."""
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


def judge(order: CouponOrder, found: CouponFound) -> Done | Reject:
    """What a coupon that the shop already held means for this order."""
    if told := differences(order, found):
        return Reject(f"the shop already holds a coupon {order.code} with other values: {'; '.join(told)}")
    return Done({"store_id": found.store_id})


def made_otherwise(order: CouponOrder, told: tuple[str, ...], removed: Outcome, store_id: str) -> Reject:
    """A coupon that the shop made another than ordered; `removed` is how taking it away again went."""
    end = "was deleted again" if isinstance(removed, Done) else f"is still there: delete {store_id}"
    return Reject(f"the shop made another coupon than {order.code} as ordered: {'; '.join(told)}. It {end}")


def differences(order: CouponOrder, found: CouponFound) -> tuple[str, ...]:
    """Where a shop's coupon is not what was ordered, in words ("value is 0.00, ordered 5.00"); empty when it is.

    E-mail addresses are compared without case, times to the second; fields that the shop cannot tell are passed over.
    Codes are compared without case too: shops that keep one spelling find a coupon under any.
    """
    told: list[str] = []

    def compare(name: str, is_: object, ordered: object, secret: bool = False) -> None:
        if name in found.unreadable or is_ == ordered:
            return
        told.append(
            f"{name} is {'not set, and was ordered' if is_ is None else 'another than ordered'}"
            if secret
            else f"{name} is {_show(is_)}, ordered {_show(ordered)}"
        )

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
    told += [f"it has {restriction}, which was not ordered" for restriction in found.restrictions]
    return tuple(told)


def _second(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0)


def _show(value: object) -> str:
    if value is None or value == ():
        return "not set"
    return value.isoformat() if isinstance(value, datetime) else str(value)
