"""What a redemption is worth: the order of the sources, and what is never made."""

from decimal import Decimal
from typing import Any  # a rule's body is whatever the Platform sends

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from platform_relay.core.currencies import currency_places
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.platform import exact
from platform_relay.platform.fields import ASSUMED
from platform_relay.platform.rewards import Redemption, Unvalued, Valued, resolve
from platform_relay.platform.rules import (
    OperatorRule,
    PlatformRule,
    RewardKind,
    RewardRuleDefinition,
    is_donation,
    platform_rule,
    reward_kind,
)
from platform_relay.settings import CouponSettings
from platform_relay.stores.base import CouponKind

SETTINGS = CouponSettings(max_value=100)


def rule(**members: Any) -> PlatformRule:
    found = platform_rule({"id": "r1", "status": "active", "redeemType": "fixed", "pointCost": 500, **members}, ASSUMED)
    assert found is not None
    return found


def operator(version: int = 1, **members: Any) -> OperatorRule:
    return OperatorRule("r1", version, RewardRuleDefinition.model_validate(members))


def redemption(reward_type: str | None = "amountdiscount", **members: Any) -> Redemption:
    return Redemption("ab12", "p1", reward_type, **{"rule_id": "r1", "points": 500, **members})


def value(
    asked: Redemption,
    operator_rule: OperatorRule | None = None,
    launcher: PlatformRule | None = None,
    currency: str | None = "EUR",
) -> Valued | Unvalued:
    rules = (launcher,) if launcher else ()
    return resolve(asked, operator_rule=operator_rule, launcher_rules=rules, settings=SETTINGS, shop_currency=currency)


FIVE = operator(version=3, kind="fixed_amount", value="5")


def test_the_words_are_those_of_the_shops() -> None:
    assert [kind.value for kind in RewardKind] == [kind.value for kind in CouponKind]


def test_the_first_source_that_tells_the_value_counts() -> None:
    embedded = redemption(embedded=rule(discountValue=Decimal("7.5")))
    told = value(embedded, FIVE, rule(discountValue=9))
    assert isinstance(told, Valued)
    assert (told.value, told.source, told.rule_version) == (Decimal("7.50"), "embedded", None)
    told = value(redemption(embedded=rule()), FIVE, rule(discountValue=9))
    assert isinstance(told, Valued)
    assert (told.value, told.source, told.rule_version) == (Decimal("5.00"), "rule", 3)
    told = value(redemption(), None, rule(discountValue=9))
    assert isinstance(told, Valued)
    assert (told.value, told.source, told.currency) == (Decimal("9.00"), "launcher", "EUR")
    assert told.derivation == "the launcher rule r1: 9"


def test_without_any_value_it_waits_for_its_rule() -> None:
    told = value(redemption())
    assert isinstance(told, Unvalued)
    assert told.key == "reward-rule:r1"
    assert told.reason == because(ReasonCode.NO_VALUE, rule="r1")
    nameless = value(redemption(rule_id=None))
    assert isinstance(nameless, Unvalued)
    assert nameless.key == "reward-rule:none"
    assert nameless.reason.code is ReasonCode.NO_VALUE
    assert "rule" not in nameless.reason.facts


def test_a_rule_of_another_id_tells_nothing() -> None:
    assert isinstance(value(redemption(rule_id="r2"), None, rule(discountValue=9)), Unvalued)


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
            {"explanation": "the embedded rule r1 is not active"},
        ),
        (
            {"discountValue": 5, "templateName": "percentageoff"},
            ReasonCode.VALUE_UNCERTAIN,
            {"explanation": "the webhook names the kind fixed_amount, the embedded rule r1 the kind percentage"},
        ),
    ],
)
def test_an_unusable_value_is_never_made_and_only_the_operator_overrules_it(
    members: dict[str, Any], code: ReasonCode, facts: dict[str, Any]
) -> None:
    asked = redemption(embedded=rule(**members))
    told = value(asked, None, rule(discountValue=5))
    assert isinstance(told, Unvalued)
    assert told.reason.code is code
    assert told.reason.facts.items() >= facts.items()
    overruled = value(asked, FIVE)
    assert isinstance(overruled, Valued)
    assert overruled.value == 5


