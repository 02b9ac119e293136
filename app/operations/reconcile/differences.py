"""What is not where it should be: one entity of the shop beside what was received and what was delivered. Pure.

never_sent       the shop has it from before the relay, and never told of it
lost_by_webhook  it changed while the relay was listening, and nothing came
rejected         it came, or its name did, and was given up
stale            it came and ended, and the Platform does not have it as it is
extra            the Platform has it, the shop does not (any more)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from app.messages import Kind
from app.operations.imports.importing import OLDEST

Cause = Literal["never_sent", "lost_by_webhook", "rejected", "stale", "extra"]
CAUSES: Final[tuple[Cause, ...]] = ("never_sent", "lost_by_webhook", "rejected", "stale", "extra")
REPAIRS: Final[Mapping[Cause, str]] = {
    "never_sent": "it is fetched from the shop and sent",
    "lost_by_webhook": "it is fetched from the shop and sent",
    "rejected": "its job is retried; correct it in the shop first",
    "stale": "it is fetched from the shop and sent again",
    "extra": "it is noted and not told again: the Platform's API cannot delete",
}
JOB: Final[Mapping[Kind, str]] = {
    Kind.CUSTOMER: "relay_customer",
    Kind.ORDER: "relay_order",
    Kind.PRODUCT: "relay_product",
}
LANE: Final[Mapping[Kind, str]] = {Kind.CUSTOMER: "customer:", Kind.ORDER: "order:", Kind.PRODUCT: "product:"}


@dataclass(frozen=True, slots=True)
class InShop:
    """An entity as the shop lists it. `version` is the shop's time of it, None where it tells none."""

    id: str
    version: datetime | None
    dedupe_key: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What the relay holds of it. `version`: of the newest report, or when that arrived if it told none; None: there is
    none. `state` is that report's job's. `known`: the Platform was seen to have it. `fetching`: the shop is being asked
    for it; `unfetched`: the shop told its name, and the job that was to ask for it was given up after that report.
    `same`: exactly what the shop lists was received."""

    version: datetime | None = None
    received_at: datetime | None = None
    state: str | None = None
    detail: str | None = None
    job_id: UUID | None = None
    known: bool = False
    fetching: bool = False
    unfetched: UUID | None = None
    unfetched_why: str | None = None
    same: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """`job_id` is the job that was given up, where one was."""

    kind: Kind
    id: str
    cause: Cause
    detail: str
    version: datetime | None = None
    job_id: UUID | None = None


def compare(kind: Kind, shop: InShop, held: Held, listening_since: datetime | None) -> Difference | None:
    """The difference, None when all is well or under way. `listening_since`: the first report of this kind ever."""
    if held.fetching:
        return None
    if found := _unreported(shop, held, listening_since):
        if held.unfetched is not None:
            why = f"the shop named it, and could not be asked for it: {held.unfetched_why or 'no reason was kept'}"
            return Difference(kind, shop.id, "rejected", why, shop.version, held.unfetched)
        return Difference(kind, shop.id, *found, shop.version)
    if held.state == "dead":
        why = f"given up: {held.detail or 'no reason was kept'}"
        return Difference(kind, shop.id, "rejected", why, shop.version, held.job_id)
    if held.state in ("done", "skipped", "superseded") and not held.known:
        why = "its report was dealt with, and the Platform was never seen to have it"
        return Difference(kind, shop.id, "stale", why, shop.version)
    return None  # well, under way, or dropped by an operator, who said why


def _unreported(shop: InShop, held: Held, listening_since: datetime | None) -> tuple[Cause, str] | None:
    """What the shop has and did not tell."""
    if held.version is None:
        if listening_since is not None and shop.version is not None and shop.version >= listening_since:
            return "lost_by_webhook", f"it changed at {_told(shop.version)}, and the shop did not report it"
        return "never_sent", "the shop never reported it"
    if shop.version is None:
        return None if held.same else ("lost_by_webhook", "the shop shows it otherwise than it was last reported")
    if held.version == OLDEST:
        return _from_a_file(shop.version, held)
    if held.version < _as_precise(shop.version, held.version):
        known = f"the newest report is of {_told(held.version)}"
        return "lost_by_webhook", f"it changed at {_told(shop.version)}, and {known}"
    return None


def _from_a_file(version: datetime, held: Held) -> tuple[Cause, str]:
    if held.received_at is not None and version > held.received_at:
        return "lost_by_webhook", f"it changed at {_told(version)}, after it had come with a file"
    return "stale", "it came with a file that tells no version, so nobody knows how old that is"


def _as_precise(moment: datetime, like: datetime) -> datetime:
    """Some shops list fractions of a second that their reports do not tell."""
    return moment if like.microsecond else moment.replace(microsecond=0)


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
