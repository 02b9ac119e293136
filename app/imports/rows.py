"""The rows of an imported file as messages. Reads the file, not the database; works in any process."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, TypeAlias

from pydantic import JsonValue, ValidationError

from platform_relay.core import exact_json
from platform_relay.imports.files import FileFormat, FileRow, read_rows
from platform_relay.imports.mapping import event_of
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.messages import Incoming, incoming

SOURCE: Final = "import"
BATCH: Final = 1000
BATCH_BYTES: Final = 4 << 20
"""A batch ends with the row that exceeds this, so that it fits into the memory whatever the rows are."""
OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The version of rows without one."""
OPEN_FILES: Final = 8
MappedRow: TypeAlias = tuple[FileRow, Incoming | str]
"""A row with its message, or with the reason why it is rejected."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """How to import a file. `mapping` is field -> column. `as_of` is the version of rows without one; None: older than all
    events."""

    name: str
    file_format: FileFormat
    kind: EventKind
    mapping: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime | None = None

    @property
    def key(self) -> str:
        """Identifies the import, together with the file's digest."""
        as_of = self.as_of.isoformat() if self.as_of else None
        return json.dumps({"mapping": dict(self.mapping), "as_of": as_of}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class NotTheFormat:
    """The file does not have its format. `problem`: what is wrong with it."""

    problem: str


def read_messages(plan: ImportPlan, file: IO[bytes], *, after: int = 0, number: int = 0) -> Iterator[MappedRow]:
    """Each row with its message, or with the reason why it is rejected."""
    for row in read_rows(file, plan.file_format, after=after, number=number):
        yield row, row.problem or _message(plan, row.values)


def _message(plan: ImportPlan, values: Mapping[str, JsonValue]) -> Incoming | str:
    members = event_of(plan.kind, values, plan.mapping, flat=plan.file_format == "csv")
    if plan.as_of is not None and "updatedAt" not in members:
        members["updatedAt"] = plan.as_of.isoformat()
    try:
        raw = exact_json.dumps(members, surrogates="replace")
        event = EVENTS[plan.kind].parse(raw)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'row'}: {item['msg']}" for item in items)[:500]
    except ValueError as error:
        return str(error)[:500]
    key = f"{plan.kind}:{event.id}:{event.updatedAt}:{hashlib.sha256(raw).hexdigest()}"
    message = incoming(event, raw, message_id="", source=SOURCE, dedupe_key=key, backfill=True)
    return message if event.updatedAt is not None else replace(message, version=OLDEST)


def limited(rows: Iterable[MappedRow]) -> Iterator[MappedRow]:
    """The next rows, at most BATCH, and about BATCH_BYTES of messages."""
    size = 0
    for count, row in enumerate(rows, 1):
        yield row
        size += len(row[1].body) if isinstance(row[1], Incoming) else 0
        if count == BATCH or size > BATCH_BYTES:
            return


_open: Final[OrderedDict[tuple[str, int, int], Iterator[MappedRow]]] = OrderedDict()
"""Files that are being read in this process, by name and by the end and the number of the last row that was read."""


def next_batch(plan: ImportPlan, name: str, after: int, number: int) -> Sequence[MappedRow] | NotTheFormat:
    """The rows of the file `name` after row `number`, which ends at `after`; empty at the end of the file. The file stays open
    for the next call: an array of JSON can only be read from its beginning."""
    rows = _open.pop((name, after, number), None) or _rows_of(plan, Path(name), after, number)
    try:
        batch = list(limited(rows))
    except ValueError as error:
        return NotTheFormat(str(error))
    if batch:
        _open[name, batch[-1][0].end, batch[-1][0].number] = rows
        while len(_open) > OPEN_FILES:
            _open.popitem(last=False)
    return batch


def _rows_of(plan: ImportPlan, path: Path, after: int, number: int) -> Iterator[MappedRow]:
    with path.open("rb") as file:
        yield from read_messages(plan, file, after=after, number=number)
