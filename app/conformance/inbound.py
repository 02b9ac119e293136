"""What is promised of a store's lists, single entities and webhooks; what a store does not have is skipped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from platform_relay.conformance.faults import UNTRUSTWORTHY
from platform_relay.conformance.sandbox import Broken, Sandbox, Skipped, shown
from platform_relay.core.outcomes import Done, Outcome, Retry, Skip, Unknown
from platform_relay.inbox.messages import Kind
from platform_relay.stores.native import (  # fmt: skip
    FetchesEntities,
    Hook,
    Ignored,
    ListsEntities,
    NativeEvent,
    Page,
    ReceivesWebhooks,
    Refused,
    SetsUpWebhooks,
    ToFetch,
)

MOST_PAGES: Final = 20
UNKNOWN_ID: Final = "999999999"


def _lister(box: Sandbox) -> ListsEntities:
    adapter: object = box.adapter
    if not isinstance(adapter, ListsEntities):
        raise Skipped("the adapter has no lists")
    return adapter


async def _listed(lister: ListsEntities, kind: Kind, since: datetime | None = None) -> list[NativeEvent]:
    events: list[NativeEvent] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await lister.list_entities(kind, since, cursor)
        if not isinstance(page, Page):
            raise Broken(f"the list of {kind} was answered with {shown(page)}")
        events += page.events
        cursor = page.next
        if cursor is None:
            break
    return events


async def lists_are_whole(box: Sandbox) -> None:
    """Every entity of a list is there once, with an id, the store's time and a key that is the same each time."""
    lister = _lister(box)
    for kind in Kind:
        events, again = await _listed(lister, kind), await _listed(lister, kind)
        if any(event.kind is not kind or event.event.updatedAt is None or not event.event.id for event in events):
            raise Broken(f"an entity of {kind} is of another kind, or has no id or no time of change")
        keys = [event.dedupe_key for event in events]
        if len(set(keys)) < len(keys) or len({event.event.id for event in events}) < len(events):
            raise Broken(f"an entity of {kind} is listed twice, or two share one key")
        if sorted(keys) != sorted(event.dedupe_key for event in again):
            raise Broken(f"read again, the entities of {kind} have other keys")


