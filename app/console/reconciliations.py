"""*Reconciliation*: runs, started and cancelled, and their differences. `repairs` has the values and the repair of differences."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.paging import LONGEST_CURSOR
from platform_relay.api.root_path import root_path_of
from platform_relay.console.pages import Form, PageError, Pages, Visitor, build_url
from platform_relay.core.database import map_database_errors
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.compare import GRACE
from platform_relay.reconcile.difference_list import Selection, group_differences, list_differences
from platform_relay.reconcile.differences import CAUSES, Cause
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.stores.native import ListsEntities, listed_kinds

PATH: Final = "/console/reconciliations"
PER_PAGE: Final = 25
LONGEST: Final = 1000
MAX_GRACE: Final = 86_400
EVERY: Final = 2.0
"""Seconds between two reads of a running reconciliation, or of repairs that are on their way."""
SHARE: Final = 0.05
"""The largest part of the time that the page may spend reading."""
CursorText = Annotated[str | None, Query(max_length=LONGEST_CURSOR)]


def selection_of(
    cause: Cause | Literal[""] = "",
    kind: EventKind | Literal[""] = "",
    entity_id: Annotated[str, Query(max_length=LONGEST)] = "",
) -> Selection:
    """The differences that a URL selects."""
    return Selection(cause or None, kind or None, entity_id.replace("\x00", "").strip() or None)


Selected = Annotated[Selection, Depends(selection_of)]


def run_url(path: str, reconciliation_id: UUID, selection: Selection, **more: object) -> str:
    """The URL of a page about a reconciliation and these differences of it."""
    return build_url(f"{PATH}/{reconciliation_id}{path}", **selection.named(), **more)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix=PATH, route_class=pages.route_class(), include_in_schema=False)
    services = pages.services
    engine = services.engine
    runs = Reconciliations(engine)

    @router.get("")
    async def list_runs(request: Request, cursor: CursorText = None) -> Response:
        await pages.visitor(request)
        async with map_database_errors():
            page = await runs.list_newest(cursor=cursor, limit=PER_PAGE)
        store: object = services.store
        return pages.show(
            request,
            "reconciliations",
            runs=page.items,
            first=cursor is None,
            more=page.next_cursor and build_url(PATH, cursor=page.next_cursor),
            kinds=listed_kinds(store) if isinstance(store, ListsEntities) else (),
            grace=GRACE,
        )

    @router.post("")
    async def start(request: Request) -> Response:
        visitor, form = await pages.form(request)
        store: object = services.store
        if not isinstance(store, ListsEntities):
            raise PageError(409, "There is nothing to compare", "The configured store has no lists (docs/stores.md).")
        kind, since, grace = _asked(form)
        async with map_database_errors():
            reconciliation_id = await runs.request(visitor.name, since, grace, kind)
        to = f"{PATH}/{reconciliation_id}"
        return pages.back(request, visitor, to, "The reconciliation was requested. A worker will run it.")

    @router.get("/{reconciliation_id}")
    async def show(
        request: Request,
        reconciliation_id: UUID,
        selection: Selected,
        repaired: Literal["", "yes", "no"] = "",
        cursor: CursorText = None,
    ) -> Response:
        visitor = await pages.visitor(request)
        async with map_database_errors():
            run = await find_run(runs, reconciliation_id)
            summary = await _summary(pages, request, run, visitor)
            only = None if not repaired else repaired == "yes"
            page = await list_differences(engine, run.id, selection, repaired=only, cursor=cursor, limit=PER_PAGE)
        filters = {"repaired": repaired or None}
        return pages.show(
            request,
            "reconciliation",
            run=run,
            summary=summary,
            differences=page.items,
            selection=selection,
            repaired=repaired,
            causes=CAUSES,
            kinds=list(EventKind),
            first=cursor is None,
            newest=run_url("", run.id, selection, **filters),
            more=page.next_cursor and run_url("", run.id, selection, **filters, cursor=page.next_cursor),
            values_url=lambda item: run_url("/values", run.id, Selection(item.cause, item.kind, item.entity_id)),
            preview=run_url("/repair", run.id, selection),
        )

    @router.get("/{reconciliation_id}/summary")
    async def part(request: Request, reconciliation_id: UUID) -> Response:
        """The progress and the groups alone, which the page reads again while something is on its way."""
        visitor = await pages.visitor(request)
        async with map_database_errors():
            run = await find_run(runs, reconciliation_id)
            return Response(await _summary(pages, request, run, visitor), media_type="text/html")

    @router.post("/{reconciliation_id}/cancel")
    async def cancel(request: Request, reconciliation_id: UUID) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            cancelled = await runs.cancel(reconciliation_id, visitor.name)
        notice = (
            "The reconciliation is cancelled. What it found until then is kept."
            if cancelled
            else "Only a reconciliation that waits or runs can be cancelled."
        )
        return pages.back(request, visitor, f"{PATH}/{reconciliation_id}", notice, failed=not cancelled)

    return router


async def find_run(runs: Reconciliations, reconciliation_id: UUID) -> ReconciliationView:
    """Raises PageError."""
    run = await runs.find(reconciliation_id)
    if run is None:
        raise PageError(404, "There is no such reconciliation", "Open it from the list of reconciliations.")
    return run


async def _summary(pages: Pages, request: Request, run: ReconciliationView, visitor: Visitor) -> str:
    """The progress, the counts by cause and kind, and their repairs."""
    started = time.monotonic()
    groups = await group_differences(pages.services.engine, run.id)
    under_way = not run.has_ended or any(group.outcomes.get("in_progress") for group in groups)
    pause = max(EVERY, (time.monotonic() - started) / SHARE)
    rows = [
        (
            group,
            run_url("", run.id, Selection(group.cause, group.kind)),
            run_url("/repair", run.id, Selection(group.cause, group.kind)),
        )
        for group in groups
    ]
    return pages.render(
        "part_run",
        root_path_of(request),
        run=run,
        rows=rows,
        open_differences=sum(group.open for group in groups),
        every=f"{pause:.0f}s" if under_way else None,
        visitor=visitor,
    )


def _asked(form: Form) -> tuple[EventKind | None, datetime | None, timedelta | None]:
    """Kind, begin and grace of a new reconciliation. Raises PageError."""
    kind = form["kind"]
    if kind and kind not in list(EventKind):
        raise PageError(422, "This form is not complete", "Go back, reload the page and send it again.")
    since = None
    if form["since"]:
        try:
            since = datetime.fromisoformat(form["since"])
            since = since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
        except (ValueError, OverflowError):
            raise PageError(422, "This is not a time", "Enter a time as 2026-05-11T16:25, in UTC.") from None
    grace = form["grace"]
    if grace and not (is_count(grace) and integer(grace) <= MAX_GRACE):
        raise PageError(422, "This is not a number of seconds", f"Enter whole seconds from 0 to {MAX_GRACE:,}.")
    return EventKind(kind) if kind else None, since, timedelta(seconds=integer(grace)) if grace else None
