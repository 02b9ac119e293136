"""Who is calling, and what they may do.

Two keys come from the settings (STORE_KEY, OPERATOR_KEY), any number from the table `api_key`. Only SHA-256 digests are
kept and compared, in constant time (they need no slow hash: a
key of ours is 256 bits of chance). What the table says is remembered for a few seconds, so a revoked key dies within
`REMEMBERED` seconds in every process.
"""

import hashlib
import hmac
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import SecretStr
from starlette.requests import Request

from platform_relay.access.api_keys import note_use
from platform_relay.api.auth_throttle import AuthThrottle
from platform_relay.api.client_ip import address_of
from platform_relay.api.dependencies import Services
from platform_relay.core.errors import DatabaseAway, KeyMissing, KeyRefused, ScopeMissing, TooManyWrongKeys
from platform_relay.jobs.queries import find_api_key, reading, when_away

Scope = Literal["events", "read", "operate", "admin"]
STORE_SCOPES: Final = frozenset({"events", "read"})
ALL_SCOPES: Final = frozenset({"events", "read", "operate", "admin"})
REMEMBERED: Final = 5.0
REMEMBERED_KEYS: Final = 1024
TRIES: Final = 100
"""Wrong keys from one address in a minute, after which unknown keys from there are not looked up for as long."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` is for the audit and the logs: never the key."""

    name: str
    scopes: frozenset[str]


class Keys:
    """Finds the caller behind a request's `Authorization` header."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._engine = services.engine
        self._configured = tuple(
            (_digest(key), caller)
            for key, caller in (
                (settings.store_key, Caller("store", STORE_SCOPES)),
                (settings.operator_key, Caller("operator", ALL_SCOPES)),
            )
            if key is not None
        )
        self._remembered: dict[bytes, tuple[float, Caller | None]] = {}
        self._wrong = AuthThrottle(TRIES)
        self._proxies = settings.trusted_proxies

    async def require(self, request: Request, scope: Scope) -> Caller:
        """The caller. Raises KeyMissing, KeyRefused, TooManyWrongKeys, ScopeMissing, or DatabaseAway when the key cannot be
        looked up. From an address that guesses, only keys that are known here already are let in."""
        digest = _presented(request)
        caller = self._at_once(digest)
        if caller is None:
            address, now = address_of(request, self._proxies), time.monotonic()
            if self._wrong.locked(address, now) and not self._is_known(digest):
                raise TooManyWrongKeys(f"{TRIES} wrong keys came from this address within a minute.")
            caller = await self._from_table(digest)
            if caller is None:
                self._wrong.note(address, now)
        if caller is None:
            raise KeyRefused("The relay does not know this key, or it was revoked or has expired.")
        if scope not in caller.scopes:
            has = ", ".join(sorted(caller.scopes)) or "none"
            raise ScopeMissing(f"This needs the scope `{scope}`; the key has: {has}.")
        return caller

    async def find(self, digest: bytes) -> Caller | None:
        """Whose key has this SHA-256 digest; None when it is unknown, revoked or expired. Raises DatabaseAway."""
        return self._at_once(digest) or await self._from_table(digest)

    def _at_once(self, digest: bytes) -> Caller | None:
        for configured, caller in self._configured:
            if hmac.compare_digest(configured, digest):
                return caller
        return None

    def _is_known(self, digest: bytes) -> bool:
        known = self._remembered.get(digest)
        return known is not None and known[1] is not None

    async def _from_table(self, digest: bytes) -> Caller | None:
        now = time.monotonic()
        known = self._remembered.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        async with reading(self._engine) as connection:
            row = await find_api_key(connection, digest)
        if row is not None and row.use_is_news:
            with suppress(DatabaseAway):
                async with when_away():
                    await note_use(self._engine, digest)
        caller = Caller(row.name, row.scopes) if row and hmac.compare_digest(row.hash, digest) else None
        if len(self._remembered) >= REMEMBERED_KEYS:
            self._remembered.clear()
        self._remembered[digest] = (now + REMEMBERED, caller)
        return caller


def _presented(request: Request) -> bytes:
    header = request.headers.get("authorization")
    if header is None:
        raise KeyMissing("The request has no Authorization header.")
    scheme, _, key = header.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise KeyMissing("The Authorization header is not of the form `Bearer <key>`.")
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _digest(key: SecretStr) -> bytes:
    return hashlib.sha256(key.get_secret_value().encode()).digest()