async def lists_begin_at_since(box: Sandbox) -> None:
    """With `since`, a list has everything that changed later, and nothing at all for a time to come."""
    lister = _lister(box)
    for kind in Kind:
        if ahead := await _listed(lister, kind, datetime.now(UTC) + timedelta(days=2)):
            raise Broken(f"{len(ahead)} of {kind} changed in the time to come")
        events = sorted(await _listed(lister, kind), key=lambda event: str(event.event.updatedAt))
        if len(events) < 2:
            continue
        since = events[len(events) // 2].event.updatedAt
        later = {each.dedupe_key for each in events if each.event.updatedAt and since and each.event.updatedAt > since}
        shown = {event.dedupe_key for event in await _listed(lister, kind, since)}
        if later - shown:
            raise Broken(f"{len(later - shown)} of {kind} that changed later are missing")
        if surplus := shown - {event.dedupe_key for event in events}:
            raise Broken(f"{len(surplus)} of {kind} are missing in the whole list")


async def a_list_without_an_answer_is_not_the_end(box: Sandbox) -> None:
    """A page without a trustworthy answer is an outcome; an empty page would end the list."""
    lister = _lister(box)
    for kind in Kind:
        await lister.list_entities(kind, None, None)
        box.wire.mark()
        await lister.list_entities(kind, None, None)
        for number in range(len(box.wire.since)):
            for fault in UNTRUSTWORTHY:
                async with box.wire.going_wrong(fault, number):
                    page = await lister.list_entities(kind, None, None)
                if not isinstance(page, Retry | Unknown):
                    raise Broken(f"{fault} at call {number + 1} of a list of {kind} was answered with {shown(page)}")


def _fetcher(box: Sandbox) -> FetchesEntities:
    adapter: object = box.adapter
    if not isinstance(adapter, FetchesEntities):
        raise Skipped("the adapter fetches nothing")
    return adapter


async def an_entity_is_the_one_of_the_list(box: Sandbox) -> None:
    """An entity that is fetched is the one that the list shows, under the same key."""
    fetcher, lister = _fetcher(box), _lister(box)
    tried = 0
    for kind in Kind:
        for event in (await _listed(lister, kind))[:3]:
            fetched = await fetcher.fetch(kind, event.event.id)
            if not isinstance(fetched, NativeEvent):
                raise Broken(f"an entity of {kind} that the list shows was answered with {shown(fetched)}")
            if fetched.event != event.event:
                raise Broken(f"an entity of {kind} is fetched with other values than it is listed with")
            if fetched.dedupe_key != event.dedupe_key:
                raise Broken(f"an entity of {kind} is fetched under another key: it would be relayed twice")
            tried += 1
    if not tried:
        raise Skipped("the store has no customers, orders and products")


async def what_is_gone_is_none(box: Sandbox) -> None:
    """An entity that the store does not have is None, and one that it does not answer for is an outcome."""
    fetcher = _fetcher(box)
    for kind in Kind:
        gone = await fetcher.fetch(kind, UNKNOWN_ID)
        if gone is not None:
            raise Broken(f"an unknown id of {kind} was answered with {shown(gone)}")
        for fault in UNTRUSTWORTHY:
            async with box.wire.going_wrong(fault):
                outcome = await fetcher.fetch(kind, UNKNOWN_ID)
            if outcome is None or isinstance(outcome, NativeEvent):
                raise Broken(f"{fault} at a fetch of {kind} was answered with {shown(outcome)}")


def _receiver(box: Sandbox) -> ReceivesWebhooks:
    adapter: object = box.adapter
    if not isinstance(adapter, ReceivesWebhooks):
        raise Skipped("the store sends no webhooks")
    return adapter


async def no_webhook_without_a_signature(box: Sandbox) -> None:
    """What is not signed tells nothing, and no body makes `parse_event` raise."""
    receiver = _receiver(box)
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
            if not isinstance(parsed, Refused | Ignored):
                raise Broken(f"{raw[:40]!r} without a signature was taken for {type(parsed).__name__}")


async def a_webhook_is_verified_and_named(box: Sandbox) -> None:
    """A genuine webhook tells its entity, the same each time; with one byte changed, or unsigned, it is refused."""
    receiver = _receiver(box)
    if box.facts.webhook is None:
        raise Skipped("needs a genuine webhook of the store (--webhook)")
    headers, raw = box.facts.webhook
    parsed, again = await receiver.parse_event(headers, raw), await receiver.parse_event(dict(headers), bytes(raw))
    if not isinstance(parsed, NativeEvent | ToFetch):
        raise Broken(f"the genuine webhook was taken for {type(parsed).__name__} ({getattr(parsed, 'why', '')})")
    if parsed != again:
        raise Broken("the same webhook again is another event, or has another key")
    if isinstance(parsed, NativeEvent) and parsed.event.updatedAt is None:
        raise Broken("the event has no version (updatedAt)")
    at = len(raw) // 2
    forged = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    for what, parsed in (
        ("with one bit of its body changed", await receiver.parse_event(headers, forged)),
        ("with a blank behind its body", await receiver.parse_event(headers, raw + b" ")),
        *[
            (f"with another {name}", await receiver.parse_event({**headers, name: _other(value)}, raw))
            for name, value in headers.items()
            if _signs(name)
        ],
        ("without its signature", await receiver.parse_event({k: v for k, v in headers.items() if not _signs(k)}, raw)),
    ):
        if not isinstance(parsed, Refused):
            raise Broken(f"the webhook {what} was taken for {type(parsed).__name__}")


def _signs(header: str) -> bool:
    return "signature" in header or "hmac" in header


def _other(signature: str) -> str:
    at = len(signature) // 2
    return f"{signature[:at]}{'B' if signature[at] == 'A' else 'A'}{signature[at + 1 :]}"


async def webhooks_are_set_up_and_taken_down(box: Sandbox) -> None:
    """A webhook that is set up is listed and on; it is switched on, and taken down when asked, also twice."""
    store: object = box.adapter
    if not isinstance(store, SetsUpWebhooks):
        raise Skipped("the adapter sets no webhooks up")
    if box.facts.address is None:
        raise Skipped("needs an address for webhooks (--address)")
    address, topic = box.facts.address, store.wanted_topics()[0]
    before = _hooks(await store.list_hooks(address))
    if before:
        raise Skipped(f"the store sends webhooks to {address} already")
    made = await store.create_hook(topic, address)
    present = _hooks(await store.list_hooks(address))
    if not isinstance(made, Hook) or [(hook.topic, hook.address, hook.enabled) for hook in present] != [
        (topic, address, True)
    ]:
        raise Broken(f"set up once ({shown(made)}), the store has {len(present)} webhooks")
    switched = await store.enable_hook(replace(present[0], enabled=False))
    if not isinstance(switched, Done | Skip):
        raise Broken(f"switching it on was answered with {shown(switched)}")
    for _ in range(2):
        gone = await store.delete_hook(present[0])
        if not isinstance(gone, Done):
            raise Broken(f"taking it down was answered with {shown(gone)}")
    if _hooks(await store.list_hooks(address)):
        raise Broken("it was taken down, and the store still has it")


def _hooks(present: tuple[Hook, ...] | Outcome) -> tuple[Hook, ...]:
    if not isinstance(present, tuple):
        raise Broken(f"list_hooks was answered with {shown(present)}")
    return present
