"""Imports files of customers, products and orders over HTTP, like `relay import`, and reads the store's lists.

A file is kept in the database until its import has ended (`imports.uploads`), and imported in the background, after the
response. A process of its own reads it. If the import's process ends before it is done, a worker resumes it.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import IO, Annotated, Final, cast
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.api.import_examples import DRY_RUN, EXAMPLE, REJECTED
from platform_relay.api.import_files import CONTENT, file_format_of, receive, temporary_space
from platform_relay.api.import_plans import OpenPlan, open_plan_of, question_text, undecided
from platform_relay.api.import_query import Stated, StatedDep
from platform_relay.api.paging import PageDep
from platform_relay.core.compute import ComputeError
from platform_relay.core.database import map_database_errors
from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldError,
    FieldsInvalid,
    ImportUndecided,
    NotFound,
    Problem,
    QueryInvalid,
    WrongState,
)
from platform_relay.core.paging import Page
from platform_relay.imports import importer, runs
from platform_relay.imports.dry_run import DryRun, whole_dry_run
from platform_relay.imports.files import FileFormat
from platform_relay.imports.questions import Parameter
from platform_relay.imports.rejected import rejected_rows
from platform_relay.imports.runner import ImportRunner, NoListsError, plan_of_upload
from platform_relay.imports.runs import ImportBusyError, ImportView
from platform_relay.imports.uploads import (
    ChosenUpload,
    TooManyUploadsError,
    UploadGoneError,
    delete_unused,
    find_upload,
    keep_upload,
    local_copy,
)
from platform_relay.inbox.events import EventKind, Instant
from platform_relay.jobs.views import View


class ImportQuestion(View):
    """What the file does not decide."""

    parameter: Parameter
    text: str
    answers: list[str]
    waits: bool


class ImportDryRun(DryRun):
    """What an import would do, and the questions that the file leaves open. An import waits for the answers to some of them,
    or for `confirm=true`."""

    questions: list[ImportQuestion]


router: Final = APIRouter(prefix="/v1/imports", tags=["Imports"])
_BODY: Final = {"requestBody": {"required": True, "content": CONTENT}}
_FILE_PROBLEMS: Final = (BodyTooSlow, BodyTooLarge, EncodingRefused, QueryInvalid, FieldsInvalid)
ImportId = Annotated[UUID, PathParameter(description="The id of the import.")]


def runner_of(request: Request) -> ImportRunner:
    """The runner of imports in this process."""
    return cast("ImportRunner", request.app.state.imports)


@router.post(
    "",
    operation_id="import_file",
    summary="Import a file of customers, products or orders",
    status_code=202,
    responses={
        200: success("This file is already imported.", EXAMPLE | {"state": "done"}),
        202: success("The import is running.", EXAMPLE),
        **problem_responses(*KEY_PROBLEMS, *_FILE_PROBLEMS, WrongState, ImportUndecided),
    },
    openapi_extra=_BODY,
)
async def import_file(
    caller: OperateAccess,
    request: Request,
    response: Response,
    services: ServicesDep,
    stated: StatedDep,
    confirm: Annotated[
        bool, Query(description="Accept the guess where the file does not decide how it is to be imported.")
    ] = False,
) -> ImportView:
    """The request body is the file: CSV with a header, an Excel workbook (.xlsx), NDJSON, or one JSON array, by its Content-Type.
    Every valid row is accepted as an event and delivered after all live events; newer data is not overwritten. `GET
    /v1/imports/{import_id}` returns the progress. The relay keeps the file until the import has ended, and a worker resumes the
    import after a restart. Uploading the same file again with the same parameters resumes it too.

    A guess about customers or required amounts needs a confirmation: the response is then 422 `import-undecided`, with the
    questions in `errors`. A value of an optional field that cannot be read is left out, and counted in `columns`."""
    async with AsyncExitStack() as stack:
        file_format = file_format_of(request)
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="relay-import-"))  # noqa: SIM115  # closed by the stack
        await receive(request, file)
        opened_plan = await _open_plan(services, stated, file_format, file)
        if not confirm and (question := undecided(opened_plan)) is not None:
            raise question
        run = await _start(services, runner_of(request), stated, file_format, opened_plan, file, caller.name, stack)
    response.status_code = 200 if run.state == "done" else 202
    return run


async def _start(
    services: Services,
    runner: ImportRunner,
    stated: Stated,
    file_format: FileFormat,
    opened_plan: OpenPlan,
    file: IO[bytes],
    actor: str,
    stack: AsyncExitStack,
) -> ImportView:
    """Keep the file and start its import, which takes the file over from `stack`."""
    engine = services.engine
    try:
        async with map_database_errors():
            upload_id = await keep_upload(engine, file, "http", file_format, stated.kind, actor)
            chosen = ChosenUpload(upload_id, stated.kind, stated.choices, stated.as_of)
            try:
                claim = await importer.start(engine, opened_plan.plan, file, actor, source="http", upload=chosen)
            except BaseException:
                with suppress(Exception):  # it expires otherwise
                    await delete_unused(engine, upload_id)
                raise
            if claim.view.state == "done":
                await delete_unused(engine, upload_id)
                return claim.view
    except (ImportBusyError, TooManyUploadsError, UploadGoneError) as error:
        raise WrongState(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    stack.pop_all()
    runner.start_file(opened_plan.plan, claim, file)
    return claim.view


@router.post(
    "/dry-run",
    operation_id="dry_run_import",
    summary="Show what an import would do",
    responses={200: success("The counts.", DRY_RUN), **problem_responses(*KEY_PROBLEMS, *_FILE_PROBLEMS)},
    openapi_extra=_BODY,
)
async def dry_run_import(
    _caller: OperateAccess, request: Request, services: ServicesDep, stated: StatedDep
) -> ImportDryRun:
    """The request is that of an import. The whole file is read, and compared with what is stored; nothing is stored. The response
    comes when that is done, which takes minutes for a large file."""
    with tempfile.NamedTemporaryFile(prefix="relay-import-") as file:
        file_format = file_format_of(request)
        await receive(request, file)
        opened_plan = await _open_plan(services, stated, file_format, file)
        try:
            async with map_database_errors():
                counted = await whole_dry_run(
                    services.engine, services.inbox, opened_plan.plan, file, services.import_compute
                )
        except ComputeError as error:
            raise _unreadable(error) from None
    questions = [
        ImportQuestion(
            parameter=question.parameter,
            text=question_text(question),
            answers=list(question.answers),
            waits=question.waits,
        )
        for question in opened_plan.questions
    ]
    return ImportDryRun(**dict(counted), questions=questions)


@router.post(
    "/from-store",
    operation_id="import_from_store",
    summary="Import a list of the store",
    status_code=202,
    responses={
        202: success(
            "The import is running.", EXAMPLE | {"name": "woocommerce", "source": "store", "file_kept": False}
        ),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid, WrongState),
    },
)
async def import_from_store(
    caller: OperateAccess,
    request: Request,
    kind: Annotated[EventKind, Query(description="Which list.")],
    since: Annotated[Instant | None, Query(description="Only what changed since then. Default: everything.")] = None,
) -> ImportView:
    """Reads the store's list from its beginning, like `relay backfill`, and accepts what is new, after all live events. It can be
    repeated at any time. One list of a kind is read at a time."""
    try:
        async with map_database_errors():
            return await runner_of(request).start_store(kind, since, caller.name)
    except (ImportBusyError, NoListsError) as error:
        raise WrongState(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


@router.get(
    "",
    operation_id="list_imports",
    summary="List imports, newest first",
    responses={
        200: success("One page of imports.", {"items": [EXAMPLE], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def list_imports(services: ServicesDep, page: PageDep) -> Page[ImportView]:
    """The imports of `relay import`, of the console and of this API, each with its counts."""
    async with map_database_errors():
        return await runs.list_imports(services.engine, cursor=page.cursor, limit=page.limit)


@router.get(
    "/{import_id}",
    operation_id="read_import",
    summary="Read the progress of an import",
    responses={200: success("The import.", EXAMPLE), **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid)},
    dependencies=[READ],
)
async def read_import(services: ServicesDep, import_id: ImportId) -> ImportView:
    """The counts, the number of bytes that are processed, the rate, and the first rows that were rejected, with the reasons."""
    async with map_database_errors():
        return await found_import(services, import_id)


@router.post(
    "/{import_id}/cancel",
    operation_id="cancel_import",
    summary="Cancel an import",
    responses={
        200: success("The import ends after the rows it is storing.", EXAMPLE | {"cancelled_by": "operator"}),
        **problem_responses(*KEY_PROBLEMS, NotFound, WrongState, QueryInvalid),
    },
)
async def cancel_import(caller: OperateAccess, services: ServicesDep, import_id: ImportId) -> ImportView:
    """What was accepted stays, and is delivered. An import that is cancelled already is returned as it is. To continue it, use
    `POST /v1/imports/{import_id}/resume`, or import the file again."""
    async with map_database_errors():
        cancelled = await runs.cancel_import(services.engine, import_id, caller.name)
        run = cancelled or await found_import(services, import_id)
    if cancelled is None and run.cancelled_by is None:
        raise WrongState(f"The import is {run.state}; only a running or stopped one can be cancelled.")
    return run


@router.post(
    "/{import_id}/resume",
    operation_id="resume_import",
    summary="Resume a cancelled or stopped import",
    responses={
        200: success("The import is running.", EXAMPLE),
        **problem_responses(*KEY_PROBLEMS, NotFound, WrongState, QueryInvalid),
    },
)
async def resume_import(
    caller: OperateAccess, request: Request, services: ServicesDep, import_id: ImportId
) -> ImportView:
    """Continues after the last row that was processed. The relay must still keep the file (`file_kept`)."""
    async with map_database_errors():
        run = await runner_of(request).resume(import_id, caller.name)
        if run is None:
            run = await found_import(services, import_id)
            kept = "" if run.file_kept else ", and its file is not kept"
            raise WrongState(
                f"The import is {run.state}{kept}; a cancelled or stopped one whose file is kept can be resumed."
            )
    return run


@router.get(
    "/{import_id}/rejected-rows",
    operation_id="read_rejected_rows",
    summary="Read the rejected rows of an import",
    response_class=StreamingResponse,
    responses={
        200: success("One JSON object for each rejected row.", REJECTED, "application/x-ndjson"),
        **problem_responses(*KEY_PROBLEMS, NotFound, WrongState, QueryInvalid),
    },
)
async def read_rejected_rows(_caller: OperateAccess, services: ServicesDep, import_id: ImportId) -> Response:
    """All rejected rows with their values and reasons, as far as the import has come. Correct the values and import them on
    their own. The relay reads them from the file, which it keeps for a day after the import (`file_kept`)."""
    async with map_database_errors():
        run = await found_import(services, import_id)
        return await rejected_response(services, run)


async def found_import(services: Services, import_id: UUID) -> ImportView:
    """The import. Raises NotFound."""
    run = await runs.find_import(services.engine, import_id)
    if run is None:
        raise NotFound(f"No import has the id {import_id}.")
    return run


async def rejected_response(services: Services, run: ImportView) -> Response:
    """The rejected rows of the import, as a file to be downloaded. Raises WrongState if the file is not kept any more."""
    stack = AsyncExitStack()
    try:
        upload_id = await runs.upload_of(services.engine, run.id)
        upload = None if upload_id is None else await find_upload(services.engine, upload_id)
        if upload is None:
            raise UploadGoneError("the file is not kept any more; import it again with relay import to get them")
        with temporary_space():
            file = await stack.enter_async_context(local_copy(services.engine, upload))
        plan = await services.import_compute.run(plan_of_upload(upload, file.name))
    except (UploadGoneError, UnreadableBodyError, ComputeError) as error:
        await stack.aclose()
        raise WrongState(f"The rejected rows cannot be read: {error}.") from None
    except BaseException:
        await stack.aclose()
        raise

    async def lines() -> AsyncIterator[bytes]:
        async with stack:
            async for line in rejected_rows(plan, file, services.inbox, services.import_compute, run.last_row):
                yield line

    name = f"rejected-rows-{run.id}.ndjson"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)


async def _open_plan(services: Services, stated: Stated, file_format: FileFormat, file: IO[bytes]) -> OpenPlan:
    """How the file is to be imported. Raises FieldsInvalid."""
    read = partial(open_plan_of, stated.kind, file_format, file.name, stated.choices, stated.as_of)
    try:
        opened_plan = await services.import_compute.run(read)
    except ComputeError as error:
        raise _unreadable(error) from None
    if isinstance(opened_plan, Problem):
        raise opened_plan
    return opened_plan


def _unreadable(error: ComputeError) -> FieldsInvalid:
    return FieldsInvalid("The file cannot be read.", [FieldError("body", str(error))])
