"""What is not where it should be: one entity of the shop beside what was received and what was delivered. Pure.

never_sent       the shop has it from before the relay, and never told of it
lost_by_webhook  it changed while the relay was listening, and nothing came
rejected         it came, and was given up
stale            it came and ended, and the Platform does not have this version
extra            the Platform has it, the shop does not (any more)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from app.messages import Kind
from app.operations.importing import OLDEST

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
    none. `state` is that report's job's, `settled` the version that was delivered. `fetching`: it is being asked for.
    `same`: exactly what the shop lists was received."""

    version: datetime | None
    state: str | None
    detail: str | None
    job_id: UUID | None
    known: bool
    settled: datetime | None
    fetching: bool
    same: bool


@dataclass(frozen=True, slots=True)
class Difference:
    kind: Kind
    id: str
    cause: Cause
    detail: str
    version: datetime | None = None
    job_id: UUID | None = None


def compare(kind: Kind, shop: InShop, held: Held, listening_since: datetime | None) -> Difference | None:
    """The difference, None when all is well or under way. `listening_since`: the first report of this kind ever."""
    if held.fetching or held.state in ("waiting", "running"):
        return None
    found = _unreported(shop, held, listening_since) or _undelivered(shop, held)
    return None if found is None else Difference(kind, shop.id, *found, shop.version, held.job_id)


def _unreported(shop: InShop, held: Held, listening_since: datetime | None) -> tuple[Cause, str] | None:
    """What the shop has and did not tell."""
    if held.version is None:
        if listening_since is not None and shop.version is not None and shop.version >= listening_since:
            return "lost_by_webhook", f"it changed at {_told(shop.version)}, and the shop did not report it"
        return "never_sent", "the shop never reported it"
    if held.version == OLDEST and shop.version is not None:
        return "stale", "it came with a file that tells no version"
    behind = held.version < shop.version if shop.version is not None else not held.same
    if behind:
        known = f"the newest report is of {_told(held.version)}"
        return "lost_by_webhook", f"it changed at {_told(shop.version)}, and {known}"
    return None


def _undelivered(shop: InShop, held: Held) -> tuple[Cause, str] | None:
    """What was reported and did not get through."""
    if held.state == "dead":
        return "rejected", f"given up: {held.detail or 'no reason was kept'}"
    if held.state == "dropped":
        return None
    if not held.known:
        return "stale", "its report was dealt with, and the Platform was never seen to have it"
    if shop.version is not None and held.settled is not None and held.settled < shop.version:
        return "stale", f"the Platform has the version of {_told(held.settled)}"
    return None


def _told(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
