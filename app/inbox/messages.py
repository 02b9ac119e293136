"""What may arrive, and which job it owes. Pure: values in, values out.

    customers  PUT at the Platform, the newest version wins     lane customer:<id>   collapses
    orders     POST, then PATCH; every version counts           lane order:<id>      after customer:<id or e-mail>
    products   PUT at the Platform, the newest version wins     lane product:<id>    collapses

Fields that are not named here are kept and forwarded as they are. The Platform's webhooks are read in
`platform_relay.platform.webhooks`, which makes the same `Incoming`.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal, Self, TypeVar, assert_never

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from platform_relay.core.outcomes import JobSpec

PLATFORM: Final = "platform"
STORE: Final = "store"


MAYBE_DELIVERED: Final = {"arrived": "perhaps"}
"""A job's param: the destination may have been given it by a relay that is forgotten, before a backup was restored."""


class Kind(StrEnum):
    """The kinds of messages that the store's door takes; the value is the last part of its address."""

    CUSTOMER = "customers"
    ORDER = "orders"
    PRODUCT = "products"


# ----------------------------------------------------------------------------------------------- field types


FIRST_INSTANT: Final = datetime(1, 1, 1, 0, 0, 0, 1, UTC)
LAST_INSTANT: Final = datetime(9999, 12, 31, 23, 59, 59, 999_998, UTC)
"""One microsecond inside of Python's: asyncpg writes the outermost two as infinities, and reads those without a zone.
Some stores send `0001-01-01T00:00:00Z` for "no date"."""


def _exact_id(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _exact_money(value: object) -> object:
    if isinstance(value, float):
        text = repr(value)
        if not re.fullmatch(r"-?\d{1,15}\.\d{1,3}", text):
            raise ValueError(f'{text} is not an exact amount; send money as a decimal string such as "19.98"')
        return text.removesuffix(".0")
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", value):
        raise ValueError('send money as a decimal string such as "19.98"')
    return value


def _utc(value: datetime) -> datetime:
    try:
        return min(max(value.astimezone(UTC), FIRST_INSTANT), LAST_INSTANT)
    except OverflowError as error:
        raise ValueError("is out of range") from error


Id = Annotated[
    str,
    BeforeValidator(_exact_id),
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$"),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 255}, {"type": "integer"}]}),
]
"""The store's own id: opaque text. Integers are accepted and kept exactly."""

Money = Annotated[
    Decimal,
    BeforeValidator(_exact_money),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$"}),
]
Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
Email = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")
]
Text = Annotated[str, StringConstraints(max_length=2000)]
T = TypeVar("T")
Several = Annotated[list[T], Field(fail_fast=True)]
"""Of wrong elements the first is told. A body may hold a million, and to describe each would keep a process for seconds."""
FinancialStatus = Literal[
    "authorized", "pending", "paid", "partially_paid", "refunded", "partially_refunded", "voided", "expired"
]


# ----------------------------------------------------------------------------------------------- events


class Event(BaseModel):
    """Common to all events: unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises pydantic's ValidationError, or UnstorableTextError for what JSON allows and nobody can store."""
        event = cls.model_validate_json(raw)
        refuse_unstorable(raw)
        return event


class CustomerEvent(Event):
    id: Id = Field(description="The store's own id of the customer.")
    email: Email | None = Field(None, description="The address that the Platform matches referrals and guests by.")
    name: Text | None = None
    firstName: Text | None = None
    lastName: Text | None = None
    phone: Text | None = None
    birthdayMonth: Annotated[int, Field(ge=1, le=12)] | None = None
    birthdayDay: Annotated[int, Field(ge=1, le=31)] | None = None
    tags: Several[Text] | None = None
    createdAt: Instant | None = None
    updatedAt: Instant | None = Field(
        None, description="The store's time of this version; an older version than the last seen is not sent."
    )


