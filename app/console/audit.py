"""*Audit*: who did what, when, and to which subject."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.paging import LONGEST_CURSOR
from platform_relay.audit.queries import list_audit
from platform_relay.console.pages import Pages, build_url
from platform_relay.core.database import read_connection

RECORDS_PER_PAGE: Final = 100


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/audit")
    async def audit(
        request: Request, subject: str = "", cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None
    ) -> Response:
        await pages.visitor(request)
        subject = subject.replace("\x00", "").strip()
        async with read_connection(engine) as connection:
            page = await list_audit(connection, subject=subject or None, cursor=cursor, limit=RECORDS_PER_PAGE)
        more = page.next_cursor and build_url("/console/audit", subject=subject or None, cursor=page.next_cursor)
        return pages.show(request, "audit", subject=subject, records=page.items, more=more)

    return router
