"""*Dead and held*: what waits for a person, in piles of one cause; one decision for a whole pile, chunk by chunk.

The browser asks for one chunk after another and tells how far it is, so a bulk act is cancelled by leaving its page,
any process can do the next chunk, and nothing is left running when everybody has gone home.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.console.pages import Form, Pages, Refused, Visitor, query
from app.operations.books import list_jobs_by_id, reading, when_away
from app.operations.piles import Pile, State, count_pile, jobs_of, list_piles

CHUNK: Final = 200
EXAMPLES: Final = 20
Act = Literal["retry", "drop", "wake"]
ACTS: Final[dict[State, tuple[Act, ...]]] = {"dead": ("retry", "drop"), "held": ("wake", "drop")}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a bulk act is. `before`: what was in the pile by then is meant; `cursor`: the last job looked at."""

    act: Act
    total: int
    done: int
    before: datetime
    cursor: UUID | None


_PROGRESS: Final = TypeAdapter(Progress)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/stuck")
    async def stuck(request: Request, state: State = "dead") -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            piles, more = await list_piles(connection, state)
        shown = [(each, address(each.pile)) for each in piles]
        return pages.show(request, "stuck", state=state, piles=shown, more=more, jobs=sum(each.jobs for each in piles))

    @router.get("/console/stuck/pile")
    async def pile(  # what names a pile
        request: Request, state: State, channel: str, kind: str, reason: str, cause: str, stopped: int | None = None
    ) -> Response:
        await pages.visitor(request)
        which = Pile(state, channel, kind, reason, cause)
        async with reading(engine) as connection:
            total, moment = await count_pile(connection, which)
            ids = await jobs_of(connection, which, None, None, EXAMPLES)
            jobs = await list_jobs_by_id(connection, ids)
        progress = {act: Progress(act, total, 0, moment, None) for act in ACTS[state]}
        return pages.show(request, "pile", pile=which, total=total, jobs=jobs, progress=progress, stopped=stopped)

    @router.post("/console/stuck/bulk")
    async def bulk(request: Request) -> Response:
        visitor, form = await pages.form(request)
        which, progress = _told(form)
        why = form.why() if progress.act == "drop" else form["why"]
        async with reading(engine) as connection:
            ids = await jobs_of(connection, which, progress.before, progress.cursor, CHUNK)
        changed = await _act(visitor, which, progress.act, ids, why)
        cursor, done = (ids[-1] if ids else progress.cursor), progress.done + changed
        over = len(ids) < CHUNK or progress.act == "wake"
        now = Progress(progress.act, max(progress.total, done), done, progress.before, cursor)
        part = bool(request.headers.get("hx-request"))
        told = {"pile": which, "progress": now, "over": over, "why": why, "back": address(which)}
        stop = query("/console/stuck/pile", **_names(which), stopped=done)
        name = "part_progress" if part else "progress"
        return pages.show(request, name, 200, token=visitor.session.token, stop=stop, **told)

    async def _act(visitor: Visitor, which: Pile, act: Act, ids: list[UUID], why: str) -> int:
        operator = pages.services.operator
        async with when_away():
            match act:
                case "retry":
                    return await operator.retry(ids, visitor.name)
                case "drop":
                    return await operator.drop(ids, visitor.name, why) if ids else 0
                case "wake":
                    return await operator.wake([which.reason])

    return router


def address(pile: Pile) -> str:
    return query("/console/stuck/pile", **_names(pile))


def _names(pile: Pile) -> dict[str, str]:
    return {
        "state": pile.state,
        "channel": pile.channel,
        "kind": pile.kind,
        "reason": pile.reason,
        "cause": pile.cause,
    }


def _told(form: Form) -> tuple[Pile, Progress]:
    """Raises Refused for a form that is not one of ours."""
    state = form["state"]
    try:
        progress = _PROGRESS.validate_python(
            {name: form[name] or None for name in ("act", "total", "done", "before", "cursor")}
        )
    except ValidationError as error:
        raise Refused(422, "This form is not complete", "Go back, reload the page and send it again.") from error
    if state not in get_args(State) or progress.act not in ACTS[state]:  # type: ignore[index]  # a State by now
        raise Refused(422, "This cannot be done here", "Go back, reload the page and send it again.")
    which = Pile(state, form["channel"], form["kind"], form["reason"], form["cause"])  # type: ignore[arg-type]  # as above
    return which, progress
