"""How a file is going to be imported, and what the file does not decide. Reads the beginning of the file, not the database.

The mapping, the decimal mark, the order of dates, the time zone and the currency follow from what the caller states, and
otherwise from the columns. What remains open is a `Question`. A question about customers or about a required amount waits for an
answer or a confirmation; another one has a safe effect that the summary states.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from platform_relay.core.visible_text import visible
from platform_relay.imports.amounts import CODES, CellNumber
from platform_relay.imports.conversion import AMOUNTS, DATES, IDS, TIMES, Reading, lacks_zone
from platform_relay.imports.exports import KnownExport, recognise
from platform_relay.imports.files import (
    TABLES,
    FileFacts,
    FileFormat,
    FileOptions,
    FileRow,
    check_duplicates,
    file_columns,
    read_rows,
)
from platform_relay.imports.id_values import are_rounded, damage_of, looks_like_id
from platform_relay.imports.mapping import (
    Column,
    Doubt,
    Guess,
    guess_mapping,
    missing_fields,
    parse_mapping,
    required_fields,
)
from platform_relay.imports.rows import ImportPlan
from platform_relay.imports.summary import NAME_LENGTH
from platform_relay.imports.values import (
    AmbiguousValueError,
    DateOrder,
    DecimalMark,
    currency_of,
    date_order_of,
    decimal_mark_of,
    parse_date,
    parse_month_day,
    parse_number,
)
from platform_relay.inbox.events import EVENTS, EventKind

SAMPLE_ROWS: Final = 10_000
SAMPLE_BYTES: Final = 8 << 20
SEARCHED_BYTES: Final = 64 << 20
"""So much of the file is searched for a value that decides a column which the sample leaves open."""
COLUMNS_NAMED: Final = 40
VALUE_LENGTH: Final = 300
"""Characters of a sampled value."""
Parameter = Literal["map", "encoding", "decimal", "date_order", "time_zone", "currency"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the caller states. `fields`: items such as `field=column`."""

    fields: tuple[str, ...] = ()
    decimal: DecimalMark | None = None
    date_order: DateOrder | None = None
    time_zone: str | None = None
    currency: str | None = None
    encoding: str | None = None
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What the file does not decide. `parameter` takes one of `answers`. `effect`: what happens without an answer. `waits`: the
    import does not start without an answer or a confirmation. `note`: the effect, as the summary states it."""

    parameter: Parameter
    text: str
    answers: tuple[str, ...]
    effect: str
    waits: bool
    note: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.text} {self.effect}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """How the file is going to be imported. `examples`: the first value of each column. `remarks`: what was noticed about the
    file, for the operator who imports it; they may contain values of the file, and are not stored."""

    plan: ImportPlan
    examples: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def waiting(self) -> tuple[Question, ...]:
        """The questions for which the import waits."""
        return tuple(question for question in self.questions if question.waits)


class MissingFieldError(ValueError):
    """Required fields have no column. `parameter` is what can supply them, `partial` what is known about the file."""

    def __init__(self, message: str, parameter: Parameter, partial: Proposal | None = None) -> None:
        super().__init__(message)
        self.parameter: Parameter = parameter
        self.partial = partial


def propose(
    file: IO[bytes],
    name: str,
    file_format: FileFormat,
    kind: EventKind,
    choices: Choices | None = None,
    as_of: datetime | None = None,
) -> Proposal:
    """How to import the file. Raises ValueError if the file does not have its format, for a wrong choice, and MissingFieldError."""
    stated = choices or Choices()
    check_choices(stated)
    columns_read = file_columns(file, file_format, FileOptions(stated.encoding, None, stated.sheet))
    names, options = columns_read.names, columns_read.facts.options
    flat = file_format in TABLES
    export = _known(kind, stated, names) if flat else None
    rows = read_rows(file, file_format, options=options)
    if export is not None and export.join is not None:
        rows = export.join(rows)
    sample = _sample(rows, names)
    chosen = parse_mapping(kind, stated.fields, (*names, *columns_read.facts.duplicates))
    check_duplicates(columns_read.facts, chosen.values())
    if export is None:
        columns = [Column(column, sample.values.get(column, ())) for column in names]
        guess = guess_mapping(kind, columns, typed=not flat)
        same_name = {} if flat else {column: column for column in names if column in EVENTS[kind].model_fields}
        guessed = {**same_name, **guess.mapping}
    else:
        guess, guessed = Guess(), dict(export.mapping)
    mapping = {name: column for name, column in {**guessed, **chosen}.items() if column}
    refused = {name: column for name, column in guess.refused.items() if name not in mapping and name not in chosen}
    symbols = {currency_of(text) for text in sample.values.get(mapping.get("totalPrice", ""), ())}
    has_currency = stated.currency is not None or (flat and bool(symbols - {None}))
    hints = [] if export is not None or not flat else _hints(kind, file_format, sample)
    examples = {column: _shown(values[0]) for column, values in sample.values.items() if values}
    known = None if export is None else export.name
    try:
        _require(
            kind, names, mapping, refused, {} if export is None else export.missing, hints, has_currency=has_currency
        )
    except MissingFieldError as error:
        how_far = ImportPlan(name, file_format, kind, mapping, as_of, Reading(), options, known, names)
        raise MissingFieldError(str(error), error.parameter, Proposal(how_far, examples)) from None
    questions = [] if not columns_read.facts.uncertain else [_uncertain_encoding(columns_read.facts)]
    questions += [
        _doubtful_column(name, mapping[name], doubt, sample.values.get(mapping[name], ()))
        for name, doubt in guess.uncertain.items()
        if mapping.get(name) == guess.mapping[name] and name not in chosen
    ]
    if export is None and "id" not in chosen and (column := sample.repeated_id(mapping)) is not None:
        questions.append(_repeated_id(column))
    reading, open_choices = _reading(kind, stated, export, mapping, sample, rows, flat=flat)
    questions += open_choices
    how = (f"How the file is read: {columns_read.facts.summary}.",) if columns_read.facts.summary else ()
    notes = [*how, *_notes(kind, export, mapping, refused)]
    notes += [question.note for question in questions if question.note]
    if stated.time_zone is not None:
        notes.append(f"Times without a time zone count as {stated.time_zone}.")
    plan = ImportPlan(name, file_format, kind, mapping, as_of, reading, options, known, names, tuple(notes))
    remarks = (*columns_read.facts.notes, *_damaged_text(text for values in sample.values.values() for text in values))
    return Proposal(plan, examples, tuple(questions), tuple(map(visible, remarks)))


def _known(kind: EventKind, stated: Choices, names: Sequence[str]) -> KnownExport | None:
    """The known export that the file is. Raises ValueError for one of another kind, unless columns were mapped by hand."""
    export = recognise(names)
    if export is None or export.kind is kind:
        return export
    if stated.fields:
        return None
    raise ValueError(f"the file is an export of {export.kind} ({export.title}); import it as {export.kind}")


def _notes(
    kind: EventKind, export: KnownExport | None, mapping: Mapping[str, str], refused: Mapping[str, str]
) -> list[str]:
    if export is not None:
        return [f"The file is a known export: {export.title}.", *export.notes]
    notes = [
        f"Column {_shown(column)} is not used for {name}: its values do not look like {_KINDS_OF_VALUES.get(name, 'values of it')}."
        for name, column in refused.items()
        if column not in mapping.values()
    ]
    if kind is EventKind.ORDER and not {"customerId", "email"} & set(mapping):
        notes.append("No column names the customers of the orders, so they belong to no customer and give no points.")
    return notes


def check_choices(choices: Choices) -> None:
    """Raises ValueError for an unknown time zone or currency."""
    if choices.time_zone is not None:
        try:
            ZoneInfo(choices.time_zone)
        except (ValueError, OSError, LookupError):
            raise ValueError(
                f"the time zone {choices.time_zone!r} is unknown; write a name such as Europe/Berlin or UTC"
            ) from None
    if choices.currency is not None and choices.currency not in CODES:
        raise ValueError(f"the currency {choices.currency!r} is unknown; write a code of ISO 4217 such as EUR")


# ----------------------------------------------------------------------------------------------- the sample


class _Sample:
    """The values of the first rows by column, empty ones as "", and whether more rows follow. `sound`, `broken`: how many rows
    can be read, and how many cannot."""

    def __init__(self, names: Sequence[str]) -> None:
        self.cells: dict[str, list[str]] = {name: [] for name in names}
        self.values: dict[str, list[str]] = {}
        self.more = False
        self.sound = self.broken = 0

    def add(self, row: Mapping[str, JsonValue]) -> None:
        for name, cells in self.cells.items():
            cells.append(_text(row.get(name)))

    def close(self) -> None:
        """Set `values`: those that are not empty."""
        self.values = {name: [text for text in cells if text] for name, cells in self.cells.items()}

    def repeated_id(self, mapping: Mapping[str, str]) -> str | None:
        """The column of ids, if one id is beside two e-mail addresses: then it identifies no customer."""
        column, email = mapping.get("id"), mapping.get("email")
        known: dict[str, str] = {}
        for identifier, address in zip(self.cells.get(column or "", ()), self.cells.get(email or "", ()), strict=False):
            if identifier and "@" in address and known.setdefault(identifier, address.lower()) != address.lower():
                return column
        return None


def _sample(rows: Iterator[FileRow], names: Sequence[str]) -> _Sample:
    sample = _Sample(names)
    for count, row in enumerate(rows, 1):
        if row.problem is None:
            sample.add(row.values)
            sample.sound += 1
        else:
            sample.broken += 1
        if count == SAMPLE_ROWS or row.end > SAMPLE_BYTES:
            sample.more = True
            break
    sample.close()
    return sample


def _damaged_text(values: Iterable[str]) -> list[str]:
    """A sentence about texts such as `ZoÃ«`: another program read the UTF-8 of `Zoë` as Windows-1252 and saved that."""
    for text in values:
        if text.isascii():
            continue
        try:
            meant = text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            continue
        shown = f"{_shown(text)}, which was probably {_shown(meant)}"
        sentence = f"The file has damaged text, such as {shown}: a program read UTF-8 as Windows-1252. It is imported as it is."
        return [f"{sentence} Export the file again if you can."]
    return []


def _text(value: JsonValue) -> str:
    """A value as text without spaces around it; an object or an array has none."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    if isinstance(value, CellNumber):
        return value
    return str(value)[: 2 * VALUE_LENGTH].strip()[:VALUE_LENGTH]


