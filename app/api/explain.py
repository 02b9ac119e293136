"""Explains why an order, a customer, a coupon or a message is as it is."""

from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, needs_key, refusals
from platform_relay.api.event_examples import ID, JOB_ID
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.core.errors import FieldError, QueryInvalid
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.explain.gather import explain
from platform_relay.explain.records import Key
from platform_relay.explain.story import Explanation
from platform_relay.jobs.queries import reading

KEYS: Final[tuple[Key, ...]] = get_args(Key)
_REASON: Final = because(
    ReasonCode.REJECTED_BY_DESTINATION,
    destination="the Platform",
    request="the order",
    status=422,
    response="currency must be ISO 4217",
)
_CAUSE: Final = {
    "cause": "rejected",
    "confidence": "certain",
    "text": f"Order 1001: {_REASON.text}",
    "next_step": "It is not tried again automatically. A corrected event from the store is sent as usual.",
    "steps": [
        {"text": "Correct the cause in the store.", "api": None, "command": None},
        {"text": "Retry the job.", "api": f"POST /v1/jobs/{JOB_ID}/retry", "command": None},
        {"text": "Drop the job if it is not needed.", "api": f"POST /v1/jobs/{JOB_ID}/drop", "command": None},
    ],
}
EXAMPLE: Final = {
    "asked": {"order": "1001"},
    "found": True,
    **_CAUSE,
    "also": [],
    "story": [
        {
            "at": "2026-05-11T16:25:01Z",
            "text": "The store's backend reported order 1001 (paid 19.98 EUR); so order 1001 must be sent to the Platform.",
            "message_id": ID,
        },
        {
            "at": "2026-05-11T16:25:02Z",
            "text": f"Order 1001, attempt 1: {_REASON.text}",
            "message_id": ID,
            "job_id": JOB_ID,
        },
    ],
    "notes": [],
    "searched": ["messages about order 1001"],
    "finding": {
        "subject": "order:1001",
        **_CAUSE,
        "needs_attention": True,
        "reason_code": _REASON.code,
        "facts": _REASON.facts,
        "status": 422,
        "caused_by": None,
        "job_id": JOB_ID,
        "message_id": ID,
    },
}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/explain", tags=["Explain"])

    @router.get(
        "",
        operation_id="explain",
        summary="Explain why an order, a customer or a coupon is as it is",
        responses={200: answer("The story.", EXAMPLE), **refusals(*KEY_REFUSALS, QueryInvalid)},
        openapi_extra=needs_key("read"),
    )
    async def why(
        request: Request,
        order: Annotated[str | None, Query(description="The store's id of an order.")] = None,
        customer: Annotated[
            str | None, Query(description="The store's id of a customer, or an e-mail address.")
        ] = None,
        coupon: Annotated[str | None, Query(description="A coupon's code.")] = None,
        message: Annotated[str | None, Query(description="The id in an event's receipt.")] = None,
    ) -> Explanation:
        """Ask by exactly one parameter. The response has the cause, as a text and as an id (docs/explain.md), what happens
        next and when, and the steps for an operator; then everything that happened, in order of time. When nothing is
        known about it, the response has what was searched and the likely cause."""
        await keys.require(request, "read")
        asked = {"order": order, "customer": customer, "coupon": coupon, "message": message}
        given = [(by, key) for by in KEYS if (key := (asked[by] or "").strip())]
        if len(given) != 1:
            wanted = "name exactly one of order, customer, coupon and message"
            raise QueryInvalid(f"The address has to {wanted}.", [FieldError("order", wanted)])
        [(by, key)] = given
        if "\x00" in key or len(key) > 320:
            raise QueryInvalid(f"`{by}` is no id.", [FieldError(by, "must be 1 to 320 characters without NUL")])
        async with reading(services.engine) as connection:
            return await explain(connection, by, key)

    return router
