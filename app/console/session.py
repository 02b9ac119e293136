"""Who is signed in: a signed cookie that only this console reads.

It holds no key. A session by OPERATOR_KEY says only that; one by a key of the table names the key's digest, which is
looked up again at every request, so that a revoked key's sessions end with it. Changing OPERATOR_KEY ends all.
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
"""How long one stays signed in."""
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """`who` is OPERATOR, or the hex digest of a key of the table. `said` is told on the next page, once."""

    who: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """What every form has to bring back."""
    said: str | None = None
    failed: bool = False
    """`said` tells of something that did not work."""


_SESSION: Final = TypeAdapter(Session)


class Sessions:
    def __init__(self, operator_key: SecretStr | None) -> None:
        """Without an operator's key the sessions of this process are valid in this process only."""
        key = operator_key.get_secret_value().encode() if operator_key else secrets.token_bytes(32)
        secret = hmac.digest(key, b"platform-relay console session", "sha256")
        self._signer = URLSafeTimedSerializer(
            secret, salt="console", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )

    def read(self, request: Request) -> Session | None:
        """None when nobody is signed in, or was too long ago."""
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


def saying(session: Session, said: str, *, failed: bool = False) -> Session:
    return replace(session, said=said, failed=failed)


def is_https(request: Request) -> bool:
    """A proxy's word is believed from anybody: who lies about it only hides his own cookie from himself."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower())
