"""A file that was uploaded: how it is read, corrected by the operator; what its import would do; and its start."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import IO, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from platform_relay.api.import_files import temporary_space
from platform_relay.api.imports import runner_of
from platform_relay.api.root_path import outside, root_path_of
from platform_relay.console.imports import PATH as IMPORTS
from platform_relay.console.imports import kind_of, moment_of, sentence
from platform_relay.console.live import EVERY
from platform_relay.console.now import digest
from platform_relay.console.pages import PageError, Pages, SignInRequiredError, Visitor, build_url
from platform_relay.core.compute import ComputeError
from platform_relay.core.database import map_database_errors
from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.errors import DatabaseAway
from platform_relay.imports import importer
from platform_relay.imports.choices import Choices
from platform_relay.imports.dry_run import DryRun, dry_run, last_of
from platform_relay.imports.review import Review, review
from platform_relay.imports.runner import plan_of_upload
from platform_relay.imports.runs import ImportBusyError
from platform_relay.imports.statuses import REJECT, STATUSES, is_statement
from platform_relay.imports.uploads import ChosenUpload, Upload, UploadGoneError, delete_unused, find_upload, local_copy
from platform_relay.imports.values import DateOrder, DecimalMark
from platform_relay.inbox.events import EventKind

PATH: Final = f"{IMPORTS}/uploads"
FIELD: Final = "field."
"""Beginning of the names of the controls that choose a column; the rest is the name of the field."""
STATUS: Final = "status."
"""Beginning of the names of the controls that choose the meaning of a payment status; the rest is the word in the file."""
NOT_USED: Final = "-"
"""The choice that leaves a field out. A column is chosen with "=" and its name; without a choice, the guess decides."""
LONGEST: Final = 500
DECIMALS: Final[Mapping[str, DecimalMark]] = {",": ",", ".": "."}
DATE_ORDERS: Final[Mapping[str, DateOrder]] = {"dmy": "dmy", "mdy": "mdy", "ymd": "ymd"}
MEANINGS: Final = (*STATUSES, REJECT)
OTHERS: Final = ("kind", "decimal", "date_order", "time_zone", "currency", "encoding", "sheet", "as_of")


def stated(upload: Upload, values: Mapping[str, str]) -> Upload:
    """The upload with what the values of the controls state about reading it. Raises PageError."""
    texts = {name: values.get(name, "").replace("\x00", "").strip()[:LONGEST] for name in OTHERS}
    fields = tuple(
        name.removeprefix(FIELD) + ("=" if value == NOT_USED else value)
        for name, value in _controls(values).items()
        if name.startswith(FIELD)
    )
    statuses = tuple(
        f"{name.removeprefix(STATUS)}={value}" for name, value in _controls(values).items() if name.startswith(STATUS)
    )
    choices = Choices(
        fields,
        DECIMALS.get(texts["decimal"]),
        DATE_ORDERS.get(texts["date_order"]),
        texts["time_zone"] or None,
        texts["currency"].upper() or None,
        texts["encoding"] or None,
        texts["sheet"] or None,
        statuses,
    )
    kind = kind_of(texts["kind"]) if texts["kind"] else upload.kind
    return Upload(
        upload.id,
        upload.name,
        upload.file_format,
        kind,
        upload.size,
        upload.actor,
        choices,
        moment_of(texts["as_of"]),
        upload.created_at,
        upload.expires_at,
    )


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    _add_pages(pages, router)
    _add_actions(pages, router)
    return router


def _add_pages(pages: Pages, router: APIRouter) -> None:

    @router.get(f"{PATH}/{{upload_id}}")
    async def page(request: Request, upload_id: UUID, count: bool = False) -> Response:
        """`count`: with the complete dry run, for browsers without scripts."""
        visitor = await pages.visitor(request, "operate")
        upload = await _found(pages, upload_id, request.query_params)
        shown = await _review(pages, upload)
        counted = await last_of(_counts(pages, upload)) if count and shown.problem is None else None
        controls = _controls(request.query_params)
        dry = _part(pages, request, visitor, counted, finished=True) if counted is not None else ""
        return pages.show(
            request,
            "import_upload",
            upload=upload,
            review=shown,
            controls=controls,
            kinds=list(EventKind),
            meanings=MEANINGS,
            statuses=_statuses(controls, shown),
            mark=_mark(upload),
            dry=dry,
            live=build_url(f"{PATH}/{upload_id}/dry-run", **controls),
            counting=build_url(f"{PATH}/{upload_id}", count="true", **controls),
        )

    @router.get(f"{PATH}/{{upload_id}}/dry-run")
    async def stream(request: Request, upload_id: UUID) -> Response:
        """Server-sent events with the counts of the dry run, until it is complete."""
        visitor = await pages.visitor(request, "operate")
        upload = await _found(pages, upload_id, request.query_params)
        return EventSourceResponse(_changes(pages, request, visitor, upload))


def _add_actions(pages: Pages, router: APIRouter) -> None:
    @router.post(f"{PATH}/{{upload_id}}/start")
    async def start(request: Request, upload_id: UUID) -> Response:
        visitor, form = await pages.form(request)
        upload = await _found(pages, upload_id, form)
        shown = await _review(pages, upload)
        here = build_url(f"{PATH}/{upload_id}", **_controls(form))
        if form["mark"] != _mark(upload):
            notice = "Nothing is imported yet, because you changed how the file is read. Check what is shown now, and start again."
            return pages.back(request, visitor, here, notice, failed=True)
        if shown.problem is not None:
            return pages.back(request, visitor, here, shown.problem, failed=True)
        if shown.waits and not form["confirm"]:
            notice = "Nothing is imported yet: answer the questions, or confirm that the file is read as shown."
            return pages.back(request, visitor, here, notice, failed=True)
        try:
            async with map_database_errors():
                import_id, notice = await _start(pages, request, visitor, upload)
        except ImportBusyError as error:
            return pages.back(request, visitor, IMPORTS, sentence(error), failed=True)
        return pages.back(request, visitor, f"{IMPORTS}/{import_id}", notice)

    @router.post(f"{PATH}/{{upload_id}}/read")
    async def read(request: Request, upload_id: UUID) -> Response:
        """Shows how the file is read with the chosen columns. A redirect, so that the address holds the choices."""
        _, form = await pages.form(request)
        to = build_url(f"{PATH}/{upload_id}", **_controls(form))
        return RedirectResponse(outside(request, to), 303)

    @router.post(f"{PATH}/{{upload_id}}/delete")
    async def delete(request: Request, upload_id: UUID) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            deleted = await delete_unused(pages.services.engine, upload_id)
        notice = (
            "The uploaded file is deleted. Nothing was imported from it."
            if deleted
            else "The file is not deleted, because its import was started. Cancel the import to end it."
        )
        return pages.back(request, visitor, IMPORTS, notice, failed=not deleted)


async def _start(pages: Pages, request: Request, visitor: Visitor, upload: Upload) -> tuple[UUID, str]:
    """Start the import. Returns its id, and the notice."""
    services = pages.services
    chosen = ChosenUpload(upload.id, upload.kind, upload.choices, upload.as_of)
    async with _opened(pages, upload) as file:
        plan = await services.import_compute.run(plan_of_upload(upload, file.name))
        claim = await importer.start(services.engine, plan, file, visitor.name, source="console", upload=chosen)
        if claim.view.state == "done":
            await delete_unused(services.engine, upload.id)
            return (
                claim.view.id,
                "This file was imported completely before, in the same way. Nothing was imported again.",
            )
    runner_of(request).start_claimed(claim)
    return claim.view.id, "The import has started."


@asynccontextmanager
async def _opened(pages: Pages, upload: Upload) -> AsyncIterator[IO[bytes]]:
    """A local copy of the file. Raises PageError."""
    try:
        async with map_database_errors():
            with temporary_space():
                async with local_copy(pages.services.engine, upload) as file:
                    yield file
    except (UploadGoneError, UnreadableBodyError) as error:
        raise PageError(409, "The uploaded file cannot be read", sentence(error)) from None
    except ComputeError:
        detail = "The process that read it ended or took too long. Import it with relay import, or in parts."
        raise PageError(422, "The file cannot be read", detail) from None


async def _found(pages: Pages, upload_id: UUID, values: Mapping[str, str]) -> Upload:
    async with map_database_errors():
        upload = await find_upload(pages.services.engine, upload_id)
    if upload is None:
        raise PageError(
            404, "This file is not kept any more", "It was imported, deleted, or kept for a day. Upload it again."
        )
    return stated(upload, values)


async def _review(pages: Pages, upload: Upload) -> Review:
    async with _opened(pages, upload) as file:
        read = partial(review, upload.name, file.name, upload.file_format, upload.kind, upload.choices, upload.as_of)
        return await pages.services.import_compute.run(read)


def _controls(values: Mapping[str, str]) -> dict[str, str]:
    """What the controls were set to, without those that decide nothing: for links, and to compare."""
    texts = {name: value.replace("\x00", "").strip()[:LONGEST] for name, value in sorted(values.items())}
    return {
        name: text
        for name, text in texts.items()
        if (name in OTHERS and text)
        or (name.startswith(FIELD) and (text == NOT_USED or text.startswith("=")))
        or (name.startswith(STATUS) and is_statement(f"{name.removeprefix(STATUS)}={text}"))
    }


def _statuses(controls: Mapping[str, str], shown: Review) -> dict[str, str]:
    """The words of the file whose meaning was chosen or is asked for, each with what was chosen."""
    unknown = (question.answers[0] for question in shown.questions if question.parameter == "status")
    words = dict.fromkeys((answer.rpartition("=")[0] for answer in unknown), "")
    return words | {name.removeprefix(STATUS): text for name, text in controls.items() if name.startswith(STATUS)}


def _mark(upload: Upload) -> str:
    """Identifies how the file is read, when the page is shown and when its form is sent."""
    return digest(repr((upload.kind, upload.choices, upload.as_of)))


async def _counts(pages: Pages, upload: Upload) -> AsyncIterator[DryRun]:
    services = pages.services
    async with _opened(pages, upload) as file:
        plan = await services.import_compute.run(plan_of_upload(upload, file.name))
        async for counted in dry_run(services.engine, services.inbox, plan, file, services.import_compute):
            yield counted


async def _changes(pages: Pages, request: Request, visitor: Visitor, upload: Upload) -> AsyncIterator[bytes]:
    sent, counted = 0.0, None
    try:
        async for counted in _counts(pages, upload):
            if time.monotonic() - sent >= EVERY / 2:
                sent = time.monotonic()
                await pages.visitor(request, "operate")  # who was signed out since sees no more
                part = _part(pages, request, visitor, counted, finished=False)
                yield format_sse_event(event="dry-run", data_str=part)
            await asyncio.sleep(0)
    except SignInRequiredError:
        return
    except (PageError, ValueError, ComputeError, DatabaseAway) as error:
        detail = error.detail if isinstance(error, PageError) else sentence(error)
        title = "The rows cannot be counted"
        part = pages.render("error_part", root_path_of(request), title=title, detail=detail)
        yield format_sse_event(event="dry-run", data_str=part)
    else:
        if counted is not None:
            yield format_sse_event(event="dry-run", data_str=_part(pages, request, visitor, counted, finished=True))
    yield format_sse_event(event="end", data_str="ended")


def _part(pages: Pages, request: Request, visitor: Visitor, counted: DryRun, *, finished: bool) -> str:
    return pages.render("part_dry_run", root_path_of(request), counted=counted, finished=finished, visitor=visitor)
