"""Converts errors to problem documents (RFC 9457), and sends them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Final, cast

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from platform_relay.access.body_shapes import LARGEST_BODY
from platform_relay.access.refused_requests import MOST_FIELDS, STATUSES, Refused, RefusedRequests
from platform_relay.alerts.refused_webhooks import RefusedWebhooks
from platform_relay.api.body_problems import field_error, fields_problem
from platform_relay.api.near_paths import KnownPaths, without_extra_slashes
from platform_relay.api.root_path import outside, root_path_of
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
BODY: Final = "relay.body"
"""In the scope of a request: its body, if it was read completely."""
KEY_NAME: Final = "relay.key_name"
"""In the scope of a request: the name of the caller's key, if the caller was authenticated."""
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


def install(
    app: FastAPI, metrics: Metrics, refused_webhooks: RefusedWebhooks, refused_requests: RefusedRequests | None
) -> None:
    """Add the exception handlers: problems, and FastAPI's own errors of routing and parameters."""

    @cache
    def known_paths() -> KnownPaths:
        return KnownPaths(
            (route.path_format, route.methods or ()) for route in app.routes if isinstance(route, APIRoute)
        )

    async def problem(request: Request, error: Exception) -> Response:
        if isinstance(error, REFUSED):
            await _note_refused(request, cast("Problem", error), metrics, refused_webhooks)
        _keep_refused(request, cast("Problem", error), refused_requests)
        return respond(cast("Problem", error))

    async def parameters(request: Request, error: Exception) -> Response:
        refused = request_problem(cast("RequestValidationError", error))
        _keep_refused(request, refused, refused_requests)
        return respond(refused)

    async def routing(request: Request, error: Exception) -> Response:
        http_error = cast("HTTPException", error)
        advice = known_paths().advice(request.scope["path"], request.method, root_path_of(request))
        match http_error.status_code:
            case 404 if (page := _console_page(request)) is not None:
                return RedirectResponse(page, 308)
            case 404:
                return respond(NotFound(f"No operation has this path. {advice}" if advice else None))
            case 405:
                allowed = (http_error.headers or {}).get("Allow", "")
                detail = f"This path does not support {request.method[:20]}" + (
                    f", only {allowed}." if allowed else "."
                )
                return respond(MethodNotAllowed(f"{detail} {advice}".strip()), headers=http_error.headers)
            case _:
                raise error  # not expected: RequestMiddleware reports an internal error

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(HTTPException, routing)


def _console_page(request: Request) -> str | None:
    """The right address of a page of the console, for an operator who typed a slash at its end. Nothing else is redirected."""
    path = without_extra_slashes(request.scope["path"])
    if request.method != "GET" or path == request.scope["path"] or not f"{path}/".startswith("/console/"):
        return None
    return outside(request, path) + (f"?{request.url.query}" if request.url.query else "")


async def _note_refused(
    request: Request, problem: Problem, metrics: Metrics, refused_webhooks: RefusedWebhooks
) -> None:
    """Log and count a refused body, and raise an alert if it is a webhook."""
    route = route_template(request.scope)
    reason = "webhook-secret-wrong" if isinstance(problem, WebhookSecretWrong) else problem.id
    metrics.refused(route, reason)
    size = request.scope.get(BODY_SIZE)
    _log.warning("body_refused", route=route, reason=reason, size=size)
    await refused_webhooks(request.scope["path"], request.headers.keys(), problem, size)


def _keep_refused(request: Request, problem: Problem, refused_requests: RefusedRequests | None) -> None:
    """Keep a refused request for the integrator. A resource that does not exist is no mistake of a request."""
    if refused_requests is None or problem.status not in STATUSES:
        return
    if isinstance(problem, NotFound) and not isinstance(problem, WebhookSecretWrong):
        return
    scope = request.scope
    key_name, body = scope.get(KEY_NAME), scope.get(BODY)
    refused_requests.note(
        Refused(
            datetime.now(UTC),
            key_name,
            request.method,
            route_template(scope),
            problem.status,
            "webhook-secret-wrong" if isinstance(problem, WebhookSecretWrong) else problem.id,
            tuple(error.field for error in problem.errors[:MOST_FIELDS]),
            scope.get(BODY_SIZE),
            body if key_name is not None and body is not None and len(body) <= LARGEST_BODY else None,
        )
    )


def route_template(scope: Scope) -> str:
    """The pattern of the route. The path itself can contain a secret or a customer's id."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "(none)"


def request_problem(error: RequestValidationError) -> Problem:
    """The problem for FastAPI's own validation error of a parameter."""
    return fields_problem(QueryInvalid, [field_error(detail, skip=1) for detail in error.errors()])
