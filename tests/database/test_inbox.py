"""Acknowledged means committed; the same again is the first receipt; many callers share a commit."""

import asyncio

import pytest
import uuid_utils.compat
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.outcomes import JobSpec
from platform_relay.inbox.inbox import Inbox, Receipt
from tests.helpers import eventually

from .engine_room import accept, broken_counts, customer, message, order, rows, run


async def test_a_receipt_means_that_message_job_and_lane_are_committed(engine: AsyncEngine) -> None:
    [receipt] = await accept(engine, order("1", 1, depends_on="customer:9"))
    assert receipt.status == "accepted"
    assert await rows(engine, "SELECT id, kind, body FROM message") == [(receipt.id, "test", b'{"version": 1}')]
    assert await rows(engine, "SELECT message_id, lane, state, depends_on FROM job") == [
        (receipt.id, "order:1", "waiting", "customer:9")
    ]
    assert await rows(engine, "SELECT key, open_jobs, leased, last_seq = job.seq FROM lane CROSS JOIN job") == [
        ("order:1", 1, False, True)
    ]


async def test_the_same_again_gets_the_first_receipt(engine: AsyncEngine) -> None:
    first, again = await accept(engine, *[message(JobSpec("k", "platform", "l"), dedupe_key="key:1")] * 2)
    [later] = await accept(engine, message(JobSpec("k", "platform", "l"), dedupe_key="key:1"))
    assert [first.status, again.status, later.status] == ["accepted", "duplicate", "duplicate"]
    assert first.id == again.id == later.id
    assert await rows(engine, "SELECT open_jobs FROM lane") == [(1,)]


async def test_one_key_with_another_body_is_a_conflict(engine: AsyncEngine) -> None:
    [first] = await accept(engine, message(dedupe_key="key:1", version=1))
    [other] = await accept(engine, message(dedupe_key="key:1", version=2))
    [lenient] = await accept(engine, message(dedupe_key="key:1", version=2, strict=False))
    assert (other.status, other.id) == ("conflict", first.id)
    assert lenient.status == "duplicate"


async def test_a_crowd_shares_commits_and_keeps_its_order(engine: AsyncEngine) -> None:
    receipts = await accept(engine, *(order(str(number % 7), number) for number in range(1200)))
    assert len({receipt.id for receipt in receipts}) == 1200
    assert await rows(engine, "SELECT count(*), count(DISTINCT xmin::text) <= 4 FROM message") == [(1200, True)]
    disorder = """SELECT count(*) FROM (SELECT version, lag(version) OVER (PARTITION BY lane ORDER BY seq) AS before
                  FROM job) AS t WHERE version <= before"""
    assert await rows(engine, disorder) == [(0,)]
    assert await broken_counts(engine) == []


async def test_two_replicas_with_crossing_lanes_do_not_deadlock(engine: AsyncEngine) -> None:
    keys = [str(number) for number in range(60)]
    batches = [[order(key) for key in (keys if turn % 2 else reversed(keys))] for turn in range(8)]
    await asyncio.gather(*(accept(engine, *batch) for batch in batches))
    assert await rows(engine, "SELECT DISTINCT open_jobs FROM lane") == [(8,)]


async def test_the_same_event_at_once_on_many_replicas_is_stored_once(engine: AsyncEngine) -> None:
    receipts = await asyncio.gather(
        *(accept(engine, message(JobSpec("k", "platform", "l"), dedupe_key="key:1")) for _ in range(8))
    )
    assert len({receipt.id for [receipt] in receipts}) == 1
    assert sorted(receipt.status for [receipt] in receipts) == ["accepted"] + ["duplicate"] * 7
    assert await rows(engine, "SELECT open_jobs FROM lane") == [(1,)]


