"""The typed events of customers, orders and products. Pure.

Fields that are not named here are kept and forwarded as they are.
"""

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal, Self, TypeVar

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


class Kind(StrEnum):
    """The kinds of events; the value is the last part of the endpoint's path."""

    CUSTOMER = "customers"
    ORDER = "orders"
    PRODUCT = "products"


# ----------------------------------------------------------------------------------------------- field types


FIRST_INSTANT: Final = datetime(1, 1, 1, 0, 0, 0, 1, UTC)
LAST_INSTANT: Final = datetime(9999, 12, 31, 23, 59, 59, 999_998, UTC)
"""One microsecond inside Python's limits: asyncpg writes the limits as infinities, and reads those without a time zone.
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
"""A list. Validation stops at the first wrong element: a body may hold a million, which would take seconds to describe."""
FinancialStatus = Literal[
    "authorized", "pending", "paid", "partially_paid", "refunded", "partially_refunded", "voided", "expired"
]


# ----------------------------------------------------------------------------------------------- events


class Event(BaseModel):
    """The base of all events. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse a body. Raises pydantic's ValidationError, or UnstorableTextError for JSON that cannot be stored."""
        event = cls.model_validate_json(raw)
        refuse_unstorable(raw)
        return event


class CustomerEvent(Event):
    id: Id = Field(description="The store's own id of the customer.")
    email: Email | None = Field(None, description="The Platform uses it to match referrals and guest orders.")
    name: Text | None = None
    firstName: Text | None = None
    lastName: Text | None = None
    phone: Text | None = None
    birthdayMonth: Annotated[int, Field(ge=1, le=12)] | None = None
    birthdayDay: Annotated[int, Field(ge=1, le=31)] | None = None
    tags: Several[Text] | None = None
    createdAt: Instant | None = None
    updatedAt: Instant | None = Field(
        None,
        description="The time of this version in the store. The relay sends no version that is older than the last one sent.",
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
    customerId: Id | None = Field(None, description="The store's id of the customer; leave it out for guest orders.")
    email: Email | None = Field(None, description="Required for guest orders and to complete referrals.")
    financialStatus: FinancialStatus = Field(description="The Platform awards points depending on this status.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(description="ISO 4217.")
    totalPrice: Money = Field(description="An amount in `currency`, as a decimal string.")
    subtotalPrice: Money | None = None
    lineItems: Several[LineItem] | None = None
    discountCodes: Several[DiscountCode] | None = Field(
        None, description="Required for referrals, and to mark our coupons as used."
    )
    createdAt: Instant | None = None
    updatedAt: Instant | None = Field(
        None,
        description="The time of this version in the store. The relay sends no version that is older than the last one sent.",
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
        None, description="The complete list of variants: the Platform deletes variants that are not in it."
    )
    updatedAt: Instant | None = Field(
        None,
        description="The time of this version in the store. The relay sends no version that is older than the last one sent.",
    )


EVENTS: Final[dict[Kind, type[CustomerEvent] | type[OrderEvent] | type[ProductEvent]]] = {
    Kind.CUSTOMER: CustomerEvent,
    Kind.ORDER: OrderEvent,
    Kind.PRODUCT: ProductEvent,
}
KIND_OF: Final = {model: kind for kind, model in EVENTS.items()}


# ----------------------------------------------------------------------------------------------- unstorable JSON


class UnstorableTextError(ValueError):
    """`field` (a dotted path) holds a value that JSON parsers accept, and no destination or database can store."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field
        self.what = what


_SHAPE: Final = bytes.maketrans(b"012345678e", b"999999999E")
_LONG: Final = b"9" * 300


def _is_suspicious(raw: bytes) -> bool:
    """Whether `raw` may be unstorable: it has `\\u0000`, NaN, Infinity, an exponent of three digits, or 300 digits in a row.

    Plain searches: every event is checked twice, and a regular expression takes five times as long.
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
    """Raises UnstorableTextError if the body has a NUL character or a number that is not finite."""
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
