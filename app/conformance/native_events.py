"""The requirements for lists, single entities and webhooks. A case is skipped if the adapter does not have the ability."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from platform_relay.conformance.faults import UNTRUSTWORTHY
from platform_relay.conformance.sandbox import Sandbox, Skipped, Violation, describe, rejected_fields
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Skip, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import (  # fmt: skip
    CountsEntities,
    FetchesEntities,
    Ignored,
    ListsEntities,
    NativeEvent,
    Page,
    ReceivesWebhooks,
    SetsUpWebhooks,
    StoreWebhook,
    ToFetch,
    Unverified,
    listed_kinds,
)

MAX_PAGES: Final = 20
MOST_COUNTED: Final = 20
"""A list with more entities may have more than MAX_PAGES pages, and is not compared with its count."""
UNKNOWN_ID: Final = "999999999"


def _lister(sandbox: Sandbox) -> ListsEntities:
    adapter: object = sandbox.adapter
    if not isinstance(adapter, ListsEntities):
        raise Skipped("the adapter has no lists")
    return adapter


def _listed(sandbox: Sandbox) -> tuple[EventKind, ...]:
    """The kinds whose lists the adapter has not declared as missing."""
    return listed_kinds(sandbox.adapter_class)


async def missing_lists_are_declared(sandbox: Sandbox) -> None:
    """A list that the store does not have is in NO_LISTS, and the outcome is Reject with the kind.

    An empty page would mean that there are no entities.
    """
    lister = _lister(sandbox)
    for kind in EventKind:
        page = await lister.list_entities(kind, None, None)
        if kind not in _listed(sandbox):
            if not isinstance(page, Reject) or kind not in rejected_fields(page):
                raise Violation(f"the list of {kind} is in NO_LISTS, but list_entities returned {describe(page)}")
        elif isinstance(page, Reject) and page.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE:
            raise Violation(f"the list of {kind} is rejected; declare it in NO_LISTS")


async def _is_empty(lister: ListsEntities, kind: EventKind) -> bool:
    return not await _read(lister, kind)


async def _read(lister: ListsEntities, kind: EventKind, since: datetime | None = None) -> list[NativeEvent]:
    events: list[NativeEvent] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await lister.list_entities(kind, since, cursor)
        if not isinstance(page, Page):
            raise Violation(f"the list of {kind}: {describe(page)}")
        events += page.events
        cursor = page.next
        if cursor is None:
            break
    return events


async def lists_are_complete(sandbox: Sandbox) -> None:
    """A list contains every entity once, with an id, the store's time of change, and a key that is the same in every read."""
    lister = _lister(sandbox)
    for kind in _listed(sandbox):
        events, again = await _read(lister, kind), await _read(lister, kind)
        if any(event.kind is not kind or event.event.updatedAt is None or not event.event.id for event in events):
            raise Violation(f"an entity of {kind} has another kind, no id, or no time of change")
        keys = [event.dedupe_key for event in events]
        if len(set(keys)) < len(keys) or len({event.event.id for event in events}) < len(events):
            raise Violation(f"an entity of {kind} is listed twice, or two entities have the same key")
        if sorted(keys) != sorted(event.dedupe_key for event in again):
            raise Violation(f"in a second read, the entities of {kind} have other keys")
    if empty := [kind for kind in _listed(sandbox) if await _is_empty(lister, kind)]:
        raise Skipped(f"the store has no {', '.join(empty)}: add some, or declare the missing list in NO_LISTS")


