"""The outermost layer, plain ASGI: no exception escapes, every answer has its headers, every request is measured."""

import time
from typing import Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from platform_relay.api import problems
from platform_relay.core import tracing
from platform_relay.core.errors import FieldError, InternalError, NotFound, Problem, QueryInvalid
from platform_relay.core.telemetry import Metrics

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_log = structlog.get_logger("relay.http")


class Guard:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        tracing.caller(scope["headers"])

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message.get("headers", ()))
                named = {name for name, _ in own}  # a page's own policy goes first
                message["headers"] = own + [header for header in HEADERS if header[0] not in named]
            try:
                await send(message)
            except RuntimeError as error:
                if "closed" not in str(error):
                    raise
                raise ClientDisconnect from error  # uvloop's word for a caller that went away

        try:
            _refuse_nul(scope)
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            if status:
                raise  # half an answer is out: the server must cut the connection
            await self._tell(error, scope, receive, answer)
        finally:
            self._metrics.request(template(scope), scope["method"], status, time.perf_counter() - started)

    async def _tell(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        incident = None
        if not isinstance(error, Problem):
            incident = f"urn:uuid:{uuid7()}"
            _log.error("request failed", incident=incident, route=template(scope), exc_info=error)
            error = InternalError("Something went wrong inside the relay; the incident is written in its log.")
        await problems.respond(error, incident)(scope, receive, send)


def _refuse_nul(scope: Scope) -> None:
    """Raises NotFound or QueryInvalid for an address with a NUL, which Postgres can neither store nor compare."""
    if "\x00" in scope["path"]:
        raise NotFound
    if b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        raise QueryInvalid("The address holds a NUL character.", [FieldError("query", "holds a NUL character")])


def template(scope: Scope) -> str:
    """The route's pattern, never the address itself, which may hold a secret or a customer's id."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "(none)"
