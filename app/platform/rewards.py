"""What a redemption is worth, or why nobody can say. Pure; money is Decimal and is rounded down, never up.

The value is looked for in this order, and the first source that tells it counts:

    embedded   the webhook's own redeemRule (or its reward, for referrals and tiers), when it carries the value
    rule       the operator's rule
    launcher   the Launcher's public rule

A source that tells nonsense (zero, over the limit, another kind than the webhook) is overruled by the operator only.
Without a value the redemption waits: nothing is guessed, nothing dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from typing import Final, Literal

from app.platform.rules import AMOUNTS, NEEDS_VALUE, OperatorRule, PlatformRule, RewardKind, reward_kind
from app.settings import CouponSettings

Source = Literal["embedded", "rule", "launcher", "operator"]

_PLACES: Final = {
    0: frozenset({"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
                  "XAF", "XOF", "XPF"}),
    3: frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}),
    4: frozenset({"CLF", "UYW"}),
}  # fmt: skip


def currency_places(currency: str | None) -> int:
    """How many decimal places a currency has (ISO 4217, list one); 2 for all others and when it is not known."""
    return next((places for places, currencies in _PLACES.items() if currency in currencies), 2)


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
        """What the person may be called by: the shop's id, the e-mail in lower case."""
        return frozenset(name for name in (self.customer_id, self.email.lower() if self.email else None) if name)

    @property
    def customer_ref(self) -> str | None:
        """What the Platform knows the person by: the shop's id, else the e-mail in lower case."""
        return self.customer_id or (self.email.lower() if self.email else None)


@dataclass(frozen=True, slots=True)
class Valued:
    """What the coupon gives, and by whose word. `value` is an amount of `currency` (None: the shop's, not known to us)
    or a percentage. `because` says in words where it comes from. `rule_version` is the operator's rule's."""

    kind: RewardKind
    value: Decimal | None
    currency: str | None
    source: Source
    because: str
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

    why: str
    key: str


def ruled(
    redemption: Redemption, kind: RewardKind, value: Decimal | None, currency: str | None, because: str
) -> Valued:
    """The value that an operator said for this one coupon."""
    places = currency_places(currency)
    value = value if value is None or kind not in AMOUNTS else _rounded(value, places, ROUND_DOWN)
    return Valued(kind, value, currency, "operator", because, redemption.rule_id)