# ----------------------------------------------------------------------------------------------- what is open

_KINDS_OF_VALUES: Final[Mapping[str, str]] = {
    "id": "ids",
    "customerId": "ids",
    "email": "e-mail addresses",
    "birthdayDay": "days of the month",
    "birthday": "dates",
    "currency": "currencies",
    **dict.fromkeys(AMOUNTS, "amounts"),
}


def _require(
    kind: EventKind,
    names: Sequence[str],
    mapping: Mapping[str, str],
    refused: Mapping[str, str],
    documented: Mapping[str, str],
    hints: Sequence[str],
    *,
    has_currency: bool,
) -> None:
    """Raises MissingFieldError if a required field has no column. `documented`: why a known export lacks a field."""
    lacking = [name for name in missing_fields(kind, mapping) if name != "currency" or not has_currency]
    if not lacking:
        return
    reasons = [
        f" The values of {_shown(refused[name])} do not look like {_KINDS_OF_VALUES[name]}; if they are, map the column by hand."
        for name in lacking
        if name in refused and name in _KINDS_OF_VALUES
    ]
    parameter: Parameter = "currency" if lacking == ["currency"] else "map"
    reasons += [f" For {name}: {documented[name]}." for name in lacking if name in documented]
    if "id" in lacking:
        reasons += hints
    columns = f"{', '.join(map(_shown, names[:COLUMNS_NAMED]))}{' …' if len(names) > COLUMNS_NAMED else ''}"
    raise MissingFieldError(
        f"no column for {', '.join(lacking)}.{''.join(reasons)} The columns are {columns}.", parameter
    )


