"""The optional abilities of an adapter: native events, from webhooks and lists, and the setup of webhooks.

Each ability is a Protocol. An adapter has the abilities that its store supports; the relay checks them with `isinstance`.
All of them translate the store's entities into the events of `platform_relay.inbox.events`: `updatedAt` is the store's own
time of change, amounts are decimals, and order states are mapped to the Platform's eight financial states (docs/stores.md).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self, runtime_checkable

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome, Reject
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent


@dataclass(frozen=True, slots=True)
class NativeEvent:
    """A store's entity, translated into an event. `dedupe_key` identifies this version of the entity, from any source.

    `note`: which fields were left out or cut (`FIELDS_LEFT_OUT`); None if the event is complete.
    """

    kind: EventKind
    event: CustomerEvent | OrderEvent | ProductEvent
    dedupe_key: str
    note: Reason | None = None


def native_event(
    store: str, kind: EventKind, event: CustomerEvent | OrderEvent | ProductEvent, note: Reason | None = None
) -> NativeEvent:
    """Create the event. Its key depends on the content only, so a webhook and a list give the same key."""
    digest = hashlib.sha256(event.model_dump_json(exclude_unset=True).encode()).hexdigest()[:32]
    moment = event.updatedAt.isoformat() if event.updatedAt else ""
    return NativeEvent(kind, event, f"{store}:{kind}:{event.id}:{moment}:{digest}", note)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What the store sends cannot be translated. With an `id`, it becomes a dead job of this entity.

    Without one, because the body of a genuine webhook is an error or no entity, the message is stored, and an alert is
    raised. `version` is the entity's time of change, if it is known. `raw` is the entity as JSON, as a list contains it.
    """

    reason: Reason
    kind: EventKind | None = None
    id: str | None = None
    version: datetime | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class ToFetch:
    """The webhook contains only the id of an entity. A job fetches the entity (`FetchesEntities`)."""

    kind: EventKind
    id: str
    dedupe_key: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing is relayed: a ping, a deletion, an order in the trash, a guest. A webhook is stored with its reason, and with the
    `id` of the entity that it concerns."""

    reason: Reason
    kind: EventKind | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Unverified:
    """The webhook could not be verified: its signature is missing or wrong. Nothing is stored; the response is 401."""

    reason: Reason


def not_relayed(explanation: str, kind: EventKind | None = None, entity_id: JsonValue = None) -> Ignored:
    """Ignored because the Platform has no use for it. `entity_id`: of the entity of this `kind`, if it is known."""
    known = isinstance(entity_id, str | int) and not isinstance(entity_id, bool)
    reference = str(entity_id)[:255] if known and entity_id not in ("", 0) else None
    return Ignored(because(ReasonCode.NOT_APPLICABLE, explanation=explanation), kind if reference else None, reference)


def unreadable_webhook(destination: str, problem: str) -> Unreadable:
    """The body of a genuine webhook cannot be read."""
    return Unreadable(because(ReasonCode.STORE_WEBHOOKS_UNREADABLE, destination=destination, problem=problem))


def unreadable_entity(
    destination: str,
    kind: EventKind,
    entity_id: str | int | None,
    problem: str | None = None,
    field: str | None = None,
) -> Reason:
    """The reason for a customer, an order or a product of the store that cannot be read. `field` is the event's field."""
    return because(
        ReasonCode.ENTITY_UNREADABLE,
        destination=destination,
        entity=kind.removesuffix("s"),
        id=None if entity_id is None else str(entity_id)[:100],
        field=field,
        problem=problem,
    )


def invalid_signature(setting: str | None, problem: str | None = None) -> Unverified:
    """Unverified because the signature does not fit the body. `setting` holds the secret; None: the store publishes the key."""
    return Unverified(because(ReasonCode.SIGNATURE_WRONG, setting=setting, problem=problem))


def secret_missing(setting: str) -> Reason:
    """The reason when the secret in `setting` is missing, which verifies the store's webhooks."""
    return because(ReasonCode.SETTING_MISSING, setting=setting, purpose="it verifies the store's webhooks")


