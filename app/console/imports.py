"""*Imports*: upload a file or read a list of the store, follow the imports, cancel and continue them."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.imports import found_import, rejected_response, runner_of
from platform_relay.api.paging import LONGEST_CURSOR
from platform_relay.api.root_path import root_path_of
from platform_relay.console.live import EVERY, SHARE
from platform_relay.console.now import digest
from platform_relay.console.pages import PageError, Pages, SignInRequiredError, Visitor, build_url
from platform_relay.console.upload_form import upload_form
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import DatabaseAway, NotFound
from platform_relay.imports import runs
from platform_relay.imports.files import format_of
from platform_relay.imports.runner import NoListsError
from platform_relay.imports.runs import ImportBusyError, ImportView
from platform_relay.imports.uploads import (
    TooManyUploadsError,
    UploadGoneError,
    keep_upload,
    shown_name,
    waiting_uploads,
)
from platform_relay.inbox.events import EventKind

PATH: Final = "/console/imports"
PER_PAGE: Final = 25
UNFINISHED: Final = ("running", "stopped")


def sentence(error: Exception) -> str:
    """The error's text as a sentence of its own."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def kind_of(text: str) -> EventKind:
    """The kind that a form names. Raises PageError."""
    if text not in list(EventKind):
        raise PageError(422, "Choose what to import", "Go back and choose customers, orders or products.")
    return EventKind(text)


def moment_of(text: str) -> datetime | None:
    """A time of a form, in UTC; None for an empty field. Raises PageError."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise PageError(422, "The time is not valid", "Enter a time like 2026-05-11 03:00.") from None


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    _add_pages(pages, router)
    _add_actions(pages, router)
    return router


def _add_pages(pages: Pages, router: APIRouter) -> None:
    services = pages.services

    @router.get(PATH)
    async def imports(
        request: Request, cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None
    ) -> Response:
        visitor = await pages.visitor(request)
        async with map_database_errors():
            page = await runs.list_imports(services.engine, cursor=cursor, limit=PER_PAGE)
            waiting = await waiting_uploads(services.engine) if visitor.may("operate") and not cursor else []
        return pages.show(
            request,
            "imports",
            runs=page.items,
            waiting=waiting,
            kinds=list(EventKind),
            listed=runner_of(request).listed_kinds,
            store=services.settings.store.adapter,
            more=page.next_cursor and build_url(PATH, cursor=page.next_cursor),
        )

    @router.get(f"{PATH}/{{import_id}}")
    async def progress(request: Request, import_id: UUID) -> Response:
        visitor = await pages.visitor(request)
        async with map_database_errors():
            run = await found_import(services, import_id)
        part = _part(pages, request, visitor, run)
        live = f"{PATH}/{import_id}/live?shown={digest(part)}" if run.state in UNFINISHED else None
        return pages.show(request, "import", run=run, part=part, live=live)

    @router.get(f"{PATH}/{{import_id}}/live")
    async def stream(request: Request, import_id: UUID, shown: str = "") -> Response:
        """Server-sent events with the progress, until the import ends."""
        visitor = await pages.visitor(request)
        if "last-event-id" in request.headers:
            shown = ""
        return EventSourceResponse(_changes(pages, request, visitor, import_id, shown))

    @router.get(f"{PATH}/{{import_id}}/rejected-rows")
    async def rejected(request: Request, import_id: UUID) -> Response:
        await pages.visitor(request, "operate")
        async with map_database_errors():
            return await rejected_response(services, await found_import(services, import_id))


def _add_actions(pages: Pages, router: APIRouter) -> None:
    services = pages.services

    @router.post(f"{PATH}/upload")
    async def upload(request: Request) -> Response:
        visitor, form = await upload_form(pages, request)
        with form.file as file:
            kind, name = kind_of(form.fields["kind"]), shown_name(form.file_name)
            try:
                file_format = format_of(name)
                async with map_database_errors():
                    upload_id = await keep_upload(services.engine, file, name, file_format, kind, visitor.name)
            except (TooManyUploadsError, UploadGoneError, ValueError) as error:
                raise PageError(422, "The file cannot be imported", sentence(error)) from None
        return pages.back(
            request, visitor, f"{PATH}/uploads/{upload_id}", "The file is uploaded. Nothing is imported yet."
        )

    @router.post(f"{PATH}/from-store")
    async def from_store(request: Request) -> Response:
        visitor, form = await pages.form(request)
        try:
            async with map_database_errors():
                kind, since = kind_of(form["kind"]), moment_of(form["since"])
                run = await runner_of(request).start_store(kind, since, visitor.name)
        except (ImportBusyError, NoListsError) as error:
            return pages.back(request, visitor, PATH, sentence(error), failed=True)
        return pages.back(request, visitor, f"{PATH}/{run.id}", f"The store's {kind} are being imported.")

    @router.post(f"{PATH}/{{import_id}}/cancel")
    async def cancel(request: Request, import_id: UUID) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            cancelled = await runs.cancel_import(services.engine, import_id, visitor.name)
        notice = "The import ends after the rows it is storing." if cancelled else "The import has ended already."
        return pages.back(request, visitor, f"{PATH}/{import_id}", notice, failed=cancelled is None)

    @router.post(f"{PATH}/{{import_id}}/continue")
    async def continue_import(request: Request, import_id: UUID) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            run = await runner_of(request).resume(import_id, visitor.name)
        notice = (
            "The import continues."
            if run
            else "The import cannot be continued: it runs, has ended, or its file is gone."
        )
        return pages.back(request, visitor, f"{PATH}/{import_id}", notice, failed=run is None)


def _part(pages: Pages, request: Request, visitor: Visitor, run: ImportView) -> str:
    return pages.render("part_import", root_path_of(request), run=run, visitor=visitor)


async def _changes(
    pages: Pages, request: Request, visitor: Visitor, import_id: UUID, shown: str
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=2000)
    while True:
        started, state = time.monotonic(), "running"
        try:
            await pages.visitor(request)
            async with map_database_errors():
                run = await found_import(pages.services, import_id)
            part, state = _part(pages, request, visitor, run), run.state
        except (SignInRequiredError, PageError, NotFound):
            return
        except DatabaseAway:
            part = ""
        if part and shown != (shown_now := digest(part)):
            shown = shown_now
            yield format_sse_event(event="import", data_str=part, id=shown)
        if state not in UNFINISHED:
            yield format_sse_event(event="end", data_str="ended")
            return
        await asyncio.sleep(max(EVERY / 2, (time.monotonic() - started) / SHARE))
