"""Reports to the Platform that an order used a coupon of the relay: POST /v1/rewards/{code}/use.

The response to a second use is not published. So a rejection after a success, or after an attempt that may have arrived,
means that the reward is already marked as used.
"""

from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject, Skip
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform import translation
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import outcome_of
from platform_relay.platform.responses import Accepted, Rejected, RejectionKind
from platform_relay.queue.jobs import Job


class UseReward:
    def __init__(self, platform: PlatformClient, coupons: Coupons) -> None:
        self._platform = platform
        self._coupons = coupons

    async def __call__(self, job: Job) -> Outcome:
        code, order = job.params.get("code"), job.params.get("order", "")
        if not code:
            return Reject(because(ReasonCode.JOB_INVALID, problem="it names no coupon code"))
        if job.exists_remotely:
            return Skip(because(ReasonCode.REWARD_ALREADY_USED, code=code))
        response = await self._platform.use_reward(code)
        if isinstance(response, Accepted):
            return await self._used(code, order, response.evidence)
        if isinstance(response, Rejected):
            used = self._platform.fields.has_status("status.rewardUsed", response.evidence.status or 0)
            if response.kind is RejectionKind.ALREADY_EXISTS or (used and job.uncertain):
                return await self._used(code, order, response.evidence)
        return outcome_of(response)

    async def _used(self, code: str, order: str, evidence: Evidence) -> Outcome:
        await self._coupons.use(code, order)
        return Done({"code": code}, translation.digest({"code": code}), evidence)
