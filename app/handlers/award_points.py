"""An operator gives a coupon's points back -> POST /v1/customers/{id}/points, which is not idempotent.

So it is sent once. Whenever nobody can know whether it arrived, it ends dead with an alert, and a person looks.
"""

from typing import Protocol

from app.engine.jobs import Job
from app.handlers.issue_coupon import RaisesAlerts
from app.handlers.verdicts import settled
from app.operations.coupons.transitions import IN_DOUBT
from app.outcomes import Done, Outcome, Reject, Retry, Unknown
from app.platform.answers import Accepted, Verdict


class AwardsPoints(Protocol):
    async def award_points(self, customer_id: str, points: int, action: str) -> Verdict: ...


class RetiredCoupon(Protocol):
    @property
    def state(self) -> str: ...
    @property
    def customer_ref(self) -> str | None: ...


class GivesBack(Protocol):
    async def find(self, code: str) -> RetiredCoupon | None: ...
    async def give_back(self, code: str, reason: str) -> object | None: ...


class AwardPoints:
    def __init__(self, platform: AwardsPoints, coupons: GivesBack, alerts: RaisesAlerts) -> None:
        self._platform = platform
        self._coupons = coupons
        self._alerts = alerts

    async def __call__(self, job: Job) -> Outcome:
        code, points = job.params.get("code", ""), int(job.params.get("points", "0"))
        coupon = await self._coupons.find(code)
        if coupon is None or coupon.customer_ref is None or coupon.state != "retired" or points < 1:
            return Reject("there is no retired coupon with points to give back")
        if job.uncertain:
            return await self._in_doubt(code, "an earlier attempt may have arrived")
        verdict = await self._platform.award_points(coupon.customer_ref, points, f"coupon {code} taken back")
        if isinstance(verdict, Accepted):
            await self._coupons.give_back(code, f"{points} points were given back")
            return Done({"code": code, "points": str(points)}, evidence=verdict.evidence)
        if isinstance(verdict, Unknown) or (isinstance(verdict, Retry) and (verdict.evidence.status or 0) >= 500):
            return await self._in_doubt(code, verdict.why)
        return settled(verdict)

    async def _in_doubt(self, code: str, why: str) -> Reject:
        detail = f"the points of coupon {code} may or may not have been given back: {why}"
        first = (
            "look at the customer's points at the Platform; if they are not there, give them back again with `again`;"
            " if they are, say so with `arrived`"
        )
        await self._alerts.raise_alert(IN_DOUBT, code, detail, first)
        return Reject(f"{detail}. {first[:1].upper()}{first[1:]}.")
