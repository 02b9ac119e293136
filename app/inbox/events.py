"""The typed events of customers, orders and products. Pure.

Fields that are not named here are kept and forwarded as they are.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import from_json

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson, ExactNumber
from platform_relay.core.field_rules import CURRENCY, EMAIL, VISIBLE
from platform_relay.core.plain_numbers import PLAIN, PlainInt
from platform_relay.inbox.customer_ids import customer_id, customer_of_order


class EventKind(StrEnum):
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
    if isinstance(value, float):  # pydantic's own parser, before the exact one (exact_json.validated)
        value = ExactNumber(repr(value))
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
        try:
            written = exact_json.plain(number)
        except ValueError:
            written = ""
        if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", written):
            shown = value.text if isinstance(value, ExactNumber) else str(value)[:40]
            raise ValueError(f'{shown} is not an exact amount; send money as a decimal string such as "19.98"')
        return value
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", value):
        raise ValueError('send money as a decimal string such as "19.98"')
    return value


def _exact_quantity(value: object) -> object:
    if isinstance(value, float):  # as in `_exact_money`
        value = ExactNumber(repr(value))
    if isinstance(value, int | Decimal | str) and not isinstance(value, bool):
        written = exact_json.plain(value) if isinstance(value, Decimal) else str(value)
        if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", written):
            return Decimal(written)
    raise ValueError("a quantity is a number of at least 0, with at most 9 decimal places")


def quantity_number(quantity: Decimal) -> int | ExactNumber:
    """A quantity as a JSON number: an integer without decimal places, another one with exactly its digits."""
    rounded = quantity.to_integral_value()
    return int(rounded) if rounded == quantity else ExactNumber(f"{quantity.normalize():f}")


def _stored_quantity(quantity: Decimal) -> int | str:
    number = quantity_number(quantity)
    return number if isinstance(number, int) else number.text


def instant(value: datetime) -> datetime:
    """The time in UTC, within FIRST_INSTANT and LAST_INSTANT. Raises ValueError."""
    try:
        return min(max(value.astimezone(UTC), FIRST_INSTANT), LAST_INSTANT)
    except OverflowError as error:
        raise ValueError("is out of range") from error


Id = Annotated[
    str,
    BeforeValidator(_exact_id),
    StringConstraints(min_length=1, max_length=255, pattern=VISIBLE),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 255}, {"type": "integer"}]}),
]
"""The store's own id: opaque text. Integers are accepted and kept exactly."""