async def lists_start_at_since(sandbox: Sandbox) -> None:
    """With `since`, a list contains everything that changed later, and nothing for a time in the future."""
    lister = _lister(sandbox)
    for kind in _listed(sandbox):
        if future := await _read(lister, kind, datetime.now(UTC) + timedelta(days=2)):
            raise Violation(f"{len(future)} of {kind} are listed for a time in the future")
        events = sorted(await _read(lister, kind), key=lambda event: str(event.event.updatedAt))
        if len(events) < 2:
            continue
        since = events[len(events) // 2].event.updatedAt
        expected = {
            event.dedupe_key for event in events if event.event.updatedAt and since and event.event.updatedAt > since
        }
        listed = {event.dedupe_key for event in await _read(lister, kind, since)}
        if expected - listed:
            raise Violation(f"{len(expected - listed)} of {kind} that changed later are missing")
        if extra := listed - {event.dedupe_key for event in events}:
            raise Violation(f"{len(extra)} of {kind} are missing in the list without since")


async def counts_are_those_of_the_lists(sandbox: Sandbox) -> None:
    """The number of entities, where the store has one, is the number of those in the list to its end."""
    lister = _lister(sandbox)
    counter: object = sandbox.adapter
    if not isinstance(counter, CountsEntities):
        raise Skipped("the adapter counts no entities")
    for kind in EventKind:
        before = await counter.count(kind)
        listed = len({event.event.id for event in await _read(lister, kind)})
        after = await counter.count(kind)
        for number in (before, after):
            if number is not None and not isinstance(number, int):
                raise Violation(f"the number of {kind}: {describe(number)}")
        if before is None or before != after or listed > MOST_COUNTED:
            continue
        if listed != before:
            raise Violation(f"the store has {before} {kind} by its own count, but lists {listed}")


async def a_failed_page_does_not_end_a_list(sandbox: Sandbox) -> None:
    """A page without a trustworthy response is an outcome. An empty page would end the list."""
    lister = _lister(sandbox)
    for kind in _listed(sandbox):
        await lister.list_entities(kind, None, None)
        sandbox.network.mark()
        await lister.list_entities(kind, None, None)
        for number in range(len(sandbox.network.calls_since_mark)):
            for fault in UNTRUSTWORTHY:
                async with sandbox.network.inject(fault, number):
                    page = await lister.list_entities(kind, None, None)
                if not isinstance(page, Retry | Unknown):
                    raise Violation(f"{fault} at call {number + 1} of the list of {kind}: {describe(page)}")


def _fetcher(sandbox: Sandbox) -> FetchesEntities:
    adapter: object = sandbox.adapter
    if not isinstance(adapter, FetchesEntities):
        raise Skipped("the adapter fetches no entities")
    return adapter


async def fetch_returns_the_listed_entity(sandbox: Sandbox) -> None:
    """`fetch` returns the same entity as the list, with the same key."""
    fetcher, lister = _fetcher(sandbox), _lister(sandbox)
    fetched_entities = 0
    for kind in _listed(sandbox):
        for event in (await _read(lister, kind))[:3]:
            fetched = await fetcher.fetch(kind, event.event.id)
            if not isinstance(fetched, NativeEvent):
                raise Violation(f"fetch of a listed entity of {kind}: {describe(fetched)}")
            if fetched.event != event.event:
                raise Violation(f"a fetched entity of {kind} has other values than the listed one")
            if fetched.dedupe_key != event.dedupe_key:
                raise Violation(f"a fetched entity of {kind} has another key; it would be relayed twice")
            fetched_entities += 1
    if not fetched_entities:
        raise Skipped("the store has no customers, orders and products")


async def an_unknown_entity_is_none(sandbox: Sandbox) -> None:
    """An entity that does not exist is None. A fetch without a trustworthy response is an outcome."""
    fetcher = _fetcher(sandbox)
    for kind in EventKind:
        result = await fetcher.fetch(kind, UNKNOWN_ID)
        if result is not None:
            raise Violation(f"fetch of an unknown id of {kind}: {describe(result)}")
        for fault in UNTRUSTWORTHY:
            async with sandbox.network.inject(fault):
                outcome = await fetcher.fetch(kind, UNKNOWN_ID)
            if outcome is None or isinstance(outcome, NativeEvent):
                raise Violation(f"{fault} at a fetch of {kind}: {describe(outcome)}")


def _receiver(sandbox: Sandbox) -> ReceivesWebhooks:
    adapter: object = sandbox.adapter
    if not isinstance(adapter, ReceivesWebhooks):
        raise Skipped("the store sends no webhooks")
    return adapter


async def unsigned_webhooks_are_not_accepted(sandbox: Sandbox) -> None:
    """A webhook without a signature gives no event, and no body makes `parse_event` raise."""
    receiver = _receiver(sandbox)
    for raw in (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"id": 1, "updatedAt": "2026-01-01T00:00:00Z"}',
    ):
        for headers in ({}, {"content-type": "application/json"}, {"x-signature": "ü", "webhook-signature": "v1,ü"}):
            parsed = await receiver.parse_event(headers, raw)
            if not isinstance(parsed, Unverified | Ignored):
                raise Violation(f"{raw[:40]!r} without a signature: {type(parsed).__name__}")


