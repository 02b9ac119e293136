"""Uploaded files that several operators, erasures and killed processes meet: each has one import, and is deleted in time."""

import asyncio
import io
from datetime import timedelta
from typing import IO
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.imports import importer, runs, uploads
from platform_relay.imports.choices import Choices
from platform_relay.imports.proposal import propose
from platform_relay.imports.runner import ImportRunner
from platform_relay.imports.runs import ImportBusyError
from platform_relay.imports.uploads import (
    CHUNK,
    ChosenUpload,
    TooManyUploadsError,
    UploadGoneError,
    delete_unused,
    delete_upload,
    keep_upload,
    prune_uploads,
    waiting_uploads,
)
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import OperatorActions
from platform_relay.privacy.erase import erase
from tests.database.engine_room import rows, run
from tests.helpers import eventually

RAW = b"id,email,phone\n1,a1@example.com,1\n,none@x.example,2\n"
WITHOUT_PHONE = Choices(("phone=",))
FILES = "SELECT (SELECT count(*) FROM import_upload), (SELECT count(*) FROM import_chunk)"


async def kept(engine: AsyncEngine, raw: bytes = RAW) -> UUID:
    return await keep_upload(engine, io.BytesIO(raw), "http", "csv", EventKind.CUSTOMER, "t")


async def started(engine: AsyncEngine, upload_id: UUID, choices: Choices | None = None) -> runs.Claim:
    chosen = ChosenUpload(upload_id, EventKind.CUSTOMER, choices or Choices())
    plan = propose(io.BytesIO(RAW), "http", "csv", EventKind.CUSTOMER, chosen.choices).plan
    return await importer.start(engine, plan, io.BytesIO(RAW), "t", source="console", upload=chosen)


