"""Edit and continue: correcting a dead job's event, and trying it again."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.problems import of_body
from platform_relay.console.pages import Pages, Refused
from platform_relay.core.errors import as_sentence
from platform_relay.jobs.edit import NotEditableError, edit_and_retry, find_editable
from platform_relay.jobs.queries import reading, when_away


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/console/jobs", route_class=pages.route_class(), include_in_schema=False)
    engine, operator = pages.services.engine, pages.services.operator

    @router.get("/{job_id}/edit")
    async def ask(request: Request, job_id: UUID) -> Response:
        await pages.visitor(request, "operate")
        return await _form(request, job_id)

    @router.post("/{job_id}/edit")
    async def edit(request: Request, job_id: UUID) -> Response:
        visitor, form = await pages.form(request)
        told, why = form["event"], form.why()
        try:
            async with when_away():
                await edit_and_retry(engine, operator, job_id, told.encode(), visitor.name, why)
        except NotEditableError as error:
            return await _form(request, job_id, told, why, as_sentence(error))
        except ValueError as error:
            return await _form(request, job_id, told, why, of_body(error, told.encode()).detail)
        said = "The corrected event waits to be sent; what the store sent is kept as it was."
        return pages.back(request, visitor, f"/console/jobs/{job_id}", said)

    async def _form(
        request: Request, job_id: UUID, told: str | None = None, why: str = "", wrong: str | None = None
    ) -> Response:
        async with reading(engine) as connection:
            try:
                event = await find_editable(connection, job_id)
            except NotEditableError as error:
                raise Refused(409, "This cannot be edited", as_sentence(error)) from error
        told = event.pretty if told is None else told
        return pages.show(request, "edit", 422 if wrong else 200, event=event, told=told, why=why, wrong=wrong)

    return router
