"""The cookies of a console session: its secret, and the notice for the next page.

The session itself is in the database (`access/sessions.py`), with the digest of the key that opened it. The key is looked up on
every request, so revoking it, or changing OPERATOR_KEY, ends its sessions.
"""

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.access import sessions
from platform_relay.api.client_ip import forwarded_scheme
from platform_relay.api.root_path import outside
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import DatabaseAway

COOKIE: Final = "relay_console"
NOTICE_COOKIE: Final = "relay_notice"
PATH: Final = "/console"


@dataclass(frozen=True, slots=True)
class Notice:
    """A text that the next page shows once. `failed`: it reports a failure."""

    text: str
    failed: bool = False


_NOTICE: Final = TypeAdapter(Notice)


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a request. `secret` is what its cookie holds, `key_hash` the SHA-256 of the key that opened it."""

    id: UUID
    secret: str
    key_hash: bytes
    notice: Notice | None = None

    @property
    def token(self) -> str:
        """The CSRF token, which every form sends back."""
        return hmac.digest(self.secret.encode(), b"form", "sha256").hex()


async def read_session(engine: AsyncEngine, request: Request) -> Session | None:
    """The session of the request; None when there is none, or it has ended. Raises DatabaseAway."""
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    async with read_connection(engine) as connection:
        row = await sessions.find_session(connection, secret)
    if row is None:
        return None
    if row.use_is_due:
        with suppress(DatabaseAway):
            async with map_database_errors():
                await sessions.record_use(engine, row.id)
    return Session(row.id, secret, row.key_hash, _notice_of(request, secret))


def write_session(request: Request, response: Response, secret: str) -> None:
    """Give the browser the secret of a new session."""
    _set(request, response, COOKIE, secret)


def clear_session(request: Request, response: Response) -> None:
    for name in (COOKIE, NOTICE_COOKIE):
        response.delete_cookie(
            name, path=outside(request, PATH), httponly=True, samesite="strict", secure=is_https(request)
        )


def write_notice(request: Request, response: Response, session: Session, notice: Notice) -> None:
    """Give the browser a notice, signed with the session's secret."""
    value = {"text": notice.text, "failed": notice.failed}
    _set(request, response, NOTICE_COOKIE, str(_signer(session.secret).dumps(value)))


def clear_notice(request: Request, response: Response) -> None:
    response.delete_cookie(
        NOTICE_COOKIE, path=outside(request, PATH), httponly=True, samesite="strict", secure=is_https(request)
    )


def is_https(request: Request) -> bool:
    """Whether the browser used HTTPS, by the first proxy's X-Forwarded-Proto or Forwarded. Both are trusted from any client: a
    false value affects only the cookie of the client that sent it."""
    headers = request.headers
    of_proxy = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return "https" in (request.url.scheme, of_proxy, forwarded_scheme(headers.get("forwarded", "")))


def _notice_of(request: Request, secret: str) -> Notice | None:
    try:
        return _NOTICE.validate_python(_signer(secret).loads(request.cookies.get(NOTICE_COOKIE, "")))
    except (BadData, ValidationError):
        return None


def _signer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(
        secret, salt="notice", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )


def _set(request: Request, response: Response, name: str, value: str) -> None:
    response.set_cookie(
        name, value, path=outside(request, PATH), httponly=True, samesite="strict", secure=is_https(request)
    )
