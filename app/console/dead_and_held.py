"""*Dead and held*: what waits for a person, in piles of one cause; `bulk` is what is done about a pile."""

from typing import Final, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.bulk import Progress, acts_on, address
from platform_relay.console.pages import Pages
from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.failure_groups import FailureGroup, State, count_group, jobs_of, list_failure_groups
from platform_relay.jobs.queries import list_jobs_by_id, reading

EXAMPLES: Final = 20


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/stuck")
    async def stuck(request: Request, state: State = "dead", reason_code: ReasonCode | Literal[""] = "") -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            piles, more = await list_failure_groups(connection, state, reason_code or None)
        shown = [(each, address(each.pile)) for each in piles]
        jobs = sum(each.jobs for each in piles)
        filters = {"state": state, "reason_code": reason_code, "codes": list(ReasonCode)}
        return pages.show(request, "stuck", piles=shown, more=more, jobs=jobs, **filters)

    @router.get("/console/stuck/pile")
    async def pile(  # what names a pile
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
        which = FailureGroup(state, destination, kind, disposition, waits_for, reason_code, cause)
        async with reading(engine) as connection:
            total, moment = await count_group(connection, which)
            ids = await jobs_of(connection, which, None, None, EXAMPLES)
            jobs = await list_jobs_by_id(connection, ids)
        progress = {act: Progress(act, total, 0, moment, None) for act in acts_on(which)}
        return pages.show(request, "pile", pile=which, total=total, jobs=jobs, progress=progress, stopped=stopped)

    return router
