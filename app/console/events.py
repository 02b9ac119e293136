"""*Events*: everything that was received, newest first and live, with filters, and actions on the selected events."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.event_list import possible
from platform_relay.api.paging import LONGEST_CURSOR
from platform_relay.api.root_path import root_path_of
from platform_relay.console.event_actions import Action, act_on_jobs
from platform_relay.console.live import EVERY, SHARE
from platform_relay.console.now import digest
from platform_relay.console.pages import Form, PageError, Pages, SignInRequiredError, Visitor, build_url
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.paging import Page
from platform_relay.core.reasons import ReasonCode
from platform_relay.explain.event_list import EventFilter, EventView, list_events, reached, selected_jobs
from platform_relay.inbox.events import EventKind
from platform_relay.jobs.views import MessageState
from platform_relay.platform.webhooks import COUPON_TOPICS, LOYALTY_TOPICS

EVENTS: Final = "/console/events"
PER_PAGE: Final = 50
LONGEST: Final = 320
SELECTED: Final = "event-"
"""Beginning of the names of the checkboxes; the rest is the id of the event."""
KINDS: Final = (*EventKind, *sorted({*COUPON_TOPICS, *LOYALTY_TOPICS}))
"""Offered while typing; there are others, such as the topics of the store."""
STATES: Final[tuple[MessageState, ...]] = get_args(MessageState)
CursorText = Annotated[str | None, Query(max_length=LONGEST_CURSOR)]


def filters_of(
    kind: str = "",
    state: MessageState | Literal[""] = "",
    reason_code: ReasonCode | Literal[""] = "",
    source: str = "",
    since: str = "",
    until: str = "",
    about: str = "",
) -> EventFilter:
    texts = (text.replace("\x00", "").strip()[:LONGEST] or None for text in (kind, source, about))
    kind_text, source_text, about_text = texts
    return EventFilter(
        kind_text, state or None, reason_code or None, source_text, _moment(since), _moment(until), about_text
    )


Filters = Annotated[EventFilter, Depends(filters_of)]


def _moment(typed: str) -> datetime | None:
    """The value of a field for date and time, in UTC. Raises PageError."""
    if not typed.strip():
        return None
    try:
        moment = datetime.fromisoformat(typed.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if possible(moment):
            return moment
    except (ValueError, OverflowError):
        pass
    raise PageError(422, "This is not a time", "Enter a time as 2026-05-11T16:25, in UTC.")


def events_url(path: str, filters: EventFilter, **more: object) -> str:
    """The URL of the page, or of its stream, with these filters."""
    fields = ("kind", "state", "reason_code", "source", "about")
    moments = {name: moment and moment.isoformat() for name in ("since", "until") if (moment := getattr(filters, name))}
    return build_url(path, **{name: getattr(filters, name) for name in fields}, **moments, **more)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @router.get(EVENTS)
    async def events(request: Request, filters: Filters, cursor: CursorText = None) -> Response:
        visitor = await pages.visitor(request)
        page = await _read(pages, filters, cursor)
        rows = _rows(pages, page, visitor, root_path_of(request))
        return pages.show(
            request,
            "events",
            rows=rows,
            filters=filters,
            events=page.items,
            stream=None if cursor else events_url(f"{EVENTS}/live", filters, shown=digest(rows)),
            newest=events_url(EVENTS, filters),
            more=page.next_cursor and events_url(EVENTS, filters, cursor=page.next_cursor),
            reached=reached(page.next_cursor),
            first=cursor is None,
            kinds=KINDS,
            sources=["store", "platform", *filter(None, [pages.services.settings.store.adapter])],
            states=STATES,
            codes=list(ReasonCode),
            matching=events_url(f"{EVENTS}/matching", filters),
        )

    @router.get(f"{EVENTS}/live")
    async def stream(request: Request, filters: Filters, shown: str = "") -> Response:
        """Server-sent events with the rows of the first page, whenever they have changed."""
        visitor = await pages.visitor(request)
        if "last-event-id" in request.headers:
            shown = ""
        return EventSourceResponse(_changes(pages, request, visitor, filters, shown))

    @router.post(f"{EVENTS}/selected")
    async def act(request: Request) -> Response:
        visitor, form = await pages.form(request)
        action, ids = _selection(form)
        async with read_connection(pages.services.engine) as connection:
            jobs = await selected_jobs(connection, ids)
        async with map_database_errors():
            notice, failed = await act_on_jobs(pages.services, visitor, form, action, jobs)
        to = form["back"] if form["back"].startswith(f"{EVENTS}?") else EVENTS
        return pages.back(request, visitor, to, notice, failed=failed)

    return router


async def _read(pages: Pages, filters: EventFilter, cursor: str | None) -> Page[EventView]:
    async with read_connection(pages.services.engine) as connection:
        return await list_events(connection, filters, cursor=cursor, limit=PER_PAGE)


def _rows(pages: Pages, page: Page[EventView], visitor: Visitor, root: str) -> str:
    return pages.render("part_events", root, events=page.items, visitor=visitor)


async def _changes(
    pages: Pages, request: Request, visitor: Visitor, filters: EventFilter, shown: str
) -> AsyncIterator[bytes]:
    root, sent = root_path_of(request), {"rows": shown}
    yield format_sse_event(retry=2000)
    while True:
        started = time.monotonic()
        try:
            await pages.visitor(request)
            rows = _rows(pages, await _read(pages, filters, None), visitor, root)
        except (SignInRequiredError, PageError):
            return
        except DatabaseAway:
            parts = {"database": pages.render("part_database", root, reachable=False)}
        else:
            parts = {"database": pages.render("part_database", root, reachable=True), "rows": rows}
        for name, part in parts.items():
            if sent.get(name) != (part_digest := digest(part)):
                sent[name] = part_digest
                yield format_sse_event(event=name, data_str=part, id=part_digest)
        await asyncio.sleep(max(EVERY, (time.monotonic() - started) / SHARE))


# ----------------------------------------------------------------------------------------------- actions on selected events


def _selection(form: Form) -> tuple[Action, list[UUID]]:
    """Raises PageError for a form without a selection, or one that the console did not make."""
    action = form["action"]
    try:
        ids = [UUID(name.removeprefix(SELECTED)) for name in form if name.startswith(SELECTED)]
    except ValueError:
        ids = []
    if action not in get_args(Action) or not ids:
        raise PageError(
            422, "No event is selected", "Go back, select events in the first column, and choose an action."
        )
    return action, ids  # type: ignore[return-value]  # an Action by now
