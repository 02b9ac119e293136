"""Authenticates the callers of the API by their keys, and checks the scope that an operation requires.

Two keys come from the settings (STORE_KEY, OPERATOR_KEY), any number from the table `api_key`. The relay keeps and compares only
SHA-256 digests, in constant time. A slow hash is not needed: generated keys have 256 bits of entropy. What the table contains is
cached for `CACHE_SECONDS`, so every process rejects a revoked key within that time.
"""

import asyncio
import hashlib
import hmac
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

from fastapi import Depends, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import SecretStr
from starlette.requests import Request

from platform_relay.access.api_keys import find_valid_key, record_use
from platform_relay.api.auth_throttle import AuthThrottle
from platform_relay.api.client_ip import client_ip
from platform_relay.api.dependencies import Services
from platform_relay.api.problems import KEY_NAME
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import DatabaseAway, KeyMissing, KeyRefused, ScopeMissing, TooManyWrongKeys

Scope = Literal["events", "read", "operate", "admin"]
STORE_SCOPES: Final = frozenset({"events", "read"})
ALL_SCOPES: Final = frozenset({"events", "read", "operate", "admin"})
CACHE_SECONDS: Final = 5.0
CACHED_KEYS: Final = 1024
TRIES: Final = 100
"""After so many wrong keys from one IP address within a minute, wrong keys from there are answered with 429 for a minute."""
LOOKUPS_WHILE_LOCKED: Final = 2
"""Keys from locked addresses that are looked up at the same time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `name` is for the audit and the logs; it is never the key."""

    name: str
    scopes: frozenset[str]


class Authenticator:
    """Finds the caller of a request by its `Authorization` header."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._engine = services.engine
        self._accept_work = services.work.accept
        self._configured = tuple(
            (_digest(key), caller)
            for key, caller in (
                (settings.store_key, Caller("store", STORE_SCOPES)),
                (settings.operator_key, Caller("operator", ALL_SCOPES)),
            )
            if key is not None
        )
        self._cache: dict[bytes, tuple[float, Caller | None]] = {}
        self._throttle = AuthThrottle(TRIES)
        self._lookups_while_locked = asyncio.Semaphore(LOOKUPS_WHILE_LOCKED)
        self._trusted_proxies = settings.trusted_proxies

    async def require(self, request: Request, scope: Scope) -> Caller:
        """The caller, whose key has the scope. A right key passes also from an IP address with too many wrong keys.

        Raises KeyMissing, KeyRefused, TooManyWrongKeys, ScopeMissing, and DatabaseAway when the key cannot be looked up.
        """
        digest = digest_of_header(request)
        caller = self._configured_caller(digest)
        if caller is None:
            address, now = client_ip(request, self._trusted_proxies), time.monotonic()
            if self._throttle.is_locked(address, now):
                caller = await self.find_while_locked(digest)
                if caller is None:
                    raise TooManyWrongKeys(f"This IP address sent {TRIES} wrong keys within a minute.")
            else:
                caller = await self._stored_caller(digest)
            if caller is None:
                self._throttle.record_failure(address, now)
        if caller is None:
            raise KeyRefused("The relay does not know this key, or the key was revoked or has expired.")
        request.scope[KEY_NAME] = caller.name
        if scope not in caller.scopes:
            granted = ", ".join(sorted(caller.scopes)) or "none"
            raise ScopeMissing(f"This operation requires the scope `{scope}`; the scopes of the key are: {granted}.")
        return caller

    async def find(self, digest: bytes) -> Caller | None:
        """The caller whose key has this SHA-256 digest; None when the key is unknown, revoked or expired. Raises DatabaseAway."""
        return self._configured_caller(digest) or await self._stored_caller(digest)

    async def find_while_locked(self, digest: bytes) -> Caller | None:
        """As `find`, for an IP address with too many wrong keys: its keys are looked up a few at a time, so that guessing
        leaves the database to others."""
        if (caller := self._configured_caller(digest)) is not None or self._is_cached(digest):
            return caller or await self._stored_caller(digest)
        async with self._lookups_while_locked:
            return await self._stored_caller(digest)

    def _configured_caller(self, digest: bytes) -> Caller | None:
        for configured, caller in self._configured:
            if hmac.compare_digest(configured, digest):
                return caller
        return None

    def _is_cached(self, digest: bytes) -> bool:
        cached = self._cache.get(digest)
        return cached is not None and cached[1] is not None

    async def _stored_caller(self, digest: bytes) -> Caller | None:
        now = time.monotonic()
        cached = self._cache.get(digest)
        if cached is not None and cached[0] > now:
            return cached[1]
        async with map_database_errors():
            with self._accept_work.attempt(proves=False):  # no event is accepted without this
                async with self._engine.connect() as connection:
                    row = await find_valid_key(connection, digest)
        if row is not None and row.use_is_due:
            with suppress(DatabaseAway):
                async with map_database_errors():
                    await record_use(self._engine, digest)
        caller = Caller(row.name, row.scopes) if row and hmac.compare_digest(row.hash, digest) else None
        if len(self._cache) >= CACHED_KEYS:
            self._cache.clear()
        self._cache[digest] = (now + CACHE_SECONDS, caller)
        return caller


_BEARER: Final = HTTPBearer(
    scheme_name="key", description="The API key from the relay's operator.", auto_error=False
)  # for the documentation


async def authenticate(request: Request, required: SecurityScopes, _: Annotated[object, Depends(_BEARER)]) -> Caller:
    """The caller of an operation. Raises what `Authenticator.require` raises."""
    authenticator: Authenticator = request.app.state.authenticator
    return await authenticator.require(request, cast("Scope", required.scopes[0]))


READ: Final = Security(authenticate, scopes=["read"])
"""For operations that only check the scope."""
OperateAccess = Annotated[Caller, Security(authenticate, scopes=["operate"])]
AdminAccess = Annotated[Caller, Security(authenticate, scopes=["admin"])]


def digest_of_header(request: Request) -> bytes:
    """The SHA-256 of the key in the request's `Authorization` header. Raises KeyMissing."""
    header = request.headers.get("authorization")
    if header is None:
        raise KeyMissing("The request has no Authorization header.")
    scheme, _, key = header.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise KeyMissing("The Authorization header does not have the form `Bearer <key>`.")
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _digest(key: SecretStr) -> bytes:
    return hashlib.sha256(key.get_secret_value().encode()).digest()
