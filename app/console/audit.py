"""*Audit*: who did what, when, and to which subject."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.audit.queries import list_audit
from platform_relay.console.pages import Pages, build_url
from platform_relay.core.database import read_connection

RECORDS_PER_PAGE: Final = 100


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/audit")
    async def audit(
        request: Request, subject: str = "", before: Annotated[int | None, Query(ge=0, lt=10**18)] = None
    ) -> Response:
        """`before`: the sequence number of the last record on the previous page."""
        await pages.visitor(request)
        subject = subject.replace("\x00", "").strip()
        async with read_connection(engine) as connection:
            records = await list_audit(connection, subject=subject or None, before=before, limit=RECORDS_PER_PAGE)
        more = None
        if len(records) == RECORDS_PER_PAGE:
            more = build_url("/console/audit", subject=subject or None, before=records[-1].seq)
        return pages.show(request, "audit", subject=subject, records=records, more=more)

    return router
