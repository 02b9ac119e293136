"""The checklist from facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from platform_relay.checks.check import Check
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.platform.webhooks import POINTS_REDEEMED, REFERRALS, TIER_REWARD
from platform_relay.setup.checklist import TOPICS, ChecklistItem, checklist, is_complete
from platform_relay.setup.facts import (
    NEVER,
    CouponTest,
    InstalledWebhook,
    RuleWithoutValue,
    Seen,
    SentAlert,
    SetupFacts,
    StatedBackup,
    StoredFacts,
)

NOW: Final = datetime(2026, 5, 11, 12, tzinfo=UTC)
SEEN: Final = Seen(ever=True, last=NOW - timedelta(minutes=5))
WORKS: Final = Check("any", True, "it works")
FAILURE: Final = because(ReasonCode.TIMED_OUT, destination="the store", seconds=15)
STORED: Final = StoredFacts(
    events=dict.fromkeys(EventKind, SEEN),
    topics=dict.fromkeys(TOPICS, SEEN),
    accepted_at=NOW,
    customers=7,
    from_store=dict.fromkeys(EventKind, SEEN),
    last_alert_sent=NOW,
    test_coupon=CouponTest("RELAYTEST1", NOW, "anna", open=False, read_back={"value": "1"}),
    backup=StatedBackup(NOW - timedelta(days=1), "anna"),
)
ALL_WELL: Final = SetupFacts(
    now=NOW,
    database=WORKS,
    platform=WORKS,
    store=WORKS,
    webhook_secret=WORKS,
    verification=WORKS,
    stored=STORED,
    public_url=True,
    webhooks=(InstalledWebhook("order.updated", "on", SEEN),),
    active_rules=3,
    rules=(),
    store_customers=7,
    alert_address=True,
)


def items(facts: SetupFacts) -> dict[str, ChecklistItem]:
    return {item.id: item for item in checklist(facts)}


def test_everything_is_green_when_everything_works() -> None:
    listed = checklist(ALL_WELL)
    assert {item.state for item in listed} == {"ok"}
    assert is_complete(listed)
    assert len({item.id for item in listed}) == len(listed)


@pytest.mark.parametrize(
    ("changed", "item", "state"),
    [
        ({"database": Check("database", False, "away", "start it"), "stored": None}, "database", "missing"),
        ({"platform": Check("platform", False, "key refused", "set it")}, "platform_key", "missing"),
        ({"webhook_secret": Check("webhooks", False, "not set", "set it")}, "topic_points/redeemed", "missing"),
        ({"verification": Check("verification", None, "secret", "more")}, "verification", "attention"),
        ({"rules": (RuleWithoutValue("rule-7", "Birthday"),)}, "redeem_rules", "attention"),
        ({"rules": None, "active_rules": None}, "redeem_rules", "unknown"),
        ({"store_customers": 8}, "customers", "attention"),
        ({"store_customers": None}, "customers", "ok"),
        ({"alert_address": False}, "alerts", "attention"),
        ({"webhooks": (InstalledWebhook("order.updated", "off", SEEN),)}, "store_webhook_order.updated", "attention"),
        ({"webhooks": (InstalledWebhook("order.updated", "missing"),)}, "store_webhook_order.updated", "attention"),
        ({"webhooks": (InstalledWebhook("order.updated", "on", NEVER),)}, "store_webhook_order.updated", "unknown"),
        ({"webhooks": FAILURE}, "store_webhooks", "unknown"),
        ({"public_url": False, "webhooks": ()}, "store_webhooks", "attention"),
    ],
)
def test_what_is_not_well_is_an_item_with_a_next_step(changed: dict[str, Any], item: str, state: str) -> None:
    listed = items(replace(ALL_WELL, **changed))
    assert listed[item].state == state
    assert (state == "ok") is (listed[item].next_step == "")
    assert is_complete(tuple(listed.values())) is (state in ("ok", "unknown"))


@pytest.mark.parametrize(
    ("changed", "item", "state", "words"),
    [
        ({"events": {**STORED.events, EventKind.ORDER: NEVER}}, "event_orders", "missing", "None was received"),
        ({"events": {**STORED.events, EventKind.ORDER: Seen(True)}}, "event_orders", "ok", "before the newest 10,000"),
        ({"topics": {**STORED.topics, POINTS_REDEEMED: NEVER}}, "topic_points/redeemed", "missing", "Never"),
        ({"topics": {**STORED.topics, TIER_REWARD: NEVER}}, f"topic_{TIER_REWARD}", "unknown", "tier entry rewards"),
        ({"topics": {**STORED.topics, REFERRALS[0]: NEVER}}, f"topic_{REFERRALS[0]}", "unknown", "referrals"),
        ({"test_coupon": None}, "test_coupon", "missing", "None was created"),
        ({"test_coupon": CouponTest("C", NOW, "anna", open=True)}, "test_coupon", "attention", "being removed"),
        ({"test_coupon": CouponTest("C", NOW, "anna", open=False)}, "test_coupon", "missing", "interrupted"),
        (
            {"test_coupon": CouponTest("C", NOW, "anna", open=False, failure=FAILURE)},
            "test_coupon",
            "missing",
            FAILURE.text,
        ),
        ({"customers": 0}, "customers", "attention", "0 customers are"),
        ({"backup": None}, "backup", "attention", "No backup"),
        ({"backup": StatedBackup(NOW - timedelta(days=9), "anna")}, "backup", "attention", "It is old"),
        ({"last_alert_sent": None}, "alerts", "attention", "Nothing was sent"),
        ({"last_alert_sent": None, "test_alert": SentAlert(NOW, "anna")}, "alerts", "ok", "accepted"),
        (
            {"last_alert_sent": None, "test_alert": SentAlert(NOW, "anna", FAILURE)},
            "alerts",
            "attention",
            "not accepted",
        ),
    ],
)
def test_what_the_database_knows(changed: dict[str, Any], item: str, state: str, words: str) -> None:
    listed = items(replace(ALL_WELL, stored=replace(STORED, **changed)))
    assert listed[item].state == state
    assert words in listed[item].text
    assert (state == "ok") is (listed[item].next_step == "")


def test_only_the_topic_of_redemptions_is_tried_by_redeeming() -> None:
    listed = items(replace(ALL_WELL, stored=replace(STORED, topics=dict.fromkeys(TOPICS, NEVER))))
    steps = {topic: listed[f"topic_{topic}"].next_step for topic in TOPICS}
    assert [topic for topic, step in steps.items() if "redeem some points" in step] == [POINTS_REDEEMED]


def test_without_a_database_nothing_else_is_claimed() -> None:
    """Only what the destinations themselves tell is known."""
    listed = items(replace(ALL_WELL, database=Check("database", False, "away", "start it"), stored=None))
    known = {"database", "platform_key", "store", "verification", "redeem_rules", "store_webhook_order.updated"}
    assert {item.id for item in listed.values() if item.state != "unknown"} <= known
