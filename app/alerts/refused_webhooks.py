"""Raises an alert when the relay refuses a webhook that its sender probably meant: a store does not show the answer.

Anyone can send requests to these endpoints. A request that does not even look like a webhook, because it has no signature or no
topic, is only logged and counted (`relay_bodies_refused`).
"""

import time
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.errors import Problem
from platform_relay.core.reasons import ReasonCode, because

INTERVAL: Final = 60.0
"""Seconds between two alerts of one source. Every webhook of a store whose secret was changed is refused."""
MARKS: Final = ("signature", "hmac", "topic", "webhook")
"""Parts of the names of headers that stores and the Platform send. WooCommerce 9.0.0 sent a topic and an empty signature."""


def looks_like_a_webhook(headers: Collection[str]) -> bool:
    """Whether the lower-case names of a request's headers include a signature of a store, or a topic of the Platform."""
    return any(mark in name for name in headers for mark in MARKS)


class RefusedWebhooks:
    """Called with each refused body. The subject of the alert is the source: the store's adapter, or `platform`."""

    def __init__(self, engine: AsyncEngine, sources: Mapping[str, str]) -> None:
        """`sources`: the source of each webhook path that is in use, without what is secret in it."""
        self._alerts = Alerts(engine)
        self._sources = sources
        self._raised_at: dict[str, float] = {}

    async def __call__(self, path: str, headers: Collection[str], problem: Problem, size: int | None) -> None:
        """`size`: bytes of the body, as far as it is known."""
        source = next((name for prefix, name in self._sources.items() if path.startswith(prefix)), None)
        now = time.monotonic()
        if source is None or not looks_like_a_webhook(headers):
            return
        if now - self._raised_at.get(source, -INTERVAL) < INTERVAL:
            return
        self._raised_at[source] = now
        reason = because(
            ReasonCode.WEBHOOKS_NOT_ACCEPTED,
            source=source,
            error=problem.id,
            problem=problem.detail[:300].removesuffix("."),
            size=size,
        )
        await self._alerts.raise_if_possible(reason, source)
