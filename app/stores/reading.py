"""What several shops' JSON is read with: plain functions, each with at least two users."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue, ValidationError

Row = dict[str, JsonValue]
CENT: Final = Decimal("0.01")


def finite(value: JsonValue) -> Decimal:
    """A number or a text as an exact amount; 0 for null and "". Raises InvalidOperation for what is none."""
    amount = Decimal(str(value or 0))
    if not amount.is_finite():
        raise InvalidOperation
    return amount


def with_cents(value: JsonValue) -> Decimal:
    """`finite`, written with two decimals, or with more when it has more."""
    amount = finite(value)
    exponent = amount.normalize().as_tuple().exponent
    return amount.quantize(CENT) if isinstance(exponent, int) and exponent >= -2 else amount.normalize()


def count(value: JsonValue) -> int | None:
    """A whole number; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def rows(value: JsonValue) -> list[Row]:
    """The objects of a list; none for anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def within(value: JsonValue, *path: str) -> JsonValue:
    """What stands at the end of a path of names; None where it breaks off."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def problem_of(error: Exception) -> str:
    """Why something cannot be read, without the values that were read: they may be personal."""
    if not isinstance(error, ValidationError):
        return "a field has another form than documented"
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in errors)[:300]


def following(
    start: str, seen: int, moments: Sequence[JsonValue], page: int, tick: timedelta = timedelta(0)
) -> tuple[str, int] | None:
    """Where a list that is sorted by time of change goes on: at (`tick` 0) or behind (`tick` above 0) this moment,
    without so many rows; None when a page was not full, and so was the last.

    `moments` are those of the page that was read from `start` without its first `seen` rows. Not at a row number of the
    whole list: an entity that changes meanwhile moves to its end, and another one would slip through. `tick` is the
    least that the store tells apart, where its filter leaves the moment itself out. Raises ValueError for no moments.
    """
    if len(moments) < page:
        return None
    read = [datetime.fromisoformat(str(moment)) for moment in moments]
    edge = read[-1] - tick
    late = sum(moment > edge if tick else moment == edge for moment in read)
    stays = late == len(read) and (bool(tick) or datetime.fromisoformat(start) == edge)
    return (start, seen + late) if stays else (edge.isoformat(), late)
