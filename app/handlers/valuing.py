"""What a redemption is worth: by an operator's word on this coupon, by the rule of its day, or what it waits for."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from app.handlers.coupon_orders import Decision, OpenCoupon
from app.outcomes import Retry, Unknown, Wait
from app.platform.launcher import AsksLauncher, Launcher, ShopFacts
from app.platform.rewards import Redemption, Unvalued, Valued, limited, resolve, rule_key, ruled
from app.platform.rules import AMOUNTS, OperatorRule, PlatformRule, RewardKind
from app.settings import CouponSettings

RULE_RECHECK: Final = 600.0
"""Seconds between two looks for a value; an operator's rule wakes the job at once."""
LAUNCHER_RECHECK: Final = 10.0


class KnowsRules(Protocol):
    async def versions(self, rule_id: str, moment: datetime) -> tuple[OperatorRule | None, OperatorRule | None]:
        """A rule as it was at a moment, and as it is now."""


@dataclass(frozen=True, slots=True)
class Value:
    """`by_rules` is what the rules alone say, without the webhook. `rules`: ours and the Platform's that apply; `listed`:
    all of the Platform's. `rule_edited`: ours was edited after the redemption had arrived; the one of then counts."""

    valued: Valued
    by_rules: Valued | Unvalued
    rules: tuple[OperatorRule | None, PlatformRule | None]
    listed: tuple[PlatformRule, ...]
    rule_edited: bool


class Valuing:
    def __init__(self, rules: KnowsRules, platform: AsksLauncher, settings: CouponSettings) -> None:
        self._rules = rules
        self._launcher = Launcher(platform)
        self._settings = settings

    async def value(self, redemption: Redemption, coupon: OpenCoupon) -> Value | Wait:
        """The value, or what it waits for."""
        then, now = (
            await self._rules.versions(redemption.rule_id, coupon.received_at) if redemption.rule_id else (None, None)
        )
        facts = await self._launcher.facts()
        told = facts if isinstance(facts, ShopFacts) else ShopFacts()
        rule = then or now
        found = self._resolve(redemption, rule, told)
        if isinstance(found, Unvalued) and now != rule:
            rule, found = now, self._resolve(redemption, now, told)
        decided = coupon.ruling
        if decided is not None and decided.kind is not None:
            found = self._ruled(redemption, decided, told)
        unsure = isinstance(found, Unvalued) or (found.kind in AMOUNTS and found.currency is None)
        if unsure and not isinstance(facts, ShopFacts):
            recheck = LAUNCHER_RECHECK if isinstance(facts, Retry | Unknown) else RULE_RECHECK
            why = f"the Launcher, which may know the value, could not be asked: {facts.why}"
            return Wait(why, rule_key(redemption.rule_id), recheck, evidence=facts.evidence)
        if isinstance(found, Unvalued):
            return Wait(found.why, found.key, RULE_RECHECK)
        by_rules = self._resolve(replace(redemption, embedded=None), rule, told)
        if found.source == "embedded" and isinstance(by_rules, Valued):
            found = limited(found, by_rules)
        launcher_rule = next((each for each in told.rules if each.id and each.id == redemption.rule_id), None)
        edited = then is not None and then != now
        return Value(found, by_rules, (rule, launcher_rule), told.rules, rule_edited=edited)

    def _resolve(self, redemption: Redemption, rule: OperatorRule | None, told: ShopFacts) -> Valued | Unvalued:
        return resolve(
            redemption,
            operator_rule=rule,
            launcher_rules=told.rules,
            settings=self._settings,
            shop_currency=told.currency,
        )

    def _ruled(self, redemption: Redemption, decided: Decision, told: ShopFacts) -> Valued:
        currency = told.currency or self._settings.currency
        because = f"the operator {decided.by}: {decided.why}"
        return ruled(redemption, RewardKind(decided.kind or ""), decided.value, currency, because)
