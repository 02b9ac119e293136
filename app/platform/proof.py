"""How well a redemption is proven to be genuine, and how well it has to be. Pure.

    door       it came to the address that only the Platform knows
    source     ... from a network that the Platform posts from
    known      ... a rule of ours or of the Platform's tells the same value and cost, and the customer is who it says
    confirmed  ... the Platform, asked back, lists the code among this customer's rewards, for these points and this rule

Each needs those before it. The webhook's own words are a forger's words too: from `known` on, a value counts only
where a rule tells the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from app.platform import exact
from app.platform.exact import ExactJson
from app.platform.rewards import Redemption, Unvalued, Valued
from app.platform.rules import AMOUNTS, OperatorRule, PlatformRule, RewardKind, reward_kind
from app.platform.webhooks import POINTS_REDEEMED, REFERRALS, TIER_REWARD
from app.settings import CouponSettings


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

    why: str
    lasting: bool


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
    """Whether the rules alone (`by_rules`: the value without the webhook's own) bear the value out."""
    if isinstance(by_rules, Valued):
        if _gives(by_rules) == _gives(valued):
            return None
        return Doubt(f"the webhook says {_words(valued)}, and {by_rules.because} says {_words(by_rules)}", lasting=True)
    small = valued.kind in AMOUNTS and valued.value is not None and valued.value <= settings.body_up_to
    if small and topic != POINTS_REDEEMED:
        return None
    return Doubt(f"only the webhook itself says what it is worth ({_words(valued)}): {by_rules.why}", lasting=False)


def doubt_of_cost(redemption: Redemption, operator: OperatorRule | None, launcher: PlatformRule | None) -> Doubt | None:
    """Whether the points that were spent are what the rule costs."""
    costs: list[tuple[str, Decimal]] = []
    if launcher is not None and launcher.increments is not True and launcher.point_cost is not None:
        costs.append((f"the Platform's rule {launcher.id}", launcher.point_cost))
    if operator is not None and not operator.definition.increments and operator.definition.point_cost is not None:
        costs.append((f"the operator's rule {operator.id}", Decimal(operator.definition.point_cost)))
    embedded, points = redemption.embedded, redemption.points
    for name, cost in costs:
        if points is None:
            return Doubt(f"{name} costs {cost} points, and the webhook tells none", lasting=True)
        if points != cost:
            return Doubt(f"{name} costs {cost} points, and the webhook says {points}", lasting=True)
        if embedded is not None and embedded.point_cost not in (None, cost):
            why = f"{name} costs {cost} points, and the webhook's own rule {embedded.point_cost}"
            return Doubt(why, lasting=True)
    if operator is None and launcher is not None and not launcher.active:
        return Doubt(f"the Platform's rule {launcher.id} is not active", lasting=True)
    return None


def doubt_of_customer(redemption: Redemption, customer: Mapping[str, ExactJson]) -> Doubt | None:
    """Whether the Platform's customer has the e-mail of the webhook: the coupon may be restricted to it."""
    told, known = redemption.email, exact.text(customer.get("email"), 320)
    if told is None or known is None or told.casefold() == known.casefold():
        return None
    return Doubt("the Platform knows the customer by another e-mail than the webhook's", lasting=False)


def doubt_of_listing(
    redemption: Redemption,
    topic: str,
    rewards: Iterable[Mapping[str, ExactJson]],
    rules: Iterable[PlatformRule] = (),
) -> Doubt | None:
    """Whether the code is among what the customer has been given, for the same points and as the same thing.

    `rules`: the Platform's. The list names no rule, only its title; of two that cost the same it tells which one it was.
    """
    listed = next((item for item in rewards if item.get("couponCode") == redemption.code), None)
    if listed is None:
        return Doubt("the Platform does not list the code among this customer's rewards", lasting=False)
    kind, expected = exact.text(listed.get("type")), _TYPES.get(topic)
    if kind is not None and expected is not None and kind != expected:
        return Doubt(f"the Platform lists the code as {kind}, the webhook's topic is {topic}", lasting=True)
    spent = exact.number(listed.get("pointsSpent"))
    if topic == POINTS_REDEEMED and spent is not None and abs(spent) != redemption.points:
        told = "tells none" if redemption.points is None else f"says {redemption.points}"
        return Doubt(f"the Platform says that {spent} points were spent, the webhook {told}", lasting=True)
    told_kind, listed_kind = reward_kind(redemption.reward_type), reward_kind(exact.text(listed.get("rewardType")))
    if told_kind is not None and listed_kind is not None and told_kind is not listed_kind:
        return Doubt(f"the Platform lists a {listed_kind}, the webhook says {told_kind}", lasting=True)
    title = exact.text(listed.get("title"))
    titled = [rule.id for rule in rules if rule.title is not None and rule.title == title]
    if topic == POINTS_REDEEMED and titled and redemption.rule_id not in titled:
        return Doubt(f"the Platform lists {title!r}, which is rule {titled[0]}, the webhook says another", lasting=True)
    return None


def _gives(valued: Valued) -> tuple[object, ...]:
    return valued.kind, valued.value, valued.product_ids, valued.variant_ids, valued.minimum_spend


def _words(valued: Valued) -> str:
    told = valued.kind.value if valued.value is None else f"{valued.kind} {valued.value}"
    return told if valued.minimum_spend is None else f"{told} from {valued.minimum_spend}"
