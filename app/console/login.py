"""Signing in with a key, and out again."""

import hashlib
import hmac
import time
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from platform_relay.api.auth_throttle import AuthThrottle
from platform_relay.api.authentication import Keys
from platform_relay.api.client_ip import address_of
from platform_relay.console.pages import HOME, Pages, Refused, refuse_foreign
from platform_relay.console.session import OPERATOR, Session

TRIES: Final = 10
"""Wrong keys from one address in a minute, after which nobody is let in from there for as long."""
TRIES_OF_ALL: Final = 200
"""The same, from everybody together."""


def routes(pages: Pages, keys: Keys) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    settings = pages.services.settings
    operator = settings.operator_key.get_secret_value().encode() if settings.operator_key else None
    wrong = AuthThrottle(TRIES, TRIES_OF_ALL)

    @router.get("/console/login")
    async def ask(request: Request, next: str = HOME) -> Response:  # noqa: A002  # the word in the address
        return pages.show(request, "login", next=_inside(next), wrong=None, configured=operator is not None)

    @router.post("/console/login")
    async def sign_in(request: Request) -> Response:
        refuse_foreign(request)
        form = await pages.fields(request)
        address = address_of(request, settings.trusted_proxies)
        if wrong.locked(address, time.monotonic()):
            raise Refused(429, "Too many wrong keys", "Wait a minute, then try again.")
        who = await _who(form["key"].encode())
        if who is None:
            wrong.note(address, time.monotonic())
            told = {"next": _inside(form["next"]), "configured": operator is not None}
            return pages.show(
                request, "login", 401, wrong="The relay does not know this key, or it may not read.", **told
            )
        response = RedirectResponse(_inside(form["next"]), 303)
        pages.sessions.write(request, response, Session(who))
        return response

    @router.post("/console/logout")
    async def sign_out(request: Request) -> Response:
        await pages.form(request, "read")
        response = RedirectResponse("/console/login", 303)
        pages.sessions.clear(request, response)
        return response

    async def _who(key: bytes) -> str | None:
        if operator is not None and hmac.compare_digest(key, operator):
            return OPERATOR
        digest = hashlib.sha256(key).digest()
        caller = await keys.find(digest)
        is_of_table = caller is not None and not _is_store_key(key)
        return digest.hex() if caller and is_of_table and "read" in caller.scopes else None

    def _is_store_key(key: bytes) -> bool:
        """The store's backend has no business here, and its key may be short enough to be guessed from its digest."""
        return settings.store_key is not None and hmac.compare_digest(
            key, settings.store_key.get_secret_value().encode()
        )

    return router


def _inside(path: str) -> str:
    """`path` when it is a page of ours, else the first page."""
    return path if path == HOME or path.startswith((f"{HOME}/", f"{HOME}?")) else HOME
