"""What a request states about the file that is imported."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from platform_relay.imports.choices import Choices
from platform_relay.imports.values import DateOrder, DecimalMark
from platform_relay.inbox.events import EventKind, Instant


@dataclass(frozen=True, slots=True)
class Stated:
    """What a request states about its file."""

    kind: EventKind
    choices: Choices
    as_of: datetime | None


def _stated(
    kind: Annotated[EventKind, Query(description="What the file contains.")],
    column: Annotated[
        list[str] | None,
        Query(
            alias="map",
            description="`FIELD=COLUMN`; may be repeated. Other fields are guessed from the names and values of the columns.",
        ),
    ] = None,
    as_of: Annotated[
        Instant | None,
        Query(description="When the file was exported: the version of rows without `updatedAt`."),
    ] = None,
    decimal: Annotated[
        DecimalMark | None, Query(description="The decimal mark of amounts. Default: what each column shows.")
    ] = None,
    date_order: Annotated[
        DateOrder | None,
        Query(description="Which comes first in a date such as 4/3/2000. Default: what each column shows."),
    ] = None,
    time_zone: Annotated[
        str | None,
        Query(description="The zone of times without one, such as `Europe/Berlin`. Default: UTC.", max_length=64),
    ] = None,
    currency: Annotated[
        str | None, Query(description="The currency of orders without one, such as `EUR`.", pattern="^[A-Z]{3}$")
    ] = None,
    encoding: Annotated[
        str | None,
        Query(description="The encoding of a CSV file, such as `Windows-1252`. Default: detected.", max_length=40),
    ] = None,
    sheet: Annotated[
        str | None, Query(description="The sheet of a workbook. Default: the first one.", max_length=100)
    ] = None,
    status: Annotated[
        list[str] | None,
        Query(
            description="`WORD=STATUS`; may be repeated. The payment status that a word in the file means, such as `Bezahlt=paid`;"
            " `Bezahlt=reject` rejects its orders."
        ),
    ] = None,
) -> Stated:
    statuses = tuple(status or ())
    choices = Choices(tuple(column or ()), decimal, date_order, time_zone, currency, encoding, sheet, statuses)
    return Stated(kind, choices, as_of)


StatedDep = Annotated[Stated, Depends(_stated)]
