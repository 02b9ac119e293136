"""Console sessions in a signed cookie.

The cookie holds no key. A session opened with OPERATOR_KEY is marked as such; one opened with an API key holds the digest of
that key, which is looked up on every request, so revoking the key ends its sessions. Changing OPERATOR_KEY ends all
sessions.
"""

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import SecretStr, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

COOKIE: Final = "relay_console"
PATH: Final = "/console"
SECONDS: Final = 12 * 3600
"""The lifetime of a session."""
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """`key_owner` is OPERATOR, or the hex digest of an API key. The next page shows `notice` once."""

    key_owner: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """The CSRF token, which every form sends back."""
    notice: str | None = None
    failed: bool = False
    """The notice reports a failure."""


_SESSION: Final = TypeAdapter(Session)


class Sessions:
    def __init__(self, operator_key: SecretStr | None) -> None:
        """Without an operator key, sessions are valid only in the process that opened them."""
        key = operator_key.get_secret_value().encode() if operator_key else secrets.token_bytes(32)
        secret = hmac.digest(key, b"platform-relay console session", "sha256")
        self._signer = URLSafeTimedSerializer(
            secret, salt="console", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )

    def read(self, request: Request) -> Session | None:
        """The session of the request; None when there is none or it has expired."""
        try:
            return _SESSION.validate_python(self._signer.loads(request.cookies.get(COOKIE, ""), max_age=SECONDS))
        except (BadData, ValidationError):
            return None

    def write(self, request: Request, response: Response, session: Session) -> None:
        response.set_cookie(
            COOKIE,
            str(self._signer.dumps(asdict(session))),
            path=PATH,
            httponly=True,
            samesite="strict",
            secure=is_https(request),
        )

    @staticmethod
    def clear(request: Request, response: Response) -> None:
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict", secure=is_https(request))


def with_notice(session: Session, notice: str, *, failed: bool = False) -> Session:
    return replace(session, notice=notice, failed=failed)


def is_https(request: Request) -> bool:
    """X-Forwarded-Proto is trusted from any client: a false value affects only the cookie of the client that sent it."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower())
