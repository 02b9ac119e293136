"""One job: its attempts, and retrying and dropping it."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.audit.queries import list_audit
from platform_relay.console.pages import Pages, Refused
from platform_relay.jobs.queries import find_job, reading, when_away


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/console/jobs", route_class=pages.route_class(), include_in_schema=False)
    engine, operator = pages.services.engine, pages.services.operator

    @router.get("/{job_id}")
    async def job(request: Request, job_id: UUID) -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            found = await find_job(connection, job_id)
            acts = await list_audit(connection, subject=str(job_id))
        if found is None:
            raise Refused(404, "No job has this id", "Search for the order, customer or coupon instead.")
        return pages.show(request, "job", job=found, acts=acts)

    @router.post("/{job_id}/retry")
    async def retry(request: Request, job_id: UUID) -> Response:
        visitor, _ = await pages.form(request)
        async with when_away():
            changed = await operator.retry([job_id], visitor.name)
        said = "It waits again, at the end of its lane." if changed else "Only what was given up can be retried."
        return pages.back(request, visitor, f"/console/jobs/{job_id}", said, failed=not changed)

    @router.post("/{job_id}/drop")
    async def drop(request: Request, job_id: UUID) -> Response:
        visitor, form = await pages.form(request)
        why = form.why()
        async with when_away():
            changed = await operator.drop([job_id], visitor.name, why)
        said = "It is dropped, and will not be sent." if changed else "Only waiting and dead jobs can be dropped."
        return pages.back(request, visitor, f"/console/jobs/{job_id}", said, failed=not changed)

    return router
