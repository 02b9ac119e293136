"""A store's webhook that only names an entity -> fetch it, and take it in as a message of its own.

Also what any native news becomes as a message: `message_of`.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

import uuid_utils.compat

from platform_relay.core.outcomes import Done, JobSpec, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import MAYBE_DELIVERED, STORE, Incoming, Kind, incoming
from platform_relay.queue.jobs import Job
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.native import FetchesEntities, Ignored, NativeEvent, ToFetch

IGNORED: Final = "ignored"
"""The kind of messages that owe nothing."""


def message_of(
    parsed: NativeEvent | ToFetch | Ignored, raw: bytes, *, source: str, message_id: str, backfill: bool = False
) -> Incoming:
    """The message that native news makes: `raw` is kept as it came, the translation beside it."""
    match parsed:
        case NativeEvent():
            typed = parsed.event.model_dump_json(exclude_none=True, by_alias=True).encode()
            return incoming(
                parsed.event,
                raw,
                message_id=message_id,
                source=source,
                dedupe_key=parsed.dedupe_key,
                event_body=typed,
                backfill=backfill,
            )
        case ToFetch():
            params = {"kind": str(parsed.kind), "id": parsed.id}
            job = JobSpec(
                "fetch_entity", STORE, f"fetch:{parsed.kind}:{parsed.id}", params, collapse=True, backfill=backfill
            )
            return Incoming(
                source,
                f"{parsed.kind}:id",
                parsed.dedupe_key,
                raw,
                (job,),
                customer_ref=parsed.id if parsed.kind is Kind.CUSTOMER else None,
                order_ref=parsed.id if parsed.kind is Kind.ORDER else None,
                product_ref=parsed.id if parsed.kind is Kind.PRODUCT else None,
                strict=False,
            )
        case Ignored():
            key = f"ignored:{hashlib.sha256(raw).hexdigest()}"
            return Incoming(source, IGNORED, key, raw, (), strict=False)


class FetchEntity:
    """`accept` is the inbox; `source` the adapter's name."""

    def __init__(
        self, store: StoreAdapter | None, source: str, accept: Callable[[Incoming, UUID], Awaitable[Receipt]]
    ) -> None:
        self._store = store
        self._source = source
        self._accept = accept

    async def __call__(self, job: Job) -> Outcome:
        store: object = self._store
        if not isinstance(store, FetchesEntities):
            problem = "this store cannot be asked for single entities"
            return Reject(because(ReasonCode.SETTING_WRONG, setting="STORE__ADAPTER", problem=problem))
        kind, entity_id = Kind(job.params["kind"]), job.params["id"]
        event = await store.fetch(kind, entity_id)
        if event is None:
            return Skip(because(ReasonCode.GONE_FROM_STORE, entity=kind.removesuffix("s"), id=entity_id))
        if not isinstance(event, NativeEvent):
            return event
        message_id = uuid_utils.compat.uuid7()
        raw = event.event.model_dump_json(exclude_none=True, by_alias=True).encode()
        again = job.params.get("again")
        message = message_of(event, raw, source=self._source, message_id=str(message_id), backfill=again is not None)
        if again:  # what is known already is wanted once more (operations.repairs)
            jobs = tuple(replace(owed, params={**owed.params, **MAYBE_DELIVERED}) for owed in message.jobs)
            message = replace(message, dedupe_key=f"{message.dedupe_key}:{again}", jobs=jobs)
        receipt = await self._accept(message, message_id)
        return Done({"message": str(receipt.id)})