Money = Annotated[
    Decimal,
    BeforeValidator(_exact_money),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$"}),
]
Instant = Annotated[AwareDatetime, AfterValidator(instant)]
Email = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=320, pattern=EMAIL)]
TEXT_LENGTH: Final = 2000
"""Characters."""
Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH)]
Quantity = Annotated[
    Decimal,
    BeforeValidator(_exact_quantity),
    PlainSerializer(_stored_quantity, when_used="json"),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
"""Goods are also sold by length or weight."""
T = TypeVar("T")
Several = Annotated[list[T], Field(fail_fast=True)]
"""A list. Validation stops at the first wrong element: a body may hold a million, which would take seconds to describe.
`at_most` sets how many elements `Event.parse` accepts."""


def at_most(elements: int) -> dict[str, JsonValue]:
    """The `json_schema_extra` of a list that may have at most this many elements in a body (`Event.parse`).

    The models themselves have no maximum. A store's own event that exceeds it is stored and becomes a dead job, which an
    operator sees; a webhook or a list of the store that cannot be read at all would hide it.
    """
    return {"maxItems": elements}


PLACEHOLDER_DOMAINS: Final = frozenset({"invalid", "example", "test"})
"""Top-level domains that are reserved for examples and tests (RFC 2606)."""


def is_placeholder_address(email: str) -> bool:
    """Whether an e-mail address identifies no customer: its domain is under `.invalid`, `.example` or `.test`. Stores write
    such addresses into orders whose customer was erased (WooCommerce: `deleted@site.invalid`)."""
    domain = email.rpartition("@")[2].strip().rstrip(".").lower()
    return domain.rpartition(".")[2] in PLACEHOLDER_DOMAINS


FinancialStatus = Literal[
    "authorized", "pending", "paid", "partially_paid", "refunded", "partially_refunded", "voided", "expired"
]


COUNTED_FIRST: Final = 64 << 10
"""Bytes. In a larger body, the elements of lists are counted before they are validated."""


# ----------------------------------------------------------------------------------------------- events


class Event(BaseModel):
    """The base of all events. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse a body. Raises pydantic's ValidationError, TooManyElementsError for a list that is too long, or
        UnstorableTextError for JSON that cannot be stored."""
        if len(raw) > COUNTED_FIRST:
            cls._refuse_long_lists(raw)
        event = exact_json.validated(cls, raw, refuse_unstorable)
        for field, maximum in _maxima(cls).items():
            if (elements := getattr(event, field)) is not None and len(elements) > maximum:
                raise TooManyElementsError(field, len(elements), maximum)
        return event

    @classmethod
    def _refuse_long_lists(cls, raw: bytes) -> None:
        """Count the elements before the validation, which takes 20 times as long as reading the JSON."""
        try:
            body = from_json(raw)
        except ValueError:
            return  # the validation names the error
        for field, maximum in _maxima(cls).items():
            elements = body.get(field) if isinstance(body, dict) else None
            if isinstance(elements, list) and len(elements) > maximum:
                raise TooManyElementsError(field, len(elements), maximum)


@cache
def _maxima(model: type[Event]) -> Mapping[str, int]:
    """The lists of an event with the maximum number of their elements (`at_most`)."""
    extras = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    return {
        name: maximum
        for name, extra in extras.items()
        if isinstance(extra, dict) and isinstance(maximum := extra.get("maxItems"), int)
    }


class CustomerEvent(Event):
    id: Annotated[Id, BeforeValidator(customer_id)] = Field(
        description="The store's own id of the customer. `0` is rejected: stores write it for guests."
    )
    email: Email | None = Field(None, description="The Platform uses it to match referrals and guest orders.")
    name: Text | None = None
    firstName: Text | None = None
    lastName: Text | None = None
    phone: Text | None = None
    birthdayMonth: Annotated[int, Field(ge=1, le=12), PLAIN] | None = None
    birthdayDay: Annotated[int, Field(ge=1, le=31), PLAIN] | None = None
    tags: Several[Text] | None = Field(None, json_schema_extra=at_most(1_000))
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
    quantity: Quantity | None = None
    price: Money | None = Field(None, description="The price of one unit, with tax, before discounts.")


class DiscountCode(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    code: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    amount: Money | None = Field(None, description="What the customer saved by the code, with tax.")


class OrderEvent(Event):
    id: Id = Field(description="The store's own id of the order.")
    customerId: Annotated[Id | None, BeforeValidator(customer_of_order)] = Field(
        None,
        description="The store's id of the customer; leave it out for guest orders. `0` means the same.",
    )
    email: Email | None = Field(None, description="Required for guest orders and to complete referrals.")
    financialStatus: FinancialStatus = Field(description="The Platform awards points depending on this status.")
    currency: Annotated[str, StringConstraints(pattern=CURRENCY)] = Field(description="ISO 4217.")
    totalPrice: Money = Field(
        description="What the customer pays, in `currency`, as a decimal string: with tax and shipping, after discounts. "
        "Refunds do not change it."
    )
    subtotalPrice: Money | None = Field(
        None, description="The sum of the prices of all units, with tax, before discounts, without shipping."
    )
    refundedAmount: Money | None = Field(
        None, description="What was paid back so far. An update with another amount is always sent to the Platform."
    )
    lineItems: Several[LineItem] | None = Field(None, json_schema_extra=at_most(5_000))
    discountCodes: Several[DiscountCode] | None = Field(
        None,
        description="Required for referrals, and to mark our coupons as used.",
        json_schema_extra=at_most(1_000),
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
    position: PlainInt | None = None


class ProductEvent(Event):
    id: Id = Field(description="The store's own id of the product.")
    title: Text | None = None
    imageUrl: Text | None = None
    status: Text | None = None
    externalUrlHandle: Text | None = None
    variants: Several[Variant] | None = Field(
        None,
        description="The complete list of variants: the Platform deletes variants that are not in it.",
        json_schema_extra=at_most(5_000),
    )
    updatedAt: Instant | None = Field(
        None,
        description="The time of this version in the store. The relay sends no version that is older than the last one sent.",
    )


EVENTS: Final[dict[EventKind, type[CustomerEvent] | type[OrderEvent] | type[ProductEvent]]] = {
    EventKind.CUSTOMER: CustomerEvent,
    EventKind.ORDER: OrderEvent,
    EventKind.PRODUCT: ProductEvent,
}
KIND_OF: Final = {model: kind for kind, model in EVENTS.items()}


# ----------------------------------------------------------------------------------------------- refused events


class RefusedEventError(ValueError):
    """`field` (a dotted path, or `body`) is the cause. `what` completes a sentence that begins with the field."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field
        self.what = what


class UnstorableTextError(RefusedEventError):
    """The field holds a value that JSON parsers accept, and no destination or database can store."""


class TooManyElementsError(RefusedEventError):
    """The list has `count` elements, more than the `maximum`."""

    def __init__(self, field: str, count: int, maximum: int) -> None:
        super().__init__(field, f"has {count:,} elements; at most {maximum:,} are allowed")
        self.count = count
        self.maximum = maximum


MAX_EXPONENT: Final = 308
"""Larger numbers are infinite for every destination that reads numbers as floats."""
_SHAPE: Final = bytes.maketrans(b"012345678e", b"999999999E")
_LONG: Final = b"9" * 300
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of a NUL character, and not an escaped backslash before `u0000`."""


def _is_suspicious(raw: bytes) -> bool:
    """Whether `raw` may be unstorable: it has `\\u0000`, NaN, Infinity, an exponent of three digits, or 300 digits in a row.

    Plain searches: every event is checked twice, and a regular expression takes five times as long. A search for one
    character, which most bodies do not have, takes a fifth of one for several.
    """
    shape = raw.translate(_SHAPE, b"+")
    return (
        (b"\\" in raw and b"\\u0000" in raw)
        or (b"N" in raw and b"NaN" in raw)
        or (b"I" in raw and b"Infinity" in raw)
        or b"9E999" in shape
        or (len(shape) >= len(_LONG) and _LONG in shape)
    )


def refuse_unstorable(raw: bytes) -> None:
    """Raises UnstorableTextError if the body has a NUL character or a number that is not finite."""
    if not _is_suspicious(raw):
        return
    for place, value in walk(exact_json.loads_any_number(raw)):
        if isinstance(value, dict):
            if any("\x00" in name for name in value):
                raise UnstorableTextError(path_of(place), "a name holds a NUL character")
        elif isinstance(value, str) and "\x00" in value:
            raise UnstorableTextError(path_of(place), "holds a NUL character")
        elif isinstance(value, Decimal) and not (value.is_finite() and value.adjusted() <= MAX_EXPONENT):
            raise UnstorableTextError(path_of(place), "is not a finite number")


Place: TypeAlias = "tuple[Place, str | int] | None"
"""Where a value is in a JSON document: the place of its parent, and its name or number there. None: the document itself."""
PATH_LENGTH: Final = 300
"""Characters of a path that are shown."""


def walk(document: ExactJson) -> Iterator[tuple[Place, ExactJson]]:
    """Every value of the document, with its place. Takes time in proportion to the document: the path is only made for an
    error, because a long name above many values would make all their paths long."""
    stack: list[tuple[Place, ExactJson]] = [(None, document)]
    while stack:
        place, value = stack.pop()
        yield place, value
        if isinstance(value, dict):
            stack.extend(((place, name), member) for name, member in value.items())
        elif isinstance(value, list):
            stack.extend(((place, number), member) for number, member in enumerate(value))


def path_of(place: Place) -> str:
    """The dotted path of a place, shortened at its beginning; `body` for the document itself."""
    steps: list[str] = []
    length = 0
    while place is not None and length < PATH_LENGTH:
        place, step = place
        steps.append(str(step)[:PATH_LENGTH])
        length += len(steps[-1]) + 1
    return ".".join(reversed(steps)) or "body"
