"""*Audit*: who did what, when, to what."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.audit.queries import list_audit
from platform_relay.console.pages import Pages, query
from platform_relay.jobs.queries import reading

LINES: Final = 100


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/audit")
    async def audit(
        request: Request, subject: str = "", before: Annotated[int | None, Query(ge=0, lt=10**18)] = None
    ) -> Response:
        """`before`: the number of the last line that was shown."""
        await pages.visitor(request)
        subject = subject.replace("\x00", "").strip()
        async with reading(engine) as connection:
            lines = await list_audit(connection, subject=subject or None, before=before, limit=LINES)
        more = None
        if len(lines) == LINES:
            more = query("/console/audit", subject=subject or None, before=lines[-1].seq)
        return pages.show(request, "audit", subject=subject, lines=lines, more=more)

    return router
