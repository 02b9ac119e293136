"""Fetches an entity that a store's webhook only names, and accepts it as a message.

`store_message` makes the message of every event, webhook or list entry of a store.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypedDict
from uuid import UUID

import uuid_utils.compat

from platform_relay.core.outcomes import Done, JobSpec, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.forwarding.unreadable import UNREADABLE, unreadable_params
from platform_relay.inbox.events import EventKind, OrderEvent
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import (
    MAYBE_DELIVERED,
    PLATFORM,
    SKIP_WITHOUT_CUSTOMER,
    STORE,
    VERSION_DIGITS,
    Incoming,
    JobKind,
    SameTime,
    entity_lane,
    incoming,
)
from platform_relay.queue.jobs import AS_NEWEST, Job
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.native import (
    FetchesEntities,
    Ignored,
    NativeEvent,
    ParsedEntity,
    ParsedWebhook,
    ToFetch,
    Unreadable,
    Unverified,
)

IGNORED: Final = "ignored"
"""The kind of messages that require no job, because they are not for the Platform."""
FORWARD: Final = {
    EventKind.CUSTOMER: JobKind.FORWARD_CUSTOMER,
    EventKind.ORDER: JobKind.FORWARD_ORDER,
    EventKind.PRODUCT: JobKind.FORWARD_PRODUCT,
}


def native_key(parsed: NativeEvent) -> tuple[str, str]:
    """The dedupe key of a native event's message, and the prefix that it shares with the entity's other versions of the
    same time."""
    event = parsed.event
    moment = event.updatedAt.isoformat() if event.updatedAt else ""
    prefix = f"{parsed.kind}:{event.id}:{moment}:"
    return prefix + hashlib.sha256(parsed.dedupe_key.encode()).hexdigest()[:VERSION_DIGITS], prefix


def store_message(
    parsed: ParsedEntity | ToFetch,
    raw: bytes,
    *,
    source: str,
    message_id: str,
    backfill: bool = False,
    fetches: bool = False,
) -> Incoming:
    """The message of a parsed store event. `raw` is stored unchanged, next to the translated event.

    What cannot be read gets a job in the lane of its entity, which ends dead with the reason (`forwarding.unreadable`).
    `fetches`: the store's adapter can fetch the entity. Then it is fetched if it contradicts another version of the same time.
    """
    match parsed:
        case NativeEvent():
            key, prefix = native_key(parsed)
            fetch = fetch_job(parsed.kind, parsed.event.id, backfill=backfill) if fetches else None
            message = incoming(
                parsed.event,
                raw,
                message_id=message_id,
                source=source,
                dedupe_key=key,
                event_body=event_json(parsed),
                backfill=backfill,
                same_time=SameTime(prefix, fetch),
            )
            without_customer = isinstance(parsed.event, OrderEvent) and message.customer_ref is None
            params = SKIP_WITHOUT_CUSTOMER if without_customer else {}
            return replace(message, reason=parsed.note, jobs=tuple(replace(job, params=params) for job in message.jobs))
        case ToFetch():
            return Incoming(
                source,
                f"{parsed.kind}:id",
                parsed.dedupe_key,
                raw,
                (fetch_job(parsed.kind, parsed.id, backfill=backfill),),
                **_reference(parsed.kind, parsed.id),
                strict=False,
                refetch=True,
            )
        case Ignored():
            about = f"{parsed.reason.code}:{parsed.kind}:{parsed.id}:".encode()
            key = f"ignored:{hashlib.sha256(about + raw).hexdigest()}"
            reference = _reference(parsed.kind, parsed.id)
            return Incoming(source, IGNORED, key, raw, (), **reference, strict=False, reason=parsed.reason)
        case Unreadable():
            return unreadable_message(parsed, raw, source=source, message_id=message_id, backfill=backfill)


def event_json(event: NativeEvent) -> bytes:
    """The event as JSON."""
    return event.event.model_dump_json(exclude_unset=True, by_alias=True).encode()


def unreadable_message(
    parsed: Unreadable, raw: bytes, *, source: str, message_id: str, backfill: bool = False
) -> Incoming:
    """The message of what cannot be read. Without an id there is no job, and each message counts: none is a duplicate."""
    if parsed.kind is None or parsed.id is None:
        return Incoming(source, UNREADABLE, f"id:{message_id}", raw, (), strict=False, reason=parsed.reason)
    lane = f"{parsed.kind.removesuffix('s')}:{parsed.id}"
    params = unreadable_params(parsed.reason)
    job = JobSpec(FORWARD[parsed.kind], PLATFORM, lane, params, backfill=backfill)
    state = hashlib.sha256(f"{parsed.version}:{params}".encode() + (b"" if parsed.version else raw))
    return Incoming(
        source,
        f"{parsed.kind}:{UNREADABLE}",
        f"{UNREADABLE}:{parsed.kind}:{parsed.id}:{state.hexdigest()[:32]}",
        raw,
        (job,),
        parsed.version,
        **_reference(parsed.kind, parsed.id),
        strict=False,
        reason=parsed.reason,
    )


class _Reference(TypedDict, total=False):
    customer_ref: str
    order_ref: str
    product_ref: str


def _reference(kind: EventKind | None, entity_id: str | None) -> _Reference:
    """The column that refers to the entity, if its id is known."""
    if entity_id is None:
        return {}
    match kind:
        case EventKind.CUSTOMER:
            return {"customer_ref": entity_id}
        case EventKind.ORDER:
            return {"order_ref": entity_id}
        case EventKind.PRODUCT:
            return {"product_ref": entity_id}
        case None:
            return {}


def fetch_job(kind: EventKind, entity_id: str, *, backfill: bool = False) -> JobSpec:
    """The job that fetches an entity from the store."""
    params = {"kind": str(kind), "id": entity_id}
    lane = f"fetch:{kind}:{entity_id}"
    return JobSpec(JobKind.FETCH_ENTITY, STORE, lane, params, collapse=True, backfill=backfill)


def webhook_message(
    parse: Callable[[], ParsedWebhook], raw: bytes, *, source: str, message_id: str, fetches: bool = False
) -> Incoming | Unverified:
    """The message of a store's webhook. `parse` parses `raw`. `fetches`: as in `store_message`."""
    parsed = parse()
    if isinstance(parsed, Unverified):
        return parsed
    return store_message(parsed, raw, source=source, message_id=message_id, fetches=fetches)


