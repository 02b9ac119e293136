"""JSON without floats: numbers with a decimal point become Decimal with the same digits."""

import json
from decimal import Decimal
from typing import Final, TypeAlias

ExactJson: TypeAlias = "bool | int | Decimal | str | list[ExactJson] | dict[str, ExactJson] | None"


def loads(raw: bytes) -> ExactJson:
    """The value of a JSON text. Raises ValueError for anything else, also for NaN, Infinity and too deep nesting."""
    try:
        value: ExactJson = _DECODER.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    return value


def member(value: ExactJson, name: str) -> ExactJson:
    """The member of an object; None when it is absent or the value is not an object."""
    return value.get(name) if isinstance(value, dict) else None


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


def number(value: ExactJson) -> Decimal | None:
    """A finite number below 10^16, also when it is written as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        parsed = Decimal(value)
    except ArithmeticError:
        return None
    return parsed if parsed.is_finite() and abs(parsed.adjusted()) <= 15 else None


def _no_constant(name: str) -> ExactJson:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
