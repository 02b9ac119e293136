"""Problem documents on the wire, and how every error becomes one."""

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
from platform_relay.inbox.messages import UnstorableTextError

MEDIA_TYPE: Final = "application/problem+json"


def respond(problem: Problem, instance: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `problem`; `headers` are added to the problem's own."""
    told = json.dumps(problem.document(instance), ensure_ascii=False)
    content = told.encode("utf-8", "backslashreplace")  # a half of a surrogate pair becomes its JSON escape
    return Response(content, problem.status, {**problem.headers, **(headers or {})}, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let `app` answer its own refusals (routing, parameters) as problems too."""

    async def told(_: Request, error: Exception) -> Response:
        return respond(cast("Problem", error))

    async def parameters(_: Request, error: Exception) -> Response:
        return respond(of_request_validation(cast("RequestValidationError", error)))

    async def routing(request: Request, error: Exception) -> Response:
        refusal = cast("HTTPException", error)
        match refusal.status_code:
            case 404:
                return respond(NotFound())
            case 405:
                return respond(MethodNotAllowed(f"{request.method} is not possible here."), headers=refusal.headers)
            case _:
                raise error  # nothing of ours raises it: the guard makes an incident of it

    app.add_exception_handler(Problem, told)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(HTTPException, routing)


def of_request_validation(error: RequestValidationError) -> Problem:
    """FastAPI's own complaint about a path, query or body parameter."""
    details = error.errors()
    if any(detail["type"] == "json_invalid" for detail in details):
        return NotJson("The body is not valid JSON.", [FieldError("body", "is not valid JSON")])
    if any(detail["loc"][:1] == ("body",) for detail in details):
        return _fields(FieldsInvalid, [_field(detail, skip=1) for detail in details])
    return _fields(QueryInvalid, [_field(detail, skip=1) for detail in details])


def of_body(error: ValueError, raw: bytes) -> Problem:
    """Why `raw` is not an event: `error` is pydantic's ValidationError, UnstorableTextError, or a parser's ValueError."""
    if isinstance(error, UnstorableTextError):
        return _fields(FieldsInvalid, [FieldError(error.field, error.what)])
    if not isinstance(error, ValidationError):
        return NotJson("The body is not valid JSON.", [FieldError("body", "is not valid JSON")])
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] != "json_invalid":
        return _fields(FieldsInvalid, [_field(detail) for detail in details])
    if field := _lone_surrogate(raw):
        return _fields(FieldsInvalid, [FieldError(field, "holds half of a surrogate pair, which is not text")])
    where = details[0]["msg"].removeprefix("Invalid JSON: ")
    return NotJson(f"The body is not valid JSON: {where}.", [FieldError("body", where)])


def _fields(kind: type[Problem], errors: Sequence[FieldError]) -> Problem:
    first = f"`{errors[0].field}` {errors[0].message}"
    more = f" (and {len(errors) - 1} more, see `errors`)" if len(errors) > 1 else ""
    return kind(f"{first}{more}.", errors)


def _field(detail: ErrorDetails, skip: int = 0) -> FieldError:
    path = ".".join(str(step) for step in detail["loc"][skip:]) or "body"
    message = detail["msg"].removeprefix("Value error, ")
    return FieldError(path, "is missing" if detail["type"] == "missing" else message[:1].lower() + message[1:])


def _lone_surrogate(raw: bytes) -> str | None:
    """The field that holds one: Python's parser lets them through, pydantic's names no field."""
    try:
        stack: list[tuple[str, JsonValue]] = [("", json.loads(raw))]
    except (ValueError, RecursionError):
        return None
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            if any(_is_broken(name) for name in value):
                return path or "body"
            stack.extend((f"{path}.{name}" if path else name, member) for name, member in value.items())
        elif isinstance(value, list):
            stack.extend((f"{path}.{number}", member) for number, member in enumerate(value))
        elif isinstance(value, str) and _is_broken(value):
            return path or "body"
    return None


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
