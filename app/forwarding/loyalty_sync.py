"""Writes loyalty data from a webhook of the Platform (customers, tiers, earned points, referrals) to the store, if its adapter
supports this (STORE__LOYALTY_SYNC)."""

from typing import cast

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.outcomes import Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.queue.jobs import Job
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.loyalty_sync import SyncsLoyalty


class SyncLoyalty:
    def __init__(self, store: StoreAdapter | SyncsLoyalty | None) -> None:
        self._store = store

    async def __call__(self, job: Job) -> Outcome:
        if not isinstance(self._store, SyncsLoyalty):
            explanation = "this store cannot keep a customer's tier and points (docs/stores.md, STORE__LOYALTY_SYNC)"
            return Skip(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))
        try:
            body = cast("JsonValue", exact_json.webhook_json(job.body))  # with Decimals instead of floats
        except ValueError:
            body = None
        if not isinstance(body, dict):
            problem = "the webhook's body is not a JSON object, or was deleted after the retention time"
            return Reject(because(ReasonCode.STORED_EVENT_UNREADABLE, problem=problem))
        return await self._store.sync_loyalty(str(job.message_id), job.params.get("topic", ""), body)
