"""One decision for a whole pile of *Dead and held*, chunk by chunk.

The browser asks for one chunk after another and tells how far it is, so a bulk act is cancelled by leaving its page,
any process can do the next chunk, and nothing is left running when everybody has gone home.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from fastapi import APIRouter
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.dependencies import Services
from platform_relay.api.problems import of_body
from platform_relay.console.pages import Form, Pages, Refused, Visitor, query
from platform_relay.jobs.actions import Operator
from platform_relay.jobs.edit import NotEditableError, set_field
from platform_relay.jobs.failure_groups import FailureGroup, State, jobs_of
from platform_relay.jobs.queries import reading, when_away

CHUNK: Final = 200
EDITABLE: Final = ("forward_order", "forward_customer", "forward_product")
Act = Literal["retry", "edit", "drop", "wake"]
ACTS: Final[dict[State, tuple[Act, ...]]] = {"dead": ("retry", "edit", "drop"), "held": ("wake", "drop")}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a bulk act is. `before`: what was in the pile by then is meant; `cursor`: the last job looked at.

    `refused` could not be edited; `note` says why the first of them could not.
    """

    act: Act
    total: int
    done: int
    before: datetime
    cursor: UUID | None
    refused: int = 0
    note: str | None = None

    def after(self, ids: Sequence[UUID], done: int, refused: Sequence[str]) -> "Progress":
        """When `ids` have been looked at too."""
        return replace(
            self,
            total=max(self.total, self.done + done),
            done=self.done + done,
            cursor=ids[-1] if ids else self.cursor,
            refused=self.refused + len(refused),
            note=self.note or next(iter(refused), None),
        )


_PROGRESS: Final = TypeAdapter(Progress)


def acts_on(pile: FailureGroup) -> list[Act]:
    return [act for act in ACTS[pile.state] if act != "edit" or pile.kind in EDITABLE]


def address(pile: FailureGroup, stopped: int | None = None) -> str:
    """Of the pile's page; `stopped`: after so many jobs."""
    return query("/console/stuck/pile", **asdict(pile), stopped=stopped)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @router.post("/console/stuck/bulk")
    async def bulk(request: Request) -> Response:
        visitor, form = await pages.form(request)
        pile, progress = _told(form)
        why = form.why() if progress.act in ("drop", "edit") else form["why"]
        async with reading(pages.services.engine) as connection:
            ids = await jobs_of(connection, pile, progress.before, progress.cursor, CHUNK)
        refused: list[str] = []
        if progress.act == "edit":
            refused = await _edit(pages.services, ids, form, visitor.name, why)
            done = len(ids) - len(refused)
        else:
            done = await _act(pages.services.operator, visitor, pile, progress.act, ids, why)
        now = progress.after(ids, done, refused)
        told = {"pile": pile, "progress": now, "form": form, "token": visitor.session.token}
        over, stop = len(ids) < CHUNK or progress.act == "wake", address(pile, now.done)
        name = "part_progress" if request.headers.get("hx-request") else "progress"
        return pages.show(request, name, 200, over=over, stop=stop, **told)

    return router


async def _act(
    operator: Operator,
    visitor: Visitor,
    pile: FailureGroup,
    act: Literal["retry", "drop", "wake"],
    ids: Sequence[UUID],
    why: str,
) -> int:
    async with when_away():
        match act:
            case "retry":
                return await operator.retry(ids, visitor.name)
            case "drop":
                return await operator.drop(ids, visitor.name, why) if ids else 0
            case "wake":
                return await operator.wake([pile.waits_for])


async def _edit(services: Services, ids: Sequence[UUID], form: Form, by: str, why: str) -> list[str]:
    """Set one field of each event; why those that were refused were."""
    field, value = form["field"], _value(form["value"])
    refused = []
    for job_id in ids:
        try:
            async with when_away():
                await set_field(services.engine, services.operator, job_id, field, value, by, why)
        except NotEditableError as error:
            refused.append(str(error))
        except ValueError as error:
            refused.append(of_body(error, b"").detail.removesuffix("."))
    return refused


def _value(told: str) -> JsonValue:
    """What was typed as a field's value: JSON, or else the words themselves."""
    try:
        value: JsonValue = json.loads(told)
    except ValueError:
        return told
    return value


def _told(form: Form) -> tuple[FailureGroup, Progress]:
    """Raises Refused for a form that is not one of ours."""
    state = form["state"]
    names = ("act", "total", "done", "before", "cursor", "note")
    try:
        told = {name: form[name] or None for name in names}
        progress = _PROGRESS.validate_python({**told, "refused": form["refused"] or 0})
    except ValidationError as error:
        raise Refused(422, "This form is not complete", "Go back, reload the page and send it again.") from error
    if state not in get_args(State) or progress.act not in ACTS[state]:  # type: ignore[index]  # a State by now
        raise Refused(422, "This cannot be done here", "Go back, reload the page and send it again.")
    names = ("destination", "kind", "disposition", "waits_for", "reason_code", "cause")
    return FailureGroup(state, *(form[name] for name in names)), progress  # type: ignore[arg-type]  # as above
