"""*Edit and continue*: correct the event of a dead-lettered job and retry the job."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.body_problems import body_problem
from platform_relay.console.pages import PageError, Pages
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import as_sentence
from platform_relay.jobs.edit import NotEditableError, edit_and_retry, find_editable


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/console/jobs", route_class=pages.route_class(), include_in_schema=False)
    engine, actions = pages.services.engine, pages.services.actions

    @router.get("/{job_id}/edit")
    async def ask(request: Request, job_id: UUID) -> Response:
        await pages.visitor(request, "operate")
        return await _form(request, job_id)

    @router.post("/{job_id}/edit")
    async def edit(request: Request, job_id: UUID) -> Response:
        visitor, form = await pages.form(request)
        event, why = form["event"], form.why()
        try:
            async with map_database_errors():
                await edit_and_retry(engine, actions, job_id, event.encode(), visitor.name, why)
        except NotEditableError as error:
            return await _form(request, job_id, event, why, as_sentence(error))
        except ValueError as error:
            return await _form(request, job_id, event, why, body_problem(error, event.encode()).detail)
        notice = "The corrected event waits to be sent. The original event is kept."
        return pages.back(request, visitor, f"/console/jobs/{job_id}", notice)

    async def _form(
        request: Request, job_id: UUID, typed: str | None = None, why: str = "", error_text: str | None = None
    ) -> Response:
        async with read_connection(engine) as connection:
            try:
                event = await find_editable(connection, job_id)
            except NotEditableError as error:
                raise PageError(409, "This cannot be edited", as_sentence(error)) from error
        status = 422 if error_text else 200
        event_json = event.pretty if typed is None else typed
        return pages.show(request, "edit", status, event=event, event_json=event_json, why=why, error_text=error_text)

    return router
