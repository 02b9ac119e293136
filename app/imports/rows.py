"""The rows of an imported file as messages. Reads the file, not the database; works in any process.

An optional field never costs the row: a value that cannot be read is left out of the event, and counted (`summary`).
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeAlias

from pydantic import ValidationError

from platform_relay.core import exact_json
from platform_relay.core.field_rules import message_of
from platform_relay.imports.column_names import BIRTHDAY, IDS
from platform_relay.imports.conversion import Converted, Reading, convert
from platform_relay.imports.exports import known_export
from platform_relay.imports.files import TABLES, FileFormat, FileOptions, FileRow, read_rows
from platform_relay.imports.mapping import required_fields
from platform_relay.imports.nested_columns import with_nested
from platform_relay.imports.not_records import checked
from platform_relay.imports.summary import Tally
from platform_relay.inbox.events import EVENTS, CustomerEvent, EventKind, OrderEvent, ProductEvent, RefusedEventError
from platform_relay.inbox.messages import OLDEST, Incoming, incoming

SOURCE: Final = "import"
BATCH: Final = 1000
BATCH_BYTES: Final = 4 << 20
"""A batch ends with the row that exceeds this, so that it fits into the memory whatever the rows are."""
OPEN_FILES: Final = 8
LONGEST_KEY: Final = 1000
"""Characters of a key that is kept as it is; the database's index holds no longer ones."""
MappedRow: TypeAlias = tuple[FileRow, Incoming | str]
"""A row with its message, or with the reason why it is rejected."""
_OPTIONAL_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "lineItems": frozenset(("productId", "variantId", "title", "quantity", "price")),
    "discountCodes": frozenset(("amount",)),
    "variants": frozenset(("title", "imageUrl", "status", "position")),
}
"""What can be left out of one element of a list. Without any other part, the list is left out: a list of variants that
lacks one would delete it at the Platform."""
_NO_CURRENCY: Final = "is not shown by this row; name the currency of orders without one (--currency, currency=)"
_PARTS_LEFT_OUT: Final = 50
"""At most so many parts of one row are left out one by one."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """How to import a file. `mapping` is field -> column. `as_of` is the version of rows without one; None: older than all
    events. `options`: how the bytes of the file are read. `export`: the name of the known export that the file is. `columns`:
    all columns of the file. `notes`: what was decided about the file, as sentences."""

    name: str
    file_format: FileFormat
    kind: EventKind
    mapping: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime | None = None
    reading: Reading = field(default_factory=Reading)
    options: FileOptions = field(default_factory=FileOptions)
    export: str | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Identifies the import, together with the file's digest: the same file read in another way is another import."""
        as_of = self.as_of.isoformat() if self.as_of else None
        how = {"mapping": dict(self.mapping), "as_of": as_of, "reading": asdict(self.reading)}
        how |= {"options": self.options.key, "export": self.export}
        written = json.dumps(how, sort_keys=True)
        return written if len(written) <= LONGEST_KEY else hashlib.sha256(written.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class NotTheFormat:
    """The file does not have its format. `problem`: what is wrong with it."""

    problem: str


class Batch(NamedTuple):
    """Rows of a file, and what was found in their columns."""

    rows: Sequence[MappedRow]
    tally: Tally


def read_messages(
    plan: ImportPlan, file: IO[bytes], *, after: int = 0, number: int = 0, tally: Tally | None = None
) -> Iterator[MappedRow]:
    """Each row with its message, or with the reason why it is rejected. `tally` counts the values of each yielded row."""
    counts = Tally() if tally is None else tally
    rows = checked(plan.kind, read_rows(file, plan.file_format, after=after, number=number, options=plan.options))
    join = None if plan.export is None else known_export(plan.export, plan.columns).join
    for row in rows if join is None else join(rows):
        yield row, row.problem or _message(plan, row, counts)


def unused_columns(plan: ImportPlan) -> Mapping[str, str] | None:
    """The columns of a known export that are not used, and why; None if the file is not one."""
    return None if plan.export is None else known_export(plan.export, plan.columns).unused


def _message(plan: ImportPlan, row: FileRow, tally: Tally) -> Incoming | str:
    flat = plan.file_format in TABLES
    values = row.values if flat else with_nested(row.values, plan.mapping.values())
    converted = convert(plan.kind, values, plan.mapping, plan.reading, flat=flat)
    result = _valid(plan, converted)
    tally.add(row.number, values, plan.mapping, converted.empty, row.trimmed, converted.unreadable)
    if isinstance(result, str):
        return result
    event, raw = result
    key = f"{plan.kind}:{event.id}:{event.updatedAt}:{hashlib.sha256(raw).hexdigest()}"
    message = incoming(event, raw, message_id="", source=SOURCE, dedupe_key=key, backfill=True)
    return message if event.updatedAt is not None else replace(message, version=OLDEST)


def _valid(plan: ImportPlan, converted: Converted) -> tuple[CustomerEvent | OrderEvent | ProductEvent, bytes] | str:
    """The event of a row and its JSON, without what its model refuses; or why the row is rejected. Adds what is left out to
    `converted.unreadable`."""
    required, model, flat = required_fields(plan.kind), EVENTS[plan.kind], plan.file_format in TABLES
    if converted.damaged is not None:
        return converted.damaged
    if lost := [f"{name}: {converted.unreadable[name]}" for name in required if name in converted.unreadable]:
        return "; ".join(lost)[:500]
    members = converted.event
    lacking = ("currency",) if flat and "currency" not in members else None
    if plan.as_of is not None and "updatedAt" not in members:
        members["updatedAt"] = plan.as_of.isoformat()
    parts = 0
    while True:
        try:
            raw = exact_json.dumps(members, surrogates="replace")
            return model.parse(raw), raw
        except ValidationError as error:
            refused = [
                (item["loc"], message_of(item).removeprefix("Value error, "))
                for item in error.errors(include_url=False, include_input=False)
            ]
        except RefusedEventError as error:
            refused = [(tuple(error.field.split(".")[:1]), error.what)]
        except ValueError as error:
            return str(error)[:500]
        lost = [
            f"{'.'.join(map(str, loc)) or 'row'}: {what if loc != lacking else _NO_CURRENCY}"
            for loc, what in refused
            if not loc or loc[0] in required or loc[0] in IDS or loc[0] not in members
        ]
        if lost:
            return "; ".join(lost)[:500]
        for loc, what in refused:
            parts += 1
            _leave_out(converted, plan.mapping, loc, what, everything=parts > _PARTS_LEFT_OUT)


def _leave_out(
    converted: Converted, mapping: Mapping[str, str], loc: tuple[int | str, ...], what: str, *, everything: bool
) -> None:
    """Remove the value at `loc` from the event: an optional part of an element, or the field with all that it has."""
    name = str(loc[0])
    of_mapping = BIRTHDAY if name in ("birthdayMonth", "birthdayDay") and name not in mapping else name
    where = ".".join(map(str, loc[1:]))
    converted.unreadable.setdefault(of_mapping, f"{where}: {what}" if where else what)
    value = converted.event.get(name)
    if not everything and len(loc) == 3 and loc[2] in _OPTIONAL_PARTS.get(name, ()) and isinstance(value, list):
        element = value[loc[1]] if isinstance(loc[1], int) else None
        if isinstance(element, dict):
            element.pop(str(loc[2]), None)
            return
    converted.event.pop(name, None)
    converted.empty.discard(of_mapping)


def limited(rows: Iterable[MappedRow]) -> Iterator[MappedRow]:
    """The next rows, at most BATCH, and about BATCH_BYTES of messages."""
    size = 0
    for count, row in enumerate(rows, 1):
        yield row
        size += len(row[1].body) if isinstance(row[1], Incoming) else 0
        if count == BATCH or size > BATCH_BYTES:
            return


class _OpenFile(NamedTuple):
    rows: Iterator[MappedRow]
    tally: Tally


_open: Final[OrderedDict[tuple[str, str, int, int], _OpenFile]] = OrderedDict()
"""Files that are being read in this process, by name and plan, and by the end and the number of the last row that was read."""


def next_batch(plan: ImportPlan, name: str, after: int, number: int) -> Batch | NotTheFormat:
    """The rows of the file `name` after row `number`, which ends at `after`; none at the end of the file. The file stays open
    for the next call: an array of JSON can only be read from its beginning."""
    opened = _open.pop((name, plan.key, after, number), None) or _opened(plan, Path(name), after, number)
    try:
        batch = list(limited(opened.rows))
    except ValueError as error:
        return NotTheFormat(str(error))
    if batch:
        _open[name, plan.key, batch[-1][0].end, batch[-1][0].number] = opened
        while len(_open) > OPEN_FILES:
            _open.popitem(last=False)
    return Batch(batch, opened.tally.take())


def _opened(plan: ImportPlan, path: Path, after: int, number: int) -> _OpenFile:
    tally = Tally()

    def rows() -> Iterator[MappedRow]:
        with path.open("rb") as file:
            yield from read_messages(plan, file, after=after, number=number, tally=tally)

    return _OpenFile(rows(), tally)
