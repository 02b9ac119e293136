"""What a shop may do with the Platform's news: one more ability beside coupons, asked for by `isinstance`."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from app.outcomes import Outcome


@runtime_checkable
class TakesNews(Protocol):
    async def take_news(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """Tell the shop what the Platform said: a topic of its webhooks and their body. May come twice, with the same
        `message_id`; the newest about a customer comes last."""
