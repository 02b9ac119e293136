"""Verifies redemptions. The Platform is asked several times before a redemption is rejected."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import exact_json
from platform_relay.core.http import Failure
from platform_relay.core.outcomes import Blocked, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.reward_rules import rule_key
from platform_relay.coupons.unlisted import NegativeAnswers, negative_answers
from platform_relay.coupons.valuation import RULE_RECHECK, Valuation
from platform_relay.coupons.verification_rules import (
    PlatformCustomer,
    Unverified,
    VerificationLevel,
    Verified,
    check_cost,
    check_reward,
    check_value,
    email_differs,
    is_friends_reward,
    list_incomplete,
    not_yet_confirmed,
    required_level,
)
from platform_relay.platform.client import NO_KEY, IncompleteList, PlatformClient
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import PlatformRule
from platform_relay.platform.webhooks import OTHER_NETWORK
from platform_relay.queue.jobs import Job
from platform_relay.setting_groups import CouponSettings

MIN_RECHECK: Final = 1.0
MAX_RECHECK: Final = 60.0
"""Seconds between two questions to the Platform: the time since its first negative answer, within these bounds."""
MIN_ANSWERS: Final = 3
"""The negative answers before a redemption is rejected, however long the Platform could not be asked in between."""
MAX_UNAVAILABLE_RECHECK: Final = 30.0
"""The upper bound while the Platform cannot be asked."""


class Verifier:
    """`verify` returns the level that was reached, or what the redemption waits for, or why it is rejected."""

    def __init__(self, engine: AsyncEngine, platform: PlatformClient, settings: CouponSettings) -> None:
        self._engine = engine
        self._platform = platform
        self._settings = settings

    async def verify(self, job: Job, redemption: Redemption, valuation: Valuation | None) -> Verified | Wait | Reject:
        """`valuation` None: the value is not known yet. A redemption that is not genuine is rejected nevertheless."""
        level = (
            VerificationLevel(self._settings.require)
            if valuation is None
            else required_level(valuation.value, self._settings)
        )
        network = job.params.get("network")
        if level in (VerificationLevel.SECRET, VerificationLevel.SOURCE) or network == OTHER_NETWORK:
            return _by_network(level, network)
        topic = job.params.get("topic", "")
        unverified = None if valuation is None else self._check_rules(redemption, topic, valuation)
        if unverified is not None and unverified.final:
            return Reject(unverified.reason)
        rules = () if valuation is None else valuation.launcher_rules
        answer = await self._ask_platform(job, redemption, level, rules)
        if isinstance(answer, Unverified):
            if answer.final:
                return Reject(answer.reason)
            earlier = await negative_answers(self._engine, job.id, answer.reason.code)
            return self._wait_or_reject(answer, redemption, earlier)
        if isinstance(answer, Verified) and unverified is not None:
            return Wait(unverified.reason, rule_key(redemption.rule_id), RULE_RECHECK)
        return answer

    async def current_email(self, job: Job, redemption: Redemption) -> str | Wait | None:
        """The customer's e-mail address at the Platform, which may have changed since the webhook. None when the webhook
        has no account, the Platform does not know it, or there is no API key."""
        if redemption.customer_id is None:
            return None
        customer = await self._platform.get_customer(redemption.customer_id)
        if customer is None or isinstance(customer, Mapping):
            return None if customer is None else exact_json.email(customer.get("email"))
        return None if customer.reason == NO_KEY else _unavailable(customer, job.age)

    def _check_rules(self, redemption: Redemption, topic: str, valuation: Valuation) -> Unverified | None:
        return check_cost(redemption, valuation.operator_rule, valuation.launcher_rule) or check_value(
            topic, valuation.value, valuation.by_rules, self._settings
        )

    async def _ask_platform(
        self, job: Job, redemption: Redemption, level: VerificationLevel, rules: tuple[PlatformRule, ...]
    ) -> Verified | Unverified | Wait:
        """At `known`, a customer whose e-mail address differs is verified by the list of rewards, if it can be asked."""
        customer = await self._ask_customer(job, redemption)
        if not isinstance(customer, PlatformCustomer):
            return customer
        if level is VerificationLevel.KNOWN:
            if not email_differs(redemption, customer.email):
                return Verified(level, customer.email)
            if not self._platform.has_launcher:
                return not_yet_confirmed("the customer's e-mail address at the Platform is not the webhook's")
        answer = await self._ask_rewards(job, redemption, customer, rules)
        return answer or Verified(VerificationLevel.CONFIRMED, customer.email)

    async def _ask_customer(self, job: Job, redemption: Redemption) -> PlatformCustomer | Unverified | Wait:
        customer_id, email = redemption.customer_id, redemption.email
        if customer_id is not None:
            customer = await self._platform.get_customer(customer_id)
        elif email is None:
            return Unverified(because(ReasonCode.NOT_GENUINE, explanation="the webhook names no customer"), final=True)
        elif is_friends_reward(job.params.get("topic", ""), job.params.get("reward", "")):
            return PlatformCustomer("", email)
        else:
            customer = await self._platform.find_customer(email)
        if customer is None:
            return not_yet_confirmed("the Platform does not know the customer")
        if not isinstance(customer, Mapping):
            return _unavailable(customer, job.age)
        known_id = customer_id or exact_json.text(customer.get("externalId")) or ""
        return PlatformCustomer(known_id, exact_json.email(customer.get("email")))

    async def _ask_rewards(
        self, job: Job, redemption: Redemption, customer: PlatformCustomer, rules: tuple[PlatformRule, ...]
    ) -> Unverified | Wait | None:
        if not self._platform.has_launcher:
            purpose = "redemptions of this value have to be confirmed at the Platform"
            reason = because(ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY", purpose=purpose)
            return Wait(reason, "settings", RULE_RECHECK)
        email = customer.email or redemption.email or ""
        reward = await self._platform.find_reward(customer.id, email, redemption.code)
        if isinstance(reward, IncompleteList):
            return list_incomplete(reward)
        if reward is None or isinstance(reward, Mapping):
            return check_reward(redemption, job.params.get("topic", ""), reward, rules)
        return _unavailable(reward, job.age)

    def _wait_or_reject(
        self, unverified: Unverified, redemption: Redemption, earlier: NegativeAnswers
    ) -> Wait | Reject:
        """COUPONS__CONFIRM_WITHIN counts from the first negative answer: before it, the Platform could not be asked."""
        patience = self._settings.confirm_within.total_seconds()
        if earlier.seconds >= patience and earlier.count + 1 >= MIN_ANSWERS:
            if unverified.reason.code is not ReasonCode.CONFIRMATION_PENDING:
                return Reject(unverified.reason)
            facts = {**unverified.reason.facts, "seconds": round(earlier.seconds)}
            return Reject(because(ReasonCode.NOT_GENUINE, **facts))
        recheck = max(MIN_RECHECK, min(earlier.seconds, MAX_RECHECK, patience - earlier.seconds + 0.1))
        return Wait(unverified.reason, f"confirm:{redemption.code}", recheck)


def _by_network(level: VerificationLevel, network: str | None) -> Verified | Wait | Reject:
    if network == OTHER_NETWORK:
        return Reject(because(ReasonCode.SOURCE_NOT_ALLOWED, setting="PLATFORM__ALLOWED_NETWORKS"))
    if level is VerificationLevel.SOURCE and network is None:
        facts = {"setting": "PLATFORM__ALLOWED_NETWORKS", "purpose": "COUPONS__REQUIRE is source"}
        return Wait(because(ReasonCode.SETTING_MISSING, **facts), "settings", RULE_RECHECK)
    return Verified(level)


def _unavailable(failure: Failure, age: float) -> Wait:
    key = "settings" if isinstance(failure, Blocked) else "launcher"
    recheck = min(max(MIN_RECHECK, age), MAX_UNAVAILABLE_RECHECK)
    reason = because(ReasonCode.CONFIRMATION_UNAVAILABLE, problem=failure.reason.as_fact())
    return Wait(reason, key, recheck, evidence=failure.evidence)
