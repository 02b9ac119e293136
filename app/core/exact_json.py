"""JSON without floats: a number with a fraction or an exponent becomes a Decimal, and is written with its own digits."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final, Literal, Self, TypeAlias, TypeVar

import msgspec
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

from platform_relay.core.plain_numbers import NotANumberError, amount

ExactJson: TypeAlias = "bool | int | Decimal | str | list[ExactJson] | dict[str, ExactJson] | None"
Model = TypeVar("Model", bound=BaseModel)

_INEXACT: Final = re.compile(rb"[\[:,][ \t\r\n]*-?[0-9]+[.eE]")
"""The beginning of a number with a fraction or an exponent. A text can look the same; that costs time and changes nothing."""
_SHAPE: Final = bytes.maketrans(b"012345678.e", b"999999999EE")

SHALLOW: Final = 150
"""Brackets. Pydantic's parser accepts about 200 levels."""


class ExactNumber(Decimal):
    """A number as it was written: `1e2` and `100.0` are equal, and each is written again as it was."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Raises ValueError for a number whose exponent is out of range."""
        try:
            number = super().__new__(cls, text)
        except ArithmeticError as error:
            raise ValueError(f"the number {text[:40]} is out of range") from error
        number.text = text
        return number

    def __reduce__(self) -> tuple[type["ExactNumber"], tuple[str]]:
        """For pickle, with the text."""
        return type(self), (self.text,)


def _exact(text: str) -> Decimal:
    """A number with its digits. A Decimal is faster, and is enough where it is written as the text is."""
    number = Decimal(text)
    return number if str(number) == text else ExactNumber(text)


def loads(raw: bytes) -> ExactJson:
    """The value of a JSON text. Raises ValueError for anything else, also for NaN, Infinity and too deep nesting."""
    try:
        value: ExactJson = _FAST.decode(raw)
    except (msgspec.MsgspecError, ArithmeticError, ValueError, RecursionError):
        return _load(
            raw, _DECODER
        )  # reads what is rare (halves of surrogate pairs, other encodings), or names the error
    return value


def webhook_json(raw: bytes) -> ExactJson:
    """`loads` for the body of a webhook. A byte that is not UTF-8, such as in a text that the sender cut off, becomes the
    replacement character (U+FFFD): the webhook is genuine, and must not be lost for its text. Raises ValueError."""
    try:
        return loads(raw)
    except UnicodeDecodeError:
        return loads(raw.decode("utf-8", "replace").encode())


def dumps(value: object, *, indent: int = 0, surrogates: Literal["escape", "replace"] = "escape") -> bytes:
    """The JSON text of a value: Decimals as numbers with their digits. `indent`: spaces per level, 0 for one line.

    A half of a surrogate pair is escaped, or replaced by a question mark. Raises ValueError or TypeError for a value that
    is not JSON, and for too deep nesting.
    """
    try:
        if not indent and not _has_decimal(value):
            with suppress(PydanticSerializationError):  # a half of a surrogate pair
                return to_json(value)
        written = _written(value, indent, "\n" if indent else "")
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    return written.encode("utf-8", "backslashreplace" if surrogates == "escape" else "replace")


def canonical(value: Mapping[str, object]) -> bytes:
    """`dumps` with the names in order, so that equal values have equal texts. Raises as `dumps`."""
    try:
        with suppress(
            TypeError, UnicodeEncodeError, OverflowError
        ):  # what is rare: a mapping that is no dict, surrogates
            return _CANONICAL.encode(value)
        written = _written(_ordered(value), 0, "")
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    return written.encode("utf-8", "backslashreplace")


def loads_any_number(raw: bytes) -> ExactJson:
    """`loads` for a text that also holds NaN, Infinity or an exponent that is out of range: a Decimal that is not finite."""
    return _load(raw, _ANY_NUMBER)


def decode_at(text: str, position: int) -> tuple[ExactJson, int]:
    """The value that begins at `position`, and the position behind it. Raises ValueError as `loads`."""
    try:
        value, end = _DECODER.raw_decode(text, position)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    return value, end


