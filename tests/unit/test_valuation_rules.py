"""The value of a redemption: the order of its sources, and values that are never issued."""

from decimal import Decimal
from typing import Any  # a rule's body is whatever the Platform sends

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from platform_relay.core import exact_json
from platform_relay.core.currencies import currency_places
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.reward_rules import OperatorRule, RewardRuleDefinition
from platform_relay.coupons.valuation_rules import NoValue, RewardValue, find_value
from platform_relay.platform.fields import ASSUMED
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import PlatformRule, RewardKind, is_donation, platform_rule, reward_kind
from platform_relay.setting_groups import CouponSettings
from platform_relay.stores.base import CouponKind

SETTINGS = CouponSettings(max_value=100)


def rule(**members: Any) -> PlatformRule:
    parsed = platform_rule(
        {"id": "r1", "status": "active", "redeemType": "fixed", "pointCost": 500, **members}, ASSUMED
    )
    assert parsed is not None
    return parsed


def operator(version: int = 1, **members: Any) -> OperatorRule:
    return OperatorRule("r1", version, RewardRuleDefinition.model_validate(members))


def redemption(reward_type: str | None = "amountdiscount", **members: Any) -> Redemption:
    return Redemption("ab12", "p1", reward_type, **{"rule_id": "r1", "points": 500, **members})


def value(
    redeemed: Redemption,
    operator_rule: OperatorRule | None = None,
    launcher: PlatformRule | None = None,
    currency: str | None = "EUR",
) -> RewardValue | NoValue:
    rules = (launcher,) if launcher else ()
    return find_value(
        redeemed, operator_rule=operator_rule, launcher_rules=rules, settings=SETTINGS, store_currency=currency
    )


FIVE = operator(version=3, kind="fixed_amount", value="5")


def test_the_kinds_are_those_of_the_stores() -> None:
    assert [kind.value for kind in RewardKind] == [kind.value for kind in CouponKind]


def test_the_first_source_with_a_value_counts() -> None:
    embedded = redemption(embedded=rule(discountValue=Decimal("7.5")))
    result = value(embedded, FIVE, rule(discountValue=9))
    assert isinstance(result, RewardValue)
    assert (result.value, result.source, result.rule_version) == (Decimal("7.50"), "embedded", None)
    result = value(redemption(embedded=rule()), FIVE, rule(discountValue=9))
    assert isinstance(result, RewardValue)
    assert (result.value, result.source, result.rule_version) == (Decimal("5.00"), "rule", 3)
    result = value(redemption(), None, rule(discountValue=9))
    assert isinstance(result, RewardValue)
    assert (result.value, result.source, result.currency) == (Decimal("9.00"), "launcher", "EUR")
    assert result.derivation == "the Platform's redeem rule r1: 9"


def test_a_redemption_without_a_value_waits_for_a_rule() -> None:
    result = value(redemption())
    assert isinstance(result, NoValue)
    assert result.key == "reward-rule:r1"
    assert result.reason == because(ReasonCode.NO_VALUE, rule="r1")
    nameless = value(redemption(rule_id=None))
    assert isinstance(nameless, NoValue)
    assert nameless.key == "reward-rule:none"
    assert nameless.reason.code is ReasonCode.NO_VALUE
    assert "rule" not in nameless.reason.facts


def test_a_rule_with_another_id_gives_no_value() -> None:
    assert isinstance(value(redemption(rule_id="r2"), None, rule(discountValue=9)), NoValue)


