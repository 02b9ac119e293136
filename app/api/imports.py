"""Files of customers, products and orders taken in over HTTP; the same as `relay import`.

The body is written to a temporary file of this process, and taken in behind the answer. When the process is ended before
that is done, the import is `stopped`: the same file sent again goes on where it was.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from typing import IO, Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, needs_key, refusals
from platform_relay.api.event_examples import ID
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.api.request_body import too_large
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldError,
    FieldsInvalid,
    NotFound,
    QueryInvalid,
    WrongState,
)
from platform_relay.imports import importer
from platform_relay.imports.files import FileFormat, names_in
from platform_relay.imports.importer import ImportBusyError, ImportView, Plan
from platform_relay.imports.mapping import guess, missing, parse_mapping
from platform_relay.inbox.messages import Kind
from platform_relay.jobs.queries import when_away

log: Final = structlog.get_logger(__name__)

LIMIT: Final = 1 << 30
IDLE_SECONDS: Final = 30.0
IN_MEMORY: Final = 1 << 20
EXAMPLE: Final = {
    "id": ID,
    "kind": "customers",
    "name": "http",
    "state": "running",
    "size": 9_400_000,
    "position": 940_000,
    "rows": 10_000,
    "accepted": 9_998,
    "duplicates": 0,
    "newer": 1,
    "rejected": 1,
    "problems": [{"row": 17, "reason": "email: String should match pattern '^[^@\\s]+@[^@\\s]+$'"}],
    "error": None,
    "created_at": "2026-05-11T16:25:01Z",
    "heartbeat_at": "2026-05-11T16:25:04Z",
    "finished_at": None,
}
MEDIA: Final[Mapping[str, FileFormat]] = {
    "text/csv": "csv",
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
    for media, form in MEDIA.items()
}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/imports", tags=["Imports"])
    tasks: set[asyncio.Task[None]] = set()

    @router.post(
        "",
        operation_id="import_file",
        summary="Take in a file of customers, products or orders",
        status_code=202,
        responses={
            200: answer("The same file was taken in before.", EXAMPLE | {"state": "done"}),
            202: answer("It is being taken in.", EXAMPLE),
            **refusals(
                *KEY_REFUSALS, BodyTooSlow, WrongState, BodyTooLarge, EncodingRefused, QueryInvalid, FieldsInvalid
            ),
        },
        openapi_extra=needs_key("operate") | {"requestBody": {"required": True, "content": _CONTENT}},
    )
    async def import_file(
        request: Request,
        response: Response,
        kind: Annotated[Kind, Query(description="What the file holds.")],
        column: Annotated[
            list[str] | None, Query(alias="map", description="`FIELD=COLUMN`, may be repeated; else the names tell.")
        ] = None,
        as_of: Annotated[
            AwareDatetime | None, Query(description="When it was exported: the version of rows that tell none.")
        ] = None,
    ) -> ImportView:
        """The file is the body: CSV with a header line, NDJSON, or one JSON array, by its Content-Type. Every good row
        is accepted as an event and sent after everything live; nothing newer is overwritten. Ask
        `GET /v1/imports/{import_id}` how far it is. An import that was stopped goes on when the same file is sent
        again."""
        caller = await keys.require(request, "operate")
        form = _form(request)
        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # the task closes it
        try:
            await _receive(request, file)
            plan = Plan("http", form, kind, await asyncio.to_thread(_mapping, kind, form, file, column or []), as_of)
            async with when_away():
                run = await importer.begin(services.engine, plan, file, caller.name)
        except ImportBusyError as error:
            file.close()
            raise WrongState(str(error)) from None
        except BaseException:
            file.close()
            raise
        if run.state == "done":
            file.close()
            response.status_code = 200
            return run
        task = asyncio.create_task(_go_on(services, plan, run, file))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return run

    @router.get(
        "",
        operation_id="list_imports",
        summary="List imports, newest first",
        responses={200: answer("The newest 50.", [EXAMPLE]), **refusals(*KEY_REFUSALS)},
        openapi_extra=needs_key("read"),
    )
    async def imports(request: Request) -> list[ImportView]:
        """Those of `relay import` and those over HTTP, each with its counts."""
        await keys.require(request, "read")
        async with when_away():
            return await importer.list_imports(services.engine)

    @router.get(
        "/{import_id}",
        operation_id="read_import",
        summary="How far is an import?",
        responses={200: answer("The import.", EXAMPLE), **refusals(*KEY_REFUSALS, NotFound, QueryInvalid)},
        openapi_extra=needs_key("read"),
    )
    async def one(request: Request, import_id: Annotated[UUID, Path(description="The import's id.")]) -> ImportView:
        """Counts, the bytes that are dealt with, and the first rows that were not usable, with the reason."""
        await keys.require(request, "read")
        async with when_away():
            found = await importer.find_import(services.engine, import_id)
        if found is None:
            raise NotFound(f"No import has the id {import_id}.")
        return found

    return router


async def _go_on(services: Services, plan: Plan, run: ImportView, file: IO[bytes]) -> None:
    try:
        await importer.go_on(services.engine, services.inbox, plan, run, file)
    except ValueError as error:
        log.warning("import_failed", import_id=str(run.id), error=str(error)[:300])
    except Exception as error:  # noqa: BLE001  # nobody waits for this task: it is logged, and can be sent again
        log.warning("import_stopped", import_id=str(run.id), error=type(error).__name__)
    finally:
        file.close()


def _form(request: Request) -> FileFormat:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise EncodingRefused("Only plain files are taken; decompress it first.")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in MEDIA:
        message = f"has to be one of {', '.join(MEDIA)}"
        raise QueryInvalid(f"The Content-Type {message}.", [FieldError("Content-Type", message)])
    return MEDIA[media]


async def _receive(request: Request, file: IO[bytes]) -> None:
    size, stream = 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise BodyTooSlow(f"Nothing came for {IDLE_SECONDS:g} s.") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > LIMIT:
            raise too_large(LIMIT)
        file.write(chunk)


def _mapping(kind: Kind, form: FileFormat, file: IO[bytes], told: list[str]) -> dict[str, str]:
    try:
        names = names_in(file, form)
        mapping = {**guess(kind, names), **parse_mapping(kind, told, names)}
    except ValueError as error:
        raise FieldsInvalid(f"The file cannot be read: {error}.", [FieldError("body", str(error))]) from None
    if lacking := missing(kind, mapping):
        message = f"no column for {', '.join(lacking)}; name it with map=FIELD=COLUMN"
        raise FieldsInvalid(f"There is {message}.", [FieldError("map", message)])
    return {name: column for name, column in mapping.items() if column}