ParsedEntity = NativeEvent | Unreadable | Ignored
"""The translation of one entity."""
ParsedWebhook = ParsedEntity | ToFetch | Unverified


@runtime_checkable
class ReceivesWebhooks(Protocol):
    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        """Verify the store's signature over the raw body in constant time, then translate the body.

        `headers` have lower-case names. Never raises. A body that cannot be read, but has a valid signature, is Unreadable.
        """


@runtime_checkable
class ParsesLargeWebhooks(Protocol):
    """Also needed to receive webhooks that are larger than BODY_LIMIT: they are parsed in another process."""

    async def webhook_parser(self, headers: Mapping[str, str], raw: bytes) -> Callable[[], ParsedWebhook] | Unverified:
        """Return what `parse_event` does, as a function without I/O that can be pickled: a `functools.partial` of a
        module's function. It may be Unverified at once."""


async def parse_with(store: ParsesLargeWebhooks, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
    """`parse_event` of a store that has a `webhook_parser`."""
    parser = await store.webhook_parser(headers, raw)
    return parser if isinstance(parser, Unverified) else parser()


@runtime_checkable
class FetchesEntities(Protocol):
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """Return the entity as the store has it now; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `next` is the cursor of the next page; None: this page is the last.

    `unreadable` are the entities of the page that cannot be translated. Each becomes a dead job, and is counted.
    """

    events: tuple[NativeEvent, ...]
    next: str | None
    unreadable: tuple[Unreadable, ...] = ()

    @classmethod
    def of(cls, entities: Iterable[ParsedEntity], next_cursor: str | None) -> Self:
        """The page of these entities, without those that are Ignored."""
        parsed = tuple(entities)
        return cls(
            tuple(entity for entity in parsed if isinstance(entity, NativeEvent)),
            next_cursor,
            tuple(entity for entity in parsed if isinstance(entity, Unreadable)),
        )


def listed_kinds(adapter: object) -> tuple[EventKind, ...]:
    """The kinds whose lists an adapter, or its class, has. `NO_LISTS` declares those that the store does not have."""
    missing: Mapping[EventKind, str] = getattr(adapter, "NO_LISTS", {})
    return tuple(kind for kind in EventKind if kind not in missing)


def no_list(destination: str, kind: EventKind, problem: str) -> Reject:
    """What `list_entities` returns for a kind in `NO_LISTS`. `problem` is the clause of NO_LISTS."""
    return Reject(because(ReasonCode.NOT_SUPPORTED_BY_STORE, destination=destination, field=str(kind), problem=problem))


@runtime_checkable
class ListsEntities(Protocol):
    """The optional class member `NO_LISTS` maps each kind whose list the store does not have to the reason, as a clause."""

    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """Return a page of the entities that changed since `since` (None: all), in any order that changes cannot disturb.

        `cursor` is `next` of the page before; None starts at the first page. Every entity that exists from the first page to
        the last one is listed at least once, whatever is edited, created or deleted between the pages (`paging`). A page may
        be empty.
        """


@runtime_checkable
class CountsEntities(Protocol):
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | Outcome | None:
        """Return how many entities `list_entities(kind, since, None)` lists to its end, as the store counts them now.

        None if the store cannot count exactly those, for example because it counts guests that are never listed.
        """


@dataclass(frozen=True, slots=True)
class StoreWebhook:
    """One webhook that is set up in the store. `enabled` is false if the store has switched it off."""

    id: str
    topic: str
    address: str
    enabled: bool


@runtime_checkable
class SetsUpWebhooks(Protocol):
    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...] | Outcome:
        """Return the store's webhooks that go to `address`."""

    def webhook_topics(self) -> tuple[str, ...]:
        """The topics that the relay needs."""

    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
        """Create an enabled webhook, signed with the secret that `parse_event` verifies."""

    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        """Switch on a webhook that the store has switched off."""

    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        """Delete a webhook. Done also if it no longer exists."""
