"""Sign in with a key, sign out, and end a session that is listed on *Keys*."""

import hashlib
import hmac
import time
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from platform_relay.access.sessions import end_session, open_session
from platform_relay.api.auth_throttle import AuthThrottle
from platform_relay.api.authentication import Authenticator, Caller
from platform_relay.api.client_ip import client_ip
from platform_relay.api.root_path import outside
from platform_relay.console.pages import HOME, PageError, Pages, require_same_origin
from platform_relay.console.session import clear_session, write_session
from platform_relay.console.setup import first_page
from platform_relay.core.database import map_database_errors

ATTEMPTS_PER_ADDRESS: Final = 10
"""Wrong keys from one client IP within a minute, after which wrong keys from there are answered with 429 for a minute."""

LOGIN_BYTES: Final = 16_384
"""The size of the form: strangers can send it, so the memory for it must be small."""


def routes(pages: Pages, keys: Authenticator) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    settings = pages.services.settings
    engine, configured = pages.services.engine, settings.operator_key is not None
    throttle = AuthThrottle(ATTEMPTS_PER_ADDRESS)

    @router.get("/console/login")
    async def show_form(request: Request, next: str = HOME) -> Response:  # noqa: A002  # the name of the query parameter
        return pages.show(request, "login", next=_console_path(next), error_text=None, configured=configured)

    @router.post("/console/login")
    async def sign_in(request: Request) -> Response:
        require_same_origin(request)
        form = await pages.fields(request, LOGIN_BYTES)
        address = client_ip(request, settings.trusted_proxies)
        locked = throttle.is_locked(address, time.monotonic())
        digest = hashlib.sha256(form["key"].encode()).digest()
        caller = await find_operator(keys, digest, settings.store_key, locked=locked)
        if caller is None and locked:
            raise PageError(429, "Too many wrong keys", "Check the key. A right key can sign in at any time.")
        if caller is None:
            throttle.record_failure(address, time.monotonic())
            return pages.show(
                request,
                "login",
                401,
                next=_console_path(form["next"]),
                error_text="The key is not valid, or it does not have the scope “read”.",
                configured=configured,
            )
        path = _console_path(form["next"])
        response = RedirectResponse(outside(request, await first_page(pages) if path == HOME else path), 303)
        async with map_database_errors():
            write_session(request, response, await open_session(engine, digest, caller.name))
        return response

    @router.post("/console/logout")
    async def sign_out(request: Request) -> Response:
        """Ends the session in the database, so that a copy of its cookie is worthless."""
        visitor, _ = await pages.form(request, "read")
        async with map_database_errors():
            await end_session(engine, visitor.session.id, visitor.name)
        response = RedirectResponse(outside(request, "/console/login"), 303)
        clear_session(request, response)
        return response

    @router.post("/console/sessions/{session_id}/end")
    async def end(request: Request, session_id: UUID) -> Response:
        """Everyone may end the own session; to end others, the key needs the scope `admin`."""
        visitor, _ = await pages.form(request, "read")
        if session_id != visitor.session.id and not visitor.may("admin"):
            raise PageError(403, "Your key does not allow this", "To end the session of another key, sign in as admin.")
        async with map_database_errors():
            ended = await end_session(engine, session_id, visitor.name)
        notice = "The session has ended." if ended else "The session had already ended."
        return pages.back(request, visitor, "/console/keys", notice)

    return router


async def find_operator(
    keys: Authenticator, digest: bytes, store_key: SecretStr | None, *, locked: bool = False
) -> Caller | None:
    """The owner of a key that may sign in: its SHA-256 is `digest`. STORE_KEY may not: it is for the store's backend."""
    caller = await (keys.find_while_locked(digest) if locked else keys.find(digest))
    store = hashlib.sha256(store_key.get_secret_value().encode()).digest() if store_key else b""
    return caller if caller and "read" in caller.scopes and not hmac.compare_digest(digest, store) else None


def _console_path(path: str) -> str:
    """`path` when it is in the console, else the home page."""
    return path if path == HOME or path.startswith((f"{HOME}/", f"{HOME}?")) else HOME
