"""The last refused requests, and how many there are by key and problem."""

from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from platform_relay.access.refused_requests import (
    RefusedRequestCount,
    RefusedRequestView,
    count_refused_requests,
    list_refused_requests,
)
from platform_relay.api.authentication import READ
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.paging import PageDep
from platform_relay.core.database import read_connection
from platform_relay.core.errors import QueryInvalid
from platform_relay.core.paging import Page

EXAMPLE: Final = {
    "id": ID,
    "at": "2026-05-11T16:25:01Z",
    "requests": 1,
    "key": "store",
    "method": "POST",
    "route": "/v1/events/orders",
    "status": 422,
    "problem": "fields-invalid",
    "fields": ["totalPrice", "financialStatus"],
    "size": 96,
    "body_shape": {"id": "text", "currency": "text", "totalPrice": "number", "other-1": "text"},
}
router: Final = APIRouter(prefix="/v1/refused-requests", tags=["Refused requests"])


class RefusedRequestCounts(BaseModel):
    model_config = ConfigDict(frozen=True)

    kept: bool = Field(description="False if REFUSED_REQUESTS is off: then no refused request is added.")
    counts: list[RefusedRequestCount] = Field(description="By key and problem, the most frequent first.")


@router.get(
    "",
    operation_id="list_refused_requests",
    summary="List refused requests, newest first",
    responses={
        200: success("One page of refused requests.", {"items": [EXAMPLE], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def get_refused_requests(services: ServicesDep, page: PageDep) -> Page[RefusedRequestView]:
    """The last 1,000 requests of at most 14 days that were refused with 401, 403, 409, 413, 415 or 422, and those to the
    Platform's webhook address without its secret. No value of a body is kept, only its type. Requests that are refused for the
    same reason within a second are one entry with their number."""
    async with read_connection(services.engine) as connection:
        return await list_refused_requests(connection, cursor=page.cursor, limit=page.limit)


@router.get(
    "/counts",
    operation_id="count_refused_requests",
    summary="Count refused requests by key and problem",
    responses={
        200: success(
            "The counts of the kept requests.",
            {"kept": True, "counts": [{"key": "store", "problem": "fields-invalid", "requests": 3}]},
        ),
        **problem_responses(*KEY_PROBLEMS),
    },
    dependencies=[READ],
)
async def get_refused_request_counts(services: ServicesDep) -> RefusedRequestCounts:
    """The numbers of the requests that the list contains."""
    async with read_connection(services.engine) as connection:
        counts = await count_refused_requests(connection)
    return RefusedRequestCounts(kept=services.refused_requests is not None, counts=counts)
