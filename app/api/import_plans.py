"""How an uploaded file is imported, or the problem that its sender has to solve. Works in any process, without a web framework."""

from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from platform_relay.core.errors import FieldError, FieldsInvalid, ImportUndecided
from platform_relay.core.visible_text import visible
from platform_relay.imports.files import FileFormat
from platform_relay.imports.proposal import Choices, MissingFieldError, propose
from platform_relay.imports.rows import ImportPlan
from platform_relay.inbox.events import EventKind

_READABLE: Final = "=,/"
"""Characters that need no escape in a query."""
GUESS_LENGTH: Final = 500
"""Characters of a guess in an error."""


def plan_of(
    kind: EventKind,
    file_format: FileFormat,
    name: str,
    choices: Choices,
    as_of: datetime | None,
    *,
    confirmed: bool,
) -> ImportPlan | FieldsInvalid | ImportUndecided:
    """How to import the file `name`, or why it cannot be imported in this way."""
    try:
        with Path(name).open("rb") as file:
            proposal = propose(file, "http", file_format, kind, choices, as_of)
    except MissingFieldError as error:
        example = "currency=EUR" if error.parameter == "currency" else "map=FIELD=COLUMN"
        message = f"{error} Name it with {example}."
        return FieldsInvalid(f"There is {message}", [FieldError(error.parameter, message)])
    except ValueError as error:
        return FieldsInvalid(f"The file cannot be read: {error}.", [FieldError("body", str(error))])
    if proposal.waiting and not confirmed:
        guess = ", ".join(f"{field} from {column}" for field, column in proposal.plan.mapping.items())
        errors = [
            FieldError(
                question.parameter,
                f"{question.sentence} Answer with "
                + " or ".join(f"{question.parameter}={quote(answer, safe=_READABLE)}" for answer in question.answers),
            )
            for question in proposal.waiting
        ]
        return ImportUndecided(
            f"The file does not decide how it is to be imported. The guess is: {visible(guess[:GUESS_LENGTH])}.", errors
        )
    return proposal.plan
