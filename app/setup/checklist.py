"""The checklist of the set-up, from facts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from platform_relay.checks.check import Check
from platform_relay.core.reasons import Reason
from platform_relay.inbox.events import EventKind
from platform_relay.platform.webhooks import POINTS_REDEEMED, REFERRALS, TIER_REWARD
from platform_relay.setup.facts import RECENT_MESSAGES, InstalledWebhook, Seen, SetupFacts, StoredFacts

State = Literal["ok", "missing", "attention", "unknown"]
"""`missing`: the relay does not work without it. `attention`: something should be done. `unknown`: it cannot be known now, or
is needed only by some stores."""
TOPICS: Final[dict[str, str]] = {
    POINTS_REDEEMED: "",
    TIER_REWARD: "tier entry rewards",
    REFERRALS[0]: "referrals",
    REFERRALS[1]: "referrals",
}
"""The Platform's topics that contain coupons, and the feature without which the topic is not needed."""
BACKUP_IS_OLD: Final = timedelta(days=8)
"""A base backup is made every week (docs/operations.md)."""
WRITE_ADDRESS: Final = "/v1/webhooks/platform/<webhook secret>"
_STATES: Final[dict[bool | None, State]] = {True: "ok", False: "missing", None: "attention"}


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One line of the checklist. `id` is stable; `last_seen` is when what it is about last happened."""

    id: str
    title: str
    state: State
    text: str
    next_step: str = ""
    last_seen: datetime | None = None


def checklist(facts: SetupFacts) -> tuple[ChecklistItem, ...]:
    """The whole checklist, in the order in which a relay is set up."""
    stored = facts.stored
    return (
        _of_check("database", "Database and migrations", facts.database),
        _platform_key(facts),
        _of_check("store", "The store", facts.store),
        *(_first_event(kind, stored.events[kind] if stored else None) for kind in EventKind),
        *_store_webhooks(facts),
        *(_topic(topic, feature, facts) for topic, feature in TOPICS.items()),
        _rules(facts),
        _of_check("verification", "Verification of redemptions", facts.verification),
        _test_coupon(facts),
        _customers(facts),
        _alerts(facts),
        _backup(facts),
    )


def is_complete(items: tuple[ChecklistItem, ...]) -> bool:
    """Whether nothing is left to do."""
    return all(item.state in ("ok", "unknown") for item in items) and any(item.state == "ok" for item in items)


def _of_check(item_id: str, title: str, check: Check) -> ChecklistItem:
    return ChecklistItem(item_id, title, _STATES[check.ok], _sentence(check.detail), _sentence(check.next_step))


def _sentence(words: str) -> str:
    """The words of a check as a sentence. An address, or the name of an adapter before a colon, keeps its small letter."""
    keeps = words.startswith("http") or words.partition(" ")[0].endswith(":")
    first = words[:1] if keeps else words[:1].upper()
    return first + words[1:] + ("" if not words or words.endswith((".", ")")) else ".")


def _no_database(item_id: str, title: str) -> ChecklistItem:
    return ChecklistItem(item_id, title, "unknown", "The database cannot be read.", "Fix the database first.")


def _platform_key(facts: SetupFacts) -> ChecklistItem:
    check, accepted = facts.platform, facts.stored.accepted_at if facts.stored else None
    return replace(_of_check("platform_key", "The Platform's key", check), last_seen=accepted)


def _first_event(kind: EventKind, seen: Seen | None) -> ChecklistItem:
    item_id, title = f"event_{kind}", f"First event: {kind}"
    if seen is None:
        return _no_database(item_id, title)
    if seen.ever:
        return ChecklistItem(item_id, title, "ok", _when("received", seen), last_seen=seen.last)
    step = f"Send one: POST /v1/events/{kind} with STORE_KEY, or let the store send its webhooks (docs/getting-started.md)."
    state: State = "attention" if kind is EventKind.PRODUCT else "missing"  # points need customers and orders only
    return ChecklistItem(item_id, title, state, "None was received yet.", step)


def _when(verb: str, seen: Seen) -> str:
    if seen.last is not None:
        return f"The last one was {verb} {seen.last:%Y-%m-%d %H:%M} UTC."
    return f"The last one was {verb} before the newest {RECENT_MESSAGES:,} messages."


def _store_webhooks(facts: SetupFacts) -> Iterator[ChecklistItem]:
    if facts.webhooks is None:
        return
    title = "The store's webhooks"
    if isinstance(facts.webhooks, Reason):
        reason = facts.webhooks
        yield ChecklistItem("store_webhooks", title, "unknown", reason.text, reason.next_step)
    elif not facts.public_url:
        text, step = (
            "PUBLIC_URL is not set, so they cannot be checked.",
            "Set PUBLIC_URL, and run: relay webhooks install.",
        )
        yield ChecklistItem("store_webhooks", title, "attention", text, step)
    else:
        for webhook in facts.webhooks:
            yield _store_webhook(webhook)


def _store_webhook(webhook: InstalledWebhook) -> ChecklistItem:
    item_id, title = f"store_webhook_{webhook.topic}", f"Store webhook: {webhook.topic}"
    last = webhook.last.last if webhook.last else None
    match webhook.state:
        case "missing":
            text, step = "It is not installed in the store.", "Run: relay webhooks install."
            return ChecklistItem(item_id, title, "attention", text, step, last)
        case "off":
            text = "The store has switched it off, because deliveries failed."
            step = "Run: relay webhooks install. Check that the store can reach PUBLIC_URL."
            return ChecklistItem(item_id, title, "attention", text, step, last)
        case "on":
            if webhook.last is None or not webhook.last.ever:
                text, step = (
                    "It is on; nothing was received yet.",
                    "Change something in the store to see the first one.",
                )
                return ChecklistItem(item_id, title, "unknown", text, step, last)
            return ChecklistItem(item_id, title, "ok", f"It is on. {_when('received', webhook.last)}", "", last)


def _topic(topic: str, feature: str, facts: SetupFacts) -> ChecklistItem:
    item_id, title = f"topic_{topic}", f"Platform webhook: {topic}"
    if facts.webhook_secret.ok is False:
        return _of_check(item_id, title, facts.webhook_secret)
    if facts.stored is None:
        return _no_database(item_id, title)
    seen = facts.stored.topics[topic]
    if seen.ever:
        return ChecklistItem(item_id, title, "ok", _when("received", seen), last_seen=seen.last)
    step = f"At the Platform, enter the relay's address with {WRITE_ADDRESS} for this topic"
    if feature:
        return ChecklistItem(item_id, title, "unknown", f"Never received. Only needed for {feature}.", f"{step}.")
    return ChecklistItem(item_id, title, "missing", "Never received.", f"{step}, and redeem some points.")


def _rules(facts: SetupFacts) -> ChecklistItem:
    item_id, title = "redeem_rules", "Values of the redeem rules"
    if facts.rules is None:
        text = "The Platform's rules are not known, so their values cannot be checked."
        step = "Set PLATFORM__SHOP_KEY, or enter the value of each rule: relay rules put."
        return ChecklistItem(item_id, title, "unknown", text, step)
    if not facts.rules:
        return ChecklistItem(item_id, title, "ok", f"All {facts.active_rules} active redeem rules have a value.")
    names = ", ".join(f"{rule.id} ({rule.title})" if rule.title else rule.id for rule in facts.rules)
    text = f"No value is known for {names}: their redemptions are held."
    return ChecklistItem(item_id, title, "attention", text, "Enter the value of each rule under Reward rules.")


def _test_coupon(facts: SetupFacts) -> ChecklistItem:
    item_id, title = "test_coupon", "Test coupon"
    if facts.stored is None:
        return _no_database(item_id, title)
    if (coupon := facts.stored.test_coupon) is None:
        text = "None was created yet."
        return ChecklistItem(item_id, title, "missing", text, "Create one in the console, under Set-up.")
    if coupon.open:
        text = f"{coupon.code} is being removed from the store" + (
            f": {coupon.failure.text}" if coupon.failure else "."
        )
        step = "The worker removes it within 15 minutes. If it stays, delete it in the store."
        return ChecklistItem(item_id, title, "attention", text, step, coupon.at)
    if not coupon.passed:
        step = coupon.failure.next_step if coupon.failure else "Create another one."
        problem = coupon.failure.text if coupon.failure else "the test was interrupted, and the coupon was removed."
        text = f"{coupon.code} did not work: {problem}"
        return ChecklistItem(item_id, title, "missing", text, step, coupon.at)
    fields = ", ".join(f"{name} {value}" for name, value in coupon.read_back.items())
    text = f"{coupon.code} was created, read back ({fields}) and removed."
    return ChecklistItem(item_id, title, "ok", text, last_seen=coupon.at)


def _customers(facts: SetupFacts) -> ChecklistItem:
    item_id, title, stored = "customers", "Customers imported", facts.stored
    if stored is None:
        return _no_database(item_id, title)
    known, there = stored.customers, facts.store_customers
    if there is None:
        text = f"{_customers_are(known)} at the Platform. The store's customers cannot be counted."
        step = "" if known else "Import them: relay import, or relay backfill customers."
        return ChecklistItem(item_id, title, "ok" if known else "attention", text, step)
    text = f"{_customers_are(known)} at the Platform, and the store has {there:,}."
    if known >= there:
        return ChecklistItem(item_id, title, "ok", text)
    step = "Import the others: relay backfill customers. Customers without an e-mail address are not sent."
    return ChecklistItem(item_id, title, "attention", text, step)


def _customers_are(number: int) -> str:
    return "1 customer is" if number == 1 else f"{number:,} customers are"


def _alerts(facts: SetupFacts) -> ChecklistItem:
    item_id, title, stored = "alerts", "Address for alerts", facts.stored
    if not facts.alert_address:
        step = "Set ALERT_WEBHOOK_URL to a webhook of your chat, or use the Prometheus rules (docs/operations.md)."
        return ChecklistItem(item_id, title, "attention", "ALERT_WEBHOOK_URL is not set: alerts are not posted.", step)
    if stored is None:
        return _no_database(item_id, title)
    return _sent_alerts(item_id, title, stored)


def _sent_alerts(item_id: str, title: str, stored: StoredFacts) -> ChecklistItem:
    test, sent = stored.test_alert, stored.last_alert_sent
    if test is not None and test.failure is not None and (sent is None or sent < test.at):
        step = test.failure.next_step or "Check ALERT_WEBHOOK_URL, and send another test."
        text = f"The test was not accepted: {test.failure.text}"
        return ChecklistItem(item_id, title, "attention", text, step, test.at)
    tested = test.at if test and test.failure is None else None
    newest = max((moment for moment in (sent, tested) if moment is not None), default=None)
    if newest is None:
        text, step = "Nothing was sent yet.", "Send a test in the console, under Set-up."
        return ChecklistItem(item_id, title, "attention", text, step)
    return ChecklistItem(item_id, title, "ok", f"The last one was accepted {newest:%Y-%m-%d %H:%M} UTC.", "", newest)


def _backup(facts: SetupFacts) -> ChecklistItem:
    item_id, title = "backup", "Backup of the database"
    if facts.stored is None:
        return _no_database(item_id, title)
    backup = facts.stored.backup
    step = "Make a backup, test it, and enter its time in the console, under Set-up (docs/operations.md)."
    if backup is None:
        return ChecklistItem(item_id, title, "attention", "No backup was stated.", step)
    text = f"{backup.by} stated a backup of {backup.at:%Y-%m-%d %H:%M} UTC."
    if facts.now - backup.at > BACKUP_IS_OLD:
        return ChecklistItem(item_id, title, "attention", f"{text} It is old.", step, backup.at)
    return ChecklistItem(item_id, title, "ok", text, last_seen=backup.at)
