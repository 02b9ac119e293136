"""*Trial*: what a relay in its trial would have sent, and on request its comparison with the Platform and the store."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.pages import PageError, Pages, build_url
from platform_relay.core.database import map_database_errors
from platform_relay.trial.report import Reporter

PERIOD: Final = timedelta(days=30)
JOBS_PER_PAGE: Final = 25
COMPARE_SECONDS: Final = 20.0


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    services = pages.services

    @router.get("/console/trial")
    async def trial(request: Request, before: UUID | None = None, compare: bool = False) -> Response:
        """With `compare`, only jobs that can be compared are listed. Reads from the Platform and the store; changes nothing."""
        await pages.visitor(request)
        async with AsyncExitStack() as stack:
            platform = await stack.enter_async_context(services.platform()) if compare and services.platform else None
            reporter = Reporter(services.engine, platform, services.store)
            try:
                async with map_database_errors(), asyncio.timeout(COMPARE_SECONDS):
                    report = await reporter.report(PERIOD, JOBS_PER_PAGE, before=before, comparable=compare)
            except TimeoutError:
                detail = "The Platform or the store was too slow. Try again, or use relay shadow report."
                raise PageError(503, "The comparison took too long", detail) from None
        chosen = "true" if compare else None
        older = report.older and build_url("/console/trial", before=report.older, compare=chosen)
        here = build_url("/console/trial", before=before)
        comparison = build_url("/console/trial", before=before, compare="true")
        return pages.show(
            request,
            "trial",
            report=report,
            older=older,
            compare=compare,
            here=here,
            comparison=comparison,
            period=PERIOD,
        )

    return router
