"""*Refused requests*: what an integrator's mistakes look like, without the values of their bodies."""

import json
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.access.refused_requests import count_refused_requests, list_refused_requests
from platform_relay.api.paging import LONGEST_CURSOR
from platform_relay.console.pages import Pages, build_url
from platform_relay.core.database import read_connection
from platform_relay.core.errors import all_problems

PATH: Final = "/console/refused-requests"
PER_PAGE: Final = 50
STEPS: Final = {problem.id: problem.next_step for problem in all_problems()}
STEPS_OF_A_SECRET: Final = "Compare the webhook address at the Platform with PLATFORM__WEBHOOK_SECRET."  # noqa: S105  # a text


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @router.get(PATH)
    async def refused_requests(
        request: Request, cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None
    ) -> Response:
        await pages.visitor(request)
        async with read_connection(pages.services.engine) as connection:
            page = await list_refused_requests(connection, cursor=cursor, limit=PER_PAGE)
            counts = [] if cursor else await count_refused_requests(connection)
        return pages.show(
            request,
            "refused_requests",
            rows=[(row, shape_text(row.body_shape)) for row in page.items],
            counts=counts,
            steps={**STEPS, "webhook-secret-wrong": STEPS_OF_A_SECRET},
            kept=pages.services.refused_requests is not None,
            more=page.next_cursor and build_url(PATH, cursor=page.next_cursor),
        )

    return router


def shape_text(shape: object) -> str:
    """The shape of a body as JSON; empty without one."""
    return "" if shape is None else json.dumps(shape, indent=1, ensure_ascii=False)
