"""*Search*: explain what happened to an order, a customer, a coupon or a message, and why."""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.pages import PageError, Pages
from platform_relay.core.database import read_connection
from platform_relay.explain.causes import CAUSES, Rank, Step
from platform_relay.explain.collect import explain
from platform_relay.explain.explanation import Explanation
from platform_relay.explain.records import Key
from platform_relay.history.limits import missing_message
from platform_relay.jobs.queries import find_job, find_message
from platform_relay.jobs.views import JobView

JOB_ACTIONS: Final = "POST /v1/jobs/"
KEYS: Final[tuple[Key, ...]] = ("coupon", "order", "customer")
MAX_LENGTH: Final = 320
TONES: Final = {
    Rank.FINE: "good",
    Rank.FOR_INFORMATION: "",
    Rank.AUTOMATIC: "warn",
    Rank.NEEDS_OPERATOR: "warn",
    Rank.DEAD: "bad",
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine, history = pages.services.engine, pages.services.settings.history

    @router.get("/console/search")
    async def search(request: Request, q: str = "", by: Key | Literal["anything"] = "anything") -> Response:
        await pages.visitor(request)
        term = q.replace("\x00", "").strip()[:MAX_LENGTH]
        async with read_connection(engine) as connection:
            explanations = await _explain(connection, by, term, history) if term else []
            matches = [explanation for explanation in explanations if explanation.matched]
            results = [
                (
                    explanation,
                    _steps_without_button(explanation),
                    TONES[CAUSES[explanation.cause].rank],
                    await _job(connection, explanation),
                )
                for explanation in matches or explanations[:1]
            ]
        return pages.show(request, "search", q=term, by=by, results=results, nothing=not matches)

    @router.get("/console/messages/{message_id}")
    async def message(request: Request, message_id: UUID) -> Response:
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            record = await find_message(connection, message_id)
        if record is None:
            raise PageError(
                404,
                "No message has this id",
                missing_message(message_id, datetime.now(UTC), history),
            )
        return pages.show(request, "message", message=record)

    return router


def _steps_without_button(explanation: Explanation) -> list[Step]:
    """The steps that are not among the job's buttons."""
    return [step for step in explanation.steps if step.api is None or not step.api.startswith(JOB_ACTIONS)]


async def _job(connection: AsyncConnection, explanation: Explanation) -> JobView | None:
    """The job that the explanation is about, if any."""
    job_id = explanation.finding.job_id
    return None if job_id is None else await find_job(connection, job_id)


async def _explain(
    connection: AsyncConnection, by: Key | Literal["anything"], term: str, history: timedelta
) -> list[Explanation]:
    """One explanation per meaning that the term can have. An explanation is made even when nothing was found."""
    if by != "anything":
        return [await explain(connection, by, term, history)]
    if (uuid := _uuid(term)) is None:
        return [await explain(connection, key, term, history) for key in KEYS]
    job = await find_job(connection, uuid)
    return [await explain(connection, "message", str(job.message_id if job else uuid), history)]


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
