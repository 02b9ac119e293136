"""Erases and exports the personal data of a customer. The customer is named in the body, because URLs are logged."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from platform_relay.api.authentication import AdminAccess
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID, JOB_ID
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors
from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.errors import WrongState, as_sentence
from platform_relay.core.field_rules import VISIBLE
from platform_relay.privacy.erase import StillRunningError, erase
from platform_relay.privacy.export import CustomerExport, export
from platform_relay.privacy.receipt import KEPT, NEXT_STEPS, ErasureReceipt

PATIENCE: Final = 5.0
"""How many seconds an erasure waits for a job that is running."""
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
    "exports": [],
    "kept": KEPT,
    "next_steps": NEXT_STEPS,
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
    "delivered": [{"destination": "platform", "key": "customer:42", "exists_remotely": True}],
    "issuance_limits": [],
    "differences": [],
}


class CustomerReference(BaseModel):
    model_config = ConfigDict(extra="forbid")

    customer: Annotated[str, Field(min_length=1, max_length=320, pattern=VISIBLE)] = Field(
        description="The store's id of the customer, or an e-mail address."
    )


Body = Annotated[CustomerReference, Depends(JsonBody(CustomerReference, {"customer": "42"}))]
router: Final = APIRouter(prefix="/v1/customers", tags=["Personal data"])


@router.post(
    "/erase",
    operation_id="erase_customer",
    summary="Erase a customer's personal data",
    responses={200: success("The receipt.", _RECEIPT), **problem_responses(*BODY_PROBLEMS, WrongState)},
)
async def erase_customer(caller: AdminAccess, body: Body, services: ServicesDep) -> ErasureReceipt:
    """Removes the customer's data from bodies, attempts, excerpts, references, coupons and alerts. Counts and the ledger of
    coupons are kept. Waiting jobs are dropped. The erasure waits for a running job, and answers 409 if it does not end; then
    send the request again. This reads every stored body once, so it can take minutes. If you repeat the call, it erases the
    rest."""
    try:
        async with map_database_errors():
            return await erase(services.engine, services.actions, body.customer, caller.name, patience=PATIENCE)
    except (StillRunningError, UnreadableBodyError) as error:
        raise WrongState(as_sentence(error)) from None


@router.post(
    "/export",
    operation_id="export_customer",
    summary="Export a customer's personal data",
    response_model=CustomerExport,
    responses={200: success("All stored data.", _EXPORT), **problem_responses(*BODY_PROBLEMS, WrongState)},
)
async def export_customer(caller: AdminAccess, body: Body, services: ServicesDep) -> Response:
    """Messages with their bodies, jobs, attempts, coupons and notes about the customer. For an unknown customer, the lists are
    empty. The audit keeps that an export was made, but not for whom. 409: a body is encrypted with a key that the relay does not
    have."""
    try:
        async with map_database_errors():
            data = await export(services.engine, body.customer, caller.name)
    except UnreadableBodyError as error:
        raise WrongState(as_sentence(error)) from None
    return Response(data.text(), media_type="application/json")
