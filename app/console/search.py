"""*Search → story*: what became of an order, a customer, a coupon or a message, and why."""

from typing import Final, Literal
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.pages import Pages, Refused
from platform_relay.explain.causes import CAUSES, Rank, Step
from platform_relay.explain.gather import explain
from platform_relay.explain.records import Key
from platform_relay.explain.story import Explanation
from platform_relay.jobs.queries import find_job, find_message, reading
from platform_relay.jobs.views import JobView

JOBS: Final = "POST /v1/jobs/"
ANYTHING: Final[tuple[Key, ...]] = ("coupon", "order", "customer")
LONGEST: Final = 320
TONES: Final = {
    Rank.FINE: "good",
    Rank.FOR_INFORMATION: "",
    Rank.BY_ITSELF: "warn",
    Rank.NEEDS_A_PERSON: "warn",
    Rank.GIVEN_UP: "bad",
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/search")
    async def search(request: Request, q: str = "", by: Key | Literal["anything"] = "anything") -> Response:
        await pages.visitor(request)
        asked = q.replace("\x00", "").strip()[:LONGEST]
        async with reading(engine) as connection:
            every = await _stories(connection, by, asked) if asked else []
            found = [story for story in every if story.found]
            stories = [
                (story, _without_button(story), TONES[CAUSES[story.cause].rank], await _job(connection, story))
                for story in found or every[:1]
            ]
        return pages.show(request, "search", q=asked, by=by, stories=stories, nothing=not found)

    @router.get("/console/messages/{message_id}")
    async def message(request: Request, message_id: UUID) -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            found = await find_message(connection, message_id)
        if found is None:
            raise Refused(404, "No message has this id", "It may have been pruned, or the id is not complete.")
        return pages.show(request, "message", message=found)

    return router


def _without_button(story: Explanation) -> list[Step]:
    """The steps that no button of the job does."""
    return [step for step in story.steps if step.api is None or not step.api.startswith(JOBS)]


async def _job(connection: AsyncConnection, story: Explanation) -> JobView | None:
    """What the story is about, where something can be done about it."""
    job_id = story.finding.job_id
    return None if job_id is None else await find_job(connection, job_id)


async def _stories(connection: AsyncConnection, by: Key | Literal["anything"], asked: str) -> list[Explanation]:
    """What was asked for; with "anything" all that the word may mean. Told even when nothing was found."""
    if by != "anything":
        return [await explain(connection, by, asked)]
    if (named := _uuid(asked)) is None:
        return [await explain(connection, key, asked) for key in ANYTHING]
    job = await find_job(connection, named)
    return [await explain(connection, "message", str(job.message_id if job else named))]


def _uuid(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