def _hints(kind: EventKind, file_format: FileFormat, sample: _Sample) -> list[str]:
    """What can help someone whose file has no column of ids, as sentences with a space before each."""
    hints = []
    if sample.broken > sample.sound:
        hints.append(
            " Most rows have another number of fields than the first one, which must have the names of the columns: delete the"
            " lines above it, such as a title."
        )
    elif len(sample.cells) == 1:
        hints.append(_ONE_COLUMN[file_format])
    first = [Column(cells[0]) for cells in sample.cells.values() if cells]
    if len(guess_mapping(kind, first).mapping) > 1:
        hints.append(" The row under the first one looks like the names of the columns: delete the lines above it.")
    else:
        possible = [
            name for name, texts in sample.values.items() if texts and all(map(looks_like_id, texts)) and _differ(texts)
        ]
        if possible:
            hints.append(f" Values that look like ids are in {', '.join(map(_shown, possible[:3]))}.")
    return hints


_ONE_COLUMN: Final[Mapping[FileFormat, str]] = {
    "csv": " The file has one column only: save it with a comma, a semicolon, a tab or a pipe between the values.",
    "xlsx": " The sheet has one column only. Another sheet can be named (--sheet, sheet=).",
}


def _differ(texts: Sequence[str]) -> bool:
    return len(set(texts)) == len(texts)


