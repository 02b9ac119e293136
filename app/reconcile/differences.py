"""Compares one entity of the store with what the relay received and delivered. Pure.

never_sent       it exists in the store since before the relay, and the store never sent it
lost_by_webhook  it changed after the relay began to receive events, but no event arrived
rejected         an event arrived, but its job was dead-lettered
stale            an event arrived and its job ended, but the Platform does not have this version
extra            the Platform has it, but the store does not, or no longer
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import OLDEST, JobKind
from platform_relay.reconcile.content import Content

Cause = Literal["never_sent", "lost_by_webhook", "rejected", "stale", "extra"]
CAUSES: Final[tuple[Cause, ...]] = ("never_sent", "lost_by_webhook", "rejected", "stale", "extra")
REPAIRS: Final[Mapping[Cause, str]] = {
    "never_sent": "it is read from the store and sent",
    "lost_by_webhook": "it is read from the store and sent",
    "rejected": "its job is retried; correct the entity in the store first",
    "stale": "it is read from the store and sent again",
    "extra": "it is marked and not reported again, because the Platform's API cannot delete it",
}
JOB: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: JobKind.FORWARD_CUSTOMER,
    EventKind.ORDER: JobKind.FORWARD_ORDER,
    EventKind.PRODUCT: JobKind.FORWARD_PRODUCT,
}
LANE: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: "customer:",
    EventKind.ORDER: "order:",
    EventKind.PRODUCT: "product:",
}


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """An entity as the store lists it. `version` is its time of change; None if the store does not report one. `email` is a
    customer's address; empty if the store removed it, None if it is not compared. `content` is what would be sent; None if
    it is not known."""

    id: str
    version: datetime | None
    dedupe_key: str
    email: str | None = None
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class RelaySnapshot:
    """What the relay has received and delivered of an entity.

    `version` is that of the newest event, or its time of arrival if the event has none; None if there is no event. `state`,
    `reason` and `job_id` are those of the event's job. `exists_remotely`: the relay has seen that the Platform has the
    entity. `fetching`: a job is reading it from the store. `failed_fetch`: the dead job that should have read it, after a
    later event without content. `identical`: exactly what the store lists was received. `digest` is that of what was last
    delivered; None if it is not known.
    """

    version: datetime | None = None
    received_at: datetime | None = None
    state: str | None = None
    reason: Reason | None = None
    job_id: UUID | None = None
    exists_remotely: bool = False
    fetching: bool = False
    failed_fetch: UUID | None = None
    failed_fetch_reason: Reason | None = None
    identical: bool = False
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `job_id` is the dead job, if there is one. `by_content`: only the content shows it, not the times.
    `fields`: the names of the fields that differ, if they are known."""

    kind: EventKind
    id: str
    cause: Cause
    detail: str
    version: datetime | None = None
    job_id: UUID | None = None
    by_content: bool = False
    fields: tuple[str, ...] = ()


def compare(
    kind: EventKind,
    store: StoreSnapshot,
    relay: RelaySnapshot,
    receiving_since: datetime | None,
    settled: datetime | None = None,
) -> Difference | None:
    """The difference; None if there is none, or if the entity is being delivered.

    The content decides: what would be sent is compared with what was last delivered. Times only explain a difference, because
    stores change an entity without moving its time, and move the time without changing it. `receiving_since` is the time of
    the first event of this kind. An entity of which an event arrived after `settled` is not compared by its content, because
    the list may have been read before.
    """
    same = _same_content(store, relay)
    if relay.fetching or same:
        return None
    if unsent := _unsent(store, relay, receiving_since):
        if relay.failed_fetch is not None:
            detail = f"It could not be read from the store: {_text(relay.failed_fetch_reason)}"
            return Difference(kind, store.id, "rejected", detail, store.version, relay.failed_fetch)
        return Difference(kind, store.id, *unsent, store.version)
    if relay.state == "dead":
        return Difference(kind, store.id, "rejected", _text(relay.reason), store.version, relay.job_id)
    stale = _stale(relay)  # None: delivered, being delivered, or dropped by an operator
    if stale is None and same is False and _is_settled(relay, settled):
        detail = (
            "The Platform has another content, although the relay received an event with the store's time of change."
        )
        return Difference(kind, store.id, "stale", detail, store.version, by_content=True)
    return Difference(kind, store.id, "stale", stale, store.version) if stale else None


def _same_content(store: StoreSnapshot, relay: RelaySnapshot) -> bool | None:
    """Whether the Platform has the content that would be sent; None if one of them is not known."""
    if store.content is None or relay.digest is None or not relay.exists_remotely:
        return None
    return store.content.digest == relay.digest


def _is_settled(relay: RelaySnapshot, settled: datetime | None) -> bool:
    return relay.state in ("done", "skipped", "superseded") and (
        settled is None or relay.received_at is None or relay.received_at <= settled
    )


def _stale(relay: RelaySnapshot) -> str | None:
    """Why the Platform does not have the version whose job has ended."""
    if relay.state == "superseded" and relay.reason is not None and relay.reason.code is ReasonCode.NEWER_VERSION_AHEAD:
        return relay.reason.text
    if relay.state == "skipped" and relay.reason is not None and relay.reason.code is ReasonCode.NO_BUYER:
        return None  # a sale at the till is not sent
    if relay.state in ("done", "skipped", "superseded") and not relay.exists_remotely:
        return "Its event was processed, but the relay never saw that the Platform has it."
    return None


def _text(reason: Reason | None) -> str:
    return reason.text if reason else "No reason was stored."


def _unsent(store: StoreSnapshot, relay: RelaySnapshot, receiving_since: datetime | None) -> tuple[Cause, str] | None:
    """Whether the store has a version that it did not send."""
    if relay.version is None:
        if receiving_since is not None and store.version is not None and store.version >= receiving_since:
            return "lost_by_webhook", f"It changed at {_time(store.version)}, and the store did not send it."
        return "never_sent", "The store never sent it."
    if store.version is None:
        return (
            None if relay.identical else ("lost_by_webhook", "The store has another version than the one it sent last.")
        )
    if relay.version == OLDEST:
        return _imported(store.version, relay)
    if relay.version < _as_precise(store.version, relay.version):
        newest = f"the newest version received is of {_time(relay.version)}"
        return "lost_by_webhook", f"It changed at {_time(store.version)}, but {newest}."
    return None


def _imported(version: datetime, relay: RelaySnapshot) -> tuple[Cause, str]:
    if relay.received_at is not None and version > relay.received_at:
        return "lost_by_webhook", f"It changed at {_time(version)}, after it was imported from a file."
    return "stale", "It was imported from a file without a version, so its age is not known."


def _as_precise(moment: datetime, like: datetime) -> datetime:
    """`moment` without fractions of a second, if `like` has none: some stores list them, but do not send them."""
    return moment if like.microsecond else moment.replace(microsecond=0)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
