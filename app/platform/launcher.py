"""The Launcher's facts about the store, cached for a minute so that many redemptions at once make one call."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from platform_relay.core.http import Failure
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.rules import PlatformRule

CACHED: Final = 60.0
FAILURE_CACHED: Final = 5.0
"""Seconds for which facts and failures are kept."""


@dataclass(frozen=True, slots=True)
class LauncherFacts:
    """The store's public redeem rules and its currency (ISO 4217; None when the Platform does not name it)."""

    rules: tuple[PlatformRule, ...] = ()
    currency: str | None = None


class LauncherCache:
    """Caches the facts, with one request at a time. Without a shop key there are no facts."""

    def __init__(self, client: PlatformClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._facts: LauncherFacts | Failure = LauncherFacts()
        self._until = float("-inf")

    async def facts(self) -> LauncherFacts | Failure:
        if not self._client.has_launcher:
            return LauncherFacts()
        if self._clock() >= self._until:
            async with self._lock:
                if self._clock() >= self._until:
                    self._facts = await self._request()
                    kept = CACHED if isinstance(self._facts, LauncherFacts) else FAILURE_CACHED
                    self._until = self._clock() + kept
        return self._facts

    async def _request(self) -> LauncherFacts | Failure:
        rules = await self._client.redeem_rules()
        if not isinstance(rules, tuple):
            return rules
        currency = await self._client.store_currency()
        if not isinstance(currency, str | None):
            return currency
        return LauncherFacts(rules, currency)
