"""The optional abilities of an adapter: native events, from webhooks and lists, and the setup of webhooks.

Each ability is a Protocol. An adapter has the abilities that its store supports; the relay checks them with `isinstance`.
All of them translate the store's entities into the events of `platform_relay.inbox.events`: `updatedAt` is the store's own
time of change, amounts are decimals, and order states are mapped to the Platform's eight financial states (docs/stores.md).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from platform_relay.core.outcomes import Outcome
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent


@dataclass(frozen=True, slots=True)
class NativeEvent:
    """A store's entity, translated into an event. `dedupe_key` identifies this version of the entity, from any source."""

    kind: EventKind
    event: CustomerEvent | OrderEvent | ProductEvent
    dedupe_key: str


def native_event(store: str, kind: EventKind, event: CustomerEvent | OrderEvent | ProductEvent) -> NativeEvent:
    """Create the event. Its key depends on the content only, so a webhook and a list give the same key."""
    digest = hashlib.sha256(event.model_dump_json(exclude_unset=True).encode()).hexdigest()[:32]
    moment = event.updatedAt.isoformat() if event.updatedAt else ""
    return NativeEvent(kind, event, f"{store}:{kind}:{event.id}:{moment}:{digest}")


@dataclass(frozen=True, slots=True)
class ToFetch:
    """The webhook contains only the id of an entity. A job fetches the entity (`FetchesEntities`)."""

    kind: EventKind
    id: str
    dedupe_key: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """The webhook is genuine, but nothing is relayed: a ping, a deletion, an order in the trash. It is stored and counted."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Unverified:
    """The webhook could not be verified: its signature is missing or wrong. Nothing is stored; the response is 401."""

    reason: Reason


def not_relayed(explanation: str) -> Ignored:
    """Ignored because the Platform has no use for the webhook."""
    return Ignored(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))


def unreadable_webhook(destination: str, problem: str) -> Ignored:
    """Ignored because the body of the genuine webhook cannot be read."""
    return Ignored(because(ReasonCode.ENTITY_UNREADABLE, destination=destination, entity="webhook", problem=problem))


def unreadable_entity(
    destination: str, kind: EventKind, entity_id: str | int | None, problem: str | None = None
) -> Reason:
    """The reason for a customer, an order or a product of the store that cannot be read."""
    return because(
        ReasonCode.ENTITY_UNREADABLE,
        destination=destination,
        entity=kind.removesuffix("s"),
        id=None if entity_id is None else str(entity_id)[:100],
        problem=problem,
    )


def invalid_signature(setting: str | None, problem: str | None = None) -> Unverified:
    """Unverified because the signature does not fit the body. `setting` holds the secret; None: the store publishes the key."""
    return Unverified(because(ReasonCode.SIGNATURE_WRONG, setting=setting, problem=problem))


def secret_missing(setting: str) -> Reason:
    """The reason when the secret in `setting` is missing, which verifies the store's webhooks."""
    return because(ReasonCode.SETTING_MISSING, setting=setting, purpose="it verifies the store's webhooks")


ParsedWebhook = NativeEvent | ToFetch | Ignored | Unverified


@runtime_checkable
class ReceivesWebhooks(Protocol):
    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        """Verify the store's signature over the raw body in constant time, then translate the body.

        `headers` have lower-case names. Never raises. A body that cannot be read, but has a valid signature, is Ignored.
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
    async def fetch(self, kind: EventKind, entity_id: str) -> NativeEvent | Outcome | None:
        """Return the entity as the store has it now; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `next` is the cursor of the next page; None: this page is the last."""

    events: tuple[NativeEvent, ...]
    next: str | None


@runtime_checkable
class ListsEntities(Protocol):
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """Return a page of the entities that changed since `since` (None: all), the oldest change first if the store can sort.

        `cursor` is `next` of the page before; None starts at the first page.
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