def validated(model: type[Model], raw: bytes, check: Callable[[bytes], None] = lambda _: None) -> Model:
    """The JSON text as a model, with exact numbers. Raises pydantic's ValidationError, ValueError as `loads`, and what
    `check` raises for a text that pydantic accepts."""
    if not _may_be_inexact(raw):
        parsed = model.model_validate_json(raw)
        check(raw)
        return parsed
    with suppress(ValueError):  # pydantic's own parser names the error and its place
        _refuse_deep(raw)
        parsed = model.model_validate(loads(raw))
        check(raw)
        return parsed
    model.model_validate_json(raw)  # with floats
    check(raw)
    return model.model_validate(loads(raw))


def _may_be_inexact(raw: bytes) -> bool:
    """Whether a text may have a number with a fraction or an exponent. Most texts have no digit before a point or an E."""
    return b"9E" in raw.translate(_SHAPE) and _INEXACT.search(raw) is not None


def _refuse_deep(raw: bytes) -> None:
    """Raises ValueError for a text that pydantic rejects as too deeply nested. Few brackets cannot be nested deeply."""
    if raw.count(b"[") + raw.count(b"{") >= SHALLOW:
        from_json(raw, cache_strings="none")


def member(value: ExactJson, name: str) -> ExactJson:
    """The member of an object; None when it is absent or the value is not an object."""
    return value.get(name) if isinstance(value, dict) else None


def at_path(value: ExactJson, path: Sequence[str]) -> ExactJson:
    """The part of a value to which the members of `path` lead; None when one of them is absent."""
    for name in path:
        value = member(value, name)
    return value


def text(value: ExactJson, limit: int = 255) -> str | None:
    """An id or a name as trimmed text; integers become digits. None when it is empty, too long or cannot be stored."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**30 else None
    if not isinstance(value, str):
        return None
    value = value.strip()
    if not 0 < len(value) <= limit or any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in value):
        return None
    return value


def email(value: ExactJson) -> str | None:
    """An e-mail address as trimmed text; None for anything that is none."""
    address = text(value, 320)
    return address if address and "@" in address and " " not in address else None


def number(value: ExactJson) -> Decimal | None:
    """A finite number below 10^16, also when it is written as text in plain digits; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        parsed = amount(value)
    except NotANumberError:
        return None
    return parsed if abs(parsed.adjusted()) <= 15 else None


def plain(number: Decimal) -> str:
    """The digits without an exponent. Raises ValueError for a number of 10^16 or more, or with more than 20 places: the
    digits of 1e-999999999 do not fit into the memory."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -20 or number.adjusted() > 15:
        raise ValueError(f"{str(number)[:40]} is not an amount")
    return f"{number:f}"


def number_text(number: Decimal) -> str:
    """A finite number as JSON: the text that it was read from, or its own digits. Raises ValueError."""
    if isinstance(number, ExactNumber):
        return number.text
    if not number.is_finite():
        raise ValueError(f"{number} is not JSON")
    return str(number)


def _no_constant(name: str) -> ExactJson:
    raise ValueError(f"{name} is not JSON")


def _load(raw: bytes, decoder: json.JSONDecoder) -> ExactJson:
    try:
        value: ExactJson = decoder.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    return value


def _any_number(text: str) -> Decimal:
    try:
        return ExactNumber(text)
    except ValueError:
        return Decimal("Infinity")


_ANY_NUMBER: Final = json.JSONDecoder(parse_float=_any_number, parse_constant=Decimal)
_DECODER: Final = json.JSONDecoder(parse_float=ExactNumber, parse_constant=_no_constant)


def _number(value: object) -> msgspec.Raw:
    if isinstance(value, Decimal):
        return msgspec.Raw(number_text(value).encode())
    raise TypeError(f"{type(value).__name__} is not JSON")


_FAST: Final = msgspec.json.Decoder(float_hook=_exact)
_CANONICAL: Final = msgspec.json.Encoder(order="sorted", decimal_format="number", enc_hook=_number)


def _ordered(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def _has_decimal(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_decimal, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_decimal, value))
    return isinstance(value, Decimal)


def _written(value: object, indent: int, newline: str) -> str:
    """`newline` is what begins a line at the level of the value; empty without an indent."""
    inside = newline + " " * indent if indent else ""
    if isinstance(value, Mapping) and value:
        colon = ": " if indent else ":"
        members = (
            f"{json.dumps(str(name), ensure_ascii=False)}{colon}{_written(item, indent, inside)}"
            for name, item in value.items()
        )
        return "{" + inside + f",{inside}".join(members) + newline + "}"
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return "[" + inside + f",{inside}".join(_written(item, indent, inside) for item in value) + newline + "]"
    return number_text(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
