"""A person's data: erased, and handed out. The customer stands in the body, since addresses end up in logs."""

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.event_examples import ID, JOB_ID
from platform_relay.api.operator import BODY_REFUSALS
from platform_relay.api.request_body import read_model
from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.errors import WrongState, as_sentence
from platform_relay.jobs.queries import when_away
from platform_relay.privacy.erase import NEXT, STAYS, Receipt, StillRunningError, erase
from platform_relay.privacy.export import Export, export

PATIENCE: Final = 5.0
"""Seconds that a caller waits for a job that runs right now."""
_RECEIPT: Final = {
    "erasure": "8c7f0a52-7c1e-4f0c-9b77-0d5a3f1f2f6d",
    "at": "2026-05-11T16:30:00Z",
    "by": "operator",
    "messages": 7,
    "redacted": 1,
    "jobs": 9,
    "dropped": 1,
    "attempts": 10,
    "coupons": 2,
    "retired": 0,
    "alerts": 0,
    "differences": 0,
    "entities": 1,
    "stays": STAYS,
    "next": NEXT,
}
_EXPORT: Final = {
    "at": "2026-05-11T16:30:00Z",
    "customer": ["42", "ada@example.com"],
    "messages": [
        {
            "id": ID,
            "source": "store",
            "kind": "customers",
            "received_at": "2026-05-11T16:25:01Z",
            "customer_ref": "42",
            "body": {"id": "42", "email": "ada@example.com"},
        }
    ],
    "jobs": [
        {
            "id": JOB_ID,
            "message_id": ID,
            "kind": "forward_customer",
            "destination": "platform",
            "lane": "customer:42",
            "state": "done",
            "created_at": "2026-05-11T16:25:01Z",
            "finished_at": "2026-05-11T16:25:02Z",
        }
    ],
    "attempts": [],
    "coupons": [],
    "delivered": [{"destination": "platform", "key": "customer:42", "known": True}],
    "fuses": [],
    "differences": [],
}


class Who(BaseModel):
    model_config = ConfigDict(extra="forbid")

    customer: Annotated[str, Field(min_length=1, max_length=320, pattern=r"^[^\x00-\x1f]+$")] = Field(
        description="The store's id of the customer, or an e-mail address."
    )


BODIES: Final = (Who,)


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/customers", tags=["Personal data"])
    limit = services.settings.body_limit

    @router.post(
        "/erase",
        operation_id="erase_customer",
        summary="Erase a person",
        responses={200: answer("The receipt.", _RECEIPT), **refusals(*BODY_REFUSALS, WrongState)},
        openapi_extra=needs_key("admin") | body_of(Who, {"customer": "42"}),
    )
    async def forget(request: Request) -> Receipt:
        """Removes the person from bodies, attempts, excerpts, references, coupons and alerts; counts and the ledger of
        coupons stay. What waits for delivery is dropped; a job that runs right now is waited for, and 409 asks for another
        try when it does not end. Reads every kept body once, so it may take minutes; the same again does the rest."""
        caller = await keys.require(request, "admin")
        wanted = await read_model(request, Who, limit)
        try:
            async with when_away():
                return await erase(services.engine, services.operator, wanted.customer, caller.name, patience=PATIENCE)
        except (StillRunningError, UnreadableBodyError) as error:
            raise WrongState(as_sentence(error)) from None

    @router.post(
        "/export",
        operation_id="export_customer",
        summary="Hand out everything that is held about a person",
        responses={200: answer("All of it.", _EXPORT), **refusals(*BODY_REFUSALS, WrongState)},
        openapi_extra=needs_key("admin") | body_of(Who, {"customer": "42"}),
    )
    async def hand_out(request: Request) -> Export:
        """Messages with their bodies, jobs, attempts, coupons, and what was noted. Somebody nothing is known about gets
        empty lists. The audit tells that an export was made, not of whom. 409: a body is encrypted under a key that the
        relay does not have."""
        caller = await keys.require(request, "admin")
        wanted = await read_model(request, Who, limit)
        try:
            async with when_away():
                return await export(services.engine, wanted.customer, caller.name)
        except UnreadableBodyError as error:
            raise WrongState(as_sentence(error)) from None

    return router
