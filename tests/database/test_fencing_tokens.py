"""A fencing token that one copy of the database gave is given by no other copy that continued from the same state."""

import io

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.imports import importer, runs
from platform_relay.imports.proposal import propose
from platform_relay.imports.uploads import ChosenUpload, keep_upload
from platform_relay.inbox.events import EventKind
from platform_relay.jobs.backup import mark_restored
from tests.database.engine_room import accept, claim, order, rows, run

BACKUP = "SELECT setval('fencing_token', 7)"
"""The sequence is as it was in the backup. The rest of the restore does not matter here."""
RAW = b"id,email\n1,ada@example.com\n"


async def test_a_backup_that_is_restored_twice_repeats_no_token(engine: AsyncEngine) -> None:
    given: list[int] = []
    await run(engine, BACKUP)
    for copy in range(3):
        await accept(engine, *(order(f"{copy}-{number}") for number in range(3)))
        given += [job.fencing_token for job in await claim(engine)]
        await run(engine, BACKUP)
        await mark_restored(engine, "test")
    assert len(set(given)) == 9
    assert given == sorted(given)
    assert max(given) < 1 << 53, "also exact where numbers are floats"


async def test_a_database_that_is_far_ahead_does_not_go_back(engine: AsyncEngine) -> None:
    await run(engine, f"SELECT setval('fencing_token', {1 << 60})")
    await mark_restored(engine, "test")
    await accept(engine, order("1"))
    assert [job.fencing_token > 1 << 60 for job in await claim(engine)] == [True]


async def test_a_run_of_an_import_that_was_taken_over_in_the_missing_time_is_not_continued_by_both(
    engine: AsyncEngine,
) -> None:
    plan = propose(io.BytesIO(RAW), "http", "csv", EventKind.CUSTOMER).plan
    with io.BytesIO(RAW) as file:
        upload = await keep_upload(engine, file, "http", "csv", EventKind.CUSTOMER, "t")
        first = await importer.start(
            engine, plan, file, "t", source="console", upload=ChosenUpload(upload, EventKind.CUSTOMER)
        )

    async def taken_over() -> int:
        await run(engine, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute'")
        claim = await runs.take_over(engine)
        assert claim is not None
        return claim.token

    missing = await taken_over()
    await run(engine, f"SELECT setval('fencing_token', {first.token})")
    await run(engine, f"UPDATE import_run SET fencing_token = {first.token}")  # noqa: S608  # a number
    await mark_restored(engine, "test")
    assert await taken_over() not in (first.token, missing)


async def test_tokens_are_those_of_the_schema(database_url: str, engine: AsyncEngine) -> None:
    """Each relay of a database has its own sequence."""
    await run(engine, "CREATE SCHEMA other")
    await run(engine, "CREATE SEQUENCE other.fencing_token")
    before = await rows(engine, "SELECT last_value FROM fencing_token")
    other = create_engine(database_url, application_name="tests", schema="other")
    try:
        await run(other, BACKUP)
    finally:
        await other.dispose()
    assert await rows(engine, "SELECT last_value FROM fencing_token") == before
