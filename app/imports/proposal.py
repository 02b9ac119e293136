"""How a file is going to be imported, and what the file does not decide. Reads the beginning of the file, not the database.

The mapping, the decimal mark, the order of dates, the time zone and the currency follow from what the caller states, and
otherwise from the columns. What remains open is a `Question`. A question about customers or about a required amount waits for an
answer or a confirmation; another one has a safe effect that the summary states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from platform_relay.core.visible_text import visible
from platform_relay.imports.choices import Choices, check_choices
from platform_relay.imports.conversion import Reading
from platform_relay.imports.exports import KnownExport, recognise
from platform_relay.imports.files import TABLES, FileFormat, FileOptions, check_duplicates, file_columns, read_rows
from platform_relay.imports.id_doubts import id_doubts, notes_on_customers
from platform_relay.imports.mapping import Column, Guess, guess_mapping, parse_mapping
from platform_relay.imports.missing_columns import KINDS_OF_VALUES, find_missing_columns, hints_for
from platform_relay.imports.not_records import checked
from platform_relay.imports.questions import Parameter, Question, doubtful_column, uncertain_encoding, unknown_statuses
from platform_relay.imports.reading import find_reading
from platform_relay.imports.rows import ImportPlan
from platform_relay.imports.sample import Sample, damaged_text, take_sample
from platform_relay.imports.summary import shown_text
from platform_relay.imports.values import currency_of
from platform_relay.inbox.events import EVENTS, EventKind


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

    def __init__(self, message: str, parameter: Parameter, partial: Proposal) -> None:
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
    rows = checked(kind, read_rows(file, file_format, options=options))
    if export is not None and export.join is not None:
        rows = export.join(rows)
    sample = take_sample(rows, names)
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
    hints = [] if export is not None or not flat else hints_for(kind, file_format, sample)
    examples = {column: shown_text(values[0]) for column, values in sample.values.items() if values}
    known = None if export is None else export.name
    documented: Mapping[str, str] = {} if export is None else export.missing
    missing = find_missing_columns(kind, names, mapping, refused, documented, hints, has_currency=has_currency)
    if missing is not None:
        how_far = ImportPlan(name, file_format, kind, mapping, as_of, Reading(), options, known, names)
        raise MissingFieldError(missing.message, missing.parameter, Proposal(how_far, examples))
    questions = [] if not columns_read.facts.uncertain else [uncertain_encoding(columns_read.facts)]
    questions += [
        doubtful_column(name, mapping[name], doubt, sample.values.get(mapping[name], ()))
        for name, doubt in guess.uncertain.items()
        if mapping.get(name) == guess.mapping[name] and name not in chosen
    ]
    if export is None:
        questions += [
            Question("map", doubt.text, doubt.answers, doubt.effect, waits=True)
            for doubt in id_doubts(kind, mapping, chosen, sample.cells)
        ]
        questions += unknown_statuses(kind, mapping, sample, stated)
    reading, open_choices = find_reading(kind, stated, export, mapping, sample, rows, flat=flat)
    questions += open_choices
    how = (f"How the file is read: {columns_read.facts.summary}.",) if columns_read.facts.summary else ()
    notes = [*how, *_notes(kind, export, mapping, refused, sample)]
    notes += [question.note for question in questions if question.note]
    if stated.time_zone is not None:
        notes.append(f"Times without a time zone count as {stated.time_zone}.")
    plan = ImportPlan(name, file_format, kind, mapping, as_of, reading, options, known, names, tuple(notes))
    remarks = (*columns_read.facts.notes, *damaged_text(text for values in sample.values.values() for text in values))
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
    kind: EventKind,
    export: KnownExport | None,
    mapping: Mapping[str, str],
    refused: Mapping[str, str],
    sample: Sample,
) -> list[str]:
    if export is not None:
        return [f"The file is a known export: {export.title}.", *export.notes]
    notes = [
        f"Column {shown_text(column)} is not used for {name}: its values do not look like"
        f" {KINDS_OF_VALUES.get(name, 'values of it')}."
        for name, column in refused.items()
        if column not in mapping.values()
    ]
    return [*notes, *notes_on_customers(kind, mapping, sample.cells)]
