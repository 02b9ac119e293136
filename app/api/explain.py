"""Explains the state of an order, a customer, a coupon or a message."""

from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query

from platform_relay.api.authentication import READ
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID, JOB_ID
from platform_relay.core.database import read_connection
from platform_relay.core.errors import FieldError, QueryInvalid
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.explain.collect import explain
from platform_relay.explain.explanation import Explanation
from platform_relay.explain.records import Key

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
    "query": {"order": "1001"},
    "matched": True,
    **_CAUSE,
    "related": [],
    "timeline": [
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


router: Final = APIRouter(prefix="/v1/explain", tags=["Explain"])


@router.get(
    "",
    operation_id="explain",
    summary="Explain the state of an order, a customer, a coupon or a message",
    responses={200: success("The explanation.", EXAMPLE), **problem_responses(*KEY_PROBLEMS, QueryInvalid)},
    dependencies=[READ],
)
async def explain_entity(
    services: ServicesDep,
    order: Annotated[str | None, Query(description="The store's id of an order.")] = None,
    customer: Annotated[str | None, Query(description="The store's id of a customer, or an e-mail address.")] = None,
    coupon: Annotated[str | None, Query(description="The code of a coupon.")] = None,
    message: Annotated[str | None, Query(description="The id from the receipt of an event.")] = None,
) -> Explanation:
    """Send exactly one parameter. The response contains the cause, as a text and as an id (docs/explain.md), what happens next
    and when, the steps for an operator, and then everything that happened, in order of time. If nothing is known, the response
    lists what was searched, and the likely cause."""
    values = {"order": order, "customer": customer, "coupon": coupon, "message": message}
    given = [(name, value) for name in KEYS if (value := (values[name] or "").strip())]
    if len(given) != 1:
        problem = "send exactly one of order, customer, coupon and message"
        raise QueryInvalid(f"{problem[:1].upper()}{problem[1:]}.", [FieldError("order", problem)])
    [(name, value)] = given
    if "\x00" in value or len(value) > 320:
        problem = "must have 1 to 320 characters, without NUL"
        raise QueryInvalid(f"`{name}` {problem}.", [FieldError(name, problem)])
    async with read_connection(services.engine) as connection:
        return await explain(connection, name, value, services.settings.history)