async def a_webhook_is_verified_and_identified(sandbox: Sandbox) -> None:
    """A genuine webhook gives its entity, the same in every call. With a changed byte, or unsigned, it is Unverified."""
    receiver = _receiver(sandbox)
    if sandbox.data.webhook is None:
        raise Skipped("needs a genuine webhook of the store (--webhook)")
    headers, raw = sandbox.data.webhook
    parsed, again = await receiver.parse_event(headers, raw), await receiver.parse_event(dict(headers), bytes(raw))
    if not isinstance(parsed, NativeEvent | ToFetch):
        raise Violation(f"the genuine webhook: {type(parsed).__name__} ({parsed.reason.text})")
    if parsed != again:
        raise Violation("the same webhook again gives another event or another key")
    if isinstance(parsed, NativeEvent) and parsed.event.updatedAt is None:
        raise Violation("the event has no version (updatedAt)")
    middle = len(raw) // 2
    changed = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
    unsigned = {name: value for name, value in headers.items() if not _is_signature(name)}
    for change, parsed in (
        ("with one changed bit in its body", await receiver.parse_event(headers, changed)),
        ("with a space after its body", await receiver.parse_event(headers, raw + b" ")),
        *[
            (f"with another {name}", await receiver.parse_event({**headers, name: _other(value)}, raw))
            for name, value in headers.items()
            if _is_signature(name)
        ],
        ("without its signature", await receiver.parse_event(unsigned, raw)),
    ):
        if not isinstance(parsed, Unverified):
            raise Violation(f"the webhook {change}: {type(parsed).__name__}")


def _is_signature(header: str) -> bool:
    return "signature" in header or "hmac" in header


def _other(signature: str) -> str:
    middle = len(signature) // 2
    return f"{signature[:middle]}{'B' if signature[middle] == 'A' else 'A'}{signature[middle + 1 :]}"


async def webhooks_are_created_and_deleted(sandbox: Sandbox) -> None:
    """A created webhook is listed and enabled. It can be switched on, and deleted, also twice."""
    store: object = sandbox.adapter
    if not isinstance(store, SetsUpWebhooks):
        raise Skipped("the adapter sets up no webhooks")
    if sandbox.data.address is None:
        raise Skipped("needs an address for webhooks (--address)")
    address, topic = sandbox.data.address, store.webhook_topics()[0]
    if _webhooks(await store.list_webhooks(address)):
        raise Skipped(f"the store already sends webhooks to {address}")
    created = await store.create_webhook(topic, address)
    if isinstance(created, StoreWebhook):
        sandbox.webhooks.append(created)
    webhooks = _webhooks(await store.list_webhooks(address))
    values = [(webhook.topic, webhook.address, webhook.enabled) for webhook in webhooks]
    if not isinstance(created, StoreWebhook) or values != [(topic, address, True)]:
        raise Violation(f"after one creation ({describe(created)}), the store has {len(webhooks)} webhooks")
    outcome = await store.enable_webhook(replace(webhooks[0], enabled=False))
    if not isinstance(outcome, Done | Skip):
        raise Violation(f"enable_webhook returned {describe(outcome)}")
    for _ in range(2):
        outcome = await store.delete_webhook(webhooks[0])
        if not isinstance(outcome, Done):
            raise Violation(f"delete_webhook returned {describe(outcome)}")
    if _webhooks(await store.list_webhooks(address)):
        raise Violation("it was deleted, but the store still has it")


def _webhooks(listed: tuple[StoreWebhook, ...] | Outcome) -> tuple[StoreWebhook, ...]:
    if not isinstance(listed, tuple):
        raise Violation(f"list_webhooks returned {describe(listed)}")
    return listed
