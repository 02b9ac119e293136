"""Functions that read the JSON of several stores. Each has at least two users."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Final, cast

from pydantic import JsonValue, ValidationError

from platform_relay.core import plain_numbers
from platform_relay.core.outcomes import Unknown

Row = dict[str, JsonValue]


class Null(Enum):
    """The store reports that a field is not set: null, or an empty text. None means that it does not report the field."""

    NULL = "null"


NULL: Final = Null.NULL
CENT: Final = Decimal("0.01")


def exact_amount(value: JsonValue) -> Decimal:
    """Return a number or a numeric text as Decimal, and 0 for null and "". Raises NotANumberError for other values."""
    return plain_numbers.amount(value or 0)


def amount_with_cents(value: JsonValue) -> Decimal:
    """`exact_amount` with two decimal places, or more if the value has more."""
    amount = exact_amount(value)
    exponent = amount.normalize().as_tuple().exponent
    return amount.quantize(CENT) if isinstance(exponent, int) and exponent >= -2 else amount.normalize()


def json_number(amount: Decimal | None) -> JsonValue:
    """An amount to be sent as a JSON number with exactly its digits; 0 for None."""
    return cast("JsonValue", amount or 0)


def whole_number(value: JsonValue) -> int | None:
    """Return the value if it is an integer; None otherwise."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def objects(value: JsonValue) -> list[Row]:
    """Return the objects in a list; an empty list for any other value."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def errors_in(value: JsonValue | Unknown) -> list[Row]:
    """The `errors` of a GraphQL response or of a body of one; empty if there are none. An error that is no object, as gateways
    and plugins write it, becomes one with a `message`: an error must not be read as "the entity does not exist"."""
    errors = value_at(value, "errors")
    listed = errors if isinstance(errors, list) else [errors] if errors else []
    return [error if isinstance(error, dict) else {"message": str(error)} for error in listed]


def value_at(value: JsonValue | Unknown, *path: str) -> JsonValue:
    """Return the value at a path of names; None if a part of the path is missing, or if the body is not JSON (Unknown)."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return None if isinstance(value, Unknown) else value


def reported(value: JsonValue, *path: str) -> JsonValue | Null:
    """Return the value at a path of names; NULL for null, an empty text, or a part of the path that is null. None if a part
    of the path is missing."""
    for name in path:
        if value is None:
            return NULL
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return NULL if value is None or value == "" else value


def first_reported(*values: JsonValue | Null) -> JsonValue | Null:
    """The first of several reported values that is set; NULL if none is, and None if none is reported."""
    known = [value for value in values if value is not None]
    return next((value for value in known if not isinstance(value, Null)), known[0] if known else None)


def names(account: Row, first: str, last: str, address: JsonValue) -> dict[str, object]:
    """`firstName` and `lastName` of a customer: those of the account, or of the (billing) address if the account has neither.

    `first` and `last` are the store's names of the fields, in the account and in the address.
    """
    own = {"firstName": reported(account, first), "lastName": reported(account, last)}
    if any(value is not None and not isinstance(value, Null) for value in own.values()):
        return {**own}
    known: JsonValue = address if isinstance(address, dict) else {}
    billing = {"firstName": reported(known, first), "lastName": reported(known, last)}
    return {name: first_reported(own[name], billing[name]) for name in own}


def set_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of an event: those that are None are left out, and those that are NULL are null."""
    return {name: None if value is NULL else value for name, value in fields.items() if value is not None}


def parse_time(value: JsonValue) -> datetime | None:
    """Return an ISO 8601 time in UTC; None for null and "". Raises ValueError for other values, and without a time zone."""
    if value is None or value == "":
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(UTC)


def format_time(moment: datetime | None) -> str | None:
    """Format a time as `2026-11-23T05:00:02Z`; None stays None."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def validation_problem(error: Exception) -> str:
    """The reason why an entity cannot be read. It contains no values, because they may be personal data."""
    if not isinstance(error, ValidationError):
        return "a field does not have the documented form"
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in errors)[:300]
