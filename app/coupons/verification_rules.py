"""The verification levels of redemptions: what each requires, and which one a value needs. Pure.

    secret     the webhook came to the address that only the Platform knows
    source     ... from a network of the Platform
    known      ... a rule of the operator or of the Platform gives the same value and cost, and the Platform has the
               customer with this e-mail address
    confirmed  ... the Platform, when asked, lists the code among this customer's rewards, for these points and this rule

Each level includes those before it, except that `confirmed` identifies the customer by the id together with the listed
code: a customer may have changed the e-mail address. Only a referred friend may have no account yet. A forger can write
anything into a webhook. So from `known` on, a value counts only where a rule gives the same value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.reward_rules import OperatorRule
from platform_relay.coupons.valuation_rules import NoValue, RewardValue
from platform_relay.platform.client import IncompleteList
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import AMOUNTS, PlatformRule, RewardKind, reward_kind
from platform_relay.platform.webhooks import FRIEND_REWARD, POINTS_REDEEMED, REFERRALS, TIER_REWARD
from platform_relay.setting_groups import CouponSettings

REWARD_LIST: Final = "the Platform's list of the customer's rewards"


class VerificationLevel(StrEnum):
    SECRET = "secret"  # noqa: S105  # the level that a webhook secret gives
    SOURCE = "source"
    KNOWN = "known"
    CONFIRMED = "confirmed"


_TYPES: Final = {
    POINTS_REDEEMED: "PointActivity",
    TIER_REWARD: "CustomerLoyaltyTierEntryReward",
    **dict.fromkeys(REFERRALS, "ReferralReward"),
}
"""A webhook's topic -> the `type` of its reward in the Launcher's list (developer.influence.io, "all rewards")."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The level that a redemption reached. `email`: the customer's address at the Platform; None when it was not read."""

    level: VerificationLevel
    email: str | None = None


@dataclass(frozen=True, slots=True)
class PlatformCustomer:
    """The customer as the Platform has it. `id` is the store's; empty for a customer without an account."""

    id: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Unverified:
    """Why a redemption is not verified. `final`: another look will not change that."""

    reason: Reason
    final: bool


def mismatch(source: str, *differences: tuple[str, object, object]) -> Unverified:
    """The webhook differs from `source` in these fields (name, the webhook's value, the source's value). Final."""
    facts: list[JsonValue] = [
        {"field": name, "actual": _shown(actual), "expected": _shown(expected)}
        for name, actual, expected in differences
    ]
    return Unverified(because(ReasonCode.NOT_GENUINE, source=source, differences=facts), final=True)


def not_yet_confirmed(explanation: str) -> Unverified:
    """The Platform does not confirm the redemption, but may do so later: its data can lag behind its webhook."""
    return Unverified(because(ReasonCode.CONFIRMATION_PENDING, explanation=explanation), final=False)


def required_level(value: RewardValue, settings: CouponSettings) -> VerificationLevel:
    """The level that a coupon of this value needs (COUPONS__REQUIRE, COUPONS__CONFIRM_ABOVE)."""
    limit = settings.confirm_above
    small = value.kind is RewardKind.FREE_SHIPPING or (
        value.kind in AMOUNTS and value.value is not None and limit is not None and value.value <= limit
    )
    if limit is not None and not small:
        return VerificationLevel.CONFIRMED
    return VerificationLevel(settings.require)


def check_value(
    topic: str, value: RewardValue, by_rules: RewardValue | NoValue, settings: CouponSettings
) -> Unverified | None:
    """Whether the rules alone (`by_rules`: the value without the webhook's own) give the same value."""
    if isinstance(by_rules, RewardValue):
        actual, expected = _given(value), _given(by_rules)
        different = [(name, actual[name], expected[name]) for name in actual if actual[name] != expected[name]]
        return mismatch(by_rules.derivation, *different) if different else None
    small = value.kind in AMOUNTS and value.value is not None and value.value <= settings.max_value_from_webhook
    if small and topic != POINTS_REDEEMED:
        return None
    worth = value.kind.value if value.value is None else f"{value.kind} {value.value}"
    explanation = f"only the webhook itself has it ({worth})"
    reason = because(ReasonCode.VALUE_UNCERTAIN, explanation=explanation, cause=by_rules.reason.as_fact())
    return Unverified(reason, final=False)


