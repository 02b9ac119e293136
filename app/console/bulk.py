"""Bulk actions on one failure group of *Dead and held*, or on all jobs that its filters select, in chunks.

The browser requests one chunk after another and sends the progress along. So any web process can run the next chunk, and
leaving the page cancels the rest: nothing runs in the background.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, get_args
from uuid import UUID

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.body_problems import body_problem
from platform_relay.api.dependencies import Services
from platform_relay.console.pages import Form, PageError, Pages, Visitor, build_url
from platform_relay.core import exact_json
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import Instant
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.actions import OperatorActions
from platform_relay.jobs.edit import NotEditableError, set_field
from platform_relay.jobs.failure_groups import FailureGroup, State, list_held_for, list_job_ids

CHUNK: Final = 200
EDITABLE: Final = (JobKind.FORWARD_ORDER, JobKind.FORWARD_CUSTOMER, JobKind.FORWARD_PRODUCT)
Action = Literal["retry", "edit", "drop", "wake"]
ACTIONS: Final[dict[State, tuple[Action, ...]]] = {"dead": ("retry", "edit", "drop"), "held": ("wake", "drop")}


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a bulk action. It covers the jobs that were in the group at `before`; `cursor` is the last job processed.

    `rejected` counts the jobs that could not be edited; `note` is the reason of the first of them.
    """

    action: Action
    total: int
    done: int
    before: Instant
    cursor: UUID | None
    rejected: int = 0
    note: str | None = None

    def after(self, ids: Sequence[UUID], done: int, rejections: Sequence[str]) -> "Progress":
        """The progress after `ids` have been processed too."""
        return replace(
            self,
            total=max(self.total, self.done + done),
            done=self.done + done,
            cursor=ids[-1] if ids else self.cursor,
            rejected=self.rejected + len(rejections),
            note=self.note or next(iter(rejections), None),
        )


_PROGRESS: Final = TypeAdapter(Progress)


def possible_actions(group: FailureGroup) -> list[Action]:
    """Jobs of several kinds have no field in common that could be edited."""
    return [action for action in ACTIONS[group.state] if action != "edit" or group.kind in EDITABLE]


def group_url(group: FailureGroup, stopped: int | None = None) -> str:
    """The URL of the group's page. `stopped`: how many jobs a cancelled bulk action had processed."""
    if not group.is_one:
        fields = {"state": group.state, "reason_code": group.reason_code}
        return build_url("/console/dead-and-held/all", **fields, stopped=stopped)
    return build_url("/console/dead-and-held/group", **asdict(group), stopped=stopped)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @router.post("/console/dead-and-held/bulk")
    async def bulk(request: Request) -> Response:
        visitor, form = await pages.form(request)
        group, progress = _parse(form)
        why = form.why() if progress.action in ("drop", "edit") else form["why"]
        async with read_connection(pages.services.engine) as connection:
            ids = await list_job_ids(connection, group, progress.before, progress.cursor, CHUNK)
        rejections: list[str] = []
        if progress.action == "wake":
            done, ids = await _wake(pages.services, visitor, group, progress), []
        elif progress.action == "edit":
            rejections = await edit_field(pages.services, ids, form, visitor.name, why)
            done = len(ids) - len(rejections)
        else:
            done = await _act(pages.services.actions, visitor, progress.action, ids, why)
        progress = progress.after(ids, done, rejections)
        finished = len(ids) < CHUNK or progress.action == "wake"
        name = "part_progress" if request.headers.get("hx-request") else "progress"
        return pages.show(
            request,
            name,
            group=group,
            progress=progress,
            form=form,
            token=visitor.session.token,
            finished=finished,
            stop_url=group_url(group, progress.done),
        )

    return router


async def _act(
    actions: OperatorActions,
    visitor: Visitor,
    action: Literal["retry", "drop"],
    ids: Sequence[UUID],
    why: str,
) -> int:
    async with map_database_errors():
        match action:
            case "retry":
                return await actions.retry(ids, visitor.name)
            case "drop":
                return await actions.drop(ids, visitor.name, why) if ids else 0


async def _wake(services: Services, visitor: Visitor, group: FailureGroup, progress: Progress) -> int:
    """Let all held jobs of the group run now. Returns the number of lanes."""
    async with read_connection(services.engine) as connection:
        keys = await list_held_for(connection, group, progress.before)
    async with map_database_errors():
        return sum([await services.actions.wake_held(key, visitor.name) for key in keys])


async def edit_field(services: Services, ids: Sequence[UUID], form: Form, by: str, why: str) -> list[str]:
    """Sets one field of each event. Returns the reason for each job that could not be edited."""
    field, value = form["field"], _value(form["value"])
    rejections = []
    for job_id in ids:
        try:
            async with map_database_errors():
                await set_field(services.engine, services.actions, job_id, field, value, by, why)
        except NotEditableError as error:
            rejections.append(str(error))
        except ValueError as error:
            rejections.append(body_problem(error, b"").detail.removesuffix("."))
    return rejections


def _value(typed: str) -> ExactJson:
    """The typed value as JSON, or as a plain string when it is not JSON."""
    try:
        return exact_json.loads(typed.encode())
    except ValueError:
        return typed


def _parse(form: Form) -> tuple[FailureGroup, Progress]:
    """Raises PageError for a form that the console did not make."""
    state = form["state"]
    names = ("action", "total", "done", "before", "cursor", "note")
    try:
        fields = {name: form[name] or None for name in names}
        progress = _PROGRESS.validate_python({**fields, "rejected": form["rejected"] or 0})
    except ValidationError as error:
        raise PageError(422, "This form is not complete", "Go back, reload the page and send it again.") from error
    if state not in get_args(State) or progress.action not in ACTIONS[state]:  # type: ignore[index]  # a State by now
        raise PageError(422, "This action is not possible here", "Go back, reload the page and send it again.")
    names = ("destination", "kind", "disposition", "waits_for", "reason_code", "cause")
    if form["whole"]:
        code = form["reason_code"]
        if code and code not in list(ReasonCode):
            raise PageError(422, "This form is not complete", "Go back, reload the page and send it again.")
        return FailureGroup.every(state, ReasonCode(code) if code else None), progress  # type: ignore[arg-type]  # a State
    return FailureGroup(state, *(form[name] for name in names)), progress  # type: ignore[arg-type]  # as above