class LineItem(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    productId: Id | None = None
    variantId: Id | None = None
    title: Text | None = None
    quantity: Annotated[int, Field(ge=0)] | None = None
    price: Money | None = None


class DiscountCode(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    code: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    amount: Money | None = None


class OrderEvent(Event):
    id: Id = Field(description="The store's own id of the order.")
    customerId: Id | None = Field(None, description="The store's id of the customer; leave out for guests.")
    email: Email | None = Field(None, description="Needed for guests, and for referrals to complete.")
    financialStatus: FinancialStatus = Field(description="Decides whether the Platform awards points.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(description="ISO 4217.")
    totalPrice: Money = Field(description="Decimal string in `currency`.")
    subtotalPrice: Money | None = None
    lineItems: Several[LineItem] | None = None
    discountCodes: Several[DiscountCode] | None = Field(
        None, description="Needed for referrals, and to close our coupons."
    )
    createdAt: Instant | None = None
    updatedAt: Instant | None = Field(
        None, description="The store's time of this version; an older version than the last seen is not sent."
    )


class Variant(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    externalVariantId: Id
    title: Text | None = None
    imageUrl: Text | None = None
    status: Text | None = None
    position: int | None = None


class ProductEvent(Event):
    id: Id = Field(description="The store's own id of the product.")
    title: Text | None = None
    imageUrl: Text | None = None
    status: Text | None = None
    externalUrlHandle: Text | None = None
    variants: Several[Variant] | None = Field(
        None, description="When given: the whole list. The Platform deletes variants that are absent from it."
    )
    updatedAt: Instant | None = Field(
        None, description="The store's time of this version; an older version than the last seen is not sent."
    )


EVENTS: Final[dict[Kind, type[CustomerEvent] | type[OrderEvent] | type[ProductEvent]]] = {
    Kind.CUSTOMER: CustomerEvent,
    Kind.ORDER: OrderEvent,
    Kind.PRODUCT: ProductEvent,
}
_KINDS: Final = {model: kind for kind, model in EVENTS.items()}


# ----------------------------------------------------------------------------------------------- what is owed


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message ready for the inbox.

    `dedupe_key` is unique per source. `version` is the sender's own time of the entity's version. With `strict`, a
    second message with the same key and another body is a conflict; without, the first one stands. `event` is the typed
    event that the body was translated into, None where the body is one itself.
    """

    source: str
    kind: str
    dedupe_key: str
    body: bytes
    jobs: tuple[JobSpec, ...]
    version: datetime | None = None
    customer_ref: str | None = None
    order_ref: str | None = None
    product_ref: str | None = None
    coupon_ref: str | None = None
    strict: bool = True
    event: bytes | None = None

    @property
    def body_hash(self) -> bytes:
        return hashlib.sha256(self.body).digest()


def incoming(
    event: CustomerEvent | OrderEvent | ProductEvent,
    raw: bytes,
    *,
    message_id: str,
    source: str = STORE,
    idempotency_key: str | None = None,
    dedupe_key: str | None = None,
    event_body: bytes | None = None,
    backfill: bool = False,
) -> Incoming:
    """The message that an event makes, with the job it owes.

    Without an Idempotency-Key an event that names its version (`updatedAt`) is recognised by kind, id, version and
    body; one that does not is always new, since the same body may rightly be sent again (A, B, A). A store's native
    news brings its own `dedupe_key`, and `event_body`, the event as JSON beside the `raw` body that it was read from.
    """
    kind, customer, order, product, code, after = _KINDS[type(event)], None, None, None, None, None
    match event:
        case CustomerEvent():
            customer = event.id
            effect, lane = "forward_customer", customer_lane(event.id)
        case ProductEvent():
            product = event.id
            effect, lane = "forward_product", f"product:{event.id}"
        case OrderEvent():
            customer, order = customer_of(event), event.id
            effect, lane, after = "forward_order", f"order:{event.id}", customer_lane(customer) if customer else None
            code = event.discountCodes[0].code if event.discountCodes else None
        case _:
            assert_never(event)
    if dedupe_key is not None:
        key = dedupe_key
    elif idempotency_key is not None:
        key = f"key:{idempotency_key}"
    elif event.updatedAt is not None:
        key = f"{kind}:{event.id}:{event.updatedAt.isoformat()}:{hashlib.sha256(raw).hexdigest()}"
    else:
        key = f"id:{message_id}"
    return Incoming(
        source,
        kind,
        key,
        raw,
        (JobSpec(effect, PLATFORM, lane, after=after, collapse=order is None, backfill=backfill),),
        event.updatedAt,
        customer,
        order,
        product,
        code,
        strict=dedupe_key is None,
        event=event_body,
    )


def customer_of(order: OrderEvent) -> str | None:
    """The id that the Platform knows the buyer by: the store's id, for a guest the e-mail in lower case."""
    return order.customerId or (order.email.lower() if order.email else None)


def customer_lane(customer_id: str) -> str:
    return f"customer:{customer_id}"


def coupon_lane(code: str) -> str:
    return f"coupon:{code}"


def redemption_claim_lane(code: str, message_id: str) -> str:
    """The lane of one message's claim to a code: another claim that waits, a forger's say, does not hold it up."""
    return f"{coupon_lane(code)}#{message_id}"


# ----------------------------------------------------------------------------------------------- nasty JSON


class UnstorableTextError(ValueError):
    """`field` (a dotted path) holds what JSON parsers let through and no destination or database can keep."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field
        self.what = what


_SHAPE: Final = bytes.maketrans(b"012345678e", b"999999999E")
_LONG: Final = b"9" * 300


def _is_suspicious(raw: bytes) -> bool:
    """Whether `raw` needs a closer look: `\\u0000`, NaN, Infinity, an exponent of three digits, 300 digits on end.

    Plain searches, since every event passes here twice, and a regular expression takes five times as long.
    """
    shape = raw.translate(_SHAPE)
    return (
        b"\\u0000" in raw
        or b"NaN" in raw
        or b"Infinity" in raw
        or b"9E999" in shape
        or b"9E+999" in shape
        or _LONG in shape
    )


def refuse_unstorable(raw: bytes) -> None:
    """Raises UnstorableTextError for NUL characters and for numbers that are not finite, anywhere in the body."""
    if not _is_suspicious(raw):
        return
    stack: list[tuple[str, JsonValue]] = [("", json.loads(raw))]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            for name, member in value.items():
                if "\x00" in name:
                    raise UnstorableTextError(path or "body", "a name holds a NUL character")
                stack.append((f"{path}.{name}" if path else name, member))
        elif isinstance(value, list):
            stack.extend((f"{path}.{number}", member) for number, member in enumerate(value))
        elif isinstance(value, str) and "\x00" in value:
            raise UnstorableTextError(path, "holds a NUL character")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UnstorableTextError(path, "is not a finite number")
