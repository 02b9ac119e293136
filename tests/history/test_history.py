"""The end of the history: what leaves, what stays, and that duplicates are recognised for longer."""

import asyncio
import gzip
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import uuid_utils.compat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from platform_relay.alerts.alerts import open_alerts
from platform_relay.alerts.history_export import end_history
from platform_relay.core.database import create_engine
from platform_relay.core.ids import first_id
from platform_relay.core.models import KEY_DIGEST
from platform_relay.core.outcomes import JobSpec
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.history.customers import filter_of, may_contain
from platform_relay.history.export import ExportError, exports_with
from platform_relay.history.forget import FORGET, forget_duplicates, forget_pages
from platform_relay.history.leave import ALONE, History
from platform_relay.history.limits import missing_message
from platform_relay.inbox.inbox import Inbox, Receipt
from platform_relay.inbox.messages import Incoming, key_digest
from platform_relay.inbox.retention import prune_bodies
from platform_relay.jobs.queries import read_job_counts
from platform_relay.jobs.views import JobCounts
from platform_relay.queue.maintenance import run_periodically
from platform_relay.queue.states import Again, Finish, dead, done, skipped
from platform_relay.settings import Settings
from tests.database.engine_room import accept, broken_counts, claim, message, rows, run, settle
from tests.helpers import eventually

HISTORY = timedelta(days=30)
DEDUPE = timedelta(days=100)
DONE = done({}, None, ())
MANY = 107
"""More than one chunk."""


def later(days: int = 32) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def event(key: str, lane: str | None = None, body: int = 1, **more: object) -> Incoming:
    return message(JobSpec("forward_order", "platform", lane or f"order:{key}"), dedupe_key=key, version=body)


async def counts(engine: AsyncEngine) -> JobCounts:
    async with engine.connect() as connection:
        return await read_job_counts(connection)


async def deliver(engine: AsyncEngine, limit: int = 1000) -> None:
    await settle(engine, await claim(engine, limit), DONE)


async def forget_all(engine: AsyncEngine, now: datetime) -> int:
    [(pages,)] = await rows(engine, "SELECT pg_relation_size('dedupe_digest') / 8192")
    return await forget_pages(engine, DEDUPE, now, 0, int(str(pages)))