async def silent(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute'")


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_cancelled_import_whose_process_ends_stays_cancelled(engine: AsyncEngine, orderly: bool) -> None:
    claim = await started(engine, await kept(engine))
    assert await runs.cancel_import(engine, claim.view.id, "operator") is not None
    if orderly:
        await runs.release(engine, claim)
    else:
        await silent(engine)
    view = await runs.find_import(engine, claim.view.id)
    assert view is not None
    assert (view.state, view.cancelled_by) == ("cancelled", "operator")
    assert await runs.take_over(engine) is None, "no worker resumes what an operator cancelled"
    assert await rows(engine, "SELECT state, finished_at IS NOT NULL FROM import_run") == [("cancelled", True)]
    assert await runs.continue_cancelled(engine, claim.view.id, "operator") is not None


async def test_an_import_that_is_shown_as_stopped_can_be_continued(engine: AsyncEngine) -> None:
    claim = await started(engine, await kept(engine))
    await silent(engine)
    resumed = await runs.continue_cancelled(engine, claim.view.id, "operator")
    assert resumed is not None
    assert resumed.token == claim.token + 1


async def test_a_file_that_is_read_in_another_way_has_one_import(engine: AsyncEngine) -> None:
    upload_id = await kept(engine)
    first = await started(engine, upload_id)
    with pytest.raises(ImportBusyError, match="another way"):
        await started(engine, upload_id, WITHOUT_PHONE)
    assert await rows(engine, "SELECT choices -> 'fields' FROM import_upload") == [([],)], (
        "the import is read as it began"
    )
    assert not await delete_unused(engine, upload_id), "a tab that was left open deletes nothing"
    await runs.end(engine, first, "failed", "x")
    second = await started(engine, upload_id, WITHOUT_PHONE)
    assert await rows(engine, "SELECT id FROM import_run WHERE upload_id IS NOT NULL") == [(second.view.id,)]
    assert await runs.continue_cancelled(engine, first.view.id, "t") is None


async def test_two_operators_start_a_file_in_two_ways_and_one_does(engine: AsyncEngine) -> None:
    upload_id = await kept(engine)
    both = await asyncio.gather(
        started(engine, upload_id), started(engine, upload_id, WITHOUT_PHONE), return_exceptions=True
    )
    [claim] = [one for one in both if isinstance(one, runs.Claim)]
    assert [type(one) for one in both if not isinstance(one, runs.Claim)] == [ImportBusyError]
    [(fields,)] = await rows(engine, "SELECT choices -> 'fields' FROM import_upload")
    assert fields == ([] if claim is both[0] else ["phone="])


async def test_starting_an_ended_import_again_keeps_its_rejected_rows(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    """A double click on *Start the import*."""
    upload_id = await kept(engine)
    claim = await started(engine, upload_id)
    await ImportRunner(engine, inbox, compute, None, "")._run(claim)  # noqa: SLF001
    again = await started(engine, upload_id)
    assert again.view.state == "done"
    assert not await delete_unused(engine, upload_id)
    assert again.view.file_kept


async def test_a_second_upload_of_a_file_takes_the_place_of_the_first(engine: AsyncEngine) -> None:
    first, second = await kept(engine), await kept(engine)
    claim = await started(engine, first)
    await runs.end(engine, claim, "stopped")
    await started(engine, second)
    assert await rows(engine, "SELECT id FROM import_upload") == [(second,)]
    assert await rows(engine, "SELECT upload_id FROM import_chunk") == [(second,)]
    assert await waiting_uploads(engine) == []


async def test_nothing_is_imported_from_a_file_that_an_erasure_deleted(engine: AsyncEngine) -> None:
    upload_id = await kept(engine)
    await erase(engine, OperatorActions(engine), "a1@example.com", "t", patience=5)
    with pytest.raises(UploadGoneError):
        await started(engine, upload_id)
    assert await rows(engine, "SELECT id FROM import_run") == []


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
async def test_a_file_that_an_erasure_expired_goes_with_its_import_however_that_ends(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess, ends: str
) -> None:
    claim = await started(engine, await kept(engine))
    await erase(engine, OperatorActions(engine), "a1@example.com", "t", patience=5)
    if ends == "cancelled":
        await runs.cancel_import(engine, claim.view.id, "operator")
    else:
        await run(engine, 'UPDATE import_upload SET choices = choices || \'{"fields": ["phone="]}\'')
    await ImportRunner(engine, inbox, compute, None, "")._run(claim)  # noqa: SLF001
    view = await runs.find_import(engine, claim.view.id)
    assert view is not None
    assert (view.state, view.file_kept) == (ends, False)
    assert await rows(engine, FILES) == [(0, 0)]
    assert await runs.continue_cancelled(engine, claim.view.id, "operator") is None


async def test_an_expired_file_is_not_offered(engine: AsyncEngine) -> None:
    """Before the next hour's task deletes it."""
    claim = await started(engine, await kept(engine))
    await run(engine, "UPDATE import_run SET state = 'cancelled'")
    await run(engine, "UPDATE import_upload SET expires_at = now()")
    view = await runs.find_import(engine, claim.view.id)
    assert view is not None
    assert not view.file_kept
    assert await runs.continue_cancelled(engine, claim.view.id, "operator") is None


WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_the_file_of_a_cancelled_import_is_not_continued_while_it_is_deleted(engine: AsyncEngine) -> None:
    upload_id = await kept(engine)
    claim = await started(engine, upload_id)
    await run(engine, "UPDATE import_run SET state = 'cancelled', cancelled_by = 'operator'")
    async with engine.begin() as deleting:
        await uploads.lock(deleting, upload_id)
        continued = asyncio.create_task(runs.continue_cancelled(engine, claim.view.id, "operator"))
        await eventually(lambda: rows(engine, WAITS))
        for statement in uploads._DELETE:  # noqa: SLF001
            await deleting.execute(statement, {"id": upload_id})
    assert await continued is None
    assert await rows(engine, "SELECT state, upload_id FROM import_run") == [("cancelled", None)]


async def test_the_file_of_a_cancelled_import_makes_no_room_while_it_is_continued(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_KEPT", len(RAW))
    upload_id = await kept(engine)
    claim = await started(engine, upload_id)
    await run(engine, "UPDATE import_run SET state = 'cancelled', cancelled_by = 'operator'")
    async with engine.begin() as continuing:
        await uploads.lock(continuing, upload_id)
        another = asyncio.create_task(kept(engine))
        await eventually(lambda: rows(engine, WAITS))
        values = {"id": claim.view.id, "upload_id": upload_id, "silent": 30.0}
        assert (await continuing.execute(runs._CONTINUE, values)).first() is not None  # noqa: SLF001
    with pytest.raises(TooManyUploadsError):
        await another
    assert await rows(engine, "SELECT upload_id FROM import_run") == [(upload_id,)]
    assert await rows(engine, FILES) == [(1, 1)]


async def test_the_end_of_an_import_deletes_no_file_that_is_imported_in_another_way(engine: AsyncEngine) -> None:
    """An operator starts it again, after the end was stored and before the file is deleted."""
    upload_id = await kept(engine)
    await started(engine, upload_id)
    await run(engine, "UPDATE import_run SET state = 'done'")
    await started(engine, upload_id, WITHOUT_PHONE)
    assert not await delete_upload(engine, upload_id)
    assert await rows(engine, FILES) == [(1, 1)]


async def test_no_finished_file_is_deleted_for_one_that_does_not_fit(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_KEPT", 3 * len(RAW))
    finished = await kept(engine)
    await started(engine, finished)
    await run(engine, "UPDATE import_run SET state = 'cancelled'")
    await kept(engine, RAW + RAW)
    with pytest.raises(TooManyUploadsError):
        await kept(engine, RAW + RAW)
    await kept(engine)
    assert await rows(engine, "SELECT count(*), sum(size) FROM import_upload") == [(2, 3 * len(RAW))]
    assert await rows(engine, "SELECT id FROM import_upload WHERE id = :id", id=finished) == []


@pytest.mark.parametrize("by", ["another file", "an erasure"])
async def test_a_large_file_is_deleted_in_small_commits(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A file has 1,024 chunks of 1 MiB at most: in one statement they would take longer than its time limit."""
    upload_id = await kept(engine)
    await started(engine, upload_id)
    await run(engine, "UPDATE import_run SET state = 'cancelled'")
    await run(
        engine,
        "INSERT INTO import_chunk (upload_id, number, data) SELECT :id, n, 'x' FROM generate_series(1, 29) AS n",
        id=upload_id,
    )
    await run(
        engine,
        """CREATE FUNCTION limited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF (SELECT count(*) FROM gone) > 20 THEN RAISE 'too many at once'; END IF; RETURN NULL; END $$""",
    )
    await run(
        engine,
        "CREATE TRIGGER limited AFTER DELETE ON import_chunk REFERENCING OLD TABLE AS gone"
        " FOR EACH STATEMENT EXECUTE FUNCTION limited()",
    )
    if by == "another file":
        monkeypatch.setattr(uploads, "MAX_KEPT", len(RAW))
        another = await kept(engine)
        assert await rows(engine, "SELECT DISTINCT upload_id FROM import_chunk") == [(another,)]
    else:
        await erase(engine, OperatorActions(engine), "a1@example.com", "t", patience=5)
        assert await rows(engine, FILES) == [(0, 0)]


class Failing(io.BytesIO):
    """A file whose second part cannot be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= CHUNK:
            raise OSError("no")
        return super().read(size)


async def test_a_file_that_cannot_be_stored_completely_leaves_nothing(engine: AsyncEngine) -> None:
    file: IO[bytes] = Failing(b"x" * (2 * CHUNK))
    with pytest.raises(OSError, match="no"):
        await keep_upload(engine, file, "x.csv", "csv", EventKind.CUSTOMER, "t")
    assert await rows(engine, FILES) == [(0, 0)]


async def test_the_file_of_a_killed_process_does_not_take_space_for_a_day(engine: AsyncEngine) -> None:
    upload_id = await kept(engine)
    await run(engine, "UPDATE import_upload SET complete = false, expires_at = now() + interval '10 minutes'")
    assert await prune_uploads(engine) == 0
    await run(engine, "UPDATE import_upload SET expires_at = now()")
    assert await prune_uploads(engine) == 1
    assert await rows(engine, "SELECT id FROM import_upload WHERE id = :id", id=upload_id) == []


async def test_an_incomplete_file_expires_soon_and_a_complete_one_after_a_day(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    real = uploads._store_chunks  # noqa: SLF001

    async def store(*arguments: object) -> None:
        seen.extend(await rows(engine, "SELECT expires_at - created_at, complete FROM import_upload"))
        await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(uploads, "_store_chunks", store)
    await kept(engine)
    assert seen == [(timedelta(minutes=10), False)]
    [(kept_for,)] = await rows(engine, "SELECT expires_at - created_at FROM import_upload")
    assert isinstance(kept_for, timedelta)
    assert kept_for >= timedelta(days=1)


async def test_files_that_arrive_together_do_not_exceed_the_space(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_KEPT", 3 * len(RAW))
    stored = await asyncio.gather(*(kept(engine) for _ in range(9)), return_exceptions=True)
    assert sum(isinstance(one, UUID) for one in stored) == 3
    assert {type(one) for one in stored} == {UUID, TooManyUploadsError}
    assert await rows(engine, FILES) == [(3, 3)]