async def test_one_impossible_message_does_not_refuse_the_others(engine: AsyncEngine) -> None:
    inbox = Inbox(engine, on_commit=lambda _: None)
    good, bad = message(), message(order_ref="nul\x00")
    results = await asyncio.gather(
        *(inbox.accept(each, uuid_utils.compat.uuid7()) for each in (good, bad, message())), return_exceptions=True
    )
    assert [type(result) for result in results] == [Receipt, DBAPIError, Receipt]
    assert await rows(engine, "SELECT count(*) FROM message") == [(2,)]


async def test_postgres_away_is_said_and_never_hangs() -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/none", application_name="tests")
    with pytest.raises(DatabaseAway):
        await asyncio.wait_for(accept(engine, customer("1")), 10)
    await engine.dispose()


async def test_a_commit_that_hangs_is_given_up(engine: AsyncEngine) -> None:
    inbox = Inbox(engine, on_commit=lambda _: None, time_limit=0.3)
    async with engine.connect() as blocker:
        await blocker.exec_driver_sql("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseAway):
            await inbox.accept(customer("1"), uuid_utils.compat.uuid7())
    [receipt] = await accept(engine, customer("1"))
    assert receipt.status == "accepted"


async def test_channels_that_got_work_are_told(engine: AsyncEngine) -> None:
    report: list[frozenset[str]] = []
    inbox = Inbox(engine, on_commit=report.append)
    await inbox.accept(message(), uuid_utils.compat.uuid7())
    await inbox.accept(message(JobSpec("k", "store", "l")), uuid_utils.compat.uuid7())
    assert report == [frozenset({"store"})]


async def test_a_new_version_revives_an_idle_lane(engine: AsyncEngine) -> None:
    await accept(engine, customer("1"))
    await run(engine, "UPDATE job SET state = 'done'")
    await run(engine, "UPDATE lane SET open_jobs = 0, run_at = 'infinity'")
    await accept(engine, customer("1", backfill=True))
    next_job = "SELECT open_jobs, last_seq = (SELECT min(seq) + 1 FROM job), priority, run_at <= now() FROM lane"
    assert await rows(engine, next_job) == [(1, True, 1, True)]


async def test_a_commit_that_waits_for_a_lane_does_not_hold_up_the_next(engine: AsyncEngine) -> None:
    await accept(engine, order("1"))
    inbox = Inbox(engine, on_commit=lambda _: None)
    async with engine.begin() as blocker:
        await blocker.exec_driver_sql("SELECT FROM lane FOR UPDATE")
        held_up = asyncio.create_task(inbox.accept(order("1"), uuid_utils.compat.uuid7()))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await eventually(lambda: rows(engine, waits + " HAVING count(*) > 0"))
        receipt = await inbox.accept(order("2"), uuid_utils.compat.uuid7())
        assert (receipt.status, held_up.done()) == ("accepted", False)
    assert (await held_up).status == "accepted"


async def test_what_one_call_brings_keeps_its_order_among_other_calls(engine: AsyncEngine) -> None:
    inbox = Inbox(engine, on_commit=lambda _: None)
    calls = [[order(f"{call}-{number % 3}", number) for number in range(90)] for call in range(20)]
    await asyncio.gather(
        *(inbox.accept_many([(uuid_utils.compat.uuid7(), each) for each in messages]) for messages in calls)
    )
    disorder = """SELECT count(*) FROM (SELECT version, lag(version) OVER (PARTITION BY lane ORDER BY seq) AS before
                  FROM job) AS t WHERE version <= before"""
    assert await rows(engine, disorder) == [(0,)]
    assert await rows(engine, "SELECT count(*), sum(open_jobs) FROM lane") == [(60, 1800)]


async def test_one_impossible_message_of_a_call_fails_the_call_and_refuses_nothing_else(engine: AsyncEngine) -> None:
    inbox = Inbox(engine, on_commit=lambda _: None)
    items = [(uuid_utils.compat.uuid7(), each) for each in (message(), message(order_ref="nul\x00"), message())]
    with pytest.raises(DBAPIError):
        await inbox.accept_many(items)
    assert await rows(engine, "SELECT count(*) FROM message") == [(2,)]
