"""What a redemption is worth, or why that is not known. Pure; money is Decimal and is rounded down, never up.

The value is looked for in this order, and the first source that has it counts:

    embedded   the webhook's own redeemRule (or its reward, for referrals and tiers), when it carries the value
    rule       the operator's rule
    launcher   the Launcher's public rule

A source with an unusable value (zero, above the limit, another kind than the webhook) is overruled by the operator only.
Without a value the redemption waits: nothing is guessed, nothing dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from typing import Literal

from platform_relay.core.currencies import currency_places
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.platform.rules import AMOUNTS, NEEDS_VALUE, OperatorRule, PlatformRule, RewardKind, reward_kind
from platform_relay.settings import CouponSettings

Source = Literal["embedded", "rule", "launcher", "operator"]


@dataclass(frozen=True, slots=True)
class Redemption:
    """One coupon that the Platform has promised to one person.

    `id` is the redemption's own (webhook body or reward), `rule_id` what an operator's rule is found by (for rewards
    without a rule of the Platform: `referral-customer`, `referral-friend`, `tier-entry`). `points` is never negative.
    """

    code: str
    id: str | None
    reward_type: str | None
    rule_id: str | None
    points: int | None = None
    customer_id: str | None = None
    email: str | None = None
    embedded: PlatformRule | None = None

    @property
    def identities(self) -> frozenset[str]:
        """What the person may be called by: the store's id, the e-mail in lower case."""
        return frozenset(name for name in (self.customer_id, self.email.lower() if self.email else None) if name)

    @property
    def customer_ref(self) -> str | None:
        """What the Platform knows the person by: the store's id, else the e-mail in lower case."""
        return self.customer_id or (self.email.lower() if self.email else None)


@dataclass(frozen=True, slots=True)
class Valued:
    """What the coupon gives, and where that comes from. `value` is an amount of `currency` (None: the store's, not known
    to us) or a percentage. `derivation` is for people: the rule and the calculation. `rule_version` is the operator's
    rule's."""

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
class Unvalued:
    """Why there is no value, and the key that is woken when an operator's rule arrives."""

    reason: Reason
    key: str


def ruled(
    redemption: Redemption, kind: RewardKind, value: Decimal | None, currency: str | None, derivation: str
) -> Valued:
    """The value that an operator set for this one coupon."""
    places = currency_places(currency)
    value = value if value is None or kind not in AMOUNTS else _rounded(value, places, ROUND_DOWN)
    return Valued(kind, value, currency, "operator", derivation, redemption.rule_id)


def limited(embedded: Valued, rules: Valued) -> Valued:
    """A webhook's own value, with the limits of the rule where the webhook names none: it seldom repeats them. Variants
    of the rule's narrow a product of the webhook's, too."""
    named = embedded if embedded.variant_ids or (embedded.product_ids and not rules.variant_ids) else rules
    return replace(
        embedded,
        product_ids=named.product_ids,
        variant_ids=named.variant_ids,
        minimum_spend=embedded.minimum_spend or rules.minimum_spend,
        expires_after=embedded.expires_after or rules.expires_after,
        title=embedded.title or rules.title,
    )


def rule_key(rule_id: str | None) -> str:
    """What a redemption without a value waits for (`Wait.key`)."""
    return f"reward-rule:{rule_id or 'none'}"


def resolve(
    redemption: Redemption,
    *,
    operator_rule: OperatorRule | None,
    launcher_rules: Iterable[PlatformRule],
    settings: CouponSettings,
    shop_currency: str | None = None,
) -> Valued | Unvalued:
    """The value of a redemption.

    `operator_rule` is the one of `redemption.rule_id`, `shop_currency` (ISO 4217) is the Platform's.
    """
    asked = _Asked(redemption, shop_currency or settings.currency, settings.max_value)
    listed = {rule.id: rule for rule in launcher_rules if rule.id is not None}
    launcher_rule = listed.get(redemption.rule_id or "")
    unusable: Reason | None = None
    try:
        if redemption.embedded and (valued := _by_platform(redemption.embedded, "embedded", asked)):
            if operator_rule is None and launcher_rule is not None and not _as_narrow(valued, launcher_rule):
                _check_names(launcher_rule, f"the launcher rule {launcher_rule.id}")
            return _checked(valued, asked)
    except _UnusableError as error:
        unusable = error.reason
    try:
        if operator_rule:
            return _checked(_by_operator(operator_rule, asked), asked)
        if unusable is None and launcher_rule and (valued := _by_platform(launcher_rule, "launcher", asked)):
            return _checked(valued, asked)
    except _UnusableError as error:
        unusable = error.reason
    return Unvalued(unusable or _unknown(redemption), rule_key(redemption.rule_id))


def _unknown(redemption: Redemption) -> Reason:
    if redemption.rule_id is None:
        return because(ReasonCode.NO_VALUE, what="a redemption whose webhook names neither a rule nor a value")
    return because(ReasonCode.NO_VALUE, rule=redemption.rule_id)


# ----------------------------------------------------------------------------------------------- one source


