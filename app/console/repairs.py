"""*Reconciliation*: both sides' values of a difference, and the repair of one, a class or all, with a preview.

Repairs run in chunks, as the bulk actions of `bulk`: the browser requests one after another, so any web process can run the
next one, and leaving the page stops the rest. What is repaired does not depend on the page: a difference is repaired once.
"""

from typing import get_args
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.reconciliations import read_values, repairer_of
from platform_relay.console.pages import Form, PageError, Pages
from platform_relay.console.reconciliations import LONGEST, PATH, Selected, find_run, run_url
from platform_relay.core.database import map_database_errors
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.difference_list import Selection, list_differences
from platform_relay.reconcile.differences import Cause
from platform_relay.reconcile.runs import Reconciliations


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix=PATH, route_class=pages.route_class(), include_in_schema=False)
    services = pages.services
    engine = services.engine
    runs = Reconciliations(engine)

    @router.get("/{reconciliation_id}/values")
    async def values(request: Request, reconciliation_id: UUID, selection: Selected) -> Response:
        """One difference. The values are for those who may change something, as the events on *Edit and continue*."""
        visitor = await pages.visitor(request)
        async with map_database_errors():
            run = await find_run(runs, reconciliation_id)
            listed = (await list_differences(engine, run.id, selection, limit=1)).items
            if not listed or selection.kind is None or selection.entity_id is None:
                raise PageError(404, "There is no such difference", "Open it from the page of the reconciliation.")
            read = await read_values(services, selection.kind, selection.entity_id)
        shown = read if visitor.may("operate") else read.without_values()
        preview = run_url("/repair", run.id, selection)
        return pages.show(request, "difference", run=run, item=listed[0], values=shown, preview=preview)

    @router.get("/{reconciliation_id}/repair")
    async def preview(request: Request, reconciliation_id: UUID, selection: Selected) -> Response:
        await pages.visitor(request, "operate")
        async with map_database_errors():
            run = await find_run(runs, reconciliation_id)
            plan = await repairer_of(services).preview(run.id, selection)
        return pages.show(
            request, "repair", run=run, preview=plan, selection=selection, back=run_url("", run.id, selection)
        )

    @router.post("/{reconciliation_id}/repair")
    async def repair(request: Request, reconciliation_id: UUID) -> Response:
        """Repairs one chunk. The response requests the next one."""
        visitor, form = await pages.form(request)
        selection, progress = _parse(form)
        async with map_database_errors():
            chunk = await repairer_of(services).repair_chunk(
                reconciliation_id, visitor.name, selection, (form["after_kind"], form["after_id"])
            )
        if chunk is None:
            raise PageError(404, "There is no such reconciliation", "Open it from the list of reconciliations.")
        total, done, left = progress
        done, left = done + chunk.repaired.total(), left + chunk.left
        name = "part_repair" if request.headers.get("hx-request") else "repair_progress"
        return pages.show(
            request,
            name,
            reconciliation_id=reconciliation_id,
            selection=selection,
            total=max(total, done + left),
            done=done,
            left=left,
            after=chunk.position,
            token=visitor.session.token,
            back=run_url("", reconciliation_id, selection),
        )

    return router


def _parse(form: Form) -> tuple[Selection, tuple[int, int, int]]:
    """The selected differences, and the progress: total, repaired and left. Raises PageError for a form that the console did not
    make."""
    cause, kind = form["cause"], form["kind"]
    numbers = [form[name] or "0" for name in ("total", "done", "left")]
    known = (not cause or cause in get_args(Cause)) and (not kind or kind in list(EventKind))
    if not known or not all(is_count(number) for number in numbers) or len(form["entity_id"]) > LONGEST:
        raise PageError(422, "This form is not complete", "Go back, reload the page and send it again.")
    total, done, left = (integer(number) for number in numbers)
    selection = Selection(cause or None, EventKind(kind) if kind else None, form["entity_id"] or None)  # type: ignore[arg-type]  # a Cause by now
    return selection, (total, done, left)
