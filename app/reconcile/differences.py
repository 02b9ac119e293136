"""Compares one entity of the store with what was received and what was delivered. Pure.

never_sent       the store has it from before the relay, and never sent it
lost_by_webhook  it changed after the relay began to receive events, and no event came
rejected         an event came, and its job was dead-lettered
stale            an event came and its job ended, and the Platform does not have this version
extra            the Platform has it, the store does not (any more)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from platform_relay.core.reasons import Reason
from platform_relay.imports.importer import OLDEST
from platform_relay.inbox.messages import Kind

Cause = Literal["never_sent", "lost_by_webhook", "rejected", "stale", "extra"]
CAUSES: Final[tuple[Cause, ...]] = ("never_sent", "lost_by_webhook", "rejected", "stale", "extra")
REPAIRS: Final[Mapping[Cause, str]] = {
    "never_sent": "it is read from the store and sent",
    "lost_by_webhook": "it is read from the store and sent",
    "rejected": "its job is retried; correct it in the store first",
    "stale": "it is read from the store and sent again",
    "extra": "it is noted and not shown again, because the Platform's API cannot delete",
}
JOB: Final[Mapping[Kind, str]] = {
    Kind.CUSTOMER: "forward_customer",
    Kind.ORDER: "forward_order",
    Kind.PRODUCT: "forward_product",
}
LANE: Final[Mapping[Kind, str]] = {Kind.CUSTOMER: "customer:", Kind.ORDER: "order:", Kind.PRODUCT: "product:"}


@dataclass(frozen=True, slots=True)
class InShop:
    """An entity as the store lists it. `version` is the store's time of it, None where the store has none."""

    id: str
    version: datetime | None
    dedupe_key: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What the relay holds of it. `version`: of the newest event, or its time of arrival if it has none; None: there is
    no event. `state` and `reason` are those of the event's job. `known`: the Platform was seen to have the entity.
    `fetching`: it is being read from the store. `unfetched`: the dead job that was to read it, since a later event without
    content. `same`: exactly what the store lists was received."""

    version: datetime | None = None
    received_at: datetime | None = None
    state: str | None = None
    reason: Reason | None = None
    job_id: UUID | None = None
    known: bool = False
    fetching: bool = False
    unfetched: UUID | None = None
    unfetched_reason: Reason | None = None
    same: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """`job_id` is the dead job, where there is one."""

    kind: Kind
    id: str
    cause: Cause
    detail: str
    version: datetime | None = None
    job_id: UUID | None = None


def compare(kind: Kind, shop: InShop, held: Held, listening_since: datetime | None) -> Difference | None:
    """The difference; None when there is none, or when it is being delivered. `listening_since`: the first event of this
    kind ever."""
    if held.fetching:
        return None
    if unreported := _unreported(shop, held, listening_since):
        if held.unfetched is not None:
            detail = f"It could not be read from the store: {_text(held.unfetched_reason)}"
            return Difference(kind, shop.id, "rejected", detail, shop.version, held.unfetched)
        return Difference(kind, shop.id, *unreported, shop.version)
    if held.state == "dead":
        return Difference(kind, shop.id, "rejected", _text(held.reason), shop.version, held.job_id)
    if held.state in ("done", "skipped", "superseded") and not held.known:
        detail = "Its event was handled, but the Platform was never seen to have it."
        return Difference(kind, shop.id, "stale", detail, shop.version)
    return None  # delivered, being delivered, or dropped by an operator


def _text(reason: Reason | None) -> str:
    return reason.text if reason else "No reason was stored."


def _unreported(shop: InShop, held: Held, listening_since: datetime | None) -> tuple[Cause, str] | None:
    """What the store has and did not send."""
    if held.version is None:
        if listening_since is not None and shop.version is not None and shop.version >= listening_since:
            return "lost_by_webhook", f"It changed at {_time(shop.version)}, and the store did not send it."
        return "never_sent", "The store never sent it."
    if shop.version is None:
        return None if held.same else ("lost_by_webhook", "The store has another version than the one it sent last.")
    if held.version == OLDEST:
        return _from_a_file(shop.version, held)
    if held.version < _as_precise(shop.version, held.version):
        newest = f"the newest version received is of {_time(held.version)}"
        return "lost_by_webhook", f"It changed at {_time(shop.version)}, but {newest}."
    return None


def _from_a_file(version: datetime, held: Held) -> tuple[Cause, str]:
    if held.received_at is not None and version > held.received_at:
        return "lost_by_webhook", f"It changed at {_time(version)}, after it was imported from a file."
    return "stale", "It was imported from a file without a version, so its age is not known."


def _as_precise(moment: datetime, like: datetime) -> datetime:
    """Some stores list fractions of a second that their events do not have."""
    return moment if like.microsecond else moment.replace(microsecond=0)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
