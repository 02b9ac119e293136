"""Sign in with a key, and sign out."""

import hashlib
import hmac
import time
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from platform_relay.api.auth_throttle import AuthThrottle
from platform_relay.api.authentication import Authenticator
from platform_relay.api.client_ip import client_ip
from platform_relay.console.pages import HOME, PageError, Pages, require_same_origin
from platform_relay.console.session import OPERATOR, Session

ATTEMPTS_PER_ADDRESS: Final = 10
"""Wrong keys from one client IP within a minute, after which sign-in from that IP is locked for a minute."""
ATTEMPTS_IN_TOTAL: Final = 200
"""The same limit over all client IPs."""


def routes(pages: Pages, keys: Authenticator) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    settings = pages.services.settings
    operator = settings.operator_key.get_secret_value().encode() if settings.operator_key else None
    throttle = AuthThrottle(ATTEMPTS_PER_ADDRESS, ATTEMPTS_IN_TOTAL)

    @router.get("/console/login")
    async def show_form(request: Request, next: str = HOME) -> Response:  # noqa: A002  # the name of the query parameter
        return pages.show(request, "login", next=_console_path(next), error_text=None, configured=operator is not None)

    @router.post("/console/login")
    async def sign_in(request: Request) -> Response:
        require_same_origin(request)
        form = await pages.fields(request)
        address = client_ip(request, settings.trusted_proxies)
        if throttle.is_locked(address, time.monotonic()):
            raise PageError(429, "Too many wrong keys", "Wait a minute, then try again.")
        key_owner = await _identify(form["key"].encode())
        if key_owner is None:
            throttle.record_failure(address, time.monotonic())
            return pages.show(
                request,
                "login",
                401,
                next=_console_path(form["next"]),
                error_text="The key is not valid, or it does not have the scope “read”.",
                configured=operator is not None,
            )
        response = RedirectResponse(_console_path(form["next"]), 303)
        pages.sessions.write(request, response, Session(key_owner))
        return response

    @router.post("/console/logout")
    async def sign_out(request: Request) -> Response:
        await pages.form(request, "read")
        response = RedirectResponse("/console/login", 303)
        pages.sessions.clear(request, response)
        return response

    async def _identify(key: bytes) -> str | None:
        if operator is not None and hmac.compare_digest(key, operator):
            return OPERATOR
        digest = hashlib.sha256(key).digest()
        caller = await keys.find(digest)
        may_sign_in = caller is not None and "read" in caller.scopes and not _is_store_key(key)
        return digest.hex() if may_sign_in else None

    def _is_store_key(key: bytes) -> bool:
        """STORE_KEY cannot sign in: it is for the store's backend, and may be so short that its digest reveals it."""
        return settings.store_key is not None and hmac.compare_digest(
            key, settings.store_key.get_secret_value().encode()
        )

    return router


def _console_path(path: str) -> str:
    """`path` when it is in the console, else the home page."""
    return path if path == HOME or path.startswith((f"{HOME}/", f"{HOME}?")) else HOME
