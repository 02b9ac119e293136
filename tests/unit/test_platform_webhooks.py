"""The Platform's webhooks: read leniently, never refused, one job per coupon."""

import json
from decimal import Decimal
from typing import Any  # bodies are whatever the Platform sends

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.platform.fields import Fields
from platform_relay.platform.webhooks import COUPON_TOPICS, parse_webhook, redemption_of, webhook_message

CUSTOMER = {"id": "u-1", "externalId": 42, "email": "Jane@Example.com", "pointBalance": 100}
REDEEMED = {
    "id": "p-1",
    "customer": CUSTOMER,
    "action": "5 off",
    "points": -500,
    "type": "REDEEM",
    "ruleId": "r1",
    "couponCode": "ab12cd34ef56",
    "rewardType": "amountdiscount",
    "redeemRule": {"pointCost": 500},
}
REFERRAL = {
    "id": "f-1",
    "customer": CUSTOMER,
    "friendCustomer": None,
    "friendEmail": "Friend@example.com",
    "customerReward": {"id": "w-1", "couponCode": "aaa", "discountType": "amountdiscount", "discountAmount": 5.1},
    "friendReward": {"id": "w-2", "couponCode": "bbb", "discountType": "percentageoff", "discountAmount": "10"},
}


def raw(body: object, **changed: Any) -> bytes:
    return json.dumps({**body, **changed} if isinstance(body, dict) else body).encode()


def key(topic: str, body: bytes) -> str:
    return webhook_message(topic, body, "m-1").dedupe_key


def test_a_redemption_has_one_coupon_job() -> None:
    message = webhook_message("points/redeemed", raw(REDEEMED), "m-1")
    assert (message.source, message.kind, message.strict) == ("platform", "points/redeemed", False)
    assert (message.customer_ref, message.coupon_ref) == ("42", "ab12cd34ef56")
    (job,) = message.jobs
    assert (job.kind, job.destination, job.lane) == ("issue_coupon", "store", "coupon:ab12cd34ef56#m-1")
    redemption = redemption_of(job.params["topic"], job.params["reward"], message.body)
    assert redemption is not None
    assert (redemption.id, redemption.points, redemption.rule_id) == ("p-1", 500, "r1")
    assert redemption.identities == {"42", "jane@example.com"}
    assert redemption.embedded is not None
    assert not redemption.embedded.has_value


def test_a_referral_has_two_coupon_jobs_for_two_customers() -> None:
    message = webhook_message("referrals/started", raw(REFERRAL), "m-1")
    assert [job.lane for job in message.jobs] == ["coupon:aaa#m-1", "coupon:bbb#m-1"]
    first, second = (redemption_of("referrals/started", job.params["reward"], message.body) for job in message.jobs)
    assert first is not None
    assert second is not None
    assert (first.id, first.customer_ref, first.rule_id) == ("w-1", "42", "referral-customer")
    assert (second.id, second.customer_ref, second.rule_id) == ("w-2", "friend@example.com", "referral-friend")
    assert first.embedded is not None
    assert first.embedded.value == Decimal("5.1")


@pytest.mark.parametrize("nested", [True, False])
def test_a_tier_reward_is_read_in_both_shapes(nested: bool) -> None:
    reward = {"id": "w-3", "couponCode": "ccc", "discountType": "amountdiscount", "discountAmount": 5}
    body = {"customer": CUSTOMER, **({"id": "e-1", "reward": reward} if nested else reward)}
    redemption = redemption_of("customers/tier_entry_reward_earned", "tierReward", raw(body))
    assert redemption is not None
    assert (redemption.code, redemption.id, redemption.rule_id) == ("ccc", "w-3", "tier-entry")


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("points/redeemed", {**REDEEMED, "rewardType": "pointdonation"}),
        ("points/earned", {"id": "p-2", "customer": CUSTOMER, "points": 5}),
        ("customers/updated", CUSTOMER),
        ("customers/tier_changed", {"customer": CUSTOMER, "oldTier": None, "newTier": {"id": 1, "title": "Gold"}}),
        ("referrals/completed", {"id": "f-1", "customer": CUSTOMER}),
        ("something/new", {"couponCode": "zzz"}),
    ],
)
def test_other_webhooks_are_stored_without_jobs(topic: str, body: dict[str, object]) -> None:
    message = webhook_message(topic, raw(body), "m-1")
    assert message.jobs == ()
    assert message.kind == topic
    assert message.coupon_ref is None


