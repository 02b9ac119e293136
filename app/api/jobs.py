"""Jobs: list, count and read them; retry them, send them as the newest version, and drop them. All changes are audited."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import JOB, JOB_CURSOR, JOB_DETAIL
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import FieldError, FieldsInvalid, NotFound, QueryInvalid, WrongState
from platform_relay.core.paging import Page
from platform_relay.core.reasons import ReasonCode
from platform_relay.history.limits import missing_job
from platform_relay.inbox.events import Instant
from platform_relay.jobs.actions import DeadJobs
from platform_relay.jobs.queries import find_job, list_jobs, read_job_counts
from platform_relay.jobs.views import JobCounts, JobDetail, JobView
from platform_relay.queue.states import Ending

State = Literal["waiting", "running", "done", "skipped", "superseded", "dead", "dropped"]
JobId = Annotated[UUID, Path(description="The id of the job.")]
_COUNTS: Final = {
    "received": 4,
    "delivered": 2,
    "waiting": 1,
    "held": 0,
    "running": 0,
    "unknown": 0,
    "dead": 1,
    "superseded": 0,
    "skipped": 0,
    "dropped": 0,
}


class OperatorAction(BaseModel):
    """Why an operator does this; the audit keeps it."""

    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, Field(min_length=1, max_length=500)]


class RetryFilter(BaseModel):
    """Which dead jobs to retry. Fields that are left out do not restrict; an empty object selects all dead jobs."""

    model_config = ConfigDict(extra="forbid")

    kind: str | None = Field(None, description="The kind of the jobs, such as `forward_order`.")
    disposition: Ending | None = Field(None, description="How the last attempt ended.")
    reason_code: ReasonCode | None = Field(None, description="Why the jobs are dead (docs/reason-codes.md).")
    before: Instant | None = Field(None, description="Jobs that became dead before this time.")
    ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="The ids of the jobs; cannot be combined with other fields."
    )
    dry_run: bool = Field(False, description="Only count the jobs.")


class ChangedJobs(BaseModel):
    jobs: int = Field(description="The number of jobs that were retried, or with `dry_run` would be.")
    dry_run: bool = False
    before: datetime | None = Field(
        None,
        description="The time of the count, with `dry_run`. Send it as `before`, and only jobs that were counted are retried.",
    )


router: Final = APIRouter(prefix="/v1/jobs", tags=["Jobs"])


@router.get(
    "",
    operation_id="list_jobs",
    summary="List jobs, newest first",
    responses={
        200: success(
            "One page of jobs.",
            {"items": [JOB], "next_cursor": JOB_CURSOR},
        ),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def get_jobs(
    services: ServicesDep,
    page: PageDep,
    state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
    kind: Annotated[str | None, Query(description="Only jobs of this kind, such as `forward_order`.")] = None,
    lane: Annotated[str | None, Query(description="Only jobs of this lane, such as `order:1001`.")] = None,
    reason_code: Annotated[
        ReasonCode | None, Query(description="Only jobs with this reason code (docs/reason-codes.md).")
    ] = None,
) -> Page[JobView]:
    """Each job has its state, the reason and the next step. `state=dead` lists the dead-lettered jobs, which an operator
    has to retry or drop."""
    async with read_connection(services.engine) as connection:
        return await list_jobs(
            connection,
            state=state,
            kind=kind,
            lane=lane,
            reason_code=reason_code,
            cursor=page.cursor,
            limit=page.limit,
        )


@router.get(
    "/counts",  # before /{job_id}
    operation_id="count_jobs",
    summary="Count jobs by state",
    responses={
        200: success(
            "The counts of one database snapshot.",
            {
                "messages": 4,
                "left_history": 0,
                "total": _COUNTS,
                "by_kind": {"forward_order": _COUNTS},
                "balanced": True,
            },
        ),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def count_jobs(
    services: ServicesDep,
    reason_code: Annotated[
        ReasonCode | None, Query(description="Only count jobs with this reason code (docs/reason-codes.md).")
    ] = None,
) -> JobCounts:
    """Every job is in exactly one state: received = delivered + waiting + held + running + unknown + dead + superseded +
    skipped + dropped. This reads all jobs; to poll every few seconds, use /metrics."""
    async with read_connection(services.engine) as connection:
        return await read_job_counts(connection, reason_code)


@router.get(
    "/{job_id}",
    operation_id="read_job",
    summary="Read a job with its attempts",
    responses={
        200: success("The job.", JOB_DETAIL),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
    dependencies=[READ],
)
async def read_job(services: ServicesDep, job_id: JobId) -> JobDetail:
    """The job's state, the reason, the next step, and every attempt with the destination's response."""
    return await _find(services, job_id)


@router.post(
    "/retry",
    operation_id="retry_jobs",
    summary="Retry dead jobs in bulk",
    responses={
        200: success(
            "The number of jobs that were retried, or with `dry_run` would be.",
            {"jobs": 17, "dry_run": True, "before": "2026-05-11T16:25:02Z"},
        ),
        **problem_responses(*BODY_PROBLEMS),
    },
)
async def retry_jobs(
    caller: OperateAccess,
    body: Annotated[RetryFilter, Depends(JsonBody(RetryFilter, {"reason_code": "server_error", "dry_run": True}))],
    services: ServicesDep,
) -> ChangedJobs:
    """Every dead job that matches moves to the end of its lane and gets all its attempts again. To see how many jobs match,
    send `dry_run` first."""
    selection = DeadJobs(body.kind, body.disposition, body.reason_code, body.before)
    if body.ids is not None and (selection != DeadJobs() or body.dry_run):
        message = "cannot be combined with other fields"
        raise FieldsInvalid(f"`ids` {message}.", [FieldError("ids", message)])
    async with map_database_errors():
        if body.ids is not None:
            return ChangedJobs(jobs=await services.actions.retry(body.ids, caller.name))
        if body.dry_run:
            count, counted_at = await services.actions.count_matching(selection)
            return ChangedJobs(jobs=count, dry_run=True, before=body.before or counted_at)
        return ChangedJobs(jobs=await services.actions.retry_matching(selection, caller.name))


@router.post(
    "/{job_id}/retry",
    operation_id="retry_job",
    summary="Retry a dead job",
    responses={
        200: success("The job waits to be sent again.", JOB_DETAIL),
        **problem_responses(*KEY_PROBLEMS, NotFound, WrongState, QueryInvalid),
    },
)
async def retry_job(caller: OperateAccess, services: ServicesDep, job_id: JobId) -> JobDetail:
    """The job moves to the end of its lane and gets all its attempts again. Because an earlier attempt may have
    arrived, the relay repeats only what cannot create anything twice."""
    async with map_database_errors():
        retried = await services.actions.retry([job_id], caller.name)
    job = await _find(services, job_id)
    if not retried:
        raise WrongState(f"Job {job_id} is {job.state}; only dead jobs can be retried.")
    return job


@router.post(
    "/{job_id}/send-as-newest",
    operation_id="send_job_as_newest",
    summary="Send a dead or superseded job as the newest version",
    responses={
        200: success("The job waits to be sent.", JOB_DETAIL),
        **problem_responses(*BODY_PROBLEMS, NotFound, WrongState, QueryInvalid),
    },
)
async def send_job_as_newest(
    caller: OperateAccess,
    body: Annotated[OperatorAction, Depends(JsonBody(OperatorAction, {"why": "The clock of the store was wrong."}))],
    services: ServicesDep,
    job_id: JobId,
) -> JobDetail:
    """For an entity whose newer versions count as older, because a version with a wrong time was delivered. The job is sent
    before the waiting jobs of its lane, whatever was delivered before. Later versions are compared with this one. The audit
    keeps who sent it and why."""
    async with map_database_errors():
        sent = await services.actions.send_as_newest(job_id, caller.name, body.why)
    job = await _find(services, job_id)
    if not sent:
        raise WrongState(
            f"Job {job_id} is {job.state}; only dead and superseded jobs can be sent as the newest version."
        )
    return job


@router.post(
    "/{job_id}/drop",
    operation_id="drop_job",
    summary="Drop a job",
    responses={
        200: success("The job is dropped.", JOB_DETAIL),
        **problem_responses(*BODY_PROBLEMS, NotFound, WrongState, QueryInvalid),
    },
)
async def drop_job(
    caller: OperateAccess,
    body: Annotated[OperatorAction, Depends(JsonBody(OperatorAction, {"why": "The customer asked for erasure."}))],
    services: ServicesDep,
    job_id: JobId,
) -> JobDetail:
    """A waiting or dead job becomes `dropped` and is never sent. It stays in the counts, and the job and the audit keep
    who dropped it and why."""
    async with map_database_errors():
        dropped = await services.actions.drop([job_id], caller.name, body.why)
    job = await _find(services, job_id)
    if not dropped:
        raise WrongState(f"Job {job_id} is {job.state}; only waiting and dead jobs can be dropped.")
    return job


async def _find(services: Services, job_id: UUID) -> JobDetail:
    """Raises NotFound."""
    async with read_connection(services.engine) as connection:
        job = await find_job(connection, job_id)
    if job is None:
        raise NotFound(missing_job(job_id, datetime.now(UTC), services.settings.history))
    return job
