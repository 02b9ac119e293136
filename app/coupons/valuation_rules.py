"""What a redemption is worth, or why that is unknown. Pure. Money is Decimal and is rounded down, never up.

The first source that has the value counts:

    operator   the value that an operator set for this coupon (`valuation.py`)
    embedded   the webhook's own redeemRule (or its reward, for referrals and tiers), when it contains the value
    rule       the operator's reward rule: the version at the time of the redemption, else the current one
    launcher   the Platform's redeem rule, read from the Launcher

If the webhook's value is unusable (zero, above the limit, another kind than the webhook's), only the operator's rule overrules it.
A redemption without a value waits. No value is guessed, and no redemption is dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from typing import Literal

from platform_relay.core.currencies import currency_places
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.reward_rules import OperatorRule, rule_key
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import AMOUNTS, NEEDS_VALUE, PlatformRule, RewardKind, reward_kind
from platform_relay.setting_groups import CouponSettings

Source = Literal["embedded", "rule", "launcher", "operator"]


@dataclass(frozen=True, slots=True)
class RewardValue:
    """What the coupon gives, and where that comes from.

    `value` is an amount of `currency` (None: the store's currency, which the relay does not know) or a percentage.
    `derivation` is for people: the rule and the calculation. `rule_version` is the version of the operator's rule.
    """

    kind: RewardKind
    value: Decimal | None
    currency: str | None
    source: Source
    derivation: str
    rule_id: str | None
    rule_version: int | None = None
    product_ids: tuple[str, ...] = ()
    variant_ids: tuple[str, ...] = ()
    minimum_spend: Decimal | None = None
    expires_after: timedelta | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class NoValue:
    """Why there is no value, and the key that an operator's rule wakes."""

    reason: Reason
    key: str


def value_by_operator(
    redemption: Redemption, kind: RewardKind, value: Decimal | None, currency: str | None, derivation: str
) -> RewardValue:
    """The value that an operator set for this one coupon."""
    if value is not None and kind in AMOUNTS:
        value = _rounded(value, currency_places(currency), ROUND_DOWN)
    return RewardValue(kind, value, currency, "operator", derivation, redemption.rule_id)


def with_rule_limits(embedded: RewardValue, rules: RewardValue) -> RewardValue:
    """A webhook's own value with the limits of its rule, where the webhook has none: it seldom repeats them. The variants of
    the rule also narrow down a product of the webhook."""
    named = embedded if embedded.variant_ids or (embedded.product_ids and not rules.variant_ids) else rules
    return replace(
        embedded,
        product_ids=named.product_ids,
        variant_ids=named.variant_ids,
        minimum_spend=embedded.minimum_spend or rules.minimum_spend,
        expires_after=embedded.expires_after or rules.expires_after,
        title=embedded.title or rules.title,
    )


def find_value(
    redemption: Redemption,
    *,
    operator_rule: OperatorRule | None,
    launcher_rules: Iterable[PlatformRule],
    settings: CouponSettings,
    store_currency: str | None = None,
) -> RewardValue | NoValue:
    """The value of a redemption.

    `operator_rule` is the rule of `redemption.rule_id`. `store_currency` (ISO 4217) is the one that the Platform names.
    """
    context = _Context(redemption, store_currency or settings.currency, settings.max_value)
    launcher_rule = {rule.id: rule for rule in launcher_rules if rule.id}.get(redemption.rule_id or "")
    unusable: Reason | None = None
    try:
        if redemption.embedded and (value := _by_platform(redemption.embedded, "embedded", context)):
            if operator_rule is None and launcher_rule is not None and not _as_narrow(value, launcher_rule):
                _check_restrictions(launcher_rule, f"the Platform's redeem rule {launcher_rule.id}")
            return _checked(value, context)
    except _UnusableError as error:
        unusable = error.reason
    try:
        if operator_rule:
            return _checked(_by_operator_rule(operator_rule, context), context)
        if unusable is None and launcher_rule and (value := _by_platform(launcher_rule, "launcher", context)):
            return _checked(value, context)
    except _UnusableError as error:
        unusable = error.reason
    return NoValue(unusable or _no_value(redemption), rule_key(redemption.rule_id))


def _no_value(redemption: Redemption) -> Reason:
    if redemption.rule_id is None:
        return because(ReasonCode.NO_VALUE, what="a redemption whose webhook names neither a rule nor a value")
    return because(ReasonCode.NO_VALUE, rule=redemption.rule_id)


# ----------------------------------------------------------------------------------------------- one source


class _UnusableError(Exception):
    """A source's value cannot be used. Never leaves this module."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.code)
        self.reason = reason


def _unclear(explanation: str) -> _UnusableError:
    return _UnusableError(because(ReasonCode.VALUE_UNCERTAIN, explanation=explanation))


@dataclass(frozen=True, slots=True)
class _Context:
    redemption: Redemption
    currency: str | None
    max_value: int


def _by_platform(rule: PlatformRule, source: Source, context: _Context) -> RewardValue | None:
    """None when this source does not have the value."""
    named = "the Platform's redeem rule" if source == "launcher" else "the webhook's rule"
    name = f"{named} {rule.id or context.redemption.rule_id or ''}".rstrip()
    kind = _kind(rule, context.redemption, name)
    if not rule.active:
        raise _unclear(f"{name} is not active")
    if not rule.has_value or (kind in NEEDS_VALUE and rule.value is None):
        return None
    _check_restrictions(rule, name)
    value, derivation = None, name
    if kind is RewardKind.FREE_PRODUCT:
        _check_product(rule, name)
    elif kind in NEEDS_VALUE and rule.value is not None:
        value, derivation = rule.value, f"{name}: {rule.value}"
        if rule.increments:
            limits = rule.min_points, rule.max_points
            value, derivation = _scaled(value, rule.point_cost, limits, name, context.redemption)
        elif rule.increments is None and rule.point_cost is not None and context.redemption.points != rule.point_cost:
            return None  # it may be one step of a rule with increments: another source must have the value
    return RewardValue(
        kind,
        value,
        context.currency,
        source,
        derivation,
        context.redemption.rule_id,
        product_ids=rule.product_ids,
        variant_ids=rule.variant_ids,
        minimum_spend=rule.minimum_spend,
        title=rule.title,
    )


def _kind(rule: PlatformRule, redemption: Redemption, name: str) -> RewardKind:
    kind = rule.kind if redemption.reward_type is None else reward_kind(redemption.reward_type)
    if kind is None:
        raise _unclear(f"the relay does not know rewards of the kind {redemption.reward_type or 'none'}")
    if rule.kind not in (None, kind):
        raise _unclear(f"the webhook names the kind {kind}, {name} the kind {rule.kind}")
    return kind


def _as_narrow(embedded: RewardValue, rule: PlatformRule) -> bool:
    """Whether the webhook itself names what its rule is restricted to, so that the rule need not."""
    return bool(embedded.variant_ids or (embedded.product_ids and rule.unidentified != "variants"))


def _check_restrictions(rule: PlatformRule, name: str) -> None:
    if rule.unidentified:
        explanation = f"{name} is restricted by its {rule.unidentified}, and does not name the store's id of each"
        members = "rule.productId, ruleVariant.id"
        raise _UnusableError(
            because(ReasonCode.VALUE_UNCERTAIN, explanation=explanation, field=rule.unidentified, members=members)
        )


def _check_product(rule: PlatformRule, name: str) -> None:
    if rule.value not in (None, 100):
        raise _unclear(f"{name} gives {rule.value} off a product, which may be a percentage or an amount")
    if not (rule.product_ids or rule.variant_ids):
        raise _unclear(f"{name} names no product of the store")


def _by_operator_rule(rule: OperatorRule, context: _Context) -> RewardValue:
    defined, name = rule.definition, f"the operator's rule {rule.id}, version {rule.version}"
    if not defined.active:
        raise _unclear(f"{name}, is switched off")
    if defined.currency and context.currency and defined.currency != context.currency:
        facts = {"code": context.redemption.code, "ordered": defined.currency, "currency": context.currency}
        raise _UnusableError(because(ReasonCode.CURRENCY_MISMATCH, destination="the store", rule=rule.id, **facts))
    value, derivation = defined.value, name if defined.value is None else f"{name}: {defined.value}"
    if value is not None and defined.increments:
        cost = None if defined.point_cost is None else Decimal(defined.point_cost)
        limits = defined.min_points, defined.max_points
        value, derivation = _scaled(value, cost, limits, name, context.redemption)
    return RewardValue(
        defined.kind,
        value,
        defined.currency or context.currency,
        "rule",
        derivation,
        rule.id,
        rule.version,
        defined.product_ids,
        defined.variant_ids,
        defined.minimum_spend,
        defined.expires_after,
        defined.title,
    )


def _scaled(
    value: Decimal,
    cost: Decimal | None,
    limits: tuple[Decimal | int | None, Decimal | int | None],
    name: str,
    redemption: Redemption,
) -> tuple[Decimal, str]:
    """points * value / cost, and the calculation for people. `limits`: the minimum and maximum number of points."""
    points, (minimum, maximum) = redemption.points, limits
    if points is None:
        raise _unclear(f"the value by {name} grows with the points, and the webhook names no points")
    if cost is None or cost <= 0:
        raise _unclear(f"the value by {name} grows with the points, and the rule has no cost")
    if minimum is not None and points < minimum:
        raise _unclear(f"{points} points are fewer than the {minimum} that {name} requires")
    if maximum is not None and points > maximum:
        raise _unclear(f"{points} points are more than the {maximum} that {name} allows")
    with localcontext() as context:
        context.prec, context.rounding = 60, ROUND_DOWN
        return points * value / cost, f"{name}: {points} points * {value} / {cost}"


# ----------------------------------------------------------------------------------------------- the result


def _checked(reward: RewardValue, context: _Context) -> RewardValue:
    """The value rounded to the decimal places of its currency. Raises _UnusableError for zero and above the limit."""
    places = currency_places(reward.currency)
    value = reward.value
    if value is not None and value > 0 and reward.kind is RewardKind.PERCENTAGE:
        if value > 100:
            raise _unclear(f"{reward.derivation} is above 100 per cent")
        value = _rounded(value, min(2, _places_of(value)), ROUND_DOWN)
    elif value is not None:
        if value > context.max_value:
            source, limit = reward.derivation, context.max_value
            raise _UnusableError(because(ReasonCode.VALUE_ABOVE_LIMIT, value=f"{value:f}", limit=limit, source=source))
        value = _rounded(value, places, ROUND_DOWN)
    if value is not None and value <= 0:
        raise _UnusableError(because(ReasonCode.VALUE_ZERO, value=f"{value:f}", source=reward.derivation))
    spend = reward.minimum_spend
    spend = _rounded(spend, places, ROUND_UP) if spend is not None and spend > 0 else None
    return replace(reward, value=value, minimum_spend=spend)


def _places_of(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _rounded(value: Decimal, places: int, rounding: str) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        return value.quantize(Decimal(1).scaleb(-places), rounding=rounding)
