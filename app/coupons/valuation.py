"""Values redemptions: by an operator's decision on this coupon, or by the rules at the time of the redemption."""

from dataclasses import dataclass, replace
from typing import Final

from platform_relay.core.outcomes import Retry, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.records import CouponRecord, Decision
from platform_relay.coupons.reward_rules import OperatorRule, RewardRules, rule_key
from platform_relay.coupons.valuation_rules import (
    NoValue,
    RewardValue,
    find_value,
    value_by_operator,
    with_rule_limits,
)
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.launcher import LauncherCache, LauncherFacts
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import AMOUNTS, PlatformRule, RewardKind
from platform_relay.setting_groups import CouponSettings

RULE_RECHECK: Final = 600.0
"""Seconds between two looks for a value. An operator's rule wakes the job at once."""
LAUNCHER_RECHECK: Final = 10.0


@dataclass(frozen=True, slots=True)
class Valuation:
    """A redemption's value with the rules that verify it.

    `by_rules` is the value by the rules alone, without the webhook. `operator_rule` and `launcher_rule` are the rules that
    apply; `launcher_rules` are all of the Launcher's. `rule_edited`: the operator's rule was edited after the redemption
    arrived; the version at the time of the redemption counts.
    """

    value: RewardValue
    by_rules: RewardValue | NoValue
    operator_rule: OperatorRule | None
    launcher_rule: PlatformRule | None
    launcher_rules: tuple[PlatformRule, ...]
    rule_edited: bool


class Valuer:
    def __init__(self, rules: RewardRules, platform: PlatformClient, settings: CouponSettings) -> None:
        self._rules = rules
        self._launcher = LauncherCache(platform)
        self._settings = settings

    async def value(self, redemption: Redemption, coupon: CouponRecord) -> Valuation | Wait:
        """The valuation, or what the redemption waits for."""
        then, now = (
            await self._rules.versions(redemption.rule_id, coupon.received_at) if redemption.rule_id else (None, None)
        )
        facts = await self._launcher.facts()
        launcher = facts if isinstance(facts, LauncherFacts) else LauncherFacts()
        rule = then or now
        value = self._find_value(redemption, rule, launcher)
        if isinstance(value, NoValue) and now != rule:
            rule, value = now, self._find_value(redemption, now, launcher)
        if coupon.decision is not None and coupon.decision.kind is not None:
            value = self._decided_value(redemption, coupon.decision, coupon.decision.kind, launcher)
        unclear = isinstance(value, NoValue) or (value.kind in AMOUNTS and value.currency is None)
        if unclear and not isinstance(facts, LauncherFacts):
            recheck = LAUNCHER_RECHECK if isinstance(facts, Retry | Unknown) else RULE_RECHECK
            reason = because(ReasonCode.LAUNCHER_UNAVAILABLE, problem=facts.reason.as_fact())
            return Wait(reason, rule_key(redemption.rule_id), recheck, evidence=facts.evidence)
        if isinstance(value, NoValue):
            return Wait(value.reason, value.key, RULE_RECHECK)
        by_rules = self._find_value(replace(redemption, embedded=None), rule, launcher)
        if value.source == "embedded" and isinstance(by_rules, RewardValue):
            value = with_rule_limits(value, by_rules)
        launcher_rule = next((item for item in launcher.rules if item.id and item.id == redemption.rule_id), None)
        edited = then is not None and then != now
        return Valuation(value, by_rules, rule, launcher_rule, launcher.rules, rule_edited=edited)

    def _find_value(
        self, redemption: Redemption, rule: OperatorRule | None, launcher: LauncherFacts
    ) -> RewardValue | NoValue:
        return find_value(
            redemption,
            operator_rule=rule,
            launcher_rules=launcher.rules,
            settings=self._settings,
            store_currency=launcher.currency,
        )

    def _decided_value(
        self, redemption: Redemption, decision: Decision, kind: str, launcher: LauncherFacts
    ) -> RewardValue:
        currency = launcher.currency or self._settings.currency
        derivation = f"the operator {decision.by}: {decision.why}"
        return value_by_operator(redemption, RewardKind(kind), decision.value, currency, derivation)
