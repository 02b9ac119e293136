"""The Launcher's facts about the store, remembered for a minute so that a rush of redemptions makes one call."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from platform_relay.core.http import Failure
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.rules import PlatformRule

REMEMBERED: Final = 60.0
REMEMBERED_FAILURE: Final = 5.0


@dataclass(frozen=True, slots=True)
class ShopFacts:
    """The store's public redeem rules and its currency (ISO 4217; None when the Platform does not name it)."""

    rules: tuple[PlatformRule, ...] = ()
    currency: str | None = None


class Launcher:
    """`facts()`: what is remembered, or asked now; one question at a time. Without a store key there are none."""

    def __init__(self, client: PlatformClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._asking = asyncio.Lock()
        self._facts: ShopFacts | Failure = ShopFacts()
        self._until = float("-inf")

    async def facts(self) -> ShopFacts | Failure:
        if not self._client.has_launcher:
            return ShopFacts()
        if self._clock() >= self._until:
            async with self._asking:
                if self._clock() >= self._until:
                    self._facts = await self._ask()
                    keep = REMEMBERED if isinstance(self._facts, ShopFacts) else REMEMBERED_FAILURE
                    self._until = self._clock() + keep
        return self._facts

    def forget(self) -> None:
        """Ask again at the next look, after an operator changed a rule at the Platform."""
        self._until = float("-inf")

    async def _ask(self) -> ShopFacts | Failure:
        rules = await self._client.redeem_rules()
        if not isinstance(rules, tuple):
            return rules
        currency = await self._client.shop_currency()
        if not isinstance(currency, str | None):
            return currency
        return ShopFacts(rules, currency)
