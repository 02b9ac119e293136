"""A short interruption of the database: an import stops, and is resumed; it does not fail."""

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import Timeouts, create_engine
from platform_relay.imports import importer, runs
from platform_relay.imports.proposal import propose
from platform_relay.imports.runner import ImportRunner
from platform_relay.imports.uploads import ChosenUpload, keep_upload
from platform_relay.inbox.events import CustomerEvent, EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import Page, native_event
from tests.database.engine_room import rows, run

RAW = ("id,email\n" + "".join(f"{number},a{number}@example.com\n" for number in range(1, 1501))).encode()
PLAN = propose(io.BytesIO(RAW), "http", "csv", EventKind.CUSTOMER).plan
COUNTS = "SELECT state, rows, accepted + duplicates FROM import_run"


@pytest.fixture
async def hasty(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Waits a tenth of a second for a lock."""
    engine = create_engine(database_url, application_name="hasty", timeouts=Timeouts(lock=0.1))
    yield engine
    await engine.dispose()


def inbox_of(engine: AsyncEngine) -> Inbox:
    return Inbox(engine, on_commit=lambda _: None)


async def kept_claim(engine: AsyncEngine) -> runs.Claim:
    with io.BytesIO(RAW) as file:
        upload_id = await keep_upload(engine, file, "http", "csv", EventKind.CUSTOMER, "t")
        chosen = ChosenUpload(upload_id, PLAN.kind)
        return await importer.start(engine, PLAN, file, "t", source="console", upload=chosen)


async def silent(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute' WHERE state = 'running'")


@pytest.mark.parametrize("table", ["import_upload", "import_chunk", "message", "import_run"])
async def test_an_import_that_a_lock_interrupts_is_resumed(
    engine: AsyncEngine, hasty: AsyncEngine, compute: ComputeProcess, table: str
) -> None:
    """While it looks for the file, reads it, looks for what the store has sent itself, and stores its progress."""
    claim = await kept_claim(engine)
    async with engine.begin() as other:
        await other.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        assert not await ImportRunner(hasty, inbox_of(hasty), compute, None, "")._run(claim)  # noqa: SLF001
    expected = "running" if table == "import_run" else "stopped"  # it could not be released either
    assert await rows(engine, "SELECT state, error FROM import_run") == [(expected, None)]
    await silent(engine)
    await ImportRunner(engine, inbox_of(engine), compute, None, "").run_stopped()
    assert await rows(engine, COUNTS) == [("done", 1500, 1500)]
    assert await rows(engine, "SELECT count(*) FROM message") == [(1500,)]


async def end_sessions_that_store_progress(engine: AsyncEngine) -> None:
    await run(
        engine,
        "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$",
    )
    await run(
        engine,
        "CREATE TRIGGER end_session BEFORE UPDATE OF position ON import_run"
        " FOR EACH ROW EXECUTE FUNCTION end_session()",
    )


async def test_an_import_whose_session_is_ended_is_resumed(engine: AsyncEngine, compute: ComputeProcess) -> None:
    claim = await kept_claim(engine)
    await end_sessions_that_store_progress(engine)
    assert not await ImportRunner(engine, inbox_of(engine), compute, None, "")._run(claim)  # noqa: SLF001
    assert await rows(engine, "SELECT state, rows, error FROM import_run") == [("stopped", 0, None)]
    await run(engine, "DROP TRIGGER end_session ON import_run")
    await ImportRunner(engine, inbox_of(engine), compute, None, "").run_stopped()
    assert await rows(engine, COUNTS) == [("done", 1500, 1500)]
    assert await rows(engine, "SELECT count(*) FROM message") == [(1500,)]


class Listed:
    """A store with a list of three customers."""

    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:  # noqa: ARG002
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        customers = [
            CustomerEvent(id=f"c{number}", email=f"c{number}@example.com", updatedAt=moment) for number in range(3)
        ]
        return Page(tuple(native_event("listed", kind, customer) for customer in customers), None)


async def test_a_list_of_the_store_is_read_again_after_an_interruption(
    engine: AsyncEngine, compute: ComputeProcess
) -> None:
    claim = await runs.claim_store(engine, EventKind.CUSTOMER, None, "listed", "t", 3)
    await end_sessions_that_store_progress(engine)
    assert not await ImportRunner(engine, inbox_of(engine), compute, Listed(), "listed")._run(claim)  # noqa: SLF001
    assert await rows(engine, "SELECT state, error FROM import_run") == [("stopped", None)]
    await run(engine, "DROP TRIGGER end_session ON import_run")
    await ImportRunner(engine, inbox_of(engine), compute, Listed(), "listed").run_stopped()
    assert await rows(engine, COUNTS) == [("done", 3, 3)]