@pytest.mark.parametrize(
    ("members", "code", "facts"),
    [
        ({"discountValue": 0}, ReasonCode.VALUE_ZERO, {"value": "0.00"}),
        ({"discountValue": -5}, ReasonCode.VALUE_ZERO, {"value": "-5.00"}),
        ({"discountValue": Decimal("0.004")}, ReasonCode.VALUE_ZERO, {"value": "0.00"}),
        ({"discountValue": 101}, ReasonCode.VALUE_ABOVE_LIMIT, {"value": "101", "limit": 100}),
        (
            {"discountValue": 5, "status": "INACTIVE"},
            ReasonCode.VALUE_UNCERTAIN,
            {"explanation": "the webhook's rule r1 is not active"},
        ),
        (
            {"discountValue": 5, "templateName": "percentageoff"},
            ReasonCode.VALUE_UNCERTAIN,
            {"explanation": "the webhook names the kind fixed_amount, the webhook's rule r1 the kind percentage"},
        ),
    ],
)
def test_only_the_operators_rule_overrules_an_unusable_value(
    members: dict[str, Any], code: ReasonCode, facts: dict[str, Any]
) -> None:
    redeemed = redemption(embedded=rule(**members))
    result = value(redeemed, None, rule(discountValue=5))
    assert isinstance(result, NoValue)
    assert result.reason.code is code
    assert result.reason.facts.items() >= facts.items()
    overruled = value(redeemed, FIVE)
    assert isinstance(overruled, RewardValue)
    assert overruled.value == 5


def test_increments_grow_with_the_points_within_their_limits() -> None:
    per_100 = rule(
        discountValue=1, pointCost=100, redeemType="increments", minRedeemablePoints=100, maxRedeemablePoints=2000
    )
    result = value(redemption(points=750), None, per_100)
    assert isinstance(result, RewardValue)
    assert result.value == Decimal("7.50")
    for points in (99, 2001, None):
        result = value(redemption(points=points), None, per_100)
        assert isinstance(result, NoValue)
        assert result.reason.code is ReasonCode.VALUE_UNCERTAIN
    thirds = operator(kind="fixed_amount", value="1", increments=True, point_cost=3)
    result = value(redemption(points=2), thirds)
    assert isinstance(result, RewardValue)
    assert result.value == Decimal("0.66"), "rounded down, never up"


def test_an_embedded_rule_that_may_be_one_of_several_steps_gives_no_value() -> None:
    vague = platform_rule({"pointCost": 100, "discountValue": 1}, ASSUMED)
    assert isinstance(value(redemption(points=500, embedded=vague)), NoValue)
    assert isinstance(value(redemption(points=100, embedded=vague)), RewardValue)


@pytest.mark.parametrize(
    ("currency", "places"), [("JPY", "5"), ("EUR", "5.43"), ("KWD", "5.432"), (None, "5.43"), ("CLF", "5.4321")]
)
def test_a_value_has_the_decimal_places_of_its_currency(currency: str | None, places: str) -> None:
    result = value(redemption(), None, rule(discountValue=Decimal("5.43219")), currency)
    assert isinstance(result, RewardValue)
    assert str(result.value) == places


def test_the_platforms_currency_comes_before_the_setting() -> None:
    for named, expected in (("USD", "USD"), (None, "EUR")):
        result = find_value(
            redemption(),
            operator_rule=FIVE,
            launcher_rules=(),
            settings=CouponSettings(currency="EUR"),
            store_currency=named,
        )
        assert isinstance(result, RewardValue)
        assert result.currency == expected
    wrong = value(redemption(), operator(kind="fixed_amount", value="5", currency="USD"))
    assert isinstance(wrong, NoValue)
    assert wrong.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert wrong.reason.facts.items() >= {"code": "ab12", "ordered": "USD", "currency": "EUR"}.items()