def check_cost(
    redemption: Redemption, operator_rule: OperatorRule | None, launcher_rule: PlatformRule | None
) -> Unverified | None:
    """Whether the redeemed points are what the rule costs, and the rule is active."""
    costs: list[tuple[str, Decimal]] = []
    if launcher_rule and launcher_rule.increments is not True and launcher_rule.point_cost is not None:
        costs.append((f"the Platform's rule {launcher_rule.id}", launcher_rule.point_cost))
    defined = operator_rule and operator_rule.definition
    if operator_rule and defined and not defined.increments and defined.point_cost is not None:
        costs.append((f"the operator's rule {operator_rule.id}", Decimal(defined.point_cost)))
    embedded, points = redemption.embedded, redemption.points
    for name, cost in costs:
        if points != cost:
            return mismatch(name, ("points", points, cost))
        if embedded is not None and embedded.point_cost not in (None, cost):
            return mismatch(name, ("redeemRule.pointCost", embedded.point_cost, cost))
    if operator_rule is None and launcher_rule is not None and not launcher_rule.active:
        explanation = f"the Platform's rule {launcher_rule.id} is not active"
        return Unverified(because(ReasonCode.NOT_GENUINE, explanation=explanation), final=True)
    return None


def is_friends_reward(topic: str, reward: str) -> bool:
    """Whether the reward is that of a referred friend, who may have no account yet. `reward`: its place in the webhook."""
    return topic in REFERRALS and reward == FRIEND_REWARD


def email_differs(redemption: Redemption, email: str | None) -> bool:
    """Whether the customer's e-mail address at the Platform is another one than the webhook's."""
    return redemption.email is not None and email is not None and redemption.email.casefold() != email.casefold()


def list_incomplete(rewards: IncompleteList) -> Unverified:
    """The code may be in the part of the customer's rewards that could not be read."""
    facts: dict[str, JsonValue] = {"problem": rewards.problem, "pages": rewards.pages, "setting": rewards.setting}
    return Unverified(because(ReasonCode.REWARD_LIST_INCOMPLETE, **facts), final=False)


def check_reward(
    redemption: Redemption,
    topic: str,
    listed: Mapping[str, ExactJson] | None,
    rules: Iterable[PlatformRule] = (),
) -> Unverified | None:
    """Whether the listed reward with the redemption's code is for the same points and the same reward.

    `listed` None: the customer's rewards do not have the code. `rules` are the Platform's. The list does not name the rule,
    only its title, which distinguishes rules of equal cost.
    """
    if listed is None:
        return not_yet_confirmed("the Platform does not list the code among this customer's rewards")
    kind, expected = exact_json.text(listed.get("type")), _TYPES.get(topic)
    if kind is not None and expected is not None and kind != expected:
        return mismatch(REWARD_LIST, ("type", expected, kind))
    spent = exact_json.number(listed.get("pointsSpent"))
    if topic == POINTS_REDEEMED and spent is not None and abs(spent) != redemption.points:
        return mismatch(REWARD_LIST, ("points", redemption.points, abs(spent)))
    reward, listed_kind = reward_kind(redemption.reward_type), reward_kind(exact_json.text(listed.get("rewardType")))
    if reward is not None and listed_kind is not None and reward is not listed_kind:
        return mismatch(REWARD_LIST, ("kind", reward, listed_kind))
    title = exact_json.text(listed.get("title"))
    with_title = [rule.id for rule in rules if rule.title is not None and rule.title == title]
    if topic == POINTS_REDEEMED and with_title and redemption.rule_id not in with_title:
        return mismatch(REWARD_LIST, ("rule", redemption.rule_id, with_title[0]))
    return None


def _given(value: RewardValue) -> dict[str, object]:
    return {
        "kind": value.kind,
        "value": value.value,
        "product_ids": value.product_ids,
        "variant_ids": value.variant_ids,
        "minimum_spend": value.minimum_spend,
    }


def _shown(value: object) -> JsonValue:
    match value:
        case None | ():
            return None
        case tuple():
            return ", ".join(map(str, value))
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)
