"""Fetches an entity that a store's webhook only names, and accepts it as a message.

`store_message` makes the message of every event, webhook or list entry of a store.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

import uuid_utils.compat

from platform_relay.core.outcomes import Done, JobSpec, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import MAYBE_DELIVERED, STORE, Incoming, JobKind, incoming
from platform_relay.queue.jobs import AS_NEWEST, Job
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.native import (
    FetchesEntities,
    Ignored,
    NativeEvent,
    ParsedWebhook,
    ToFetch,
    Unverified,
)

IGNORED: Final = "ignored"
"""The kind of messages that require no job."""


def store_message(
    parsed: NativeEvent | ToFetch | Ignored, raw: bytes, *, source: str, message_id: str, backfill: bool = False
) -> Incoming:
    """The message of a parsed store event. `raw` is stored unchanged, next to the translated event."""
    match parsed:
        case NativeEvent():
            typed = parsed.event.model_dump_json(exclude_unset=True, by_alias=True).encode()
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
                JobKind.FETCH_ENTITY,
                STORE,
                f"fetch:{parsed.kind}:{parsed.id}",
                params,
                collapse=True,
                backfill=backfill,
            )
            return Incoming(
                source,
                f"{parsed.kind}:id",
                parsed.dedupe_key,
                raw,
                (job,),
                customer_ref=parsed.id if parsed.kind is EventKind.CUSTOMER else None,
                order_ref=parsed.id if parsed.kind is EventKind.ORDER else None,
                product_ref=parsed.id if parsed.kind is EventKind.PRODUCT else None,
                strict=False,
            )
        case Ignored():
            key = f"ignored:{hashlib.sha256(raw).hexdigest()}"
            return Incoming(source, IGNORED, key, raw, (), strict=False)


def webhook_message(
    parse: Callable[[], ParsedWebhook], raw: bytes, *, source: str, message_id: str
) -> Incoming | Unverified:
    """The message of a store's webhook. `parse` parses `raw`."""
    parsed = parse()
    if isinstance(parsed, Unverified):
        return parsed
    return store_message(parsed, raw, source=source, message_id=message_id)


class FetchEntity:
    """`accept` accepts a message into the inbox. `source` is the adapter's name."""

    def __init__(
        self, store: StoreAdapter | None, source: str, accept: Callable[[Incoming, UUID], Awaitable[Receipt]]
    ) -> None:
        self._store = store
        self._source = source
        self._accept = accept

    async def __call__(self, job: Job) -> Outcome:
        store: object = self._store
        if not isinstance(store, FetchesEntities):
            problem = "this store adapter cannot fetch single entities"
            return Reject(because(ReasonCode.SETTING_WRONG, setting="STORE__ADAPTER", problem=problem))
        kind, entity_id = EventKind(job.params["kind"]), job.params["id"]
        event = await store.fetch(kind, entity_id)
        if event is None:
            return Skip(because(ReasonCode.GONE_FROM_STORE, entity=kind.removesuffix("s"), id=entity_id))
        if not isinstance(event, NativeEvent):
            return event
        message_id = uuid_utils.compat.uuid7()
        raw = event.event.model_dump_json(exclude_unset=True, by_alias=True).encode()
        again = job.params.get("again")
        message = store_message(event, raw, source=self._source, message_id=str(message_id), backfill=again is not None)
        if again:  # a repair sends a known version again, which the store has now (reconcile.repairs)
            repair = {**MAYBE_DELIVERED, AS_NEWEST: "repair"}
            jobs = tuple(replace(spec, params={**spec.params, **repair}) for spec in message.jobs)
            message = replace(message, dedupe_key=f"{message.dedupe_key}:{again}", jobs=jobs)
        receipt = await self._accept(message, message_id)
        return Done({"message": str(receipt.id)})
