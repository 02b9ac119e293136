"""How an uploaded file is imported, or the problem that its sender has to solve. Works in any process, without a web framework."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from platform_relay.core.errors import FieldError, FieldsInvalid, ImportUndecided
from platform_relay.core.visible_text import visible
from platform_relay.imports.choices import Choices
from platform_relay.imports.files import FileFormat
from platform_relay.imports.proposal import MissingFieldError, propose
from platform_relay.imports.questions import Question
from platform_relay.imports.rows import ImportPlan
from platform_relay.inbox.events import EventKind

_READABLE: Final = "=,/"
"""Characters that need no escape in a query."""
GUESS_LENGTH: Final = 500
"""Characters of a guess in an error."""


@dataclass(frozen=True, slots=True)
class OpenPlan:
    """How the file is imported if the questions that it leaves open are not answered."""

    plan: ImportPlan
    questions: tuple[Question, ...]


def open_plan_of(
    kind: EventKind, file_format: FileFormat, name: str, choices: Choices, as_of: datetime | None
) -> OpenPlan | FieldsInvalid:
    """How to import the file `name`, or why it cannot be read."""
    try:
        with Path(name).open("rb") as file:
            proposal = propose(file, "http", file_format, kind, choices, as_of)
    except MissingFieldError as error:
        example = "currency=EUR" if error.parameter == "currency" else "map=FIELD=COLUMN"
        message = f"{error} Name it with {example}."
        return FieldsInvalid(f"There is {message}", [FieldError(error.parameter, message)])
    except ValueError as error:
        return FieldsInvalid(f"The file cannot be read: {error}.", [FieldError("body", str(error))])
    return OpenPlan(proposal.plan, proposal.questions)


def undecided(opened_plan: OpenPlan) -> ImportUndecided | None:
    """The questions that have to be answered or confirmed first; None if there are none."""
    errors = [
        FieldError(question.parameter, question_text(question)) for question in opened_plan.questions if question.waits
    ]
    if not errors:
        return None
    guess = ", ".join(f"{field} from {column}" for field, column in opened_plan.plan.mapping.items())
    return ImportUndecided(
        f"The file does not decide how it is to be imported. The guess is: {visible(guess[:GUESS_LENGTH])}.", errors
    )


def question_text(question: Question) -> str:
    """The question with its effect, and the parameters of a request that answer it."""
    answers = (f"{question.parameter}={quote(answer, safe=_READABLE)}" for answer in question.answers)
    return f"{question.sentence} Answer with {' or '.join(answers)}."
