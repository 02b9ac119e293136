"""An operator returns a coupon's points -> POST /v1/customers/{id}/points, which is not idempotent.

So it is sent once. When it is not known whether it arrived, the job is dead-lettered with an alert, and an operator
decides.
"""

from pydantic import JsonValue

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform.answers import Accepted
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import settled
from platform_relay.queue.jobs import Job


class ReturnPoints:
    def __init__(self, platform: PlatformClient, coupons: Coupons, alerts: Alerts) -> None:
        self._platform = platform
        self._coupons = coupons
        self._alerts = alerts

    async def __call__(self, job: Job) -> Outcome:
        code, points = job.params.get("code", ""), int(job.params.get("points", "0"))
        coupon = await self._coupons.find(code)
        if coupon is None or coupon.customer_ref is None or coupon.state != "retired" or points < 1:
            return Reject(because(ReasonCode.POINTS_NOT_RETURNABLE, code=code))
        if job.uncertain:
            return await self._in_doubt(code, points, "an earlier attempt may have arrived")
        verdict = await self._platform.return_points(coupon.customer_ref, points, f"coupon {code} taken back")
        if isinstance(verdict, Accepted):
            await self._coupons.give_back(code, points)
            return Done({"code": code, "points": str(points)}, evidence=verdict.evidence)
        if isinstance(verdict, Unknown) or (isinstance(verdict, Retry) and (verdict.evidence.status or 0) >= 500):
            return await self._in_doubt(code, points, verdict.reason.as_fact())
        return settled(verdict)

    async def _in_doubt(self, code: str, points: int, problem: JsonValue) -> Reject:
        reason = because(ReasonCode.POINTS_IN_DOUBT, code=code, points=points, problem=problem)
        await self._alerts.raise_alert(reason, code)
        return Reject(reason)
