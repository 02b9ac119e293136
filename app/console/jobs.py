"""The page of one job: its attempts, *Retry*, *Send as newest* and *Drop*."""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.audit.queries import list_audit
from platform_relay.console.pages import PageError, Pages
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.history.limits import missing_job
from platform_relay.jobs.queries import find_job


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/console/jobs", route_class=pages.route_class(), include_in_schema=False)
    engine, actions = pages.services.engine, pages.services.actions

    @router.get("/{job_id}")
    async def show_job(request: Request, job_id: UUID) -> Response:
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            job = await find_job(connection, job_id)
            audit_records = (await list_audit(connection, subject=str(job_id))).items
        if job is None:
            why = missing_job(job_id, datetime.now(UTC), pages.services.settings.history)
            raise PageError(404, "No job has this id", f"{why} Search for the order, customer or coupon instead.")
        return pages.show(request, "job", job=job, audit_records=audit_records)

    @router.post("/{job_id}/retry")
    async def retry(request: Request, job_id: UUID) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            changed = await actions.retry([job_id], visitor.name)
        notice = (
            "The job waits again, at the end of its lane." if changed else "Only dead-lettered jobs can be retried."
        )
        return pages.back(request, visitor, f"/console/jobs/{job_id}", notice, failed=not changed)

    @router.post("/{job_id}/send-as-newest")
    async def send_as_newest(request: Request, job_id: UUID) -> Response:
        visitor, form = await pages.form(request)
        why = form.why()
        async with map_database_errors():
            changed = await actions.send_as_newest(job_id, visitor.name, why)
        notice = (
            "The job waits again, and is sent as the newest version."
            if changed
            else "Only dead-lettered and superseded jobs can be sent as the newest version."
        )
        return pages.back(request, visitor, f"/console/jobs/{job_id}", notice, failed=not changed)

    @router.post("/{job_id}/drop")
    async def drop(request: Request, job_id: UUID) -> Response:
        visitor, form = await pages.form(request)
        why = form.why()
        async with map_database_errors():
            changed = await actions.drop([job_id], visitor.name, why)
        notice = (
            "The job is dropped and will not be sent."
            if changed
            else "Only waiting and dead-lettered jobs can be dropped."
        )
        return pages.back(request, visitor, f"/console/jobs/{job_id}", notice, failed=not changed)

    return router
