"""Runs of imports: fenced, cancelled, released, taken over; and the files that they read, which are kept in the database."""

import asyncio
import io
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import KeyRing
from platform_relay.imports import importer, runs
from platform_relay.imports.dry_run import whole_dry_run
from platform_relay.imports.importer import import_file
from platform_relay.imports.proposal import propose
from platform_relay.imports.rejected import rejected_rows
from platform_relay.imports.runner import ImportRunner
from platform_relay.imports.runs import ImportBusyError, TakenOverError
from platform_relay.imports.uploads import (
    CHUNK,
    ChosenUpload,
    find_upload,
    keep_upload,
    local_copy,
    prune_uploads,
    shown_name,
    waiting_uploads,
)
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import OperatorActions
from platform_relay.privacy.erase import erase
from tests.database.engine_room import rows, run

RAW = (
    "id,email\n" + "".join(f"{number},a{number}@example.com\n" for number in range(1, 2501)) + ",none@x.example\n"
).encode()
PLAN = propose(io.BytesIO(RAW), "http", "csv", EventKind.CUSTOMER).plan
COUNTS = "SELECT state, rows, accepted, duplicates, rejected FROM import_run"


async def kept_claim(engine: AsyncEngine, raw: bytes = RAW) -> runs.Claim:
    """A run that was claimed, with a file that is kept, as by a process that is then killed."""
    with io.BytesIO(raw) as file:
        upload_id = await keep_upload(engine, file, "http", "csv", EventKind.CUSTOMER, "t")
        return await importer.start(
            engine, PLAN, file, "t", source="console", upload=ChosenUpload(upload_id, PLAN.kind)
        )


