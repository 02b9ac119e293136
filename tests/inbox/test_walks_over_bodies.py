"""With millions of bodies, no statement reads them all: neither for the alert about plain ones, nor to encrypt the few others."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any  # Any: parameters of any statement
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import open_alerts
from platform_relay.checks.configuration import watch_plain_bodies
from platform_relay.core.chunks import CEILING, IN_ORDER
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import KeyRing
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.reencrypt import encrypt_bodies
from tests.database.engine_room import rows, run
from tests.database.test_plans import read_rows

MESSAGES = """
INSERT INTO message (id, source, kind, dedupe_key, body, encrypted_with, received_at)
SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'store', 'orders', n::text, '{}', 'new', now()
FROM generate_series(1, 15000) AS n
"""
ATTEMPTS = """
INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, excerpt)
SELECT ('00000000-0000-7000-8001-' || lpad((n / 3)::text, 12, '0'))::uuid, n, 1, now(), 'retry', :encrypted
FROM generate_series(1, 15000) AS n
"""
LAST = UUID("00000000-0000-7000-8000-000000015000")
RING = KeyRing({"new": b"n" * 32})
Statement = tuple[str, Any]  # its parameters


@pytest.fixture
async def encrypting(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, application_name="tests", body_keys=RING)
    await run(engine, MESSAGES)
    await run(engine, ATTEMPTS, encrypted=RING.encrypt_text(UUID(int=1), 1, "words"))
    yield engine
    await engine.dispose()


@contextmanager
def recorded(engine: AsyncEngine) -> Iterator[list[Statement]]:
    """The statements that read or change messages or attempts."""
    seen: list[Statement] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if any(f"{word} {table}" in statement for word in ("FROM", "UPDATE") for table in ("message", "attempt")):
            seen.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def most_rows(engine: AsyncEngine, statements: list[Statement]) -> int:
    """How many rows of one table the most expensive of the statements reads."""
    most = 0
    for statement, parameters in statements:
        async with engine.connect() as connection:
            await connection.execute(IN_ORDER)
            result = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            [explained] = result.scalar_one()
            await connection.rollback()
        most = max(most, *read_rows(explained["Plan"]).values(), 0)
    return most


async def test_the_watch_reads_bodies_in_steps_and_finds_the_last_one(encrypting: AsyncEngine) -> None:
    async def alerts() -> list[tuple[ReasonCode, object]]:
        await watch_plain_bodies(encrypting)
        async with encrypting.connect() as connection:
            return [(alert.reason.code, alert.reason.facts["message"]) for alert in await open_alerts(connection)]

    with recorded(encrypting) as statements:
        assert await alerts() == []
    assert len(statements) > 15000 / CEILING
    assert await most_rows(encrypting, statements) <= CEILING
    await run(encrypting, "UPDATE message SET encrypted_with = NULL WHERE id = :id", id=LAST)
    assert await alerts() == [(ReasonCode.BODY_NOT_ENCRYPTED, str(LAST))]
    assert (await encrypt_bodies(encrypting)).messages == 1
    assert await alerts() == []


async def test_what_is_left_is_encrypted_without_a_statement_that_reads_everything(encrypting: AsyncEngine) -> None:
    plain = "SELECT id FROM message WHERE dedupe_key IN ('1', '7000', '14999')"
    await run(encrypting, f"UPDATE message SET encrypted_with = NULL WHERE id IN ({plain})")  # noqa: S608  # a test's
    await run(encrypting, "UPDATE attempt SET excerpt = 'plain words' WHERE fencing_token IN (1, 9000, 15000)")
    with recorded(encrypting) as statements:
        done = await encrypt_bodies(encrypting)
    assert (done.messages, done.excerpts, done.refused) == (3, 3, {})
    assert await most_rows(encrypting, statements) <= CEILING
    left = "SELECT count(*) FILTER (WHERE encrypted_with IS NULL), (SELECT count(*) FROM attempt WHERE excerpt = 'plain words')"
    assert await rows(encrypting, f"{left} FROM message") == [(0, 0)]
