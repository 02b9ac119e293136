"""How well a redemption is proven to be genuine, and how well it has to be. Pure.

    door       it came to the address that only the Platform knows
    source     ... from a network that the Platform posts from
    known      ... a rule of ours or of the Platform's tells the same value and cost, and the customer is who it says
    confirmed  ... the Platform, asked back, lists the code among this customer's rewards, for these points and this rule

Each needs those before it. A forger can write whatever a webhook has: from `known` on, a value counts only where a rule
has the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.platform import exact
from platform_relay.platform.exact import ExactJson
from platform_relay.platform.rewards import Redemption, Unvalued, Valued
from platform_relay.platform.rules import AMOUNTS, OperatorRule, PlatformRule, RewardKind, reward_kind
from platform_relay.platform.webhooks import POINTS_REDEEMED, REFERRALS, TIER_REWARD
from platform_relay.settings import CouponSettings

THE_LIST: Final = "the Platform's list of the customer's rewards"


class Proof(StrEnum):
    DOOR = "door"
    SOURCE = "source"
    KNOWN = "known"
    CONFIRMED = "confirmed"

    def reaches(self, other: "Proof") -> bool:
        levels = list(Proof)
        return levels.index(self) >= levels.index(other)


_TYPES: Final = {
    POINTS_REDEEMED: "PointActivity",
    TIER_REWARD: "CustomerLoyaltyTierEntryReward",
    **dict.fromkeys(REFERRALS, "ReferralReward"),
}
"""A webhook's topic and the `type` of its reward at the Launcher (developer.influence.io, "all rewards")."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a redemption is not proven. `lasting`: asking again changes nothing."""

    reason: Reason
    lasting: bool


def disproven(source: str, *differences: tuple[str, object, object]) -> Doubt:
    """A doubt that lasts: the webhook differs from `source` in these fields (name, the webhook's, the source's)."""
    facts: list[JsonValue] = [
        {"field": name, "actual": _shown(actual), "expected": _shown(expected)}
        for name, actual, expected in differences
    ]
    return Doubt(because(ReasonCode.NOT_GENUINE, source=source, differences=facts), lasting=True)


def unconfirmed(explanation: str) -> Doubt:
    """A doubt that the Platform may still dispel: it may be slower than its webhook."""
    return Doubt(because(ReasonCode.CONFIRMATION_PENDING, explanation=explanation), lasting=False)


def needed(valued: Valued, settings: CouponSettings) -> Proof:
    """The proof that a coupon of this value needs (COUPONS__REQUIRE, COUPONS__CONFIRM_ABOVE)."""
    limit = settings.confirm_above
    small = valued.kind is RewardKind.FREE_SHIPPING or (
        valued.kind in AMOUNTS and valued.value is not None and limit is not None and valued.value <= limit
    )
    if limit is not None and not small:
        return Proof.CONFIRMED
    return Proof(settings.require)


def doubt_of_value(topic: str, valued: Valued, by_rules: Valued | Unvalued, settings: CouponSettings) -> Doubt | None:
    """Whether the rules alone (`by_rules`: the value without the webhook's own) confirm the value."""
    if isinstance(by_rules, Valued):
        actual, expected = _gives(valued), _gives(by_rules)
        different = [(name, actual[name], expected[name]) for name in actual if actual[name] != expected[name]]
        return disproven(by_rules.derivation, *different) if different else None
    small = valued.kind in AMOUNTS and valued.value is not None and valued.value <= settings.body_up_to
    if small and topic != POINTS_REDEEMED:
        return None
    worth = valued.kind.value if valued.value is None else f"{valued.kind} {valued.value}"
    explanation = f"only the webhook itself has it ({worth})"
    reason = because(ReasonCode.VALUE_UNCERTAIN, explanation=explanation, cause=by_rules.reason.as_fact())
    return Doubt(reason, lasting=False)


def doubt_of_cost(redemption: Redemption, operator: OperatorRule | None, launcher: PlatformRule | None) -> Doubt | None:
    """Whether the points that were spent are what the rule costs."""
    costs: list[tuple[str, Decimal]] = []
    if launcher is not None and launcher.increments is not True and launcher.point_cost is not None:
        costs.append((f"the Platform's rule {launcher.id}", launcher.point_cost))
    if operator is not None and not operator.definition.increments and operator.definition.point_cost is not None:
        costs.append((f"the operator's rule {operator.id}", Decimal(operator.definition.point_cost)))
    embedded, points = redemption.embedded, redemption.points
    for name, cost in costs:
        if points != cost:
            return disproven(name, ("points", points, cost))
        if embedded is not None and embedded.point_cost not in (None, cost):
            return disproven(name, ("redeemRule.pointCost", embedded.point_cost, cost))
    if operator is None and launcher is not None and not launcher.active:
        explanation = f"the Platform's rule {launcher.id} is not active"
        return Doubt(because(ReasonCode.NOT_GENUINE, explanation=explanation), lasting=True)
    return None


def doubt_of_customer(redemption: Redemption, customer: Mapping[str, ExactJson]) -> Doubt | None:
    """Whether the Platform's customer has the e-mail of the webhook: the coupon may be restricted to it."""
    email, known = redemption.email, exact.text(customer.get("email"), 320)
    if email is None or known is None or email.casefold() == known.casefold():
        return None
    return unconfirmed("the customer's e-mail address at the Platform is not the webhook's")


def doubt_of_listing(
    redemption: Redemption,
    topic: str,
    rewards: Iterable[Mapping[str, ExactJson]],
    rules: Iterable[PlatformRule] = (),
) -> Doubt | None:
    """Whether the code is among what the customer has been given, for the same points and as the same thing.

    `rules`: the Platform's. The list names no rule, only its title; that tells two rules of the same cost apart.
    """
    listed = next((item for item in rewards if item.get("couponCode") == redemption.code), None)
    if listed is None:
        return unconfirmed("the Platform does not list the code among this customer's rewards")
    kind, expected = exact.text(listed.get("type")), _TYPES.get(topic)
    if kind is not None and expected is not None and kind != expected:
        return disproven(THE_LIST, ("type", expected, kind))
    spent = exact.number(listed.get("pointsSpent"))
    if topic == POINTS_REDEEMED and spent is not None and abs(spent) != redemption.points:
        return disproven(THE_LIST, ("points", redemption.points, abs(spent)))
    reward, listed_kind = reward_kind(redemption.reward_type), reward_kind(exact.text(listed.get("rewardType")))
    if reward is not None and listed_kind is not None and reward is not listed_kind:
        return disproven(THE_LIST, ("kind", reward, listed_kind))
    title = exact.text(listed.get("title"))
    titled = [rule.id for rule in rules if rule.title is not None and rule.title == title]
    if topic == POINTS_REDEEMED and titled and redemption.rule_id not in titled:
        return disproven(THE_LIST, ("rule", redemption.rule_id, titled[0]))
    return None


def _gives(valued: Valued) -> dict[str, object]:
    return {
        "kind": valued.kind,
        "value": valued.value,
        "product_ids": valued.product_ids,
        "variant_ids": valued.variant_ids,
        "minimum_spend": valued.minimum_spend,
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
