"""Why is it so? The story of one order, customer, coupon or message."""

from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query
from starlette.requests import Request

from app.api.authentication import Keys
from app.api.documentation import answer, needs_key, refusals
from app.api.event_examples import ID, JOB_ID
from app.api.events import KEY_REFUSALS
from app.api.services import Services
from app.errors import FieldError, QueryInvalid
from app.operations.books import reading
from app.operations.explain.gather import explain
from app.operations.explain.records import Key
from app.operations.explain.story import Explanation

KEYS: Final[tuple[Key, ...]] = get_args(Key)
_SAYS: Final = "The Platform refused order 1001: the Platform says: currency must be ISO 4217 (HTTP 422)."
_NEXT: Final = "It is not tried again by itself; a corrected report from the shop is sent as usual."
_DO: Final = [
    "correct what the Platform complains about in the shop, or:",
    f"retry the job: POST /v1/jobs/{JOB_ID}/retry",
    f"or give it up for good: POST /v1/jobs/{JOB_ID}/drop",
]
EXAMPLE: Final = {
    "asked": {"order": "1001"},
    "found": True,
    "cause": "rejected",
    "confidence": "certain",
    "headline": _SAYS,
    "next": _NEXT,
    "do": _DO,
    "also": [],
    "story": [
        {
            "at": "2026-05-11T16:25:01Z",
            "says": "The shop's backend reported order 1001 (paid 19.98 EUR); so the Platform has to be given order 1001.",
            "message_id": ID,
        },
        {
            "at": "2026-05-11T16:25:02Z",
            "says": "Order 1001, try 1: the Platform refused it: the Platform says: currency must be ISO 4217 (HTTP 422).",
            "message_id": ID,
            "job_id": JOB_ID,
        },
    ],
    "notes": [],
    "searched": ["messages about order 1001"],
    "finding": {
        "subject": "order:1001",
        "cause": "rejected",
        "confidence": "certain",
        "says": _SAYS,
        "next": _NEXT,
        "do": _DO,
        "needs_attention": True,
        "status": 422,
        "because": None,
        "job_id": JOB_ID,
        "message_id": ID,
    },
}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/explain", tags=["Explain"])

    @router.get(
        "",
        operation_id="explain",
        summary="Why did this order, customer or coupon get what it got?",
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
        """Ask by exactly one parameter. The answer names the cause, as a sentence and as an id (docs/explain.md), what
        happens next and when, and what an operator can do; then everything that happened, in order of time. A key that
        nothing is known about is answered too, with what was searched and what is likely."""
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
