"""What a store may be able to do besides coupons: its own webhooks in, its lists read, its webhooks set up.

Each ability is a Protocol of its own; an adapter has the ones its store allows, and `isinstance` asks for them.
All translate into the typed events of `platform_relay.inbox.messages`, with the store's own time as `updatedAt`, money
as decimals and the
store's order state as one of the Platform's eight financial states (docs/stores.md).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from platform_relay.core.outcomes import Outcome
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.messages import CustomerEvent, Kind, OrderEvent, ProductEvent


@dataclass(frozen=True, slots=True)
class NativeEvent:
    """A store's entity in our words. `dedupe_key` names this version of it, however often and from where it comes."""

    kind: Kind
    event: CustomerEvent | OrderEvent | ProductEvent
    dedupe_key: str


def native_event(shop: str, kind: Kind, event: CustomerEvent | OrderEvent | ProductEvent) -> NativeEvent:
    """The event, its version named by what it says: the same from wherever it comes, a webhook or a list."""
    digest = hashlib.sha256(event.model_dump_json(exclude_none=True).encode()).hexdigest()[:32]
    moment = event.updatedAt.isoformat() if event.updatedAt else ""
    return NativeEvent(kind, event, f"{shop}:{kind}:{event.id}:{moment}:{digest}")


@dataclass(frozen=True, slots=True)
class ToFetch:
    """The webhook names an entity only; a job fetches it (`FetchesEntities`)."""

    kind: Kind
    id: str
    dedupe_key: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Genuine (or harmless) and nothing to relay: a ping, a deletion, a trashed order. Stored and counted."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """Not the store's: no or a wrong signature. Nothing is stored; the answer is 401."""

    reason: Reason


def not_relayed(explanation: str) -> Ignored:
    """What the store sent is nothing that the Platform wants."""
    return Ignored(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))


def unreadable_webhook(destination: str, problem: str) -> Ignored:
    """Genuine, and its body cannot be read."""
    return Ignored(because(ReasonCode.ENTITY_UNREADABLE, destination=destination, entity="webhook", problem=problem))


def unreadable_entity(destination: str, kind: Kind, entity_id: str | int | None, problem: str | None = None) -> Reason:
    """A customer, an order or a product of the store cannot be read."""
    return because(
        ReasonCode.ENTITY_UNREADABLE,
        destination=destination,
        entity=kind.removesuffix("s"),
        id=None if entity_id is None else str(entity_id)[:100],
        problem=problem,
    )


def wrong_signature(setting: str | None, problem: str | None = None) -> Refused:
    """The signature does not fit the body and the secret in `setting`, or, with None, a key that the store publishes."""
    return Refused(because(ReasonCode.SIGNATURE_WRONG, setting=setting, problem=problem))


def secret_missing(setting: str) -> Reason:
    """Without a secret no webhook of the store can be verified, and none is set up."""
    return because(ReasonCode.SETTING_MISSING, setting=setting, purpose="it verifies the webhooks of the store")


Parsed = NativeEvent | ToFetch | Ignored | Refused


@runtime_checkable
class ReceivesWebhooks(Protocol):
    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        """Verify the store's signature over the raw body in constant time, then translate. `headers` have lower-case
        names. Never raises for what arrives; what cannot be read in spite of a right signature is Ignored."""


@runtime_checkable
class FetchesEntities(Protocol):
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """The entity as the store has it now; None when it is gone."""


@dataclass(frozen=True, slots=True)
class Page:
    """`next`: the cursor of the next page; None: this was the last."""

    events: tuple[NativeEvent, ...]
    next: str | None


@runtime_checkable
class ListsEntities(Protocol):
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """Entities changed since (None: all), oldest change first where the store can; `cursor` from the page before."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of the store. `enabled` false: the store switched it off."""

    id: str
    topic: str
    address: str
    enabled: bool


@runtime_checkable
class SetsUpWebhooks(Protocol):
    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        """Those of the store's webhooks that go to `address`."""

    def wanted_topics(self) -> tuple[str, ...]: ...

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        """Set one up, enabled, with the secret that `parse_event` verifies."""

    async def enable_hook(self, hook: Hook) -> Outcome: ...

    async def delete_hook(self, hook: Hook) -> Outcome: ...