@pytest.mark.parametrize(
    ("members", "products", "variants"),
    [
        ({"product": {"externalId": 43}}, ("43",), ()),
        ({"variants": [{"externalId": "43-red"}, {"externalId": 7}]}, (), ("43-red", "7")),
        ({"product": {"externalId": 43}, "variants": [{"externalId": "43-red"}]}, (), ("43-red",)),
        ({"product": {"title": "Mug"}, "variants": [{"externalId": "43-red"}]}, (), ("43-red",)),
        ({"product": {"externalId": 43}, "variants": []}, ("43",), ()),
        ({"product": None, "variants": {}}, (), ()),
    ],
)
def test_variants_narrow_the_product(
    members: dict[str, Any], products: tuple[str, ...], variants: tuple[str, ...]
) -> None:
    result = value(redemption(), None, rule(discountValue=5, **members))
    assert isinstance(result, RewardValue)
    assert (result.product_ids, result.variant_ids) == (products, variants)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"product": {"id": "0192f0c1", "title": "Mug"}}, "product"),
        ({"product": "43"}, "product"),
        ({"product": {"externalId": 43}, "variants": [{"externalId": "43-red"}, {"id": "0192f0c1"}]}, "variants"),
        ({"variants": ["43-red"]}, "variants"),
        ({"variants": {"nodes": [{"externalId": "43-red"}]}}, "variants"),
    ],
)
def test_an_unknown_restriction_is_never_left_out(members: dict[str, Any], field: str) -> None:
    for redeemed, launcher in (
        (redemption(), rule(discountValue=5, **members)),
        (redemption(embedded=rule(discountValue=5, **members)), None),
        (redemption(embedded=rule(discountValue=5)), rule(discountValue=5, **members)),
    ):
        result = value(redeemed, None, launcher)
        assert isinstance(result, NoValue)
        assert result.reason.code is ReasonCode.VALUE_UNCERTAIN
        assert result.reason.facts["field"] == field
        assert isinstance(value(redeemed, FIVE, launcher), RewardValue), "the operator knows what it is for"


@pytest.mark.parametrize(
    ("members", "listed", "counts"),
    [
        ({"variants": [{"externalId": 7}]}, {"variants": [{"title": "Red"}]}, True),
        ({"product": {"externalId": 43}}, {"variants": [{"title": "Red"}]}, False),
        ({"product": {"externalId": 43}}, {"product": {"title": "Mug"}}, True),
        ({}, {"product": {"title": "Mug"}}, False),
    ],
)
def test_a_webhook_may_name_what_its_rule_does_not(
    members: dict[str, Any], listed: dict[str, Any], counts: bool
) -> None:
    result = value(redemption(embedded=rule(discountValue=5, **members)), None, rule(discountValue=5, **listed))
    assert isinstance(result, RewardValue) is counts


def test_the_operator_names_variants() -> None:
    result = value(redemption(), operator(kind="free_product", variant_ids=["43-red"]))
    assert isinstance(result, RewardValue)
    assert (result.product_ids, result.variant_ids) == ((), ("43-red",))


@pytest.mark.parametrize(("percent", "code"), [(101, ReasonCode.VALUE_UNCERTAIN), (0, ReasonCode.VALUE_ZERO)])
def test_a_percentage_is_above_0_and_at_most_100(percent: int, code: ReasonCode) -> None:
    result = value(redemption("percentageoff"), None, rule(discountValue=percent))
    assert isinstance(result, NoValue)
    assert result.reason.code is code


def test_kinds_without_a_value_take_their_conditions_from_a_rule() -> None:
    assert isinstance(value(redemption("freeshipping")), NoValue), "its conditions are not known"
    result = value(redemption("freeshipping"), None, rule(discountValue=None, minSpendAmount=30))
    assert isinstance(result, RewardValue)
    assert (result.kind, result.value, result.minimum_spend) == (RewardKind.FREE_SHIPPING, None, Decimal("30.00"))
    mug = rule(discountValue=100, product={"externalId": 43})
    result = value(redemption("productdiscount"), None, mug)
    assert isinstance(result, RewardValue)
    assert (result.kind, result.product_ids) == (RewardKind.FREE_PRODUCT, ("43",))
    assert isinstance(value(redemption("productdiscount"), None, rule(discountValue=100)), NoValue)
    assert isinstance(
        value(redemption("productdiscount"), None, rule(discountValue=5, product={"externalId": 43})), NoValue
    )


