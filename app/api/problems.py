"""Converts errors to problem documents (RFC 9457), and sends them."""

import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.core.errors import (
    FieldError,
    FieldsInvalid,
    MethodNotAllowed,
    NotFound,
    NotJson,
    Problem,
    QueryInvalid,
)
from platform_relay.inbox.events import UnstorableTextError

MEDIA_TYPE: Final = "application/problem+json"


def respond(problem: Problem, instance: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The response for `problem`, with its own headers and `headers`."""
    text = json.dumps(problem.document(instance), ensure_ascii=False)
    content = text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes its JSON escape
    return Response(content, problem.status, {**problem.headers, **(headers or {})}, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Add the exception handlers: problems, and FastAPI's own errors of routing and parameters."""

    async def problem(_: Request, error: Exception) -> Response:
        return respond(cast("Problem", error))

    async def parameters(_: Request, error: Exception) -> Response:
        return respond(request_problem(cast("RequestValidationError", error)))

    async def routing(request: Request, error: Exception) -> Response:
        http_error = cast("HTTPException", error)
        match http_error.status_code:
            case 404:
                return respond(NotFound())
            case 405:
                return respond(
                    MethodNotAllowed(f"This path does not support {request.method}."), headers=http_error.headers
                )
            case _:
                raise error  # not expected: RequestMiddleware reports an internal error

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(HTTPException, routing)


def request_problem(error: RequestValidationError) -> Problem:
    """The problem for FastAPI's own validation error of a parameter."""
    return _fields(QueryInvalid, [_field(detail, skip=1) for detail in error.errors()])


def body_problem(error: ValueError, raw: bytes) -> Problem:
    """The problem of the body `raw`. `error` is a ValidationError, an UnstorableTextError, or a parser's ValueError."""
    if isinstance(error, UnstorableTextError):
        return _fields(FieldsInvalid, [FieldError(error.field, error.what)])
    if not isinstance(error, ValidationError):
        return NotJson("The body is not valid JSON.", [FieldError("body", "is not valid JSON")])
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] != "json_invalid":
        return _fields(FieldsInvalid, [_field(detail) for detail in details])
    if field := _lone_surrogate(raw):
        return _fields(FieldsInvalid, [FieldError(field, "contains a lone surrogate, which is not valid text")])
    reason = details[0]["msg"].removeprefix("Invalid JSON: ")
    return NotJson(f"The body is not valid JSON: {reason}.", [FieldError("body", reason)])


def _fields(kind: type[Problem], errors: Sequence[FieldError]) -> Problem:
    first = f"`{errors[0].field}` {errors[0].message}"
    more = f" (and {len(errors) - 1} more, see `errors`)" if len(errors) > 1 else ""
    return kind(f"{first}{more}.", errors)


def _field(detail: ErrorDetails, skip: int = 0) -> FieldError:
    path = ".".join(str(step) for step in detail["loc"][skip:]) or "body"
    message = detail["msg"].removeprefix("Value error, ")
    return FieldError(path, "is missing" if detail["type"] == "missing" else message[:1].lower() + message[1:])


def _lone_surrogate(raw: bytes) -> str | None:
    """The field that contains one: Python's parser accepts them, pydantic's does not name the field."""
    try:
        stack: list[tuple[str, JsonValue]] = [("", json.loads(raw))]
    except (ValueError, RecursionError):
        return None
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            if any(_has_surrogate(name) for name in value):
                return path or "body"
            stack.extend((f"{path}.{name}" if path else name, member) for name, member in value.items())
        elif isinstance(value, list):
            stack.extend((f"{path}.{number}", member) for number, member in enumerate(value))
        elif isinstance(value, str) and _has_surrogate(value):
            return path or "body"
    return None


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