async def test_what_is_over_leaves_and_stays_counted(engine: AsyncEngine) -> None:
    await accept(engine, *(event(str(number)) for number in range(MANY)))
    await deliver(engine)
    before = await counts(engine)
    assert await History(engine, HISTORY, pause=0).run(later(29)) == 0
    assert await History(engine, HISTORY, pause=0).run(later()) == MANY
    for table in ("message", "job", "attempt"):
        assert await rows(engine, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608  # constants
    after = await counts(engine)
    assert after.model_dump(exclude={"left_history"}) == before.model_dump(exclude={"left_history"})
    assert after.left_history == MANY


async def test_what_waits_or_is_dead_stays_and_leaves_when_it_is_over(engine: AsyncEngine) -> None:
    both = Incoming("store", "orders", "both", b"{}", (JobSpec("a", "platform", "x"), JobSpec("b", "platform", "y")))
    await accept(engine, both, event("dead"), event("retried"), event("skipped"))
    jobs = {job.lane: job for job in await claim(engine, 10)}
    reason = because(ReasonCode.NEWER_VERSION)
    await settle(engine, [jobs["x"]], DONE)
    await settle(engine, [jobs["y"]], Again(3600, reason, uncertain=False, disposition="retry"), "retry")
    await settle(engine, [jobs["order:dead"]], dead("rejected", reason), "reject")
    await settle(engine, [jobs["order:skipped"]], skipped(reason), "skip")
    history = History(engine, HISTORY, pause=0)
    assert await history.run(later()) == 1  # only the skipped one; nothing of `both`, and the job that runs
    kept = await rows(engine, "SELECT lane FROM job ORDER BY lane")
    assert kept == [("order:dead",), ("order:retried",), ("x",), ("y",)]
    await run(engine, "UPDATE job SET state = 'dropped', finished_at = now() WHERE state <> 'done'")
    assert await history.run(later()) == 0  # this day's walk is behind them
    assert await history.run(later(33)) == 3


async def test_a_job_that_ended_recently_stays_with_its_old_message(engine: AsyncEngine) -> None:
    await accept(engine, event("1"))
    await deliver(engine)
    await run(engine, "UPDATE job SET finished_at = now() + interval '31 days'")
    assert await History(engine, HISTORY, pause=0).run(later()) == 0


async def test_redemption_claims_stay(engine: AsyncEngine) -> None:
    claims = Incoming(
        "platform", "points/redeemed", "p", b"{}", (JobSpec("issue_coupon", "store", "c"),), coupon_ref="AB"
    )
    order = Incoming("store", "orders", "o", b"{}", (), coupon_ref="AB")
    await accept(engine, claims, order)
    await run(engine, "UPDATE job SET state = 'done', finished_at = now()")
    assert await History(engine, HISTORY, pause=0).run(later()) == 1
    assert await rows(engine, "SELECT kind FROM message") == [("points/redeemed",)]


async def test_a_duplicate_is_recognised_after_its_message_left(engine: AsyncEngine) -> None:
    [first] = await accept(engine, event("key:1"))
    await deliver(engine)
    await History(engine, HISTORY, pause=0).run(later())
    [same] = await accept(engine, event("key:1"))
    [other] = await accept(engine, event("key:1", body=2))
    assert (same, other) == (Receipt(first.id, "duplicate"), Receipt(first.id, "conflict"))
    assert await forget_all(engine, later(99)) == 0
    assert await forget_all(engine, later(102)) == 1
    [again] = await accept(engine, event("key:1"))
    assert again.status == "accepted"


async def test_a_digest_stays_while_its_message_is_stored(engine: AsyncEngine) -> None:
    [first] = await accept(engine, event("1"))
    assert await forget_all(engine, later(200)) == 0
    assert await accept(engine, event("1")) == [Receipt(first.id, "duplicate")]


async def test_a_day_of_runs_reads_every_page(engine: AsyncEngine) -> None:
    await run(
        engine,
        "INSERT INTO dedupe_digest SELECT gen_random_uuid(), CAST(:id AS uuid), 1 FROM generate_series(1, 20000)",
        id=first_id(datetime.now(UTC)),
    )
    start = later(102)
    parts = [await forget_duplicates(engine, DEDUPE, start + timedelta(hours=hour)) for hour in range(24)]
    assert sum(parts) == 20000
    assert max(parts) < 2000


def test_the_text_of_a_missing_id_says_that_it_is_old() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    old = UUID(int=first_id(now - timedelta(days=40)).int | 7 << 76 | 2 << 62)
    young = UUID(int=first_id(now - timedelta(days=2)).int | 7 << 76 | 2 << 62)
    assert "older than the history" in missing_message(old, now, HISTORY)
    assert "2026-04-22" in missing_message(old, now, HISTORY)
    for other in (young, UUID(int=5)):
        assert "older" not in missing_message(other, now, HISTORY)


async def test_the_database_computes_the_same_digest(engine: AsyncEngine) -> None:
    await accept(engine, event("käse:1"))
    [(computed,)] = await rows(engine, f"SELECT {KEY_DIGEST} FROM message")  # noqa: S608  # a constant
    assert computed == key_digest("store", "käse:1")


# ----------------------------------------------------------------------------------------------- in between

STEPS = st.one_of(
    st.tuples(st.just("accept"), st.sampled_from("abc"), st.integers(1, 2)),
    st.tuples(st.just("settle"), st.sampled_from(["done", "dead", "again", "drop"]), st.just(0)),
    st.tuples(st.just("days"), st.just(""), st.sampled_from([1, 20, 35, 110])),
    st.tuples(st.just("history"), st.just(""), st.just(0)),
    st.tuples(st.just("forget"), st.just(""), st.just(0)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=3, max_size=20))
async def test_nothing_is_accepted_twice_within_dedupe_and_nothing_open_leaves(
    engine: AsyncEngine, steps: Iterable[tuple[str, str, int]]
) -> None:
    await run(engine, "TRUNCATE message, dedupe_digest, job, lane, attempt, entity, history_count")
    now, known, accepted, open_or_dead = datetime.now(UTC), dict[str, tuple[UUID, int, datetime]](), 0, set[UUID]()
    inbox = Inbox(engine, on_commit=lambda _: None)
    history = History(engine, HISTORY, pause=0)
    for step, what, number in steps:
        if step == "accept":
            message_id = UUID(int=first_id(now).int | uuid_utils.compat.uuid7().int % (1 << 80))
            receipt = await inbox.accept(event(what, body=number), message_id)
            first = known.get(what)
            if receipt.status == "accepted":
                assert first is None or now - first[2] >= DEDUPE
                known[what], accepted = (message_id, number, now), accepted + 1
                open_or_dead.add(message_id)
                await run(engine, "UPDATE message SET received_at = :now WHERE id = :id", now=now, id=message_id)
            else:
                assert first is not None
                assert receipt == Receipt(first[0], "duplicate" if first[1] == number else "conflict")
        elif step == "settle":
            for job in await claim(engine, 1):
                transition: Finish | Again = {
                    "done": DONE,
                    "dead": dead("rejected", because(ReasonCode.NEWER_VERSION)),
                    "again": Again(0, because(ReasonCode.NEWER_VERSION), uncertain=False, disposition="retry"),
                    "drop": skipped(because(ReasonCode.NEWER_VERSION)),
                }[what]  # type: ignore[assignment]  # the values differ in type
                await settle(engine, [job], transition, "done")
                if what in ("done", "drop"):
                    open_or_dead.discard(job.message_id)
                await run(engine, "UPDATE job SET finished_at = :now WHERE id = :id AND NOT open", now=now, id=job.id)
        elif step == "days":
            now += timedelta(days=number)
        elif step == "history":
            await history.run(now)
        else:
            await forget_all(engine, now)
        stored = {row[0] for row in await rows(engine, "SELECT id FROM message")}
        assert open_or_dead <= stored
        assert {row[0] for row in await rows(engine, "SELECT message_id FROM job")} == stored
        assert not await rows(engine, "SELECT 1 FROM attempt WHERE job_id NOT IN (SELECT id FROM job)")
        counted = await counts(engine)
        parts = counted.total.model_dump()
        assert counted.messages == parts.pop("received") == sum(parts.values()) == accepted
        assert counted.balanced
    assert await broken_counts(engine) == []


async def test_a_deletion_that_is_killed_changes_nothing(engine: AsyncEngine, database_url: str) -> None:
    await accept(engine, *(event(str(number)) for number in range(20)))
    await deliver(engine)
    before = await counts(engine)
    other = create_engine(database_url, application_name="killed", pool_size=1)
    async with engine.begin() as holder:
        await holder.exec_driver_sql("INSERT INTO history_count VALUES ('forward_order', 'done', '', 0)")
        running = asyncio.create_task(History(other, HISTORY, pause=0).run(later()))

        async def waits() -> bool:
            waiting = (
                "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '%killed%' AND wait_event_type = 'Lock'"
            )
            return bool(await rows(engine, waiting))

        await eventually(waits)
        await run(
            engine, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%killed%'"
        )
        with pytest.raises(DBAPIError):
            await running
    await other.dispose()
    assert await rows(engine, "SELECT count(*) FROM message JOIN job ON job.message_id = message.id") == [(20,)]
    assert await counts(engine) == before
    assert await History(engine, HISTORY, pause=0).run(later()) == 20


async def test_an_attempt_that_somebody_else_has_locked_is_not_waited_for(engine: AsyncEngine) -> None:
    """The rows of the message stay together, and its body stays as long as its excerpt."""
    await accept(engine, event("1"), event("2"))
    reason = because(ReasonCode.NEWER_VERSION)
    await settle(engine, await claim(engine, 10), skipped(reason), "skip")
    await run(engine, "UPDATE attempt SET excerpt = 'what it answered'")
    async with engine.begin() as erasure:
        await erasure.exec_driver_sql(
            "SELECT FROM attempt WHERE job_id = (SELECT id FROM job WHERE lane = 'order:1') FOR UPDATE"
        )
        assert await prune_bodies(engine, timedelta(days=1), later()) == 1
        kept = "SELECT lane, body IS NOT NULL, excerpt IS NOT NULL FROM message JOIN job ON message_id = message.id"
        kept += " JOIN attempt ON job_id = job.id ORDER BY lane"
        assert await rows(engine, kept) == [("order:1", True, True), ("order:2", False, False)]
        assert await History(engine, HISTORY, pause=0).run(later()) == 1
    assert await prune_bodies(engine, timedelta(days=1), later()) == 1
    assert await rows(engine, kept) == [("order:1", False, False)]
    assert await History(engine, HISTORY, pause=0).run(later()) == 1


async def test_one_process_at_a_time_lets_rows_leave(engine: AsyncEngine) -> None:
    await accept(engine, event("1"))
    await deliver(engine)
    history = History(engine, HISTORY, pause=0)
    async with engine.begin() as other:
        assert (await other.execute(ALONE)).scalar_one()
        assert (await history.run(later()), history.complete) == (0, False)
    assert (await history.run(later()), history.complete) == (1, True)


async def test_what_somebody_else_changes_is_left_for_the_next_run(engine: AsyncEngine) -> None:
    await accept(engine, event("1"), event("2"))
    await deliver(engine)
    history = History(engine, HISTORY, pause=0)
    async with engine.begin() as operator:
        await operator.exec_driver_sql("UPDATE job SET state = 'waiting' WHERE lane = 'order:1'")
        assert await history.run(later()) == 1  # and does not wait for the operator
    assert await rows(engine, "SELECT lane, state FROM job") == [("order:1", "waiting")]


async def test_the_same_again_while_its_digest_leaves_is_accepted_once(engine: AsyncEngine) -> None:
    await accept(engine, event("1"))
    await deliver(engine)
    await History(engine, HISTORY, pause=0).run(later())
    async with engine.begin() as forgetting:
        pages = {"first": "(0,0)", "last": "(64,0)", "newest": first_id(later(200))}
        assert (await forgetting.execute(FORGET, pages)).rowcount == 1
        both = [asyncio.create_task(accept(engine, event("1"))) for _ in range(2)]

        async def waits() -> bool:
            return bool(await rows(engine, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

        await eventually(waits)
    receipts = [receipt for task in both for receipt in await task]
    assert sorted(receipt.status for receipt in receipts) == ["accepted", "duplicate"]
    assert len({receipt.id for receipt in receipts}) == 1


async def test_accepting_while_digests_leave_never_fails(engine: AsyncEngine) -> None:
    """Also when the digest leaves after the insert met it, and before it is read."""

    async def forget() -> None:
        for _ in range(40):
            await run(engine, "DELETE FROM dedupe_digest")

    async def send() -> list[Receipt]:
        return [receipt for _ in range(40) for receipt in await accept(engine, event("1"))]

    receipts = [receipt for result in await asyncio.gather(send(), send(), forget()) for receipt in result or []]
    [(stored,)] = await rows(engine, "SELECT count(*) FROM message")
    assert len(receipts) == 80
    assert len([receipt for receipt in receipts if receipt.status == "accepted"]) == stored


# ----------------------------------------------------------------------------------------------- exports


async def test_rows_are_exported_before_they_leave(engine: AsyncEngine, tmp_path: Path) -> None:
    secret = Incoming("store", "customers", "k", b'{"email": "ada@example.com"}', (JobSpec("f", "platform", "customer:42"),),
                      customer_ref="42")  # fmt: skip
    [receipt, _] = await accept(engine, secret, event("1"))
    again = Again(0, because(ReasonCode.SHUTDOWN), uncertain=False, disposition="retry")
    await settle(engine, await claim(engine, 1), again, "retry")
    await deliver(engine)
    assert await History(engine, HISTORY, tmp_path / "exports", pause=0).run(later()) == 2
    [file] = (tmp_path / "exports").iterdir()
    content = gzip.decompress(file.read_bytes())
    lines = [json.loads(line) for line in content.splitlines()]
    assert b"ada@example.com" not in content
    assert file.stat().st_mode & 0o777 == 0o600
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
    assert lines[0]["id"] == str(receipt.id)
    assert lines[0]["jobs"][0]["state"] == "done"
    assert [attempt["outcome"] for attempt in lines[0]["jobs"][0]["attempts"]] == ["retry", "done"]
    async with engine.connect() as connection:
        assert await exports_with(connection, ["42"]) == [file.name]
        assert await exports_with(connection, ["43"]) == []


async def test_what_cannot_be_exported_stays(engine: AsyncEngine, tmp_path: Path) -> None:
    await accept(engine, event("1"))
    await deliver(engine)
    (tmp_path / "exports").write_text("a file, not a folder")
    history = History(engine, HISTORY, tmp_path / "exports", pause=0)
    for _ in range(2):
        with pytest.raises(ExportError, match="exports"):
            await end_history(engine, history, later())
    assert await rows(engine, "SELECT count(*) FROM message") == [(1,)]
    async with engine.connect() as connection:
        [alert] = await open_alerts(connection)
    assert alert.reason.code is ReasonCode.HISTORY_NOT_EXPORTED
    assert str(tmp_path / "exports") in alert.reason.text
    assert "File exists" in alert.reason.text
    (tmp_path / "exports").unlink()
    assert await end_history(engine, history, later()) == 1
    async with engine.connect() as connection:
        assert await open_alerts(connection) == []


async def test_an_erasure_names_a_file_whose_rows_stayed(engine: AsyncEngine, tmp_path: Path) -> None:
    """The rows are in the file, and the deletion failed: the file is named, because it may hold any customer."""
    await accept(engine, event("1"))
    await deliver(engine)
    await run(engine, "ALTER TABLE history_count RENAME TO away")
    with pytest.raises(DBAPIError):
        await History(engine, HISTORY, tmp_path, pause=0).run(later())
    [file] = os.listdir(tmp_path)
    async with engine.connect() as connection:
        assert await exports_with(connection, ["42"]) == [file]


async def test_a_run_without_old_rows_leaves_no_file(engine: AsyncEngine, tmp_path: Path) -> None:
    assert await History(engine, HISTORY, tmp_path, pause=0).run(later()) == 0
    assert await rows(engine, "SELECT name FROM history_export") == []
    assert os.listdir(tmp_path) == []


async def test_the_log_has_the_folder_that_cannot_be_written(engine: AsyncEngine, tmp_path: Path) -> None:
    await accept(engine, event("1"))
    await deliver(engine)
    (tmp_path / "exports").write_text("a file, not a folder")
    history = History(engine, HISTORY, tmp_path / "exports", pause=0)
    with capture_logs() as logs:
        task = asyncio.create_task(run_periodically("history", 3600.0, lambda: history.run(later())))
        await eventually(lambda: logs, 10)
        task.cancel()
    assert logs[0]["reason"] == f"File exists: {tmp_path / 'exports'}"


@given(st.sets(st.text(), min_size=1), st.text())
def test_a_filter_never_misses_a_customer(customers: set[str], other: str) -> None:
    bits = filter_of(customers)
    assert all(may_contain(bits, customer) for customer in customers)
    assert not may_contain(filter_of(set()), other)
    assert sum(may_contain(bits, f"somebody else {number}") for number in range(100)) < 60


# ----------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ({"retention": "P40D", "history": "P30D"}, "HISTORY is shorter than RETENTION"),
        ({"history": "P500D", "dedupe": "P400D"}, "DEDUPE is shorter than HISTORY"),
        ({"history": "P29D"}, "raise HISTORY, or lower RETENTION"),
    ],
)
def test_times_in_the_wrong_order_stop_the_start(times: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings.model_validate(times)


def test_equal_times_are_in_order() -> None:
    month = timedelta(days=30)
    assert Settings.model_validate({"retention": month, "history": month, "dedupe": month}).dedupe == month
