"""The problem of a request body that is not accepted.

The compute process (`core.compute`) runs this too. It imports no web framework: that would take seconds of the process's start.
"""

import codecs
import json
import re
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from platform_relay.core import exact_json
from platform_relay.core.errors import BodyTooLarge, FieldError, FieldsInvalid, NotJson, Problem
from platform_relay.core.field_rules import message_of
from platform_relay.inbox.events import RefusedEventError, path_of, walk

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def body_problem(error: ValueError, raw: bytes) -> Problem:
    """The problem of the body `raw`. `error` is a ValidationError, a RefusedEventError, or a parser's ValueError."""
    if isinstance(error, RefusedEventError):
        return fields_problem(FieldsInvalid, [FieldError(error.field, error.what)])
    if (not isinstance(error, ValidationError) or _is_syntax(error)) and (problem := _encoding_problem(raw)):
        return NotJson(f"The body {problem}.", [FieldError("body", problem)])
    if not isinstance(error, ValidationError):
        return NotJson("The body is not valid JSON.", [FieldError("body", "is not valid JSON")])
    details = error.errors(include_url=False, include_input=False)
    if not _is_syntax(error):
        return fields_problem(FieldsInvalid, [field_error(detail) for detail in details])
    if field := _lone_surrogate(raw):
        return fields_problem(FieldsInvalid, [FieldError(field, "contains a lone surrogate, which is not valid text")])
    reason = details[0]["msg"].removeprefix("Invalid JSON: ")
    return NotJson(f"The body is not valid JSON: {reason}.", [FieldError("body", reason)])


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {limit:,} bytes that this operation accepts.")


def fields_problem(kind: type[Problem], errors: Sequence[FieldError]) -> Problem:
    """A problem of `kind` that names the fields; the first is in its own text."""
    first = f"`{errors[0].field}` {errors[0].message}"
    more = f" (and {len(errors) - 1} more, see `errors`)" if len(errors) > 1 else ""
    return kind(f"{first}{more}.", errors)


def field_error(detail: ErrorDetails, skip: int = 0) -> FieldError:
    """The field of a validation error. The first `skip` steps of its path are not shown."""
    path = ".".join(str(step) for step in detail["loc"][skip:]) or "body"
    message = message_of(detail).removeprefix("Value error, ")
    return FieldError(path, "is missing" if detail["type"] == "missing" else message[:1].lower() + message[1:])


def without_byte_order_mark(raw: bytes) -> bytes:
    """A UTF-8 text without the byte order mark that some editors, PHP files and exports put before it."""
    start = 0
    while raw.startswith(codecs.BOM_UTF8, start):
        start += len(codecs.BOM_UTF8)
    return raw[start:] if start else raw


def _is_syntax(error: ValidationError) -> bool:
    return error.errors(include_url=False, include_context=False, include_input=False)[0]["type"] == "json_invalid"


def _encoding_problem(raw: bytes) -> str | None:
    """Why the body is not UTF-8, which JSON must be (RFC 8259, section 8.1), whatever `charset` the Content-Type has."""
    if (encoding := json.detect_encoding(raw)).startswith(("utf-16", "utf-32")):
        return f"is {encoding[:6].upper()}; send JSON as UTF-8"
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        return f"is not UTF-8: the byte 0x{raw[error.start]:02X} at position {error.start} is not valid; send JSON as UTF-8"
    return None


def _lone_surrogate(raw: bytes) -> str | None:
    """The field that contains one: Python's parser accepts them, pydantic's does not name the field."""
    try:
        document = exact_json.loads(raw)
    except ValueError:
        return None
    for place, value in walk(document):
        texts = value if isinstance(value, dict) else (value,) if isinstance(value, str) else ()
        if any(_SURROGATE.search(text) for text in texts):
            return path_of(place)
    return None