async def silent(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute'")


async def test_a_killed_process_loses_and_duplicates_nothing(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    """The process is killed between a commit and its progress; a worker takes over."""
    claim = await kept_claim(engine)
    runner = ImportRunner(engine, inbox, compute, None, "")
    with io.BytesIO(RAW) as file:
        task = asyncio.create_task(importer.resume(engine, inbox, PLAN, claim, file))
        await task
    await run(
        engine,
        "UPDATE import_run SET state = 'running', position = 0, last_row = 0, rows = 0, accepted = 0, rejected = 0",
    )
    await run(engine, "DELETE FROM job WHERE message_id IN (SELECT id FROM message ORDER BY id DESC LIMIT 1200)")
    await run(engine, "DELETE FROM message WHERE id IN (SELECT id FROM message ORDER BY id DESC LIMIT 1200)")
    await run(engine, "DELETE FROM dedupe_digest WHERE message_id NOT IN (SELECT id FROM message)")
    await runner.run_stopped()
    assert await rows(engine, COUNTS) == [("running", 0, 0, 0, 0)], "its process may still be alive"
    await silent(engine)
    await runner.run_stopped()
    assert await rows(engine, COUNTS) == [("done", 2501, 1200, 1300, 1)]
    assert await rows(engine, "SELECT count(*), count(DISTINCT customer_ref) FROM message") == [(2500, 2500)]


async def test_a_process_that_was_taken_over_changes_nothing(engine: AsyncEngine, inbox: Inbox) -> None:
    old = await kept_claim(engine)
    await silent(engine)
    new = await runs.take_over(engine)
    assert new is not None
    assert new.token > old.token
    with io.BytesIO(RAW) as file, pytest.raises(TakenOverError):
        await importer.resume(engine, inbox, PLAN, old, file)
    assert await rows(engine, COUNTS) == [("running", 0, 0, 0, 0)]
    assert await runs.take_over(engine) is None
    with io.BytesIO(RAW) as file:
        done = await importer.resume(engine, inbox, PLAN, new, file)
    assert (done.state, done.rows, done.accepted + done.duplicates) == ("done", 2501, 2500)
    assert await rows(engine, "SELECT count(*) FROM message") == [(2500,)]


async def test_a_cancelled_import_ends_after_its_batch_and_continues_there(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    claim = await kept_claim(engine)
    assert await runs.cancel_import(engine, claim.view.id, "operator") is not None
    assert await runs.cancel_import(engine, claim.view.id, "operator") is None
    with io.BytesIO(RAW) as file:
        ended = await importer.resume(engine, inbox, PLAN, claim, file)
    assert (ended.state, ended.rows, ended.cancelled_by) == ("cancelled", 1000, "operator")
    assert await runs.take_over(engine) is None, "no worker resumes what an operator cancelled"
    runner = ImportRunner(engine, inbox, compute, None, "")
    assert await runner.resume(claim.view.id, "operator") is not None
    with pytest.raises(ImportBusyError):
        await kept_claim(engine)
    await asyncio.gather(*runner._tasks)  # noqa: SLF001
    assert await rows(engine, COUNTS) == [("done", 2501, 2500, 0, 1)]
    actions = await rows(engine, "SELECT actor, action FROM audit ORDER BY seq")
    assert actions == [("t", "import.begin"), ("operator", "import.cancel"), ("operator", "import.continue")]


async def test_a_process_that_is_stopped_releases_its_import(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    claim = await kept_claim(engine)
    runner = ImportRunner(engine, inbox, compute, None, "")
    runner.start_claimed(claim)
    await asyncio.sleep(0)
    await runner.aclose()
    view = await runs.find_import(engine, claim.view.id)
    assert view is not None
    if view.state != "stopped":  # it was cancelled before it began
        await silent(engine)
    await ImportRunner(engine, inbox, compute, None, "").run_stopped()
    assert await rows(engine, COUNTS) == [("done", 2501, 2500, 0, 1)]


async def test_a_dry_run_counts_what_the_import_then_does_and_changes_nothing(
    engine: AsyncEngine, inbox: Inbox
) -> None:
    await import_file(engine, inbox, PLAN, io.BytesIO(RAW[: RAW.index(b"101,")]), actor="t")
    await run(engine, "UPDATE message SET source = 'store', dedupe_key = 's' || dedupe_key WHERE customer_ref = '5'")
    await run(engine, "DELETE FROM job WHERE message_id IN (SELECT id FROM message WHERE customer_ref = '9')")
    await run(
        engine, "DELETE FROM message WHERE customer_ref = '9'"
    )  # it left the history; its digest stays for DEDUPE
    await run(engine, "DELETE FROM import_run")
    raw = RAW + b"7,a7@example.com\n2500,a2500@example.com\n"
    stored = "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM job), (SELECT count(*) FROM import_run)"
    before = await rows(engine, stored)
    counted = await whole_dry_run(engine, inbox, PLAN, io.BytesIO(raw), None)
    assert await rows(engine, stored) == before
    done = await import_file(engine, inbox, PLAN, io.BytesIO(raw), actor="t")
    for name in ("rows", "accepted", "duplicates", "newer", "rejected", "problems", "columns"):
        assert getattr(counted, name) == getattr(done, name), name
    assert (done.accepted, done.duplicates, done.newer, done.rejected) == (2400, 101, 1, 1)


async def test_the_rejected_rows_are_read_from_the_file(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    claim = await kept_claim(engine)
    runner = ImportRunner(engine, inbox, compute, None, "")
    await runner.aclose()
    await silent(engine)
    await runner.run_stopped()
    assert claim.upload_id is not None
    upload = await find_upload(engine, claim.upload_id)
    assert upload is not None, "kept for its rejected rows"
    async with local_copy(engine, upload) as file:
        lines = [line async for line in rejected_rows(PLAN, file, inbox, compute, 2501)]
        assert [line async for line in rejected_rows(PLAN, file, inbox, compute, 2500)] == []
    [line] = lines
    assert b'"values":{"id":"","email":"none@x.example"}' in line.replace(b'": ', b'":').replace(b', "', b',"')


async def test_a_file_without_rejected_rows_is_deleted_at_the_end(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    await kept_claim(engine, RAW[: RAW.index(b"101,")])
    await silent(engine)
    await ImportRunner(engine, inbox, compute, None, "").run_stopped()
    assert await rows(engine, "SELECT (SELECT count(*) FROM import_chunk), (SELECT count(*) FROM import_upload)") == [
        (0, 0)
    ]
    assert await rows(engine, "SELECT state, upload_id FROM import_run") == [("done", None)]


async def test_a_file_that_cannot_be_read_fails_once(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    await kept_claim(engine)
    await run(engine, "DELETE FROM import_chunk")
    await silent(engine)
    await ImportRunner(engine, inbox, compute, None, "").run_stopped()
    expected = ("failed", "the file is not kept any more; upload it again")
    assert await rows(engine, "SELECT state, error FROM import_run") == [expected]


# ----------------------------------------------------------------------------------------------- kept files


async def test_a_file_is_encrypted_in_chunks_and_comes_back(engine: AsyncEngine, database_url: str) -> None:
    ring = KeyRing({"a": b"k" * 32})
    raw = bytes(range(256)) * (CHUNK // 100)
    encrypted = create_engine(database_url, application_name="t", body_keys=ring)
    try:
        upload_id = await keep_upload(encrypted, io.BytesIO(raw), "x.csv", "csv", EventKind.ORDER, "t")
        upload = await find_upload(encrypted, upload_id)
        assert upload is not None
        async with local_copy(encrypted, upload) as file:
            assert file.read() == raw
        stored = await rows(engine, "SELECT data FROM import_chunk ORDER BY number")
        assert len(stored) == 3
        assert await rows(
            engine, "SELECT count(*) FROM import_chunk WHERE position(:part IN data) > 0", part=raw[:64]
        ) == [(0,)]
        await run(engine, "UPDATE import_chunk SET number = 9 - number")
        await run(
            engine, "UPDATE import_chunk SET number = 9 - number + CASE number WHEN 9 THEN 1 WHEN 8 THEN -1 ELSE 0 END"
        )
        with pytest.raises(ValueError, match=r"."):  # two chunks changed places
            async with local_copy(encrypted, upload):
                pass
    finally:
        await encrypted.dispose()


async def test_files_expire_after_a_day_unless_they_are_being_imported(engine: AsyncEngine) -> None:
    claim = await kept_claim(engine)
    await keep_upload(engine, io.BytesIO(RAW), "waits.csv", "csv", EventKind.CUSTOMER, "t")
    [waiting] = await waiting_uploads(engine)
    assert waiting.name == "waits.csv"
    assert timedelta(days=1) <= waiting.expires_at - waiting.created_at < timedelta(days=1, minutes=5)
    await run(engine, "UPDATE import_upload SET expires_at = now()")
    assert await prune_uploads(engine) == 1
    assert await rows(engine, "SELECT id FROM import_upload") == [(claim.upload_id,)]
    assert await rows(engine, "SELECT DISTINCT upload_id FROM import_chunk") == [(claim.upload_id,)]


async def test_an_erasure_deletes_the_files_and_names_what_runs(
    engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess
) -> None:
    claim = await kept_claim(engine)
    await keep_upload(engine, io.BytesIO(RAW), "waits.csv", "csv", EventKind.CUSTOMER, "t")
    receipt = await erase(engine, OperatorActions(engine), "a1@example.com", "t", patience=5)
    assert any("the import of http has not ended" in step for step in receipt.next_steps)
    assert await rows(engine, "SELECT id FROM import_upload") == [(claim.upload_id,)]
    await silent(engine)
    await ImportRunner(engine, inbox, compute, None, "").run_stopped()
    assert await rows(engine, COUNTS) == [("done", 2501, 2500, 0, 1)]
    assert await rows(engine, "SELECT count(*) FROM import_chunk") == [(0,)], "also the one with a rejected row"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\fakepath\\orders.xlsx", "orders.xlsx"),
        ("a" * 300 + ".csv", "a" * 96 + ".csv"),
        ("", "file"),
        ("folder/", "file"),
    ],
)
def test_a_file_name_is_only_a_name(name: str, shown: str) -> None:
    assert shown_name(name) == shown
