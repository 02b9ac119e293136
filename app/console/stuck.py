"""*Dead and held*: what waits for a person, in piles of one cause; `bulk` is what is done about a pile."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.console.bulk import Progress, acts_on, address
from app.console.pages import Pages
from app.operations.overview import list_piles, open_pile
from app.operations.piles import Pile, State

EXAMPLES: Final = 20


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engines = pages.services.engines

    @router.get("/console/stuck")
    async def stuck(request: Request, state: State = "dead") -> Response:
        await pages.visitor(request)
        told = await list_piles(engines, state)
        shown = [(each, address(each.pile)) for each in told.piles]
        jobs = sum(each.jobs for each in told.piles)
        return pages.show(request, "stuck", state=state, piles=shown, more=told.more, jobs=jobs, away=told.away)

    @router.get("/console/stuck/pile")
    async def pile(  # what names a pile
        request: Request, state: State, channel: str, kind: str, reason: str, cause: str, stopped: int | None = None
    ) -> Response:
        await pages.visitor(request)
        which = Pile(state, channel, kind, reason, cause)
        told = await open_pile(engines, which, EXAMPLES)
        progress = {act: Progress(act, told.total, 0, told.moment, None) for act in acts_on(which)}
        return pages.show(request, "pile", pile=which, told=told, progress=progress, stopped=stopped)

    return router
