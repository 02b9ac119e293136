"""What an operator does to jobs: retry and drop. Every act is in the audit."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.event_examples import JOB_DETAIL
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.api.jobs import JobId, found_job
from platform_relay.api.request_body import read_model
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldError,
    FieldsInvalid,
    NotFound,
    NotJson,
    QueryInvalid,
    WrongState,
)
from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.actions import DeadJobs
from platform_relay.jobs.queries import when_away
from platform_relay.jobs.views import JobDetail
from platform_relay.queue.states import Ending

BODY_REFUSALS: Final = (*KEY_REFUSALS, BodyTooSlow, BodyTooLarge, EncodingRefused, NotJson, FieldsInvalid)


class Why(BaseModel):
    """Why an operator does this; kept in the audit."""

    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, Field(min_length=1, max_length=500)]


class RetryFilter(BaseModel):
    """Which dead jobs; members that are left out do not restrict. An empty object means all of them."""

    model_config = ConfigDict(extra="forbid")

    kind: str | None = Field(None, description="The jobs' kind, such as `forward_order`.")
    disposition: Ending | None = Field(None, description="How the last attempt ended.")
    reason_code: ReasonCode | None = Field(None, description="Why they are dead (docs/reason-codes.md).")
    before: AwareDatetime | None = Field(None, description="Dead since before this moment.")
    ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Exactly these; cannot be combined with the others."
    )
    dry_run: bool = Field(False, description="Only count.")


class Changed(BaseModel):
    jobs: int = Field(description="How many jobs were changed, or with `dry_run` would be.")
    dry_run: bool = False


BODIES: Final = (Why, RetryFilter)


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])
    operator, limit = services.operator, services.settings.body_limit

    @router.post(
        "/retry",
        operation_id="retry_jobs",
        summary="Retry dead jobs in bulk",
        responses={
            200: answer("How many were changed, or with `dry_run` would be.", {"jobs": 17, "dry_run": True}),
            **refusals(*BODY_REFUSALS),
        },
        openapi_extra=needs_key("operate") | body_of(RetryFilter, {"reason_code": "server_error", "dry_run": True}),
    )
    async def retry_jobs(request: Request) -> Changed:
        """Every dead job that matches takes a place at the end of its lane and starts anew. Ask with `dry_run` first
        to see how many that would be."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, RetryFilter, limit)
        which = DeadJobs(wanted.kind, wanted.disposition, wanted.reason_code, wanted.before)
        if wanted.ids is not None and (which != DeadJobs() or wanted.dry_run):
            message = "cannot be combined with other members"
            raise FieldsInvalid(f"`ids` {message}.", [FieldError("ids", message)])
        async with when_away():
            if wanted.ids is not None:
                return Changed(jobs=await operator.retry(wanted.ids, caller.name))
            if wanted.dry_run:
                return Changed(jobs=await operator.count_matching(which), dry_run=True)
            return Changed(jobs=await operator.retry_matching(which, caller.name))

    @router.post(
        "/{job_id}/retry",
        operation_id="retry_job",
        summary="Retry one dead job",
        responses={
            200: answer("It waits again.", JOB_DETAIL),
            **refusals(*KEY_REFUSALS, NotFound, WrongState, QueryInvalid),
        },
        openapi_extra=needs_key("operate"),
    )
    async def retry_job(request: Request, job_id: JobId) -> JobDetail:
        """The job takes a place at the end of its lane and starts anew; the destination is asked first what it has."""
        caller = await keys.require(request, "operate")
        async with when_away():
            changed = await operator.retry([job_id], caller.name)
        found = await found_job(services, job_id)
        if not changed:
            raise WrongState(f"Job {job_id} is {found.state}; only dead jobs can be retried.")
        return found

    @router.post(
        "/{job_id}/drop",
        operation_id="drop_job",
        summary="Drop one job for good",
        responses={
            200: answer("It is dropped.", JOB_DETAIL),
            **refusals(*BODY_REFUSALS, NotFound, WrongState, QueryInvalid),
        },
        openapi_extra=needs_key("operate") | body_of(Why, {"why": "The customer asked for erasure."}),
    )
    async def drop_job(request: Request, job_id: JobId) -> JobDetail:
        """A waiting or dead job will never be sent. It stays in the books as dropped, with who and why."""
        caller = await keys.require(request, "operate")
        why = (await read_model(request, Why, limit)).why
        async with when_away():
            changed = await operator.drop([job_id], caller.name, why)
        found = await found_job(services, job_id)
        if not changed:
            raise WrongState(f"Job {job_id} is {found.state}; only waiting or dead jobs can be dropped.")
        return found

    return router
