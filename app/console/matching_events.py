"""*All matching events*: one action on everything that the filters of *Events* select, with a count first, in chunks.

As in `bulk`, the browser requests one chunk after another and sends along what the count covered (`explain.event_selection`) and
the progress. Leaving the page stops the rest.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Final, get_args
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.dependencies import Services
from platform_relay.console.bulk import CHUNK, edit_field
from platform_relay.console.event_actions import APPLIES, Action
from platform_relay.console.events import EVENTS, Filters, events_url, filters_of
from platform_relay.console.pages import Form, PageError, Pages, Visitor
from platform_relay.core.database import map_database_errors
from platform_relay.core.plain_numbers import PlainInt
from platform_relay.core.reasons import ReasonCode
from platform_relay.explain.event_list import EventFilter, SelectedJob
from platform_relay.explain.event_selection import MOST, Applies, EventRange, count_events, next_jobs
from platform_relay.inbox.events import Instant
from platform_relay.jobs.views import MessageState

PATH: Final = f"{EVENTS}/matching"
_STATES: Final = get_args(MessageState)
FILTERS: Final = ("kind", "state", "reason_code", "source", "since", "until", "about")


Count = Annotated[PlainInt, Field(ge=0, le=1_000_000_000)]
"""A number in a form. It is only shown, but a forged form can have any."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an action on the events that a count covered. `position`: the next chunk has older events than this one.

    `rejected` counts the jobs that could not be edited; `note` is the reason of the first of them.
    """

    action: Action
    newest: UUID
    oldest: UUID
    before: Instant
    position: UUID
    total: Count
    done: Count = 0
    rejected: Count = 0
    note: str | None = None

    @property
    def covered(self) -> EventRange:
        return EventRange(self.newest, self.oldest, self.before)


_PROGRESS: Final = TypeAdapter(Progress)
_NAMES: Final = ("action", "newest", "oldest", "before", "position", "total", "done", "rejected", "note")


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    services = pages.services

    @router.get(PATH)
    async def preview(request: Request, filters: Filters) -> Response:
        await pages.visitor(request, "operate")
        actions: dict[str, Applies] = {name: applies for name, (applies, _) in APPLIES.items()}
        async with map_database_errors():
            count = await count_events(services.engine, filters, actions)
        start = {
            name: Progress(name, **asdict(count.range), position=count.range.newest, total=count.jobs[name])
            for name in APPLIES
            if count.jobs.get(name)
        }
        return pages.show(
            request,
            "matching_events",
            count=count,
            most=MOST,
            progress=start,
            fields=_fields(filters),
            back=events_url(EVENTS, filters),
        )

    @router.post(PATH)
    async def act(request: Request) -> Response:
        visitor, form = await pages.form(request)
        filters, progress = _parse(form)
        async with map_database_errors():
            rejections: list[str]
            position: UUID | None
            if progress.action == "wake":
                done, rejections, position = await _wake(services, visitor, filters, progress), [], None
            else:
                jobs, position = await next_jobs(services.engine, filters, progress.covered, progress.position, CHUNK)
                done, rejections = await _act(services, visitor, form, progress.action, jobs)
        progress = Progress(
            progress.action,
            progress.newest,
            progress.oldest,
            progress.before,
            position or progress.position,
            max(progress.total, progress.done + done),
            progress.done + done,
            progress.rejected + len(rejections),
            progress.note or next(iter(rejections), None),
        )
        name = "part_matching" if request.headers.get("hx-request") else "matching_progress"
        return pages.show(
            request,
            name,
            progress=progress,
            fields=_fields(filters),
            form=form,
            token=visitor.session.token,
            finished=position is None,
            back=events_url(EVENTS, filters),
        )

    return router


async def _act(
    services: Services, visitor: Visitor, form: Form, action: Action, jobs: list[SelectedJob]
) -> tuple[int, list[str]]:
    """Carry out the action on those of the jobs to which it applies. Returns how many, and why others could not be edited."""
    applies, _ = APPLIES[action]
    ids = [job.id for job in jobs if applies(job)]
    match action:
        case "retry":
            return await services.actions.retry(ids, visitor.name) if ids else 0, []
        case "drop":
            why = form.why()
            return await services.actions.drop(ids, visitor.name, why) if ids else 0, []
        case _:
            why = form.why()
            if not form["field"]:
                raise PageError(422, "A field is needed", "Enter the name of the field to set, such as currency.")
            rejections = await edit_field(services, ids, form, visitor.name, why)
            return len(ids) - len(rejections), rejections


async def _wake(services: Services, visitor: Visitor, filters: EventFilter, progress: Progress) -> int:
    """Let everything run now that waits for the same as a held job of the events. Returns the number of these held jobs."""
    held, _ = APPLIES["wake"]
    count = await count_events(services.engine, filters, {"wake": held}, progress.covered)
    for key in sorted(count.waits_for):
        await services.actions.wake_held(key, visitor.name)
    return count.jobs["wake"]


def _fields(filters: EventFilter) -> dict[str, str]:
    """The filters as the fields of a form."""
    values = {name: getattr(filters, name) for name in FILTERS}
    moments = ("since", "until")
    return {
        name: value.isoformat() if name in moments else str(value)
        for name, value in values.items()
        if value is not None
    }


def _parse(form: Form) -> tuple[EventFilter, Progress]:
    """Raises PageError for a form that the console did not make."""
    state, code = form["state"], form["reason_code"]
    try:
        given = {name: form[name] for name in _NAMES if form[name]}
        progress = _PROGRESS.validate_python(given)
        reason_code = ReasonCode(code) if code else None
    except (ValidationError, ValueError) as error:
        raise PageError(422, "This form is not complete", "Go back, reload the page and send it again.") from error
    if state and state not in _STATES:
        raise PageError(422, "This form is not complete", "Go back, reload the page and send it again.")
    texts = (form["source"], form["since"], form["until"], form["about"])
    return filters_of(form["kind"], state, reason_code or "", *texts), progress  # type: ignore[arg-type]  # a MessageState
