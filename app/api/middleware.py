"""The outermost ASGI middleware: converts exceptions to problems, adds security headers, and measures every request.

It calls the endpoints for events itself: the layers of FastAPI and Starlette around an endpoint do nothing for them, and
would take an eighth of the time to accept an event.

While the process waits for its database, only health checks and metrics are answered.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from platform_relay.api import problems
from platform_relay.api.dependencies import Services
from platform_relay.api.raw_route import RawRoute
from platform_relay.api.root_path import enter_root_path
from platform_relay.core import tracing
from platform_relay.core.errors import DatabaseAway, FieldError, InternalError, NotFound, Problem, QueryInvalid

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
NAMES: Final = frozenset(name for name, _ in HEADERS)
WITHOUT_DATABASE: Final = frozenset({"/healthz", "/readyz", "/metrics"})
ProblemHandler = Callable[[Request, Problem], Awaitable[Response]]
_log = structlog.get_logger("relay.http")


class RequestMiddleware:
    """`direct`: endpoints for POST by their path. `on_problem` makes the response for a problem that they raise."""

    def __init__(
        self,
        app: ASGIApp,
        services: Services,
        direct: Mapping[str, RawRoute],
        on_problem: ProblemHandler,
    ) -> None:
        self._app, self._direct, self._on_problem = app, direct, on_problem
        self._services = services
        self._metrics = services.metrics
        self._root_path, self._proxies = services.settings.root_path, services.settings.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        enter_root_path(scope, self._root_path, self._proxies)
        tracing.set_caller(scope["headers"])

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.get("headers", ())
                names = {name for name, _ in headers}  # a page's own policy takes precedence
                missing = (
                    HEADERS if NAMES.isdisjoint(names) else [header for header in HEADERS if header[0] not in names]
                )
                message["headers"] = [*headers, *missing]
            try:
                await send(message)
            except RuntimeError as error:
                if "closed" not in str(error):
                    raise
                raise ClientDisconnect from error  # uvloop's error when the client has disconnected

        try:
            _refuse_nul(scope)
            if self._services.waiting_for is not None and scope["path"] not in WITHOUT_DATABASE:
                raise DatabaseAway("The relay was started and waits for its database.")
            await self._call(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            if status:
                raise  # the response has started: the server must close the connection
            await self._respond(error, scope, receive, send_with_headers)
        finally:
            self._metrics.request(
                problems.route_template(scope), scope["method"], status, time.perf_counter() - started
            )

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await route.endpoint(request)
        except Problem as problem:
            response = await self._on_problem(request, problem)
        await response(scope, receive, send)

    async def _respond(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        incident = None
        if not isinstance(error, Problem):
            incident = f"urn:uuid:{uuid7()}"
            _log.error("request failed", incident=incident, route=problems.route_template(scope), exc_info=error)
            error = InternalError("The relay has an error; its log has the details of this incident.")
        await problems.respond(error, incident)(scope, receive, send)


def _refuse_nul(scope: Scope) -> None:
    """Raises NotFound or QueryInvalid for a URL with a NUL character, which PostgreSQL can neither store nor compare."""
    if "\x00" in scope["path"]:
        raise NotFound
    if b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        raise QueryInvalid("The query contains a NUL character.", [FieldError("query", "contains a NUL character")])