class _UnusableError(Exception):
    """A source's value cannot be used. Never leaves this module."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.code)
        self.reason = reason


def _uncertain(explanation: str) -> _UnusableError:
    return _UnusableError(because(ReasonCode.VALUE_UNCERTAIN, explanation=explanation))


@dataclass(frozen=True, slots=True)
class _Asked:
    redemption: Redemption
    currency: str | None
    limit: int


def _by_platform(rule: PlatformRule, source: Source, asked: _Asked) -> Valued | None:
    """None when this source does not have the value."""
    name = f"the {source} rule {rule.id or asked.redemption.rule_id or ''}".rstrip()
    kind = _kind(rule, asked.redemption, name)
    if not rule.active:
        raise _uncertain(f"{name} is not active")
    if not rule.tells_value or (kind in NEEDS_VALUE and rule.value is None):
        return None
    _check_names(rule, name)
    value, derivation = None, name
    if kind is RewardKind.FREE_PRODUCT:
        _check_product(rule, name)
    elif kind in NEEDS_VALUE and rule.value is not None:
        value, derivation = rule.value, f"{name}: {rule.value}"
        if rule.increments:
            limits = rule.min_points, rule.max_points
            value, derivation = _scaled(value, rule.point_cost, limits, name, asked.redemption)
        elif rule.increments is None and rule.point_cost is not None and asked.redemption.points != rule.point_cost:
            return None  # it may be one step of an increments rule: another source has to have the value
    return Valued(
        kind,
        value,
        asked.currency,
        source,
        derivation,
        asked.redemption.rule_id,
        product_ids=rule.product_ids,
        variant_ids=rule.variant_ids,
        minimum_spend=rule.minimum_spend,
        title=rule.title,
    )


def _kind(rule: PlatformRule, redemption: Redemption, name: str) -> RewardKind:
    kind = rule.kind if redemption.reward_type is None else reward_kind(redemption.reward_type)
    if kind is None:
        raise _uncertain(f"the relay does not know rewards of the kind {redemption.reward_type or 'none'}")
    if rule.kind not in (None, kind):
        raise _uncertain(f"the webhook names the kind {kind}, {name} the kind {rule.kind}")
    return kind


def _as_narrow(embedded: Valued, rule: PlatformRule) -> bool:
    """Whether a webhook itself names what its rule is restricted by, so that the rule need not."""
    return bool(embedded.variant_ids or (embedded.product_ids and rule.unnamed != "variants"))


def _check_names(rule: PlatformRule, name: str) -> None:
    if rule.unnamed:
        explanation = f"{name} is restricted by its {rule.unnamed}, and does not name the store's id of each"
        members = "rule.productId, ruleVariant.id"
        reason = because(ReasonCode.VALUE_UNCERTAIN, explanation=explanation, field=rule.unnamed, members=members)
        raise _UnusableError(reason)


def _check_product(rule: PlatformRule, name: str) -> None:
    if rule.value not in (None, 100):
        raise _uncertain(f"{name} gives {rule.value} off a product, which may be a percentage or an amount")
    if not (rule.product_ids or rule.variant_ids):
        raise _uncertain(f"{name} names no product of the shop")


def _by_operator(rule: OperatorRule, asked: _Asked) -> Valued:
    defined, name = rule.definition, f"the operator's rule {rule.id}, version {rule.version}"
    if not defined.active:
        raise _uncertain(f"{name}, is switched off")
    if defined.currency and asked.currency and defined.currency != asked.currency:
        facts = {"code": asked.redemption.code, "ordered": defined.currency, "currency": asked.currency}
        raise _UnusableError(because(ReasonCode.CURRENCY_MISMATCH, destination="the store", rule=rule.id, **facts))
    value, derivation = defined.value, name if defined.value is None else f"{name}: {defined.value}"
    if value is not None and defined.increments:
        cost = None if defined.point_cost is None else Decimal(defined.point_cost)
        limits = defined.min_points, defined.max_points
        value, derivation = _scaled(value, cost, limits, name, asked.redemption)
    return Valued(
        defined.kind,
        value,
        defined.currency or asked.currency,
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
    """points * value / cost, and the same in words."""
    points, (least, most) = redemption.points, limits
    if points is None:
        raise _uncertain(f"the value by {name} grows with the points, and the webhook names no points")
    if cost is None or cost <= 0:
        raise _uncertain(f"the value by {name} grows with the points, and the rule has no cost")
    if least is not None and points < least:
        raise _uncertain(f"{points} points are fewer than the {least} that {name} requires")
    if most is not None and points > most:
        raise _uncertain(f"{points} points are more than the {most} that {name} allows")
    with localcontext() as context:
        context.prec, context.rounding = 60, ROUND_DOWN
        return points * value / cost, f"{name}: {points} points * {value} / {cost}"


# ----------------------------------------------------------------------------------------------- the result


def _checked(valued: Valued, asked: _Asked) -> Valued:
    """The same with the places of its currency. Raises _UnusableError for zero and for a value above the limit."""
    places = currency_places(valued.currency)
    value = valued.value
    if value is not None and value > 0 and valued.kind is RewardKind.PERCENTAGE:
        if value > 100:
            raise _uncertain(f"{valued.derivation} is above 100 per cent")
        value = _rounded(value, min(2, _places_of(value)), ROUND_DOWN)
    elif value is not None:
        if value > asked.limit:
            source, limit = valued.derivation, asked.limit
            raise _UnusableError(because(ReasonCode.VALUE_ABOVE_LIMIT, value=f"{value:f}", limit=limit, source=source))
        value = _rounded(value, places, ROUND_DOWN)
    if value is not None and value <= 0:
        raise _UnusableError(because(ReasonCode.VALUE_ZERO, value=f"{value:f}", source=valued.derivation))
    spend = valued.minimum_spend
    spend = _rounded(spend, places, ROUND_UP) if spend is not None and spend > 0 else None
    return replace(valued, value=value, minimum_spend=spend)


def _places_of(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _rounded(value: Decimal, places: int, rounding: str) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        return value.quantize(Decimal(1).scaleb(-places), rounding=rounding)
