"""What is known about the set-up. Values only; `collect` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from platform_relay.checks.check import Check
from platform_relay.core.reasons import Reason
from platform_relay.inbox.events import EventKind

RECENT_MESSAGES = 10_000
"""The time of the last message of a kind is looked for among this many of the newest messages."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether messages of a kind arrived. `last` is None if the last one is not among the newest RECENT_MESSAGES."""

    ever: bool
    last: datetime | None = None


NEVER = Seen(ever=False)


@dataclass(frozen=True, slots=True)
class InstalledWebhook:
    """A topic of the store's own webhooks. `last`: the last event of the topic's kind from the store; webhooks, polls and
    backfills are not distinguished."""

    topic: str
    state: Literal["on", "off", "missing"]
    last: Seen | None = None


@dataclass(frozen=True, slots=True)
class RuleWithoutValue:
    """An active redeem rule of the Platform whose redemptions would be held."""

    id: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class CouponTest:
    """The last test coupon. `open`: it may still be in the store. `read_back` is what the store had, field by field.

    `failure`: why it could not be created, read back or removed.
    """

    code: str
    at: datetime
    by: str
    open: bool
    read_back: Mapping[str, str] = field(default_factory=dict)
    failure: Reason | None = None

    @property
    def passed(self) -> bool:
        return not self.open and self.failure is None and bool(self.read_back)


@dataclass(frozen=True, slots=True)
class SentAlert:
    """The last test alert. `failure`: why the chat did not accept it."""

    at: datetime
    by: str
    failure: Reason | None = None


@dataclass(frozen=True, slots=True)
class StatedBackup:
    """The time of the last backup, as an operator stated it."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What the database contains. `accepted_at`: when the Platform last accepted a delivery, among the newest jobs;
    `customers`: how many customers exist at the Platform, as far as the relay knows; `from_store`: events that came by the
    store's own webhooks and lists."""

    events: Mapping[EventKind, Seen]
    topics: Mapping[str, Seen]
    accepted_at: datetime | None
    customers: int
    from_store: Mapping[EventKind, Seen] = field(default_factory=dict)
    last_alert_sent: datetime | None = None
    test_coupon: CouponTest | None = None
    test_alert: SentAlert | None = None
    backup: StatedBackup | None = None


@dataclass(frozen=True, slots=True)
class SetupFacts:
    """Everything that the checklist follows from.

    `stored` is None if the database cannot be read. `webhooks`: None if the store has none that the relay can install, or a
    Reason if they cannot be listed. `rules`: None if the Platform's rules are not known. `store_customers`: None if the
    store does not count them. `public_url`: whether PUBLIC_URL is set.
    """

    now: datetime
    database: Check
    platform: Check
    store: Check
    webhook_secret: Check
    verification: Check
    stored: StoredFacts | None
    public_url: bool = False
    webhooks: tuple[InstalledWebhook, ...] | Reason | None = None
    active_rules: int | None = None
    rules: tuple[RuleWithoutValue, ...] | None = None
    store_customers: int | None = None
    alert_address: bool = False