def _uncertain_encoding(facts: FileFacts) -> Question:
    return Question(
        "encoding",
        f"The file does not show how its text is encoded. It would be read with {facts.summary}.",
        (facts.encoding or "UTF-8",),
        "In a wrong encoding, letters such as é and ü become others.",
        waits=True,
    )


def _doubtful_column(name: str, column: str, doubt: Doubt, values: Sequence[str]) -> Question:
    others = [
        repr(_shown(text)) for text in dict.fromkeys(values) if not looks_like_id(text) and damage_of(text) is None
    ]
    reasons: Mapping[Doubt, str] = {
        "name": f"The name of column {_shown(column)} does not show that it holds the ids of your store.",
        "values": f"Not all values of column {_shown(column)} look like ids: {', '.join(others[:3])}.",
        "addresses": f"The ids in column {_shown(column)} are e-mail addresses.",
    }
    what = "the customer of each order" if name == "customerId" else "what each row is about"
    return Question(
        "map",
        f"{reasons[doubt]} It would be used for {name}.",
        (f"{name}={column}",),
        f"A wrong column would invent or merge entities, because {name} identifies {what}.",
        waits=True,
    )


def _repeated_id(column: str) -> Question:
    return Question(
        "map",
        f"Column {_shown(column)} has the same id beside different e-mail addresses. It would be used for id.",
        (f"id={column}",),
        "If it does not identify a customer or an order, rows would be merged.",
        waits=True,
    )