def test_increments_grow_with_the_points_within_their_limits() -> None:
    per_100 = rule(
        discountValue=1, pointCost=100, redeemType="increments", minRedeemablePoints=100, maxRedeemablePoints=2000
    )
    told = value(redemption(points=750), None, per_100)
    assert isinstance(told, Valued)
    assert told.value == Decimal("7.50")
    for points in (99, 2001, None):
        told = value(redemption(points=points), None, per_100)
        assert isinstance(told, Unvalued)
        assert told.reason.code is ReasonCode.VALUE_UNCERTAIN
    thirds = operator(kind="fixed_amount", value="1", increments=True, point_cost=3)
    told = value(redemption(points=2), thirds)
    assert isinstance(told, Valued)
    assert told.value == Decimal("0.66"), "rounded down, never up"


def test_an_embedded_rule_that_may_be_one_step_of_many_is_not_believed() -> None:
    vague = platform_rule({"pointCost": 100, "discountValue": 1}, ASSUMED)
    assert isinstance(value(redemption(points=500, embedded=vague)), Unvalued)
    assert isinstance(value(redemption(points=100, embedded=vague)), Valued)


@pytest.mark.parametrize(
    ("currency", "places"), [("JPY", "5"), ("EUR", "5.43"), ("KWD", "5.432"), (None, "5.43"), ("CLF", "5.4321")]
)
def test_a_value_has_the_places_of_its_currency(currency: str | None, places: str) -> None:
    told = value(redemption(), None, rule(discountValue=Decimal("5.43219")), currency)
    assert isinstance(told, Valued)
    assert str(told.value) == places


def test_the_shops_currency_is_the_platforms_word_before_the_setting() -> None:
    for said, expected in (("USD", "USD"), (None, "EUR")):
        told = resolve(
            redemption(),
            operator_rule=FIVE,
            launcher_rules=(),
            settings=CouponSettings(currency="EUR"),
            shop_currency=said,
        )
        assert isinstance(told, Valued)
        assert told.currency == expected
    wrong = value(redemption(), operator(kind="fixed_amount", value="5", currency="USD"))
    assert isinstance(wrong, Unvalued)
    assert wrong.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert wrong.reason.facts.items() >= {"code": "ab12", "ordered": "USD", "currency": "EUR"}.items()


@pytest.mark.parametrize(
    ("told", "products", "variants"),
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
    told: dict[str, Any], products: tuple[str, ...], variants: tuple[str, ...]
) -> None:
    found = value(redemption(), None, rule(discountValue=5, **told))
    assert isinstance(found, Valued)
    assert (found.product_ids, found.variant_ids) == (products, variants)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"product": {"id": "0192f0c1", "title": "Mug"}}, "product"),
        ({"product": "43"}, "product"),
        ({"product": {"externalId": 43}, "variants": [{"externalId": "43-red"}, {"id": "0192f0c1"}]}, "variants"),
        ({"variants": ["43-red"]}, "variants"),
        ({"variants": {"nodes": [{"externalId": "43-red"}]}}, "variants"),
    ],
)
def test_a_restriction_that_is_not_understood_is_never_left_out(told: dict[str, Any], field: str) -> None:
    for asked, launcher in (
        (redemption(), rule(discountValue=5, **told)),
        (redemption(embedded=rule(discountValue=5, **told)), None),
        (redemption(embedded=rule(discountValue=5)), rule(discountValue=5, **told)),
    ):
        found = value(asked, None, launcher)
        assert isinstance(found, Unvalued)
        assert found.reason.code is ReasonCode.VALUE_UNCERTAIN
        assert found.reason.facts["field"] == field
        assert isinstance(value(asked, FIVE, launcher), Valued), "the operator knows what it is for"


@pytest.mark.parametrize(
    ("told", "listed", "counts"),
    [
        ({"variants": [{"externalId": 7}]}, {"variants": [{"title": "Red"}]}, True),
        ({"product": {"externalId": 43}}, {"variants": [{"title": "Red"}]}, False),
        ({"product": {"externalId": 43}}, {"product": {"title": "Mug"}}, True),
        ({}, {"product": {"title": "Mug"}}, False),
    ],
)
def test_a_webhook_may_name_what_its_rule_does_not(told: dict[str, Any], listed: dict[str, Any], counts: bool) -> None:
    found = value(redemption(embedded=rule(discountValue=5, **told)), None, rule(discountValue=5, **listed))
    assert isinstance(found, Valued) is counts


