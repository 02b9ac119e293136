"""What the relay owes or has done: jobs and counts. Read only."""

from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, needs_key, refusals
from platform_relay.api.event_examples import JOB, JOB_DETAIL, JOB_ID
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.core.errors import NotFound, QueryInvalid
from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.queries import find_job, list_jobs, read_books, reading
from platform_relay.jobs.views import JobCounts, JobDetail, JobPage

State = Literal["waiting", "running", "done", "skipped", "superseded", "dead", "dropped"]
JobId = Annotated[UUID, Path(description="The job's id.")]
COUNTS: Final = {
    "received": 4,
    "delivered": 2,
    "waiting": 1,
    "running": 0,
    "unknown": 0,
    "dead": 1,
    "superseded": 0,
    "skipped": 0,
    "dropped": 0,
}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Jobs"])

    @router.get(
        "/jobs",
        operation_id="list_jobs",
        summary="List jobs, newest first",
        responses={
            200: answer("One page.", {"items": [JOB], "next_cursor": JOB_ID}),
            **refusals(*KEY_REFUSALS, QueryInvalid),
        },
        openapi_extra=needs_key("read"),
    )
    async def jobs(
        request: Request,
        state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
        kind: Annotated[str | None, Query(description="Only jobs of this kind, such as `forward_order`.")] = None,
        lane: Annotated[str | None, Query(description="Only jobs of this lane, such as `order:1001`.")] = None,
        reason_code: Annotated[
            ReasonCode | None, Query(description="Only jobs with this reason code (docs/reason-codes.md).")
        ] = None,
        cursor: Annotated[UUID | None, Query(description="The last page's `next_cursor`.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="Jobs per page.")] = 50,
    ) -> JobPage:
        """Each job with its state, the reason and the next step. `state=dead` lists what needs a person."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            return await list_jobs(
                connection, state=state, kind=kind, lane=lane, reason_code=reason_code, cursor=cursor, limit=limit
            )

    @router.get(
        "/counts",
        operation_id="count_jobs",
        summary="Count everything: the accounting identity",
        responses={
            200: answer(
                "The counts, from one moment.",
                {"messages": 4, "total": COUNTS, "by_kind": {"forward_order": COUNTS}, "balanced": True},
            ),
            **refusals(*KEY_REFUSALS, QueryInvalid),
        },
        openapi_extra=needs_key("read"),
    )
    async def counts(
        request: Request,
        reason_code: Annotated[
            ReasonCode | None, Query(description="Count only jobs with this reason code (docs/reason-codes.md).")
        ] = None,
    ) -> JobCounts:
        """Every job is in exactly one state: received = delivered + waiting + running + unknown + dead + superseded +
        skipped + dropped. Reads all jobs; for every few seconds use /metrics."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            return await read_books(connection, reason_code)

    @router.get(
        "/jobs/{job_id}",
        operation_id="read_job",
        summary="Read one job with its attempts",
        responses={200: answer("The job.", JOB_DETAIL), **refusals(*KEY_REFUSALS, NotFound, QueryInvalid)},
        openapi_extra=needs_key("read"),
    )
    async def job(request: Request, job_id: JobId) -> JobDetail:
        """The job's state, the reason, the next step, and every attempt with the destination's response."""
        await keys.require(request, "read")
        return await found_job(services, job_id)

    return router


async def found_job(services: Services, job_id: UUID) -> JobDetail:
    """Raises NotFound."""
    async with reading(services.engine) as connection:
        found = await find_job(connection, job_id)
    if found is None:
        raise NotFound(f"No job has the id {job_id}.")
    return found
