"""Converts errors to problem documents (RFC 9457), and sends them."""

import json
from collections.abc import Mapping
from typing import Final, cast

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from platform_relay.api.body_problems import field_error, fields_problem
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldsInvalid,
    MethodNotAllowed,
    NotFound,
    NotJson,
    Problem,
    QueryInvalid,
    SignatureRefused,
    TooManyLines,
    WebhookSecretWrong,
)
from platform_relay.core.metrics import Metrics

MEDIA_TYPE: Final = "application/problem+json"
BODY_SIZE: Final = "relay.body_size"
"""In the scope of a request: the size of its body in bytes, as far as it was read or declared."""
REFUSED: Final = (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldsInvalid,
    NotJson,
    SignatureRefused,
    TooManyLines,
    WebhookSecretWrong,
)
"""The problems that are logged and counted: a body was refused, or its sender is not the one that it should be."""
_log = structlog.get_logger("relay.http")


def respond(problem: Problem, instance: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The response for `problem`, with its own headers and `headers`."""
    text = json.dumps(problem.document(instance), ensure_ascii=False)
    content = text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes its JSON escape
    return Response(content, problem.status, {**problem.headers, **(headers or {})}, MEDIA_TYPE)


def install(app: FastAPI, metrics: Metrics) -> None:
    """Add the exception handlers: problems, and FastAPI's own errors of routing and parameters."""

    async def problem(request: Request, error: Exception) -> Response:
        if isinstance(error, REFUSED):
            _note_refused(request, cast("Problem", error), metrics)
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


def _note_refused(request: Request, problem: Problem, metrics: Metrics) -> None:
    """Log and count a refused body. A store does not show the response to its own webhook."""
    route = route_template(request.scope)
    reason = "webhook-secret-wrong" if isinstance(problem, WebhookSecretWrong) else problem.id
    metrics.refused(route, reason)
    _log.warning("body_refused", route=route, reason=reason, size=request.scope.get(BODY_SIZE))


def route_template(scope: Scope) -> str:
    """The pattern of the route. The path itself can contain a secret or a customer's id."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "(none)"


def request_problem(error: RequestValidationError) -> Problem:
    """The problem for FastAPI's own validation error of a parameter."""
    return fields_problem(QueryInvalid, [field_error(detail, skip=1) for detail in error.errors()])
