"""Lists that are read in pages: one shape and one kind of cursor for all of them.

    _CURSOR: Final = Cursor("jobs", TypeAdapter(UUID))

    if (after := _CURSOR.decode(cursor)) is not None:       # QueryInvalid: not a cursor of this list
        statement = statement.where(Job.id < after)
    rows = ...                                               # limit + 1 rows
    return _CURSOR.page(rows, limit, lambda job: job.id)

A position consists of columns that identify a row and never change, in the order of the list. A page starts after it,
so rows that are added or deleted meanwhile repeat or hide no other row.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, NoReturn, TypeVar  # Any: pydantic's own signature

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from platform_relay.core.errors import FieldError, QueryInvalid

T = TypeVar("T")
P = TypeVar("P")


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = Field(None, description="The `cursor` of the next page; null on the last page.")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The name in the OpenAPI document: `JobPage` for `Page[JobView]`."""
        name: str = params[0].__name__
        return f"{name.removesuffix('View')}Page"


def _storable(text: str) -> str:
    if any(char == "\x00" or 0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise ValueError("contains NUL or a half of a surrogate pair")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


KeyText = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""Parts of a position that PostgreSQL accepts as parameters."""


class Cursor(Generic[P]):
    """The cursors of one list. `name` (a plural, "jobs") is part of each cursor; `position` is the type of a row's position."""

    def __init__(self, name: str, position: TypeAdapter[P]) -> None:
        self._name = name
        self._position = position

    def decode(self, text: str | None) -> P | None:
        """The position after which the page starts; None without a cursor. Raises QueryInvalid."""
        if text is None:
            return None
        try:
            name, position = json.loads(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            _invalid("is not a cursor; use the `next_cursor` of the previous page")
        if name != self._name:
            _invalid(f"is a cursor of another list, not of the {self._name}")
        try:
            return self._position.validate_python(position)
        except ValidationError:
            _invalid("is not a cursor; use the `next_cursor` of the previous page")

    def encode(self, position: P) -> str:
        text = json.dumps([self._name, to_jsonable_python(position)], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode()

    def page(self, rows: Sequence[T], limit: int, position: Callable[[T], P]) -> Page[T]:
        """The page of the first `limit` of `rows`, of which one more than `limit` were read."""
        more = len(rows) > limit
        return Page[T](items=list(rows[:limit]), next_cursor=self.encode(position(rows[limit - 1])) if more else None)


def _invalid(problem: str) -> NoReturn:
    raise QueryInvalid(f"`cursor` {problem}.", [FieldError("cursor", problem)]) from None
