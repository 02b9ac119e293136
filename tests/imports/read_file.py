"""Reads one table as a file of each format."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any  # Any: events as JSON

from openpyxl import Workbook

from platform_relay.imports.choices import Choices
from platform_relay.imports.files import FileFormat
from platform_relay.imports.proposal import Proposal, propose
from platform_relay.imports.questions import Question
from platform_relay.imports.rows import read_messages
from platform_relay.imports.summary import Tally
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import Incoming

Table = list[dict[str, Any]]
FORMATS: tuple[FileFormat, ...] = ("csv", "xlsx", "ndjson", "json")


@dataclass(frozen=True)
class Read:
    """What becomes of a file."""

    proposal: Proposal
    events: list[dict[str, Any]]
    rejected: list[str]
    tally: Tally

    @property
    def mapping(self) -> dict[str, str]:
        return dict(self.proposal.plan.mapping)

    @property
    def waiting(self) -> list[Question]:
        return list(self.proposal.waiting)

    @property
    def answers(self) -> list[tuple[str, ...]]:
        """Of the questions for which the import waits."""
        return [question.answers for question in self.waiting]

    def values(self, field: str) -> list[object]:
        """Of each event; ids as texts."""
        return [
            str(event[field]) if field in ("id", "customerId") and event.get(field) is not None else event.get(field)
            for event in self.events
        ]


def written(table: Table, form: FileFormat) -> bytes:
    """The table as a file. Its columns are those of the first row; a spreadsheet has all values as texts."""
    header = list(table[0])
    lines = [header, *(["" if row.get(name) is None else str(row[name]) for name in header] for row in table)]
    match form:
        case "csv":
            text = io.StringIO()
            csv.writer(text).writerows(lines)
            return text.getvalue().encode()
        case "xlsx":
            book, file = Workbook(), io.BytesIO()
            sheet = book.active
            assert sheet is not None
            for line in lines:
                sheet.append(line)
            book.save(file)
            return file.getvalue()
        case "ndjson":
            return b"".join(json.dumps(row).encode() + b"\n" for row in table)
        case "json":
            return json.dumps({"data": table}).encode()


def read_file(raw: bytes | str, kind: EventKind, form: FileFormat = "csv", *fields: str, **choices: Any) -> Read:
    """The events of a file, and what it leaves open."""
    content = raw.encode() if isinstance(raw, str) else raw
    proposal = propose(io.BytesIO(content), "file", form, kind, Choices(fields, **choices))
    tally = Tally()
    messages = [message for _, message in read_messages(proposal.plan, io.BytesIO(content), tally=tally)]
    return Read(
        proposal,
        [json.loads(message.body) for message in messages if isinstance(message, Incoming)],
        [message for message in messages if isinstance(message, str)],
        tally,
    )


def read_table(table: Table, kind: EventKind, form: FileFormat, *fields: str, **choices: Any) -> Read:
    """As `read_file`."""
    return read_file(written(table, form), kind, form, *fields, **choices)
