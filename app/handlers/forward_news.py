"""The Platform's news (customers, tiers, earned points, referrals) -> the shop, where it takes them (STORE__NEWS)."""

import json

from pydantic import JsonValue

from app.engine.jobs import Job
from app.outcomes import Outcome, Reject, Skip
from app.reasons import ReasonCode, because
from app.stores.base import StoreAdapter
from app.stores.news import TakesNews


class ForwardNews:
    def __init__(self, store: StoreAdapter | TakesNews | None) -> None:
        self._store = store

    async def __call__(self, job: Job) -> Outcome:
        if not isinstance(self._store, TakesNews):
            explanation = "this store cannot keep a customer's tier and points (docs/shops.md, STORE__NEWS)"
            return Skip(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))
        body: JsonValue
        try:
            body = json.loads(job.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            problem = "the webhook's body is no JSON object, or was deleted after the retention time"
            return Reject(because(ReasonCode.STORED_EVENT_UNREADABLE, problem=problem))
        return await self._store.take_news(str(job.message_id), job.params.get("topic", ""), body)