def test_redeemed_points_without_a_usable_code_have_a_job_that_is_rejected() -> None:
    for code in (None, "", "a b", "x\u0000y", "x" * 101, ["ab12"]):
        (job,) = webhook_message("points/redeemed", raw(REDEEMED, couponCode=code), "m-1").jobs
        assert job.lane == "coupon-without-code:m-1"
        assert redemption_of(job.params["topic"], job.params["reward"], raw(REDEEMED, couponCode=code)) is None


def test_a_repeated_webhook_with_a_new_balance_is_a_duplicate() -> None:
    again = raw(REDEEMED, customer={**CUSTOMER, "pointBalance": 0}, action="five off")
    assert key("points/redeemed", again) == key("points/redeemed", raw(REDEEMED))


@pytest.mark.parametrize(
    "altered",
    [
        {"id": "p-2"},
        {"couponCode": "ab12cd34ef57"},
        {"ruleId": "r2"},
        {"points": 501},
        {"rewardType": "percentageoff"},
        {"customer": {**CUSTOMER, "externalId": "43"}},
        {"redeemRule": {"pointCost": 500, "discountValue": 50}},
        {"redeemRule": {"pointCost": 5000}},
        {"redeemRule": {"pointCost": 500, "status": "inactive"}},
        {"redeemRule": {"pointCost": 500, "minSpendAmount": 1}},
        {"redeemRule": {"pointCost": 500, "variants": [{"id": 1}]}},
    ],
)
def test_an_altered_webhook_is_not_a_duplicate(altered: dict[str, object]) -> None:
    assert key("points/redeemed", raw(REDEEMED, **altered)) != key("points/redeemed", raw(REDEEMED))


def test_another_amount_or_topic_of_a_referral_is_not_a_duplicate() -> None:
    reward = {**REFERRAL["customerReward"], "discountAmount": 50}  # type: ignore[dict-item]  # it is a dict
    assert key("referrals/started", raw(REFERRAL, customerReward=reward)) != key("referrals/started", raw(REFERRAL))
    assert key("referrals/completed", raw(REFERRAL)) != key("referrals/started", raw(REFERRAL))


def test_webhooks_without_an_id_of_their_own_are_compared_by_body() -> None:
    updated = raw(CUSTOMER, pointBalance=101)
    assert key("customers/updated", updated) != key("customers/updated", raw(CUSTOMER))


@pytest.mark.parametrize("topic", [*COUPON_TOPICS, "customers/updated", "points/earned"])
@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"[" * 100_000, b'"text"', b"\xff\xfe", b"1" * 5000])
def test_an_unreadable_webhook_is_stored_and_shown_if_it_may_carry_a_coupon(topic: str, body: bytes) -> None:
    message = webhook_message(topic, body, "m-1", network="other")
    assert (message.body, message.kind) == (body, topic)
    assert [job.lane for job in message.jobs] == (["coupon-without-code:m-1"] if topic in COUPON_TOPICS else [])
    for job in message.jobs:
        assert job.params == {"topic": topic, "reward": "", "network": "other"}
        assert redemption_of(topic, job.params["reward"], body) is None


