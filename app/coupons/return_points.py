"""Returns a coupon's points for an operator: POST /v1/customers/{id}/points, which is not idempotent.

So it is sent once. When it is unknown whether it arrived, the job is dead-lettered with an alert, and an operator decides.
"""

from pydantic import JsonValue

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Unknown
from platform_relay.core.plain_numbers import integer
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import outcome_of
from platform_relay.platform.responses import Accepted
from platform_relay.queue.jobs import Job


class ReturnPoints:
    def __init__(self, platform: PlatformClient, coupons: Coupons, alerts: Alerts) -> None:
        self._platform = platform
        self._coupons = coupons
        self._alerts = alerts

    async def __call__(self, job: Job) -> Outcome:
        code, points = job.params.get("code", ""), integer(job.params.get("points", "0"))
        coupon = await self._coupons.find(code)
        if coupon is None or coupon.customer_ref is None or coupon.state != "retired" or points < 1:
            return Reject(because(ReasonCode.POINTS_NOT_RETURNABLE, code=code))
        if job.uncertain:
            return await self._in_doubt(code, points, "an earlier attempt may have arrived")
        response = await self._platform.return_points(coupon.customer_ref, points, f"Coupon {code} was retired")
        if isinstance(response, Accepted):
            await self._coupons.mark_points_returned(code, points)
            return Done({"code": code, "points": str(points)}, evidence=response.evidence)
        if isinstance(response, Unknown) or (isinstance(response, Retry) and (response.evidence.status or 0) >= 500):
            return await self._in_doubt(code, points, response.reason.as_fact())
        return outcome_of(response)

    async def _in_doubt(self, code: str, points: int, problem: JsonValue) -> Reject:
        reason = because(ReasonCode.POINTS_IN_DOUBT, code=code, points=points, problem=problem)
        await self._alerts.raise_alert(reason, code)
        return Reject(reason)
