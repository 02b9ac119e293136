"""*Dead and held*: dead-lettered and held jobs in failure groups. `bulk` has the actions on a group."""

from typing import Final, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.bulk import Progress, group_url, possible_actions
from platform_relay.console.pages import Pages
from platform_relay.core.database import read_connection
from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.failure_groups import FailureGroup, State, count_group, list_failure_groups, list_job_ids
from platform_relay.jobs.queries import list_jobs_by_id

EXAMPLES: Final = 20


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/dead-and-held")
    async def dead_and_held(
        request: Request, state: State = "dead", reason_code: ReasonCode | Literal[""] = ""
    ) -> Response:
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            groups, more = await list_failure_groups(connection, state, reason_code or None)
        rows = [(row.group, group_url(row.group), row) for row in groups]
        jobs = sum(row.jobs for row in groups)
        filters = {"state": state, "reason_code": reason_code, "codes": list(ReasonCode)}
        every = group_url(FailureGroup.every(state, reason_code or None))
        return pages.show(request, "dead_and_held", groups=rows, every=every, more=more, jobs=jobs, **filters)

    @router.get("/console/dead-and-held/all")
    async def every_job(
        request: Request, state: State = "dead", reason_code: ReasonCode | Literal[""] = "", stopped: int | None = None
    ) -> Response:
        """All jobs that the filters select, of whatever cause."""
        await pages.visitor(request)
        return await _page(pages, request, FailureGroup.every(state, reason_code or None), stopped)

    @router.get("/console/dead-and-held/group")
    async def failure_group(  # the fields that identify a group
        request: Request,
        state: State,
        destination: str,
        kind: str,
        disposition: str,
        waits_for: str,
        reason_code: ReasonCode,
        cause: str,
        stopped: int | None = None,
    ) -> Response:
        await pages.visitor(request)
        group = FailureGroup(state, destination, kind, disposition, waits_for, reason_code, cause)
        return await _page(pages, request, group, stopped)

    return router


async def _page(pages: Pages, request: Request, group: FailureGroup, stopped: int | None) -> Response:
    """The jobs of a group, and the actions on all of them."""
    async with read_connection(pages.services.engine) as connection:
        total, moment = await count_group(connection, group)
        ids = await list_job_ids(connection, group, None, None, EXAMPLES)
        jobs = await list_jobs_by_id(connection, ids)
    progress = {action: Progress(action, total, 0, moment, None) for action in possible_actions(group)}
    return pages.show(request, "failure_group", group=group, total=total, jobs=jobs, progress=progress, stopped=stopped)
