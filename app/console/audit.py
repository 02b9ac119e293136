"""*Audit*: who did what, when, to what."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.console.pages import Pages, query
from app.operations.overview import list_lines

LINES: Final = 100


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engines = pages.services.engines

    @router.get("/console/audit")
    async def audit(
        request: Request,
        subject: str = "",
        before: Annotated[str, Query(pattern=r"^(\d{1,18}|)(,(\d{1,18}|))*$")] = "",
    ) -> Response:
        """`before`: in each cell, the number of the last line that was shown."""
        await pages.visitor(request)
        subject = subject.replace("\x00", "").strip()
        reached = [int(number) if number else None for number in before.split(",")]
        page = await list_lines(engines, subject or None, reached, LINES)
        more = None
        if page.more is not None:
            following = ",".join("" if number is None else str(number) for number in page.more)
            more = query("/console/audit", subject=subject or None, before=following)
        told = {"lines": page.lines, "away": page.away, "cells": len(engines)}
        return pages.show(request, "audit", subject=subject, more=more, **told)

    return router
