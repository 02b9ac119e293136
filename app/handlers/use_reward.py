"""An order used one of our coupons -> POST /v1/rewards/{code}/use.

What a second use answers is not published: a refusal after a success, or after an attempt that may have arrived,
means that it is used already.
"""

from typing import Protocol

from app.engine.jobs import Job
from app.handlers.verdicts import settled
from app.outcomes import Done, Evidence, Outcome, Reject, Skip
from app.platform import translate
from app.platform.answers import Accepted, Meaning, Refused, Verdict
from app.platform.fields import Fields


class UsesRewards(Protocol):
    @property
    def fields(self) -> Fields: ...
    async def use_reward(self, code: str) -> Verdict: ...


class MarksCoupons(Protocol):
    async def use(self, code: str, reason: str) -> object:
        """Mark our coupon as used; idempotent."""


class UseReward:
    def __init__(self, platform: UsesRewards, coupons: MarksCoupons) -> None:
        self._platform = platform
        self._coupons = coupons

    async def __call__(self, job: Job) -> Outcome:
        code, order = job.params.get("code"), job.params.get("order", "")
        if not code:
            return Reject("the job names no code")
        if job.known:
            return Skip("the reward was marked used before")
        verdict = await self._platform.use_reward(code)
        if isinstance(verdict, Accepted):
            return await self._used(code, order, verdict.evidence)
        if isinstance(verdict, Refused):
            again = self._platform.fields.is_status("status.rewardUsed", verdict.evidence.status or 0)
            if verdict.meaning is Meaning.ALREADY_EXISTS or (again and job.uncertain):
                return await self._used(code, order, verdict.evidence)
        return settled(verdict)

    async def _used(self, code: str, order: str, evidence: Evidence) -> Outcome:
        await self._coupons.use(code, f"used in order {order}")
        return Done({"code": code}, translate.digest({"code": code}), evidence)
