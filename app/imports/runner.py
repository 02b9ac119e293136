"""Runs imports in the background: those that this process started, and those whose process ended.

uploaded file ─┐                    ┌─ done ─▶ the file is deleted, or kept for its rejected rows
store's list ──┴▶ run ─▶ imported ──┼─ cancelled, failed
                   ▲                └─ this process ends ─▶ stopped ─▶ a worker takes it over (`run_stopped`)
                   └──────────────────────────────────────────────────────┘
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import IO, Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeError, ComputeProcess
from platform_relay.core.database import is_unavailable
from platform_relay.core.errors import DatabaseAway
from platform_relay.imports import importer, runs
from platform_relay.imports.review import plan_of
from platform_relay.imports.rows import ImportPlan
from platform_relay.imports.runs import Claim, ImportView, TakenOverError
from platform_relay.imports.store_lists import count_of, read_list
from platform_relay.imports.uploads import (
    Upload,
    UploadGoneError,
    delete_expired,
    delete_upload,
    find_upload,
    keep_for_rejected_rows,
    local_copy,
)
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import ListsEntities, listed_kinds
from platform_relay.sync.polling import kinds_in_order

log: Final = structlog.get_logger(__name__)

READ_DIFFERENTLY: Final = (
    "this version of the relay reads the file in another way than the one that began; upload the file again"
)


class NoListsError(ValueError):
    """The store has no such list, or there is no store."""


def plan_of_upload(upload: Upload, path: str) -> Callable[[], ImportPlan]:
    """The call that finds out how the file is imported, by what was stated; for the process that reads files. `path`: of its
    local copy."""
    return partial(plan_of, upload.name, path, upload.file_format, upload.kind, upload.choices, upload.as_of)


class ImportRunner:
    """One per process. `store` and `adapter`: the store, whose lists can be read if it has any. Close it with `aclose`."""

    def __init__(self, engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess, store: object, adapter: str) -> None:
        self._engine = engine
        self._inbox = inbox
        self._compute = compute
        self._store = store
        self._adapter = adapter
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def listed_kinds(self) -> tuple[EventKind, ...]:
        """The kinds whose lists the store has, customers first."""
        return kinds_in_order(self._store) if isinstance(self._store, ListsEntities) else ()

    def start_file(self, plan: ImportPlan, claim: Claim, file: IO[bytes]) -> None:
        """Import the file in the background, and close it."""
        self._spawn(self._closing(plan, claim, file))

    def start_claimed(self, claim: Claim) -> None:
        """Run a claimed import in the background, whose file is in the database."""
        self._spawn(self._run(claim))

    async def start_store(self, kind: EventKind, since: datetime | None, actor: str) -> ImportView:
        """Read a list of the store in the background. Raises ImportBusyError and NoListsError."""
        if not isinstance(self._store, ListsEntities) or kind not in listed_kinds(self._store):
            name = self._adapter or "(none configured)"
            raise NoListsError(f"the store {name} has no list of {kind}; export a file and import it")
        size = await count_of(self._store, kind, since)
        claim = await runs.claim_store(self._engine, kind, since, self._adapter, actor, size)
        self._spawn(self._run(claim))
        return claim.view

    async def resume(self, import_id: UUID, actor: str) -> ImportView | None:
        """Continue a cancelled or stopped import whose file is kept. None if it is not one."""
        claim = await runs.continue_cancelled(self._engine, import_id, actor)
        if claim is None:
            return None
        self._spawn(self._run(claim))
        return claim.view

    async def run_stopped(self) -> None:
        """Take over the imports whose process ended, one after another, and run them to their ends."""
        while (claim := await runs.take_over(self._engine)) is not None:
            log.info("import_resumed", import_id=str(claim.view.id), row=claim.view.last_row)
            if not await self._run(claim):
                return

    async def aclose(self) -> None:
        """Stop what runs here; a worker, or the next start, resumes it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _closing(self, plan: ImportPlan, claim: Claim, file: IO[bytes]) -> None:
        with file:
            await self._logged(claim, self._import(plan, claim, file))

    async def _run(self, claim: Claim) -> bool:
        """Run a claimed import whose file, if it has one, is in the database. False if it has to be resumed later."""
        work = self._read_store(claim) if claim.view.source == "store" else self._import_upload(claim)
        return await self._logged(claim, work)

    async def _logged(self, claim: Claim, work: Coroutine[object, object, None]) -> bool:
        """Await the work. Whatever ends it is logged and stored, because no caller sees it; an interruption of the database or of a
        connection ends nothing, and the import is resumed. Returns as `_run`."""
        import_id = str(claim.view.id)
        try:
            await work
        except TakenOverError:
            log.warning("import_taken_over", import_id=import_id)
        except Exception as error:  # noqa: BLE001  # a background task
            if isinstance(error, DatabaseAway) or is_unavailable(error):  # resumed later
                log.warning("import_stopped", import_id=import_id, error=type(error).__name__)
                return False
            shown = _shown(error)  # resuming would fail again
            log.warning("import_failed", import_id=import_id, error=shown[:300])
            return await self._fail(claim, shown)
        return True

    async def _fail(self, claim: Claim, error: str) -> bool:
        try:
            await runs.end(self._engine, claim, "failed", error[:500])
            if claim.upload_id is not None:
                await delete_expired(self._engine, claim.upload_id)
        except Exception as failed:  # noqa: BLE001  # the database is away: the import is taken over, and fails again
            log.warning("import_end_not_stored", import_id=str(claim.view.id), error=type(failed).__name__)
            return False
        return True

    async def _import_upload(self, claim: Claim) -> None:
        async with runs.kept_alive(self._engine, claim):
            upload = None if claim.upload_id is None else await find_upload(self._engine, claim.upload_id, expired=True)
            if upload is None:
                raise UploadGoneError("the file is not kept any more; upload it again")
            async with local_copy(self._engine, upload) as file:
                plan = await self._compute.run(plan_of_upload(upload, file.name))
                if plan.key != claim.mapping:
                    raise ValueError(READ_DIFFERENTLY)
                await self._import(plan, claim, file)

    async def _import(self, plan: ImportPlan, claim: Claim, file: IO[bytes]) -> None:
        done = await importer.resume(self._engine, self._inbox, plan, claim, file, compute=self._compute)
        if claim.upload_id is not None and done.state == "done":
            await (keep_for_rejected_rows if done.rejected else delete_upload)(self._engine, claim.upload_id)
        elif claim.upload_id is not None:
            await delete_expired(self._engine, claim.upload_id)  # an erasure expired it

    async def _read_store(self, claim: Claim) -> None:
        if not isinstance(self._store, ListsEntities):
            raise NoListsError("the store of this process has no lists")
        await read_list(self._engine, self._inbox, self._store, self._adapter, claim)


def _shown(error: Exception) -> str:
    """Why an import failed, without what an unexpected error may quote from the file."""
    if isinstance(error, ComputeError):
        return "the process that reads the file ended, or took too long for some rows; import the file in parts"
    readable = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
    return str(error) if readable else f"the import ended with {type(error).__name__}; the log has more"