def _reading(
    kind: EventKind,
    stated: Choices,
    export: KnownExport | None,
    mapping: Mapping[str, str],
    sample: _Sample,
    rows: Iterator[FileRow],
    *,
    flat: bool,
) -> tuple[Reading, list[Question]]:
    """How the file writes amounts, dates and times, and what it leaves open."""
    dated = {name: mapping[name] for name in DATES if name in mapping}
    amounts = {name: mapping[name] for name in AMOUNTS if name in mapping and flat}
    decimal: dict[str, DecimalMark] = {}
    order: dict[str, DateOrder] = {}
    undecided: dict[str, str] = {}
    for name, column in amounts.items():
        values = sample.values.get(column, [])
        mark = stated.decimal or decimal_mark_of(values) or (export.decimal if export else None)
        if mark is not None:
            decimal[name] = mark
        elif any(_is_ambiguous(text, _number) for text in values):
            undecided[name] = column
    for name, column in dated.items():
        values = sample.values.get(column, [])
        shown = stated.date_order or date_order_of(values) or (export.date_order if export else None)
        if shown is not None:
            order[name] = shown
        elif any(_is_ambiguous(text, _day if name not in TIMES else _date) for text in values):
            undecided[name] = column
    if undecided and sample.more:
        _search(undecided, rows, decimal, order)
    required = required_fields(kind)
    questions = [
        _open_decimal(name, column, waits=name in required) if name in amounts else _open_date_order(name, column)
        for name, column in undecided.items()
    ]
    without_zone = [
        column
        for name, column in dated.items()
        if name in TIMES
        and not _names_utc(column)
        and any(lacks_zone(text, order.get(name)) for text in sample.values.get(column, []))
    ]
    zone = stated.time_zone or (export.time_zone if export else None)
    if without_zone and zone is None:
        questions.append(_open_zone(without_zone))
    rounded = tuple(
        name for name in IDS if flat and name in mapping and are_rounded(sample.values.get(mapping[name], ()))
    )
    return Reading(decimal, order, zone, stated.currency, rounded), questions


def _search(
    undecided: dict[str, str],
    rows: Iterator[FileRow],
    decimal: dict[str, DecimalMark],
    order: dict[str, DateOrder],
) -> None:
    """Search the rows after the sample for a value that decides a column. Removes decided fields from `undecided`."""
    for row in rows:
        if not undecided or row.end > SEARCHED_BYTES:
            return
        for name, column in list(undecided.items()):
            text = _text(row.values.get(column))
            mark = decimal_mark_of([text]) if name in AMOUNTS else None
            shown = date_order_of([text]) if name in DATES and not _is_ordered_anyway(text) else None
            if mark is not None:
                decimal[name] = mark
            elif shown is not None:
                order[name] = shown
            else:
                continue
            del undecided[name]


def _is_ordered_anyway(text: str) -> bool:
    """Whether the date has one meaning in every order, or cannot be read, so that it shows no order."""
    try:
        return len({parse_month_day(text, order) for order in ("dmy", "mdy")}) == 1
    except ValueError:
        return False


def _is_ambiguous(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except AmbiguousValueError:
        return True
    except ValueError:
        return False
    return False


def _number(text: str) -> object:
    return parse_number(text, None)


def _date(text: str) -> object:
    return parse_date(text, None)


def _day(text: str) -> object:
    return parse_month_day(text, None)


def _names_utc(column: str) -> bool:
    return column.lower().rstrip(")").endswith(("gmt", "utc"))


def _open_decimal(name: str, column: str, *, waits: bool) -> Question:
    effect = "rows are rejected" if waits else "amounts are left out"
    return Question(
        "decimal",
        f"Column {_shown(column)} ({name}) has amounts such as 1,234, and none that shows whether the decimal mark is a comma or a"
        " point.",
        (",", "."),
        f"Without an answer these {effect}.",
        waits=waits,
        note=f"Decimal mark of {_shown(column)} unknown: {effect} where an amount can be 1.234 or 1234.",
    )


def _open_date_order(name: str, column: str) -> Question:
    return Question(
        "date_order",
        f"Column {_shown(column)} ({name}) has dates such as 4/3/2000, and none that shows whether the day or the month is first.",
        ("dmy", "mdy"),
        "Without an answer these dates are left out.",
        waits=False,
        note=f"Order of dates in {_shown(column)} unknown: dates such as 4/3/2000 are left out.",
    )


def _open_zone(columns: Sequence[str]) -> Question:
    shown = ", ".join(_shown(column) for column in columns)
    return Question(
        "time_zone",
        f"Times without a time zone are in {shown}.",
        ("Europe/Berlin", "UTC"),
        "Without an answer they count as UTC.",
        waits=False,
        note=f"Times without a time zone in {shown} count as UTC.",
    )


def _shown(column: str) -> str:
    """The name of a column as it is shown in a sentence."""
    return visible(column[:NAME_LENGTH])