def test_the_operator_names_variants() -> None:
    found = value(redemption(), operator(kind="free_product", variant_ids=["43-red"]))
    assert isinstance(found, Valued)
    assert (found.product_ids, found.variant_ids) == ((), ("43-red",))


@pytest.mark.parametrize(("percent", "code"), [(101, ReasonCode.VALUE_UNCERTAIN), (0, ReasonCode.VALUE_ZERO)])
def test_a_percentage_is_above_0_and_at_most_100(percent: int, code: ReasonCode) -> None:
    told = value(redemption("percentageoff"), None, rule(discountValue=percent))
    assert isinstance(told, Unvalued)
    assert told.reason.code is code


def test_kinds_without_a_value_take_their_conditions_from_a_rule() -> None:
    assert isinstance(value(redemption("freeshipping")), Unvalued), "its conditions are not known"
    told = value(redemption("freeshipping"), None, rule(discountValue=None, minSpendAmount=30))
    assert isinstance(told, Valued)
    assert (told.kind, told.value, told.minimum_spend) == (RewardKind.FREE_SHIPPING, None, Decimal("30.00"))
    mug = rule(discountValue=100, product={"externalId": 43})
    told = value(redemption("productdiscount"), None, mug)
    assert isinstance(told, Valued)
    assert (told.kind, told.product_ids) == (RewardKind.FREE_PRODUCT, ("43",))
    assert isinstance(value(redemption("productdiscount"), None, rule(discountValue=100)), Unvalued)
    assert isinstance(
        value(redemption("productdiscount"), None, rule(discountValue=5, product={"externalId": 43})), Unvalued
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


def test_a_kind_nobody_knows_is_for_the_operator() -> None:
    assert isinstance(value(redemption("mystery"), None, rule(discountValue=5)), Unvalued)
    assert isinstance(value(redemption("mystery"), FIVE), Valued)
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
    told_rule = rule(discountValue=amount, pointCost=cost, redeemType="increments" if increments else "fixed")
    told = value(redemption(kind, points=points), None, told_rule, currency)
    if isinstance(told, Valued):
        assert told.value is not None
        assert 0 < told.value <= SETTINGS.max_value
        exponent = told.value.as_tuple().exponent
        assert isinstance(exponent, int)
        assert -exponent <= (2 if kind == "percentageoff" else currency_places(currency))
        exactly = Decimal(amount) * (points or 0) / cost if increments else Decimal(amount)
        assert told.value <= exactly


@pytest.mark.parametrize(
    ("definition", "telling"),
    [
        ({"kind": "fixed_amount"}, "value"),
        ({"kind": "fixed_amount", "value": "0"}, "value"),
        ({"kind": "fixed_amount", "value": 5.123456}, "value"),
        ({"kind": "percentage", "value": "101"}, "at most 100"),
        ({"kind": "free_shipping", "value": "5"}, "has none"),
        ({"kind": "free_product"}, "product_ids"),
        ({"kind": "fixed_amount", "value": "1", "product_ids": ["1"], "variant_ids": ["11"]}, "variant_ids"),
        ({"kind": "fixed_amount", "value": "1", "increments": True}, "point_cost"),
        ({"kind": "fixed_amount", "value": "1", "min_points": 5, "max_points": 4}, "min_points"),
        ({"kind": "fixed_amount", "value": "1", "expires_after": "PT0S"}, "expires_after"),
        ({"kind": "fixed_amount", "value": "1", "colour": "red"}, "colour"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(definition: dict[str, object], telling: str) -> None:
    with pytest.raises(ValidationError, match=telling):
        RewardRuleDefinition.model_validate(definition)


def test_a_definition_survives_being_stored() -> None:
    made = RewardRuleDefinition.model_validate(
        {"kind": "fixed_amount", "value": "5.50", "expires_after": "P90D", "product_ids": [43]}
    )
    assert RewardRuleDefinition.model_validate_json(made.model_dump_json()) == made
    assert made.product_ids == ("43",)


@pytest.mark.parametrize("raw", [b"NaN", b"[" * 100_000, b'{"a": Infinity}', b"", b"\xff"])
def test_exact_json_refuses_what_is_none(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any ValueError is the promise
        exact.loads(raw)
