"""Imports files of customers, products and orders over HTTP, like `relay import`.

The body is written to a temporary file and imported in the background, after the response. A process of its own reads the
file. If the import's process ends before it is done, the import is `stopped`: upload the same file again to resume it.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import IO, Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.body_problems import too_large
from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.import_plans import plan_of
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import refuse_encoding
from platform_relay.core.compute import ComputeError
from platform_relay.core.database import map_database_errors
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
from platform_relay.imports import importer
from platform_relay.imports.files import FileFormat
from platform_relay.imports.importer import ImportBusyError, ImportView
from platform_relay.imports.proposal import Choices
from platform_relay.imports.rows import ImportPlan
from platform_relay.imports.values import DateOrder, DecimalMark
from platform_relay.inbox.events import EventKind, Instant

log: Final = structlog.get_logger(__name__)

MAX_BYTES: Final = 1 << 30
IDLE_SECONDS: Final = 30.0
EXAMPLE: Final = {
    "id": ID,
    "kind": "customers",
    "name": "http",
    "state": "running",
    "size": 9_400_000,
    "position": 940_000,
    "last_row": 10_000,
    "rows": 10_000,
    "accepted": 9_998,
    "duplicates": 0,
    "newer": 1,
    "rejected": 1,
    "problems": [
        {
            "row": 17,
            "reason": "id: 1.23457E+15 is a long number that a spreadsheet shortened, so the id is lost; export the file again and"
            " do not save it with a spreadsheet",
        }
    ],
    "columns": [
        {
            "column": "Customer ID",
            "use": "field",
            "field": "id",
            "read": 9_999,
            "empty": 0,
            "unreadable": 1,
            "trimmed": 0,
            "unreadable_rows": [17],
            "reason": "1.23457E+15 is a long number that a spreadsheet shortened",
        },
        {
            "column": "Favourite colour",
            "use": "unused",
            "field": None,
            "read": 0,
            "empty": 0,
            "unreadable": 0,
            "trimmed": 0,
            "unreadable_rows": [],
            "reason": None,
        },
    ],
    "notes": ["Times without a time zone in Created count as UTC."],
    "error": None,
    "created_at": "2026-05-11T16:25:01Z",
    "heartbeat_at": "2026-05-11T16:25:04Z",
    "finished_at": None,
}
FORMATS: Final[Mapping[str, FileFormat]] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
}
_CSV: Final = "id,email,firstName,updatedAt\n42,ada@example.com,Ada,2026-05-11T16:20:00Z\n"
_CONTENT: Final = {
    media: {
        "schema": {"type": "string"} if form != "json" else {"type": "array", "items": {"type": "object"}},
        "example": {"csv": _CSV, "ndjson": '{"id": "42", "email": "ada@example.com"}\n'}.get(form, [{"id": "42"}]),
    }
    if form != "xlsx"
    else {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}
    for media, form in FORMATS.items()
}


router: Final = APIRouter(prefix="/v1/imports", tags=["Imports"])


@router.post(
    "",
    operation_id="import_file",
    summary="Import a file of customers, products or orders",
    status_code=202,
    responses={
        200: success("This file is already imported.", EXAMPLE | {"state": "done"}),
        202: success("The import is running.", EXAMPLE),
        **problem_responses(
            *KEY_PROBLEMS,
            BodyTooSlow,
            WrongState,
            BodyTooLarge,
            EncodingRefused,
            QueryInvalid,
            FieldsInvalid,
            ImportUndecided,
        ),
    },
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def import_file(
    caller: OperateAccess,
    request: Request,
    response: Response,
    services: ServicesDep,
    kind: Annotated[EventKind, Query(description="What the file contains.")],
    column: Annotated[
        list[str] | None,
        Query(
            alias="map",
            description="`FIELD=COLUMN`; may be repeated. Other fields are guessed from the names and values of the columns.",
        ),
    ] = None,
    as_of: Annotated[
        Instant | None,
        Query(description="When the file was exported: the version of rows without `updatedAt`."),
    ] = None,
    decimal: Annotated[
        DecimalMark | None, Query(description="The decimal mark of amounts. Default: what each column shows.")
    ] = None,
    date_order: Annotated[
        DateOrder | None,
        Query(description="Which comes first in a date such as 4/3/2000. Default: what each column shows."),
    ] = None,
    time_zone: Annotated[
        str | None,
        Query(description="The zone of times without one, such as `Europe/Berlin`. Default: UTC.", max_length=64),
    ] = None,
    currency: Annotated[
        str | None, Query(description="The currency of orders without one, such as `EUR`.", pattern="^[A-Z]{3}$")
    ] = None,
    encoding: Annotated[
        str | None,
        Query(description="The encoding of a CSV file, such as `Windows-1252`. Default: found out.", max_length=40),
    ] = None,
    sheet: Annotated[
        str | None, Query(description="The sheet of a workbook. Default: the first one.", max_length=100)
    ] = None,
    confirm: Annotated[
        bool, Query(description="Accept the guess where the file does not decide how it is to be imported.")
    ] = False,
) -> ImportView:
    """The request body is the file: CSV with a header, an Excel workbook (.xlsx), NDJSON, or one JSON array, by its Content-Type.
    Every valid row is accepted as an event and delivered after all live events; newer data is not overwritten. `GET
    /v1/imports/{import_id}` returns the progress. To resume a stopped import, upload the same file again with the same parameters.

    A guess about customers or required amounts needs a confirmation: the response is then 422 `import-undecided`, with the
    questions in `errors`. A value of an optional field that cannot be read is left out, and counted in `columns`."""
    file_format = _file_format(request)
    file = tempfile.NamedTemporaryFile(prefix="relay-import-")  # noqa: SIM115  # the background task closes it
    try:
        await _receive(request, file)
        file.flush()
        choices = Choices(tuple(column or ()), decimal, date_order, time_zone, currency, encoding, sheet)
        plan = await services.import_compute.run(
            partial(plan_of, kind, file_format, file.name, choices, as_of, confirmed=confirm)
        )
        if isinstance(plan, Problem):
            raise plan
        async with map_database_errors():
            run = await importer.start(services.engine, plan, file, caller.name)
    except ImportBusyError as error:
        file.close()
        raise WrongState(str(error)) from None
    except ComputeError as error:
        file.close()
        raise FieldsInvalid("The file cannot be read.", [FieldError("body", str(error))]) from None
    except BaseException:
        file.close()
        raise
    if run.state == "done":
        file.close()
        response.status_code = 200
        return run
    tasks: set[asyncio.Task[None]] = request.app.state.import_tasks
    task = asyncio.create_task(_run(services, plan, run, file))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return run


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
    """The imports of `relay import` and of this API, each with its counts."""
    async with map_database_errors():
        return await importer.list_imports(services.engine, cursor=page.cursor, limit=page.limit)


@router.get(
    "/{import_id}",
    operation_id="read_import",
    summary="Read the progress of an import",
    responses={200: success("The import.", EXAMPLE), **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid)},
    dependencies=[READ],
)
async def read_import(
    services: ServicesDep, import_id: Annotated[UUID, PathParameter(description="The id of the import.")]
) -> ImportView:
    """The counts, the number of bytes that are processed, and the first rows that were rejected, with the reasons."""
    async with map_database_errors():
        run = await importer.find_import(services.engine, import_id)
    if run is None:
        raise NotFound(f"No import has the id {import_id}.")
    return run


async def _run(services: Services, plan: ImportPlan, run: ImportView, file: IO[bytes]) -> None:
    try:
        await importer.resume(services.engine, services.inbox, plan, run, file, compute=services.import_compute)
    except ValueError as error:
        log.warning("import_failed", import_id=str(run.id), error=str(error)[:300])
    except Exception as error:  # noqa: BLE001  # a background task: the error is logged, and the file can be uploaded again
        log.warning("import_stopped", import_id=str(run.id), error=type(error).__name__)
    finally:
        file.close()


def _file_format(request: Request) -> FileFormat:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise EncodingRefused("The file is compressed; upload it uncompressed.")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in FORMATS:
        message = f"must be one of {', '.join(FORMATS)}"
        raise QueryInvalid(f"The Content-Type {message}.", [FieldError("Content-Type", message)])
    return FORMATS[media]


async def _receive(request: Request, file: IO[bytes]) -> None:
    refuse_encoding(request)
    size, stream = 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise BodyTooSlow(f"No data arrived for {IDLE_SECONDS:g} s.") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > MAX_BYTES:
            raise too_large(MAX_BYTES)
        file.write(chunk)
