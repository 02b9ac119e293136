"""The Platform's news (customers, tiers, earned points, referrals) -> the shop, where it takes them (STORE__NEWS)."""

import json

from pydantic import JsonValue

from app.engine.jobs import Job
from app.outcomes import Outcome, Reject, Skip
from app.stores.base import StoreAdapter
from app.stores.news import TakesNews


class ForwardNews:
    def __init__(self, store: StoreAdapter | TakesNews | None) -> None:
        self._store = store

    async def __call__(self, job: Job) -> Outcome:
        if not isinstance(self._store, TakesNews):
            return Skip("this shop takes no news of the Platform; docs/shops.md says which do (STORE__NEWS)")
        body: JsonValue
        try:
            body = json.loads(job.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return Reject("the webhook's body was no JSON object, or has been pruned")
        return await self._store.take_news(str(job.message_id), job.params.get("topic", ""), body)