@pytest.mark.parametrize(
    ("reward_type", "kind"),
    [
        ("amountdiscount", RewardKind.FIXED_AMOUNT),
        ("fixedAmountDiscount", RewardKind.FIXED_AMOUNT),
        ("pos_percentageoff", RewardKind.PERCENTAGE),
        ("subscription_freeshipping", RewardKind.FREE_SHIPPING),
        ("subscriptionproductdiscount", RewardKind.FREE_PRODUCT),
        ("giftcard", RewardKind.GIFT_CARD),
        ("mystery", None),
        (None, None),
    ],
)
def test_kinds_of_the_platform(reward_type: str | None, kind: RewardKind | None) -> None:
    assert reward_kind(reward_type) is kind


def test_an_unknown_kind_waits_for_an_operator() -> None:
    assert isinstance(value(redemption("mystery"), None, rule(discountValue=5)), NoValue)
    assert isinstance(value(redemption("mystery"), FIVE), RewardValue)
    assert is_donation("pos_pointdonation")


@given(
    amount=st.decimals(allow_nan=True, allow_infinity=True) | st.integers(),
    points=st.none() | st.integers(0, 10**15),
    cost=st.integers(-5, 10**9),
    kind=st.sampled_from(["amountdiscount", "percentageoff", "giftcard"]),
    increments=st.booleans(),
    currency=st.sampled_from([None, "EUR", "JPY", "KWD"]),
)
def test_no_value_is_ever_zero_over_the_limit_or_finer_than_its_currency(
    amount: Decimal | int, points: int | None, cost: int, kind: str, increments: bool, currency: str | None
) -> None:
    reward_rule = rule(discountValue=amount, pointCost=cost, redeemType="increments" if increments else "fixed")
    result = value(redemption(kind, points=points), None, reward_rule, currency)
    if isinstance(result, RewardValue):
        assert result.value is not None
        assert 0 < result.value <= SETTINGS.max_value
        exponent = result.value.as_tuple().exponent
        assert isinstance(exponent, int)
        assert -exponent <= (2 if kind == "percentageoff" else currency_places(currency))
        exactly = Decimal(amount) * (points or 0) / cost if increments else Decimal(amount)
        assert result.value <= exactly


@pytest.mark.parametrize(
    ("definition", "telling"),
    [
        ({"kind": "fixed_amount"}, "value"),
        ({"kind": "fixed_amount", "value": "0"}, "value"),
        ({"kind": "fixed_amount", "value": 5.123456}, "value"),
        ({"kind": "percentage", "value": "101"}, "at most 100"),
        ({"kind": "free_shipping", "value": "5"}, "has no value"),
        ({"kind": "free_product"}, "product_ids"),
        ({"kind": "fixed_amount", "value": "1", "product_ids": ["1"], "variant_ids": ["11"]}, "variant_ids"),
        ({"kind": "fixed_amount", "value": "1", "increments": True}, "point_cost"),
        ({"kind": "fixed_amount", "value": "1", "min_points": 5, "max_points": 4}, "min_points"),
        ({"kind": "fixed_amount", "value": "1", "expires_after": "PT0S"}, "expires_after"),
        ({"kind": "fixed_amount", "value": "1", "colour": "red"}, "colour"),
    ],
)
def test_an_inconsistent_definition_is_rejected(definition: dict[str, object], telling: str) -> None:
    with pytest.raises(ValidationError, match=telling):
        RewardRuleDefinition.model_validate(definition)


def test_a_definition_survives_being_stored() -> None:
    definition = RewardRuleDefinition.model_validate(
        {"kind": "fixed_amount", "value": "5.50", "expires_after": "P90D", "product_ids": [43]}
    )
    assert RewardRuleDefinition.model_validate_json(definition.model_dump_json()) == definition
    assert definition.product_ids == ("43",)


@pytest.mark.parametrize("raw", [b"NaN", b"[" * 100_000, b'{"a": Infinity}', b"", b"\xff"])
def test_exact_json_rejects_what_is_not_json(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any ValueError is the promise
        exact_json.loads(raw)
