"""An order used one of our coupons -> POST /v1/rewards/{code}/use.

What a second use answers is not published: a refusal after a success, or after an attempt that may have arrived,
means that it is used already.
"""

from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform import translate
from platform_relay.platform.answers import Accepted, Meaning, Refused
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import settled
from platform_relay.queue.jobs import Job


class UseReward:
    def __init__(self, platform: PlatformClient, coupons: Coupons) -> None:
        self._platform = platform
        self._coupons = coupons

    async def __call__(self, job: Job) -> Outcome:
        code, order = job.params.get("code"), job.params.get("order", "")
        if not code:
            return Reject(because(ReasonCode.STORED_EVENT_UNREADABLE, problem="it names no coupon code"))
        if job.known:
            return Skip(because(ReasonCode.REWARD_ALREADY_USED, code=code))
        verdict = await self._platform.use_reward(code)
        if isinstance(verdict, Accepted):
            return await self._used(code, order, verdict.evidence)
        if isinstance(verdict, Refused):
            again = self._platform.fields.is_status("status.rewardUsed", verdict.evidence.status or 0)
            if verdict.meaning is Meaning.ALREADY_EXISTS or (again and job.uncertain):
                return await self._used(code, order, verdict.evidence)
        return settled(verdict)

    async def _used(self, code: str, order: str, evidence: Evidence) -> Outcome:
        await self._coupons.use(code, order)
        return Done({"code": code}, translate.digest({"code": code}), evidence)