def limited(told: Valued, rules: Valued) -> Valued:
    """A webhook's own value, with the limits of the rule where the webhook tells none: it seldom repeats them. Variants
    of the rule's narrow a product of the webhook's, too."""
    named = told if told.variant_ids or (told.product_ids and not rules.variant_ids) else rules
    return replace(
        told,
        product_ids=named.product_ids,
        variant_ids=named.variant_ids,
        minimum_spend=told.minimum_spend or rules.minimum_spend,
        expires_after=told.expires_after or rules.expires_after,
        title=told.title or rules.title,
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

    `operator_rule` is the one of `redemption.rule_id`, `shop_currency` (ISO 4217) what the Platform says.
    """
    asked = _Asked(redemption, shop_currency or settings.currency, settings.max_value)
    listed = {rule.id: rule for rule in launcher_rules if rule.id is not None}
    launcher_rule = listed.get(redemption.rule_id or "")
    nonsense: str | None = None
    try:
        if redemption.embedded and (found := _by_platform(redemption.embedded, "embedded", asked)):
            if operator_rule is None and launcher_rule is not None and not _as_narrow(found, launcher_rule):
                _check_names(launcher_rule, f"the launcher rule {launcher_rule.id}")
            return _checked(found, asked)
    except _NonsenseError as error:
        nonsense = str(error)
    try:
        if operator_rule:
            return _checked(_by_operator(operator_rule, asked), asked)
        if nonsense is None and launcher_rule and (found := _by_platform(launcher_rule, "launcher", asked)):
            return _checked(found, asked)
    except _NonsenseError as error:
        nonsense = str(error)
    return Unvalued(nonsense or _unknown(redemption), rule_key(redemption.rule_id))


def _unknown(redemption: Redemption) -> str:
    if redemption.rule_id is None:
        return "the webhook names no rule and tells no value, so nothing says what the coupon is worth"
    return f"no value known for rule {redemption.rule_id}; put one with PUT /v1/reward-rules/{redemption.rule_id}"


# ----------------------------------------------------------------------------------------------- one source


class _NonsenseError(Exception):
    """What a source tells cannot be right; the text says why. Never leaves this module."""


@dataclass(frozen=True, slots=True)
class _Asked:
    redemption: Redemption
    currency: str | None
    limit: int


def _by_platform(rule: PlatformRule, source: Source, asked: _Asked) -> Valued | None:
    """None when this source does not tell the value."""
    name = f"the {source} rule {rule.id or asked.redemption.rule_id or ''}".rstrip()
    kind = _kind(rule, asked.redemption, name)
    if not rule.active:
        raise _NonsenseError(f"{name} is not active")
    if not rule.tells_value or (kind in NEEDS_VALUE and rule.value is None):
        return None
    _check_names(rule, name)
    value, because = None, name
    if kind is RewardKind.FREE_PRODUCT:
        _check_product(rule, name)
    elif kind in NEEDS_VALUE and rule.value is not None:
        value, because = rule.value, f"{name}: {rule.value}"
        if rule.increments:
            value, because = _scaled(value, rule.point_cost, (rule.min_points, rule.max_points), name, asked.redemption)
        elif rule.increments is None and rule.point_cost is not None and asked.redemption.points != rule.point_cost:
            return None  # it may be one step of an increments rule: somebody else has to tell
    return Valued(
        kind,
        value,
        asked.currency,
        source,
        because,
        asked.redemption.rule_id,
        product_ids=rule.product_ids,
        variant_ids=rule.variant_ids,
        minimum_spend=rule.minimum_spend,
        title=rule.title,
    )


def _kind(rule: PlatformRule, redemption: Redemption, name: str) -> RewardKind:
    kind = rule.kind if redemption.reward_type is None else reward_kind(redemption.reward_type)
    if kind is None:
        raise _NonsenseError(f"a reward of the kind {redemption.reward_type or 'none'} is not known; put a rule for it")
    if rule.kind not in (None, kind):
        raise _NonsenseError(f"the webhook says {kind}, {name} says {rule.kind}")
    return kind


def _as_narrow(found: Valued, rule: PlatformRule) -> bool:
    """Whether a webhook names itself what its rule is restricted by, so that the rule need not."""
    return bool(found.variant_ids or (found.product_ids and rule.unnamed != "variants"))


def _check_names(rule: PlatformRule, name: str) -> None:
    if rule.unnamed:
        raise _NonsenseError(
            f"{name} is restricted by its {rule.unnamed} and does not tell the shop's id of each; name the member that"
            " holds it in PLATFORM__FIELDS (rule.productId, ruleVariant.id), or put a rule of yours"
        )


def _check_product(rule: PlatformRule, name: str) -> None:
    if rule.value not in (None, 100):
        raise _NonsenseError(f"{name} gives {rule.value} off a product and does not say whether percent or an amount")
    if not (rule.product_ids or rule.variant_ids):
        raise _NonsenseError(f"{name} names no product of the shop")


def _by_operator(rule: OperatorRule, asked: _Asked) -> Valued:
    says, name = rule.definition, f"the operator's rule {rule.id}, version {rule.version}"
    if not says.active:
        raise _NonsenseError(f"{name}, is switched off")
    if says.currency and asked.currency and says.currency != asked.currency:
        raise _NonsenseError(f"{name}, is in {says.currency}, the shop in {asked.currency}")
    value, because = says.value, name if says.value is None else f"{name}: {says.value}"
    if value is not None and says.increments:
        cost = None if says.point_cost is None else Decimal(says.point_cost)
        value, because = _scaled(value, cost, (says.min_points, says.max_points), name, asked.redemption)
    return Valued(
        says.kind,
        value,
        says.currency or asked.currency,
        "rule",
        because,
        rule.id,
        rule.version,
        says.product_ids,
        says.variant_ids,
        says.minimum_spend,
        says.expires_after,
        says.title,
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
        raise _NonsenseError(f"{name} grows with the points, and the webhook tells none")
    if cost is None or cost <= 0:
        raise _NonsenseError(f"{name} grows with the points and tells no cost")
    if least is not None and points < least:
        raise _NonsenseError(f"{points} points are fewer than the {least} that {name} asks for")
    if most is not None and points > most:
        raise _NonsenseError(f"{points} points are more than the {most} that {name} allows")
    with localcontext() as context:
        context.prec, context.rounding = 60, ROUND_DOWN
        return points * value / cost, f"{name}: {points} points * {value} / {cost}"


# ----------------------------------------------------------------------------------------------- the result


def _checked(found: Valued, asked: _Asked) -> Valued:
    """The same with the places of its currency. Raises _NonsenseError for zero and for what is over the limit."""
    places = currency_places(found.currency)
    value = found.value
    if value is not None and found.kind is RewardKind.PERCENTAGE:
        if not 0 < value <= 100:
            raise _NonsenseError(f"{found.because} is no percentage above 0 and up to 100")
        value = _rounded(value, min(2, _places_of(value)), ROUND_DOWN)
    elif value is not None:
        if value > asked.limit:
            raise _NonsenseError(f"{found.because} is over the limit of {asked.limit} (COUPONS__MAX_VALUE)")
        value = _rounded(value, places, ROUND_DOWN)
    if value is not None and value <= 0:
        raise _NonsenseError(f"{found.because} makes {value}; a coupon has to be worth more than 0")
    spend = found.minimum_spend
    spend = _rounded(spend, places, ROUND_UP) if spend is not None and spend > 0 else None
    return replace(found, value=value, minimum_spend=spend)


def _places_of(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _rounded(value: Decimal, places: int, rounding: str) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        return value.quantize(Decimal(1).scaleb(-places), rounding=rounding)
