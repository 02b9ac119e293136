"""The verification level that a value needs, the checks of a redemption, client addresses, limits and drift."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Any  # Any: fields of several types

import pytest

from platform_relay.api.client_ip import client_address, is_within
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.drift_check import find_drift
from platform_relay.coupons.issuance_limits import Usage, exceeded, subject_of
from platform_relay.coupons.reward_rules import OperatorRule, RewardRuleDefinition
from platform_relay.coupons.valuation_rules import NoValue, RewardValue, with_rule_limits
from platform_relay.coupons.verification_rules import (
    VerificationLevel,
    check_cost,
    check_reward,
    check_value,
    email_differs,
    list_incomplete,
    required_level,
)
from platform_relay.platform.client import IncompleteList
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import PlatformRule, RewardKind
from platform_relay.setting_groups import CouponSettings, IssuanceLimitSettings
from platform_relay.stores.base import CouponKind, StoreCoupon

REDEEMED = Redemption("ab12", "p-1", "amountdiscount", "r1", 500, "42", "jane@example.com")
TOPIC = "points/redeemed"
LISTED = {"couponCode": "ab12", "pointsSpent": 500, "type": "PointActivity", "rewardType": "amountdiscount"}


def valued(value: str | None, kind: RewardKind = RewardKind.FIXED_AMOUNT) -> RewardValue:
    return RewardValue(kind, None if value is None else Decimal(value), "EUR", "rule", "the rule r1", "r1")


def settings(**values: object) -> CouponSettings:
    return CouponSettings.model_validate(values)


@pytest.mark.parametrize(
    ("value", "kind", "require", "above", "level"),
    [
        ("20.00", RewardKind.FIXED_AMOUNT, "secret", "20", VerificationLevel.SECRET),
        ("20.01", RewardKind.FIXED_AMOUNT, "secret", "20", VerificationLevel.CONFIRMED),
        ("20.01", RewardKind.GIFT_CARD, "known", "20", VerificationLevel.CONFIRMED),
        ("500", RewardKind.FIXED_AMOUNT, "known", "none", VerificationLevel.KNOWN),
        ("10", RewardKind.PERCENTAGE, "secret", "20", VerificationLevel.CONFIRMED),
        (None, RewardKind.FREE_PRODUCT, "secret", "20", VerificationLevel.CONFIRMED),
        (None, RewardKind.FREE_SHIPPING, "source", "20", VerificationLevel.SOURCE),
        ("1", RewardKind.FIXED_AMOUNT, "confirmed", "20", VerificationLevel.CONFIRMED),
    ],
)
def test_the_settings_decide_which_level_a_value_needs(
    value: str | None, kind: RewardKind, require: str, above: str, level: VerificationLevel
) -> None:
    assert required_level(valued(value, kind), settings(require=require, confirm_above=above)) is level


@pytest.mark.parametrize(
    ("altered", "different"),
    [
        ({}, None),
        ({"pointsSpent": 100}, ("points", "500", "100")),
        ({"type": "ReferralReward"}, ("type", "PointActivity", "ReferralReward")),
        ({"rewardType": "percentageoff"}, ("kind", "fixed_amount", "percentage")),
        ({"pointsSpent": None, "type": None, "rewardType": None}, None),
        ({"title": "5 off"}, None),
        ({"title": "9 off"}, ("rule", "r1", "r2")),
        ({"title": "renamed since"}, None),
    ],
)
def test_the_platforms_reward_list_must_match(
    altered: dict[str, object], different: tuple[str, str, str] | None
) -> None:
    rules = [
        PlatformRule(rule, RewardKind.FIXED_AMOUNT, Decimal(value), True, Decimal(500), title=f"{value} off")
        for rule, value in (("r1", "5"), ("r2", "9"))
    ]
    unverified = check_reward(REDEEMED, TOPIC, {**LISTED, **altered}, rules)  # type: ignore[dict-item]  # as JSON has it
    if different is None:
        assert unverified is None
        return
    assert unverified is not None
    assert unverified.final
    assert unverified.reason.code is ReasonCode.NOT_GENUINE
    assert unverified.reason.facts["differences"] == [
        dict(zip(("field", "actual", "expected"), different, strict=True))
    ]


def test_a_code_that_is_not_listed_yet_may_be_listed_later() -> None:
    unverified = check_reward(REDEEMED, TOPIC, None)
    assert unverified is not None
    assert not unverified.final
    assert unverified.reason.code is ReasonCode.CONFIRMATION_PENDING


def test_a_list_that_was_not_read_to_its_end_has_a_code_of_its_own() -> None:
    incomplete = IncompleteList(200, "it has more pages", "PLATFORM__REWARD_PAGES")
    unverified = list_incomplete(incomplete)
    assert not unverified.final
    assert unverified.reason == because(
        ReasonCode.REWARD_LIST_INCOMPLETE, problem="it has more pages", pages=200, setting="PLATFORM__REWARD_PAGES"
    )


@pytest.mark.parametrize(
    ("email", "differs"),
    [("JANE@example.com", False), ("jane@example.com", False), (None, False), ("eve@example.com", True)],
)
def test_another_address_differs_in_more_than_its_case(email: str | None, differs: bool) -> None:
    assert email_differs(REDEEMED, email) is differs
    assert not email_differs(replace(REDEEMED, email=None), email)


def test_the_rules_limits_apply_where_the_webhook_has_none() -> None:
    rule = replace(valued("5"), minimum_spend=Decimal(30), expires_after=timedelta(days=90))
    assert with_rule_limits(valued("5"), rule) == rule
    of_product, of_variant = replace(rule, product_ids=("43",)), replace(rule, variant_ids=("43-red",))
    assert with_rule_limits(replace(valued("5"), product_ids=("43",)), of_variant) == of_variant
    assert with_rule_limits(replace(valued("5"), variant_ids=("43-red",)), of_product) == of_variant
    for of_some in (of_product, of_variant):
        assert with_rule_limits(valued("5"), of_some) == of_some
        others = replace(valued("5"), variant_ids=("44-red",))
        unverified = check_value(TOPIC, with_rule_limits(others, of_some), of_some, settings())
        assert unverified is not None
        assert unverified.final
    lower = replace(valued("5"), minimum_spend=Decimal("0.01"))
    unverified = check_value(TOPIC, with_rule_limits(lower, rule), rule, settings())
    assert unverified is not None
    assert unverified.final
    assert unverified.reason.facts["differences"] == [{"field": "minimum_spend", "actual": "0.01", "expected": "30"}]
    assert check_value(TOPIC, with_rule_limits(valued("5"), rule), rule, settings()) is None


def test_a_value_counts_only_where_a_rule_gives_the_same() -> None:
    anonymous = NoValue(because(ReasonCode.NO_VALUE, rule="r1"), "reward-rule:r1")
    policy = settings(max_value_from_webhook="10")
    assert check_value(TOPIC, valued("5"), valued("5.00"), policy) is None
    contradiction = check_value(TOPIC, valued("500"), valued("5.00"), policy)
    assert contradiction is not None
    assert contradiction.final
    assert contradiction.reason.code is ReasonCode.NOT_GENUINE
    assert contradiction.reason.facts["differences"] == [{"field": "value", "actual": "500", "expected": "5.00"}]
    assert check_value("referrals/started", valued("10"), anonymous, policy) is None
    for topic, value in ((TOPIC, "1"), ("referrals/started", "10.01")):
        unverified = check_value(topic, valued(value), anonymous, policy)
        assert unverified is not None
        assert not unverified.final
        assert unverified.reason.code is ReasonCode.VALUE_UNCERTAIN
        assert unverified.reason.facts["cause"] == anonymous.reason.as_fact()


def test_the_points_must_equal_the_cost_of_the_rule() -> None:
    rule = PlatformRule("r1", RewardKind.FIXED_AMOUNT, Decimal(5), True, point_cost=Decimal(500))
    assert check_cost(REDEEMED, None, rule) is None
    dear = PlatformRule("r1", RewardKind.FIXED_AMOUNT, Decimal(5), True, point_cost=Decimal(5000))
    ours = OperatorRule("r1", 1, RewardRuleDefinition(kind=RewardKind.FIXED_AMOUNT, value=Decimal(5), point_cost=400))
    for operator, launcher, cost in ((None, dear, "5000"), (ours, None, "400")):
        unverified = check_cost(REDEEMED, operator, launcher)
        assert unverified is not None
        assert unverified.reason.code is ReasonCode.NOT_GENUINE
        assert unverified.reason.facts["differences"] == [{"field": "points", "actual": "500", "expected": cost}]
    nameless = check_cost(replace(REDEEMED, points=None), None, rule)
    assert nameless is not None
    assert nameless.reason.facts["differences"] == [{"field": "points", "actual": None, "expected": "500"}]
    inactive = check_cost(REDEEMED, None, PlatformRule("r1", None, None, True, active=False))
    assert inactive is not None
    assert inactive.final


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),  # not a proxy of ours: its word is nothing
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the left one is what the forger wrote
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["nonsense"], None),
        (None, ["203.0.113.9"], None),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: list[str], address: str | None) -> None:
    client = client_address(peer, forwarded, [ip_network("10.0.0.0/8")])
    assert (None if client is None else str(client)) == address
    assert is_within(client, [ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")]) is (address == "203.0.113.9")


def test_the_first_exceeded_issuance_limit_is_named() -> None:
    used = Usage(2, Decimal(10), 5, Decimal(25), 9, Decimal(45))
    none = dict.fromkeys(IssuanceLimitSettings.model_fields)
    assert exceeded(used, Decimal(5), IssuanceLimitSettings.model_validate(none)) is None
    for name, limit, personal in (
        ("customer_count", 2, True), ("customer_value", "14.99", True), ("hour_count", 5, False),
        ("hour_value", "29.99", False), ("day_count", 9, False), ("day_value", "49.99", False),
    ):  # fmt: skip
        result = exceeded(used, Decimal(5), IssuanceLimitSettings.model_validate({**none, name: limit}))
        assert result is not None, name
        assert result[0] is personal
    for name, limit in (("customer_count", 3), ("customer_value", "15"), ("hour_value", "30"), ("day_count", 10)):
        assert exceeded(used, Decimal(5), IssuanceLimitSettings.model_validate({**none, name: limit})) is None, name


def test_a_limits_name_shows_no_email_address() -> None:
    assert subject_of("") == "all coupons"
    assert subject_of("42") == "customer 42"
    assert subject_of("gid://shopify/Customer/42") == "customer gid://shopify/Customer/42"
    for personal in (
        "jane@example.com",
        "jane\uff20example.com",
        "jane%40example.com",
        "Jane Doe",
        "jane",
        "+49 151 23456",
    ):
        assert subject_of(personal).startswith("guest "), personal
        assert "jane" not in subject_of(personal).lower()


ISSUED_SPEC: dict[str, Any] = {
    "kind": "fixed_amount", "value": "5.00", "currency": "EUR", "product_ids": [],
    "variant_ids": [], "minimum_spend": None,
    "usage_limit": 1, "combinable": True, "expires_at": "2999-01-01T00:00:00+00:00", "restricted": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "altered", "orders", "kinds"),
    [
        ("active", {}, 0, []),
        ("used", {"used": 1}, 1, []),
        ("active", None, 0, ["deleted"]),
        ("active", {"value": "50.00"}, 0, ["other_value"]),
        ("active", {"expires_at": None}, 0, ["expired_early"]),
        ("active", {"active": False}, 0, ["expired_early"]),
        ("active", {"minimum_spend": "1"}, 0, ["edited"]),
        ("active", {"variant_ids": ("71",)}, 0, ["edited"]),
        ("used", {"used": 2}, 1, ["over_used"]),
        ("active", {"used": 1}, 0, ["used_unseen"]),
        ("retired", {}, 0, ["still_usable"]),
        ("retired", None, 0, []),
    ],
)
def test_the_drift_check_finds_each_change(
    state: str, altered: dict[str, object] | None, orders: int, kinds: list[str]
) -> None:
    usual: dict[str, Any] = {
        "store_id": "7", "code": "ab12", "kind": CouponKind.FIXED_AMOUNT, "value": "5.00", "currency": "EUR",
        "usage_limit": 1, "used": 0, "expires_at": datetime(2999, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    found = None
    if altered is not None:
        fields = {**usual, **altered}
        fields |= {name: Decimal(fields[name]) for name in ("value", "minimum_spend") if fields.get(name)}
        found = StoreCoupon(**fields)
    assert [finding.kind for finding in find_drift("ab12", state, ISSUED_SPEC, orders, found)] == kinds


@pytest.mark.parametrize(("variants", "findings"), [(("71",), 0), ((), 1), (("71", "72"), 1)])
def test_the_drift_check_finds_other_variants(variants: tuple[str, ...], findings: int) -> None:
    found = StoreCoupon(
        "7", "ab12", CouponKind.FIXED_AMOUNT, Decimal("5.00"), "EUR", variant_ids=variants, usage_limit=1
    )
    spec = {**ISSUED_SPEC, "expires_at": None, "variant_ids": ["71"]}
    assert len(find_drift("ab12", "active", spec, 0, found)) == findings