@pytest.mark.parametrize(
    ("topic", "body", "lanes"),
    [
        ("customers/tier_entry_reward_earned", {"rewards": [{"couponCode": "T1"}]}, ["coupon-without-code:m"]),
        ("customers/tier_entry_reward_earned", {"couponCode": "T 1"}, ["coupon-without-code:m"]),
        ("customers/tier_entry_reward_earned", {"couponCode": "T1"}, ["coupon:T1#m"]),
        ("customers/tier_entry_reward_earned", {"rewardType": "pointdonation"}, []),
        ("referrals/started", {"customerReward": {"couponCode": None}}, []),
        ("referrals/started", {"customerReward": {"couponCode": "x", "rewardType": "pointdonation"}}, []),
        ("referrals/started", {"customer": {"rewards": [{"couponCode": "earlier"}]}}, []),
        ("referrals/completed", {"customerReward": {"couponCode": "a b"}}, ["coupon-without-code:m"]),
        ("referrals/completed", {"couponCode": "c"}, ["coupon-without-code:m"]),
        (
            "referrals/completed",
            {"customerReward": {"couponCode": "a"}, "friendReward": [{"couponCode": "b"}]},
            ["coupon:a#m", "coupon-without-code:m"],
        ),
    ],
)
def test_a_reward_of_another_shape_is_shown(topic: str, body: dict[str, object], lanes: list[str]) -> None:
    assert [job.lane for job in webhook_message(topic, raw(body), "m").jobs] == lanes


def test_a_tier_reward_is_accepted_again_once_its_field_is_known() -> None:
    topic, body = "customers/tier_entry_reward_earned", raw({"customer": CUSTOMER, "voucher": "V1"})
    first, fields = webhook_message(topic, body, "m"), Fields({"tierReward.code": "voucher"})
    again = webhook_message(topic, body, "n", fields)
    assert [job.lane for job in again.jobs] == ["coupon:V1#n"]
    assert again.dedupe_key != first.dedupe_key
    assert webhook_message(topic, body, "o").dedupe_key == first.dedupe_key


@pytest.mark.parametrize("topic", ["Points/Redeemed", "POINTS/REDEEMED", " points/redeemed "])
def test_a_topic_is_read_in_upper_and_lower_case(topic: str) -> None:
    message = webhook_message(topic, raw(REDEEMED), "m-1")
    assert (message.kind, message.coupon_ref) == ("points/redeemed", "ab12cd34ef56")
    assert message.dedupe_key == key("points/redeemed", raw(REDEEMED))
    assert redemption_of(topic.strip(), "redeemed", message.body) is not None


def test_a_byte_that_is_not_utf_8_costs_only_its_text() -> None:
    message = webhook_message("points/redeemed", raw(REDEEMED, action="M?ller").replace(b"?", b"\xfc"), "m-1")
    (job,) = message.jobs
    assert (job.params["code"], message.customer_ref) == ("ab12cd34ef56", "42")
    redemption = redemption_of("points/redeemed", "redeemed", message.body)
    assert redemption is not None
    assert (redemption.code, redemption.points) == ("ab12cd34ef56", 500)
    broken = raw(REDEEMED, couponCode="ab?12").replace(b"?", b"\xfc")
    assert [job.lane for job in webhook_message("points/redeemed", broken, "m").jobs] == ["coupon-without-code:m"]


def test_texts_that_cannot_be_stored_do_not_become_references() -> None:
    customer = {**CUSTOMER, "externalId": "a\u0000b", "email": "\ud800@example.com"}
    message = webhook_message("points/redeemed", raw(REDEEMED, customer=customer), "m-1")
    assert message.customer_ref is None
    assert webhook_message("", raw(REDEEMED), "m-1").kind == "unknown"


NAMES = sorted({*REDEEMED, *REFERRAL, *CUSTOMER, "reward"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=15,
)  # fmt: skip


@given(topic=st.sampled_from([*COUPON_TOPICS, "points/earned", "customers/updated", "new"]), body=JSON)
def test_every_body_is_accepted(topic: str, body: object) -> None:
    sent = json.dumps(body).encode()
    message = webhook_message(topic, sent, "m-1")
    message.dedupe_key.encode()
    (message.customer_ref or "").encode()
    webhook = parse_webhook(topic, sent)
    for job in message.jobs:
        assert "\x00" not in job.lane
        job.lane.encode()
    expected = len(webhook.redemptions) + webhook.lacks_code if webhook else int(topic in COUPON_TOPICS)
    assert len(message.jobs) == expected
