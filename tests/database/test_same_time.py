"""Versions of an entity with one time of change, in a real database."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.core.errors import DatabaseAway
from platform_relay.core.outcomes import JobSpec
from platform_relay.inbox.inbox import Inbox, Receipt
from platform_relay.inbox.messages import Incoming, SameTime
from platform_relay.inbox.same_time import fetch_contradicted
from tests.database.engine_room import broken_counts, rows, run
from tests.helpers import eventually

FETCH = JobSpec("fetch_entity", "store", "fetch:products:1", {"kind": "products", "id": "1"}, collapse=True)
FETCHES = "SELECT count(*) FROM job WHERE kind = 'fetch_entity'"
PREFIX = "products:1:2026-01-01T00:00:00+00:00:"


def version(content: str, *, entity: str = "1", fetch: JobSpec | None = FETCH) -> Incoming:
    """A version of a product, all with one time of change."""
    forward = JobSpec("forward_product", "platform", f"product:{entity}", collapse=True)
    prefix = PREFIX if entity == "1" else f"products:{entity}::"
    key = prefix + content * 32
    same_time = SameTime(prefix, fetch)
    return Incoming(
        "store", "products", key, content.encode(), (forward,), product_ref=entity, strict=False, same_time=same_time
    )


async def accept(engine: AsyncEngine, *messages: Incoming) -> list[Receipt]:
    inbox = Inbox(engine, on_commit=lambda _: None)
    return await inbox.accept_many([(uuid7(), message) for message in messages])


async def test_versions_of_two_inboxes_that_do_not_see_each_other_lead_to_a_fetch(engine: AsyncEngine) -> None:
    """The first look is before both commits, the second after one's own."""
    for _ in range(20):
        await run(engine, "TRUNCATE message, dedupe_digest, job, lane")
        await asyncio.gather(accept(engine, version("a")), accept(engine, version("b")))
        [(fetches,)] = await rows(engine, FETCHES)
        assert int(str(fetches)) >= 1
        assert await broken_counts(engine) == []


async def test_the_second_look_finds_a_version_that_was_committed_meanwhile(engine: AsyncEngine) -> None:
    first = version("a")
    [receipt] = await accept(engine, first)
    assert await fetch_contradicted(engine, [(receipt.id, first)]) == frozenset()
    await accept(engine, version("b", fetch=None))
    assert await fetch_contradicted(engine, [(receipt.id, first)]) == {"store"}
    assert await rows(engine, FETCHES) == [(1,)]


async def test_a_repetition_enqueues_the_fetch_that_failed_after_the_commit(engine: AsyncEngine) -> None:
    """The first version becomes visible while the second is being stored; the database ends the session that then enqueues the
    fetch. The sender gets an error and repeats its message."""
    await accept(engine, replace(version("a"), same_time=None))
    await run(
        engine,
        "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '57P01'; END $$",
    )
    await run(
        engine,
        "CREATE TRIGGER end_session BEFORE INSERT ON job FOR EACH ROW WHEN (NEW.kind = 'fetch_entity')"
        " EXECUTE FUNCTION end_session()",
    )
    async with engine.begin() as other:
        await other.exec_driver_sql("SELECT FROM lane FOR UPDATE")
        second = asyncio.create_task(accept(engine, version("b")))
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await eventually(lambda: rows(engine, waits))
        await other.exec_driver_sql("UPDATE message SET version_mark = $1", (version("a").version_mark,))
    with pytest.raises(DatabaseAway):
        await second
    await run(engine, "DROP TRIGGER end_session ON job")
    assert await rows(engine, FETCHES) == [(0,)]
    statuses = [receipt.status for _ in range(3) for receipt in await accept(engine, version("b"))]
    assert statuses == ["duplicate"] * 3
    assert await rows(engine, FETCHES) == [(1,)], "one, as long as it is open"
    assert await broken_counts(engine) == []


async def test_a_contradiction_is_fetched_until_a_fetch_has_brought_the_newest(engine: AsyncEngine) -> None:
    async def repeated() -> object:
        [receipt] = await accept(engine, version("b"))
        assert receipt.status == "duplicate"
        [(fetches,)] = await rows(engine, FETCHES)
        await run(engine, "UPDATE job SET state = 'dead', finished_at = now() WHERE kind = 'fetch_entity'")
        return fetches

    await accept(engine, version("a"))
    await accept(engine, replace(version("b"), same_time=None, version_prefix=PREFIX))
    assert [await repeated(), await repeated()] == [1, 2]
    [fetched] = await accept(engine, replace(version("b"), same_time=SameTime(PREFIX, None, is_current=True)))
    assert fetched.status == "accepted"
    assert [await repeated(), await repeated()] == [2, 2], "a list that names it each night costs no more look-ups"


async def test_another_entity_whose_key_begins_alike_is_no_version(engine: AsyncEngine) -> None:
    """An id is any text."""
    await accept(engine, version("a", entity="1:2026-01-01T00:00:00+00:00"))
    await accept(engine, version("b"))
    assert await rows(engine, FETCHES) == [(0,)]


async def test_two_versions_in_one_call(engine: AsyncEngine) -> None:
    """A page of a list can contain an entity twice."""
    receipts = await accept(engine, version("a"), version("b"), version("a"), version("a"))
    assert [receipt.status for receipt in receipts] == ["accepted", "accepted", "duplicate", "duplicate"]
    assert {receipt.id for receipt in receipts[2:]} == {receipts[0].id}
    assert await rows(engine, FETCHES) == [(1,)]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents=st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
async def test_without_look_ups_the_last_that_arrives_is_the_newest(engine: AsyncEngine, contents: list[str]) -> None:
    await run(engine, "TRUNCATE message, dedupe_digest, job, lane")
    for content in contents:
        await accept(engine, version(content, fetch=None))
    stored = await rows(
        engine,
        "SELECT convert_from(message.body, 'UTF8') FROM job JOIN message ON message.id = job.message_id ORDER BY job.seq",
    )
    changes = [content for before, content in zip([None, *contents], contents, strict=False) if content != before]
    assert [content for (content,) in stored] == changes
