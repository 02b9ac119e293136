"""*Search → story*: what became of an order, a customer, a coupon or a message, and why."""

from typing import Final, Literal
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.console.pages import Pages, Refused
from app.errors import DatabaseAway
from app.operations.asking import Engines, explain, find_job, find_message
from app.operations.explain.causes import CAUSES, Rank
from app.operations.explain.records import Key
from app.operations.explain.story import Explanation
from app.operations.views import JobView

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
    engines = pages.services.engines

    @router.get("/console/search")
    async def search(request: Request, q: str = "", by: Key | Literal["anything"] = "anything") -> Response:
        await pages.visitor(request)
        asked = q.replace("\x00", "").strip()[:LONGEST]
        told = await _stories(by, asked) if asked else []
        found = [story for story in told if story.found]
        stories = [(story, TONES[CAUSES[story.cause].rank], await _job(story)) for story in found or told[:1]]
        return pages.show(request, "search", q=asked, by=by, stories=stories, nothing=not found)

    @router.get("/console/messages/{message_id}")
    async def message(request: Request, message_id: UUID) -> Response:
        await pages.visitor(request)
        found = await find_message(engines, message_id)
        if found is None:
            raise Refused(404, "No message has this id", "It may have been pruned, or the id is not complete.")
        return pages.show(request, "message", message=found)

    async def _job(story: Explanation) -> JobView | None:
        """What the story is about, where something can be done about it."""
        if story.finding.job_id is None:
            return None
        return await find_job(engines, story.finding.job_id)

    async def _stories(by: Key | Literal["anything"], asked: str) -> list[Explanation]:
        """What was asked for; with "anything" all that the word may mean. Told even when nothing was found."""
        if by != "anything":
            return [await explain(engines, by, asked)]
        if (named := _uuid(asked)) is None:
            return await _of_any_kind(engines, asked)
        job = await find_job(engines, named)
        return [await explain(engines, "message", str(job.message_id if job else named))]

    return router


async def _of_any_kind(engines: Engines, asked: str) -> list[Explanation]:
    """All that the word may mean. While a cell is away, what is found elsewhere. Raises DatabaseAway when nothing is."""
    told, away = list[Explanation](), None
    for key in ANYTHING:
        try:
            told.append(await explain(engines, key, asked))
        except DatabaseAway as error:
            away = error
    if away is not None and not any(story.found for story in told):
        raise away
    return told


def _uuid(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
