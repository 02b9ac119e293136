"""Every bulk deletion works in several transactions, and skips rows that are locked, so that it never waits."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access.refused_requests import prune_refused_requests
from platform_relay.imports.uploads import prune_uploads
from platform_relay.inbox.retention import prune_bodies
from platform_relay.queue.maintenance import prune_lanes
from platform_relay.reconcile.runs import Reconciliations, prune_reconciliations
from tests.database.engine_room import rows, run

Deletion = Callable[[AsyncEngine], Awaitable[object]]
THE_ID = "CAST('01900000-0000-7000-8000-000000000001' AS uuid)"
DELETIONS: dict[str, tuple[str, str, Deletion]] = {
    "lanes": (
        "lane",
        """INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq)
           SELECT 'platform', 'order:' || n, now() - interval '2 days', 0, false, false, 0, 0, 1
           FROM generate_series(1, 200) AS n""",
        prune_lanes,
    ),
    "bodies": (
        "message WHERE body IS NOT NULL",
        """INSERT INTO message (id, source, kind, dedupe_key, body, received_at)
           SELECT CAST('00000000-0000-7000-8000-' || lpad(n::text, 12, '0') AS uuid), 'store', 'orders', n::text, '{}',
                  now() - interval '9 days' FROM generate_series(1, 200) AS n""",
        lambda engine: prune_bodies(engine, timedelta(days=1), datetime.now(UTC)),
    ),
    "refused requests": (
        "refused_request",
        """INSERT INTO refused_request (id, at, requests, method, route, status, problem, fields)
           SELECT CAST('00000000-0000-7000-8000-' || lpad(n::text, 12, '0') AS uuid), now() - interval '99 days', 1,
                  'GET', '/', 404, 'p', '[]' FROM generate_series(1, 200) AS n""",
        prune_refused_requests,
    ),
    "uploads": (
        "import_chunk",
        """INSERT INTO import_upload (id, name, file_format, kind, size, actor, choices, complete, created_at, expires_at)
            SELECT THE_ID, 'a', 'csv', 'orders', 1, 'a', '{}', true, now(), now() - interval '1 second';
            INSERT INTO import_chunk (upload_id, number, data) SELECT THE_ID, n, 'x' FROM generate_series(0, 199) AS n""",
        prune_uploads,
    ),
    "uploads without their file's row": (
        "import_chunk",
        "INSERT INTO import_chunk (upload_id, number, data) SELECT THE_ID, n, 'x' FROM generate_series(0, 199) AS n",
        prune_uploads,
    ),
    "differences": (
        "difference",
        """INSERT INTO reconciliation (id, actor, state, compared, difference_counts, notes, started_at)
            SELECT THE_ID, 'a', 'done', '{}', '{}', '[]', now() - interval '40 days';
            INSERT INTO difference (reconciliation_id, kind, entity_id, cause, detail)
            SELECT THE_ID, 'orders', n::text, 'extra', '' FROM generate_series(1, 200) AS n""",
        lambda engine: prune_reconciliations(engine, timedelta(days=30)),
    ),
    "reconciliations": (
        "reconciliation",
        """INSERT INTO reconciliation (id, actor, state, compared, difference_counts, notes, started_at)
           SELECT gen_random_uuid(), 'a', 'done', '{}', '{}', '[]', now() - interval '40 days' FROM generate_series(1, 200)""",
        lambda engine: prune_reconciliations(engine, timedelta(days=30)),
    ),
    "differences of a run that begins again": (
        "difference",
        """INSERT INTO reconciliation (id, actor, state, compared, difference_counts, notes, started_at)
            SELECT THE_ID, 'a', 'waiting', '{}', '{}', '[]', now();
            INSERT INTO difference (reconciliation_id, kind, entity_id, cause, detail)
            SELECT THE_ID, 'orders', n::text, 'extra', '' FROM generate_series(1, 200) AS n""",
        lambda engine: Reconciliations(engine).claim(),
    ),
}


async def fill(engine: AsyncEngine, script: str) -> None:
    for statement in script.split(";"):
        await run(engine, statement.replace("THE_ID", THE_ID))


@pytest.mark.parametrize("name", DELETIONS)
async def test_it_deletes_everything_in_several_transactions(engine: AsyncEngine, name: str) -> None:
    table, script, delete = DELETIONS[name]
    await fill(engine, script)
    commits = []
    event.listen(engine.sync_engine, "commit", lambda _: commits.append(1))
    await delete(engine)
    assert len(commits) >= 3
    assert await rows(engine, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608  # constants


@pytest.mark.parametrize("name", [name for name in DELETIONS if not name.startswith("uploads")])
async def test_it_skips_what_is_locked(engine: AsyncEngine, name: str) -> None:
    table, script, delete = DELETIONS[name]
    await fill(engine, script)
    async with engine.begin() as other:
        locked = f"SELECT FROM {table} LIMIT 1 FOR UPDATE"  # constants
        await other.exec_driver_sql(locked)
        await delete(engine)
        assert await rows(engine, f"SELECT count(*) FROM {table}") == [(1,)]  # noqa: S608  # constants


async def test_a_repaired_extra_is_kept_and_its_reconciliation_leaves(engine: AsyncEngine) -> None:
    _, script, delete = DELETIONS["differences"]
    await fill(engine, script)
    await run(engine, "UPDATE difference SET repair = 'noted' WHERE entity_id = '1'")
    await delete(engine)
    assert await rows(engine, "SELECT entity_id FROM difference") == [("1",)]
    assert await rows(engine, "SELECT id FROM reconciliation") == []
