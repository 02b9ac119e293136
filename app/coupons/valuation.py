"""What a redemption is worth: by an operator's decision on this coupon, by the rule of its day, or what it waits for."""

from dataclasses import dataclass, replace
from typing import Final

from platform_relay.core.outcomes import Retry, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.reward_rules import RewardRules
from platform_relay.coupons.transitions import CouponRecord, Decision
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.launcher import Launcher, ShopFacts
from platform_relay.platform.rewards import Redemption, Unvalued, Valued, limited, resolve, rule_key, ruled
from platform_relay.platform.rules import AMOUNTS, OperatorRule, PlatformRule, RewardKind
from platform_relay.settings import CouponSettings

RULE_RECHECK: Final = 600.0
"""Seconds between two looks for a value; an operator's rule wakes the job at once."""
LAUNCHER_RECHECK: Final = 10.0


@dataclass(frozen=True, slots=True)
class Value:
    """`by_rules` is the value by the rules alone, without the webhook. `rules`: the operator's and the Platform's that
    apply; `listed`: all of the Platform's. `rule_edited`: the operator's was edited after the redemption had arrived; the
    version of then counts."""

    valued: Valued
    by_rules: Valued | Unvalued
    rules: tuple[OperatorRule | None, PlatformRule | None]
    listed: tuple[PlatformRule, ...]
    rule_edited: bool


class Valuing:
    def __init__(self, rules: RewardRules, platform: PlatformClient, settings: CouponSettings) -> None:
        self._rules = rules
        self._launcher = Launcher(platform)
        self._settings = settings

    async def value(self, redemption: Redemption, coupon: CouponRecord) -> Value | Wait:
        """The value, or what it waits for."""
        then, now = (
            await self._rules.versions(redemption.rule_id, coupon.received_at) if redemption.rule_id else (None, None)
        )
        facts = await self._launcher.facts()
        shop = facts if isinstance(facts, ShopFacts) else ShopFacts()
        rule = then or now
        valued = self._resolve(redemption, rule, shop)
        if isinstance(valued, Unvalued) and now != rule:
            rule, valued = now, self._resolve(redemption, now, shop)
        decided = coupon.decision
        if decided is not None and decided.kind is not None:
            valued = self._ruled(redemption, decided, shop)
        unsure = isinstance(valued, Unvalued) or (valued.kind in AMOUNTS and valued.currency is None)
        if unsure and not isinstance(facts, ShopFacts):
            recheck = LAUNCHER_RECHECK if isinstance(facts, Retry | Unknown) else RULE_RECHECK
            reason = because(ReasonCode.LAUNCHER_UNAVAILABLE, problem=facts.reason.as_fact())
            return Wait(reason, rule_key(redemption.rule_id), recheck, evidence=facts.evidence)
        if isinstance(valued, Unvalued):
            return Wait(valued.reason, valued.key, RULE_RECHECK)
        by_rules = self._resolve(replace(redemption, embedded=None), rule, shop)
        if valued.source == "embedded" and isinstance(by_rules, Valued):
            valued = limited(valued, by_rules)
        launcher_rule = next((listed for listed in shop.rules if listed.id and listed.id == redemption.rule_id), None)
        edited = then is not None and then != now
        return Value(valued, by_rules, (rule, launcher_rule), shop.rules, rule_edited=edited)

    def _resolve(self, redemption: Redemption, rule: OperatorRule | None, shop: ShopFacts) -> Valued | Unvalued:
        return resolve(
            redemption,
            operator_rule=rule,
            launcher_rules=shop.rules,
            settings=self._settings,
            shop_currency=shop.currency,
        )

    def _ruled(self, redemption: Redemption, decided: Decision, shop: ShopFacts) -> Valued:
        currency = shop.currency or self._settings.currency
        derivation = f"the operator {decided.by}: {decided.why}"
        return ruled(redemption, RewardKind(decided.kind or ""), decided.value, currency, derivation)