class FetchEntity:
    """`accept` accepts a message into the inbox. `watch_lane` returns the number of the newest job in a lane of the Platform.
    `source` is the adapter's name."""

    def __init__(
        self,
        store: StoreAdapter | None,
        source: str,
        accept: Callable[[Incoming, UUID], Awaitable[Receipt]],
        watch_lane: Callable[[str], Awaitable[int]],
    ) -> None:
        self._store = store
        self._source = source
        self._accept = accept
        self._watch_lane = watch_lane

    async def __call__(self, job: Job) -> Outcome:
        store: object = self._store
        if not isinstance(store, FetchesEntities):
            problem = "this store adapter cannot fetch single entities"
            return Reject(because(ReasonCode.SETTING_WRONG, setting="STORE__ADAPTER", problem=problem))
        kind, entity_id = EventKind(job.params["kind"]), job.params["id"]
        lane = entity_lane(kind, entity_id)
        before = await self._watch_lane(lane)
        event = await store.fetch(kind, entity_id)
        if event is None:
            return Skip(because(ReasonCode.GONE_FROM_STORE, entity=kind.removesuffix("s"), id=entity_id))
        if isinstance(event, Unreadable):
            return Reject(event.reason)
        if isinstance(event, Ignored):
            return Skip(event.reason)
        if not isinstance(event, NativeEvent):
            return event
        receipt = await self._accept_event(event, job.params.get("again"))
        after = before + (receipt.status == "accepted")
        # Another version arrived during the call. Only a later fetch shows which of the two is newer.
        moved = await self._watch_lane(lane) != after
        again = (JobSpec(job.kind, STORE, job.lane, dict(job.params), collapse=True),) if moved else ()
        return Done({"message": str(receipt.id)}, follow_ups=again)

    async def _accept_event(self, event: NativeEvent, again: str | None) -> Receipt:
        """`again`: the id of the reconciliation whose repair sends a known version again, which the store has now."""
        message_id = uuid_utils.compat.uuid7()
        raw = event_json(event)
        message = store_message(event, raw, source=self._source, message_id=str(message_id), backfill=again is not None)
        if again:
            repair = {**MAYBE_DELIVERED, AS_NEWEST: "repair"}
            jobs = tuple(replace(spec, params={**spec.params, **repair}) for spec in message.jobs)
            prefix = message.same_time.prefix if message.same_time else None
            key = f"{message.dedupe_key}~{again}"
            message = replace(message, dedupe_key=key, jobs=jobs, same_time=None, version_prefix=prefix)
        elif message.same_time:
            message = replace(message, same_time=replace(message.same_time, is_current=True))
        return await self._accept(message, message_id)
