"""How an uploaded file is going to be read, for the operator who corrects it before anything is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from platform_relay.imports.choices import Choices
from platform_relay.imports.column_names import mappable_fields
from platform_relay.imports.conversion import read_as
from platform_relay.imports.files import FileFormat
from platform_relay.imports.mapping import required_fields
from platform_relay.imports.proposal import MissingFieldError, Proposal, propose
from platform_relay.imports.questions import Question
from platform_relay.imports.rows import ImportPlan
from platform_relay.inbox.events import EventKind

COLUMNS: Final = 300
"""At most so many columns are offered."""
_CORRECT: Final = "Choose its column below, and read the file again."
_CORRECT_CURRENCY: Final = "Enter the currency below, and read the file again."


@dataclass(frozen=True, slots=True)
class FieldReview:
    """A field of the event, and the column that fills it; "" for none. `example`: the column's first value."""

    name: str
    column: str
    example: str
    read_as: str
    required: bool
    uncertain: bool


@dataclass(frozen=True, slots=True)
class Review:
    """`problem`: why the file cannot be imported in this way. `columns`: all columns of the file with the first value of each,
    as far as they can be read. Without a `problem`, `questions` are open; an import waits for some of them."""

    problem: str | None
    fields: tuple[FieldReview, ...] = ()
    columns: Mapping[str, str] | None = None
    questions: tuple[Question, ...] = ()
    notes: tuple[str, ...] = ()
    export: str | None = None

    @property
    def waits(self) -> bool:
        """Whether a question has to be answered or confirmed before the import."""
        return any(question.waits for question in self.questions)


def review(
    name: str, path: str, file_format: FileFormat, kind: EventKind, choices: Choices, as_of: datetime | None
) -> Review:
    """How the file at `path` is read with these choices. Reads its beginning only. Works in any process."""
    problem: str | None = None
    try:
        with Path(path).open("rb") as file:
            proposal = propose(file, name, file_format, kind, choices, as_of)
    except MissingFieldError as error:
        step = _CORRECT_CURRENCY if error.parameter == "currency" else _CORRECT
        problem, proposal = f"{_sentence(error)} {step}", error.partial
    except ValueError as error:
        return Review(_sentence(error))
    plan = proposal.plan
    return Review(
        problem,
        _fields(kind, proposal),
        {column: proposal.examples.get(column, "") for column in plan.columns[:COLUMNS]},
        proposal.questions,
        (*plan.notes, *proposal.remarks),
        plan.export,
    )


def plan_of(
    name: str, path: str, file_format: FileFormat, kind: EventKind, choices: Choices, as_of: datetime | None
) -> ImportPlan:
    """How the file at `path` is imported. Raises ValueError. Works in any process."""
    with Path(path).open("rb") as file:
        return propose(file, name, file_format, kind, choices, as_of).plan


def _fields(kind: EventKind, proposal: Proposal) -> tuple[FieldReview, ...]:
    plan, required = proposal.plan, required_fields(kind)
    uncertain = {
        answer.partition("=")[0]
        for question in proposal.questions
        for answer in question.answers
        if question.parameter == "map"
    }
    uncertain |= {"financialStatus" for question in proposal.questions if question.parameter == "status"}
    names = dict.fromkeys((*required, *plan.mapping, *mappable_fields(kind)))
    return tuple(
        FieldReview(
            name,
            plan.mapping.get(name, ""),
            proposal.examples.get(plan.mapping.get(name, ""), ""),
            read_as(plan.reading, name),
            name in required,
            name in uncertain,
        )
        for name in names
    )


def _sentence(error: ValueError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
