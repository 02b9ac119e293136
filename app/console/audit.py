"""*Audit*: who did what, when, to what."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.console.pages import Pages, query
from app.operations.audit.lines import list_audit
from app.operations.books import reading

LINES: Final = 100


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @router.get("/console/audit")
    async def audit(request: Request, subject: str = "", before: int | None = None) -> Response:
        await pages.visitor(request)
        subject = subject.replace("\x00", "").strip()
        async with reading(pages.services.engine) as connection:
            lines = await list_audit(connection, subject=subject or None, before=before, limit=LINES)
        more = query("/console/audit", subject=subject or None, before=lines[-1].seq) if len(lines) == LINES else None
        return pages.show(request, "audit", lines=lines, subject=subject, more=more)

    return router
