"""The loop on a real Postgres: who wakes it, what it holds, and what it does at the end.

It polls every ten minutes here, so whatever goes on was woken."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from platform_relay.core.database import parse_url
from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Retry
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.core.work import Operation, Work
from platform_relay.queue.jobs import Job
from platform_relay.queue.loop import UNSETTLED
from platform_relay.queue.queue import Settlement
from platform_relay.queue.retry import RetryPolicy
from tests.database.engine_room import accept, attempts, broken_counts, claim, customer, order, rows, run, states
from tests.helpers import eventually
from tests.queue.harness import NEVER, QueueHarness, Seen, running
from tests.reasons import HTTP_401, HTTP_500, HTTP_503

STATE = "SELECT state, disposition, attempts, uncertain FROM job WHERE lane = :lane"


async def all_done(engine: AsyncEngine, jobs: int) -> None:
    async def so_many() -> bool:
        found = await states(engine)
        assert found == {"done": jobs}
        return True

    await eventually(so_many, 10)
    assert await broken_counts(engine) == []


async def test_an_order_is_woken_by_its_customers_delivery_and_not_by_polling(engine: AsyncEngine) -> None:
    customers, orders = QueueHarness(), QueueHarness()
    customers.hold()
    await accept(engine, customer("1"), order("7", depends_on="customer:1"))
    async with running(engine, {"forward_customer": customers, "forward_order": orders}) as on:
        waits = "SELECT waits_for, run_at > now() + interval '50 minutes' FROM lane WHERE key = 'order:7'"
        await eventually(lambda: _is(engine, waits, [("customer:1", True)]))
        assert orders.calls == []
        customers.let_go()
        await eventually(lambda: orders.calls)
        await all_done(engine, 2)
        assert {item.job.lane for item in on.seen.settlements} == {"customer:1", "order:7"}


async def test_a_customers_new_version_holds_back_no_order_once_the_customer_is_known(engine: AsyncEngine) -> None:
    customers, orders = QueueHarness(), QueueHarness()
    async with running(engine, {"forward_customer": customers, "forward_order": orders}) as on:
        await on.accept(customer("1"))
        await all_done(engine, 1)
        customers.hold()
        await on.accept(customer("1"), order("7", depends_on="customer:1"))
        await eventually(lambda: orders.calls)
        customers.let_go()


async def test_new_work_is_taken_up_when_told(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    async with running(engine, {"forward_order": orders}) as on:
        for number in range(3):
            await on.accept(order(str(number)))
            await eventually(lambda number=number: len(orders.calls) == number + 1)  # type: ignore[misc]  # mypy: no default in a lambda


async def test_the_next_of_a_lane_follows_at_once_and_never_beside_the_first(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    await accept(engine, *(order("1", version) for version in range(6)))
    async with running(engine, {"forward_order": orders}):
        await all_done(engine, 6)
    first = orders.calls[0].seq
    assert [job.seq for job in orders.calls] == list(range(first, first + 6))
    assert orders.most == 1


async def test_no_more_calls_at_once_than_slots_and_all_of_them_used(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, *(order(str(number)) for number in range(40)))
    async with running(engine, {"forward_order": orders}, concurrency=4):
        await eventually(lambda: orders.most == 4)
        orders.let_go()
        await all_done(engine, 40)
    assert orders.most == 4


async def test_no_transaction_is_open_during_a_call(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, *(order(str(number)) for number in range(4)))
    async with running(engine, {"forward_order": orders}):
        await eventually(lambda: orders.most == 4)
        opened = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'"
        await eventually(lambda: _is(engine, opened, [(0,)]))
        orders.let_go()
        await all_done(engine, 4)


async def test_no_more_is_claimed_than_twice_the_slots(engine: AsyncEngine) -> None:
    """So that live work, and other workers, are not kept waiting by what one worker hoards."""
    orders = QueueHarness()
    orders.hold()
    await accept(engine, *(order(str(number)) for number in range(40)))
    async with running(engine, {"forward_order": orders}, concurrency=4):
        await eventually(lambda: orders.most == 4)
        assert await states(engine) == {"running": 8, "waiting": 32}
        orders.let_go()
        await all_done(engine, 40)


async def test_a_busy_loop_settles_several_attempts_in_one_statement(engine: AsyncEngine) -> None:
    """One call after another ends. A loop that wrote each result at once would need more statements."""
    ends = [asyncio.Event() for _ in range(16)]
    running_calls = 0
    settles: list[str] = []

    async def handler(job: Job) -> Outcome:
        nonlocal running_calls
        running_calls += 1
        number = int(job.lane.rpartition(":")[2])
        await ends[number].wait()
        if number < 11:
            ends[number + 1].set()
        return Done(digest=b"digest")

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "attempted AS" in statement and "released AS" in statement:
            settles.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", executed)
    await accept(engine, *(order(str(number)) for number in range(16)))
    async with running(engine, {"forward_order": handler}, concurrency=16, gather=NEVER):
        await eventually(lambda: running_calls == 16)
        ends[0].set()

        async def twelve() -> bool:
            return await states(engine) == {"done": 12, "running": 4}

        await eventually(twelve)
        assert len(settles) == 1
        for end in ends:
            end.set()
        await all_done(engine, 16)


async def test_an_order_that_always_fails_delays_no_other_order_of_its_customer(engine: AsyncEngine) -> None:
    """Neither while its call hangs, nor while it waits for its next try."""
    failing_entities, others = QueueHarness(Retry(HTTP_500, None, Evidence(500))), QueueHarness()
    failing_entities.hold()

    async def orders(job):  # type: ignore[no-untyped-def]  # a handler
        return await (failing_entities if job.lane == "order:0" else others)(job)

    await accept(engine, customer("1"))
    async with running(engine, {"forward_order": orders, "forward_customer": QueueHarness()}) as on:
        await all_done(engine, 1)
        await on.accept(*(order(str(number), depends_on="customer:1") for number in range(20)))
        await eventually(lambda: len(others.calls) == 19)
        failing_entities.let_go()
        await eventually(lambda: _is(engine, STATE, [("waiting", "retry", 1, False)], lane="order:0"))
        await on.accept(*(order(str(number), depends_on="customer:1") for number in range(20, 30)))
        await eventually(lambda: len(others.calls) == 29)
        assert len(failing_entities.calls) == 1


async def test_what_failed_is_tried_again_when_its_time_has_come(engine: AsyncEngine) -> None:
    orders = QueueHarness(Retry(HTTP_503, None, Evidence(503)))
    await accept(engine, order("1"))
    async with running(
        engine, {"forward_order": orders}, policy=RetryPolicy(first=0.01, jitter=0.0), poll_interval=0.05
    ):
        await eventually(lambda: len(orders.calls) >= 3)
        orders.outcome = Done()
        await all_done(engine, 1)
    assert [job.attempt for job in orders.calls] == list(range(1, len(orders.calls) + 1))


async def test_what_the_database_refuses_to_store_crashes_alone(engine: AsyncEngine) -> None:
    orders, customers = QueueHarness(Retry(HTTP_500, None, Evidence(status=2**40))), QueueHarness()
    for harness in (orders, customers):
        harness.hold()
    await accept(engine, order("1"), customer("1"), customer("2"))
    async with running(engine, {"forward_order": orders, "forward_customer": customers}):
        await eventually(lambda: len(orders.calls) == 1 and len(customers.calls) == 2)
        for harness in (orders, customers):
            harness.let_go()

        async def result() -> bool:
            crashed = await rows(engine, STATE.replace(":lane", "'order:1'"))
            return crashed == [("waiting", "crashed", 1, True)] and (await states(engine)).get("done") == 2

        await eventually(result, 10)
        outcomes = sorted(await attempts(engine))
        assert outcomes == [("crashed",), ("done",), ("done",)]
    assert await broken_counts(engine) == []


# ----------------------------------------------------------------------------------------------- leases


async def test_a_long_calls_lease_is_kept(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, order("1"))
    async with running(engine, {"forward_order": orders}, lease=1.2):
        await eventually(lambda: orders.calls)
        seen: set[object] = set()

        async def renewed() -> bool:
            seen.add((await rows(engine, "SELECT lease_until FROM lane"))[0][0])
            assert await claim(engine) == []
            return len(seen) > 4

        await eventually(renewed, 10)
        orders.let_go()
        await all_done(engine, 1)
    assert await rows(engine, "SELECT attempts FROM job") == [(1,)]
    assert len(orders.calls) == 1


async def test_what_waits_to_be_written_down_stays_ours_and_does_not_pile_up(engine: AsyncEngine) -> None:
    """A database that writes slowly: calls would be made again, and again, for as long as the first writing takes."""
    orders = QueueHarness()
    orders.hold()
    await accept(engine, *(order(str(number)) for number in range(60)))
    async with running(engine, {"forward_order": orders}, concurrency=2, lease=0.8) as on:
        await eventually(lambda: orders.calls)
        async with engine.begin() as another:
            first = "SELECT key FROM lane WHERE leased ORDER BY key LIMIT 1 FOR UPDATE"
            held = (await another.execute(text(first))).scalar_one()
            orders.let_go()
            leases = "SELECT max(lease_until) FROM lane WHERE leased AND key <> :held"
            seen: set[object] = set()

            async def renewed() -> bool:
                seen.add((await rows(engine, leases, held=held))[0][0])
                return len(seen) > 8

            await eventually(renewed, 10)
            assert len(orders.calls) < 2 + 2 * 2 + UNSETTLED * 2 + 1
        await all_done(engine, 60)
        assert on.seen.losses == []
    assert len(orders.calls) == 60
    assert await rows(engine, "SELECT max(attempts) FROM job") == [(1,)]


async def test_what_a_worker_does_after_it_lost_its_lease_counts_for_nothing(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, order("1"))
    async with running(engine, {"forward_order": orders}) as on:
        await eventually(lambda: orders.calls)
        await run(engine, "UPDATE lane SET lease_until = now()")
        [again] = await claim(engine)
        assert again.uncertain
        orders.let_go()
        await eventually(lambda: on.seen.losses)
        assert on.seen.settlements == []
        assert await rows(engine, STATE, lane="order:1") == [("running", None, 2, True)]


async def test_an_attempt_whose_claim_is_lost_makes_no_further_call(engine: AsyncEngine) -> None:
    """The new owner of the lane may have done meanwhile what that call does."""
    calls: list[str] = []
    answered = asyncio.Event()

    async def handler(_: Job) -> Outcome:
        calls.append("first")
        await answered.wait()
        calls.append("second")
        return Done()

    await accept(engine, order("1"))
    async with running(engine, {"forward_order": handler}, lease=1.2) as on:
        await eventually(lambda: calls)
        await run(
            engine, "UPDATE lane SET fencing_token = fencing_token + 1, lease_until = now() + interval '1 minute'"
        )
        await eventually(lambda: on.seen.losses)
        answered.set()
    assert calls == ["first"]
    [lost] = on.seen.losses
    assert lost.outcome == "unknown"
    assert lost.reason is not None
    assert lost.reason.code is ReasonCode.LEASE_LOST


async def test_an_attempt_whose_lease_cannot_be_renewed_ends_before_the_lease(engine: AsyncEngine) -> None:
    calls: list[str] = []

    async def handler(_: Job) -> Outcome:
        calls.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            calls.append("ended")
        return Done()

    await accept(engine, order("1"))
    async with running(engine, {"forward_order": handler}, lease=3.0):
        await eventually(lambda: calls)
        async with engine.begin() as another:
            await another.execute(text("SELECT FROM lane FOR UPDATE"))
            await eventually(lambda: calls == ["begun", "ended"])
            left = (await another.execute(text("SELECT lease_until > clock_timestamp() FROM lane"))).scalar_one()
        assert left
        await eventually(lambda: _is(engine, STATE, [("waiting", "unknown", 1, True)], lane="order:1"))


# ----------------------------------------------------------------------------------------------- the end


async def test_at_the_end_what_runs_is_finished_and_nothing_new_begun(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, *(order(str(number)) for number in range(9)))
    async with running(engine, {"forward_order": orders}, concurrency=2) as on:
        await eventually(lambda: len(orders.calls) == 2)
        on.loop.stop()
        await eventually(lambda: _is(engine, "SELECT count(*) FROM job WHERE state = 'running'", [(2,)]))
        orders.let_go()
        await on.stopped()
    assert await states(engine) == {"done": 2, "waiting": 7}
    untouched = await rows(engine, "SELECT DISTINCT attempts, uncertain FROM job WHERE state = 'waiting'")
    assert untouched == [(0, False)]
    assert await rows(engine, "SELECT count(*) FROM lane WHERE leased") == [(0,)]
    assert len(await claim(engine)) == 7


async def test_what_does_not_finish_in_time_is_given_back_as_uncertain(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, order("1"))
    async with running(engine, {"forward_order": orders}, grace=0.05) as on:
        await eventually(lambda: orders.calls)
        await on.stopped()
    assert await rows(engine, STATE, lane="order:1") == [("waiting", "shutdown", 0, True)]
    [job] = await claim(engine)
    assert (job.attempt, job.uncertain) == (1, True)


async def test_the_end_waits_for_what_is_being_written(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, order("1"))
    held_up = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with running(engine, {"forward_order": orders}, grace=0.0) as on:
        await eventually(lambda: orders.calls)
        async with engine.begin() as another:
            await another.execute(text("SELECT FROM lane FOR UPDATE"))
            on.loop.stop()
            await eventually(lambda: _is(engine, held_up, [(1,)]))
            ended, _ = await asyncio.wait([on.task], timeout=0.3)
            assert not ended
        await on.stopped()
    assert await rows(engine, STATE, lane="order:1") == [("waiting", "shutdown", 0, True)]


async def test_a_part_that_dies_ends_the_whole(engine: AsyncEngine) -> None:
    class Broken(Seen):
        def settled(self, settlement: Settlement) -> None:
            raise RuntimeError(f"cannot note {settlement.job.lane}")

    async with running(engine, {"forward_order": QueueHarness()}, seen=Broken()) as on:
        await on.accept(order("1"))
        with pytest.raises(RuntimeError, match="cannot note order:1"):
            await asyncio.wait_for(asyncio.shield(on.task), 10)


# ----------------------------------------------------------------------------------------------- the destination


async def test_a_closed_channel_is_tried_with_a_few_jobs_and_one_opens_it(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await run(engine, "UPDATE destination SET state = 'tripped', retry_at = now() WHERE name = 'platform'")
    await accept(engine, *(order(str(number)) for number in range(5)))
    async with running(engine, {"forward_order": orders}, poll_interval=0.02):
        await eventually(lambda: len(orders.calls) == 3)
        await run(engine, "UPDATE destination SET probe_at = now() + interval '1 hour' WHERE name = 'platform'")
        assert await states(engine) == {"running": 3, "waiting": 2}
        orders.let_go()
        await all_done(engine, 5)
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]


@pytest.mark.parametrize(
    "refusal",
    [
        Blocked(HTTP_401, Evidence(401)),
        Blocked(because(ReasonCode.KEY_REJECTED, destination="the Platform", status=403), Evidence(403), certain=False),
    ],
)
async def test_a_revoked_key_kills_nothing_of_a_backlog(engine: AsyncEngine, refusal: Blocked) -> None:
    """Answered by a 401, or by a 403 without a cause. No job has more than three attempts."""
    orders = QueueHarness(Done())
    policy = RetryPolicy(first=0.01, factor=1.0, window=timedelta(seconds=0.02), jitter=0.0)
    async with running(engine, {"forward_order": orders}, policy=policy, poll_interval=0.02) as on:
        await on.accept(*(order(f"before-{number}") for number in range(20)))
        await all_done(engine, 20)
        orders.outcome = refusal
        await on.accept(*(order(str(number)) for number in range(40)))
        more = 0

        async def blocked() -> bool:  # orders go on; successes of the last two seconds speak for the destination
            nonlocal more
            more += 1
            await on.accept(order(f"more-{more}"))
            return await _is(engine, "SELECT state FROM destination WHERE name = 'platform'", [("blocked",)])

        await eventually(blocked, 10)
        calls = len(orders.calls)
        await run(engine, "UPDATE destination SET probe_at = now(), retry_at = now()")
        await eventually(lambda: len(orders.calls) > calls)
        assert (await states(engine)).get("dead") is None
        orders.outcome = Done()
        await run(engine, "UPDATE destination SET probe_at = now(), retry_at = now()")
        await all_done(engine, 60 + more)
    assert max(job.attempt for job in orders.calls) == 1


async def test_an_entity_that_is_refused_alone_stops_no_other_and_ends_as_dead(engine: AsyncEngine) -> None:
    refusal = Blocked(
        because(ReasonCode.KEY_REJECTED, destination="the Platform", status=403), Evidence(403), certain=False
    )
    bad, good = QueueHarness(refusal), QueueHarness(Done())

    async def orders(job: Job) -> Outcome:
        return await (bad if job.lane == "order:bad" else good)(job)

    policy = RetryPolicy(first=0.01, factor=1.0, window=timedelta(seconds=0.02), jitter=0.0)
    async with running(engine, {"forward_order": orders}, policy=policy, poll_interval=0.02) as on:
        await on.accept(order("bad"))
        await eventually(lambda: _is(engine, STATE, [("waiting", "parked", 0, False)], lane="order:bad"))

        async def dead() -> bool:  # each success explains one response
            await on.accept(order(f"good-{len(good.calls)}"))
            return await _is(engine, STATE, [("dead", "exhausted", 3, False)], lane="order:bad")

        await eventually(dead, 20)
    assert len(bad.calls) >= 4
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'platform'") == [("open",)]
    assert await rows(engine, "SELECT reason_code FROM job WHERE lane = 'order:bad'") == [("entity_refused",)]


async def test_a_backfill_is_tried_too_when_nothing_else_is_due(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE destination SET state = 'blocked', retry_at = now() WHERE name = 'platform'")
    await accept(engine, customer("1", backfill=True))
    async with running(engine, {"forward_customer": QueueHarness()}, poll_interval=0.02):
        await all_done(engine, 1)


async def test_live_work_goes_first_and_backfill_in_its_turn(engine: AsyncEngine) -> None:
    orders, customers = QueueHarness(), QueueHarness()
    ran: list[str] = []

    async def noted(job):  # type: ignore[no-untyped-def]  # a handler
        ran.append(job.lane)
        return await (orders if job.kind == "forward_order" else customers)(job)

    await accept(engine, *(customer(str(number), backfill=True) for number in range(30)))
    await accept(engine, *(order(str(number)) for number in range(60)))
    async with running(engine, {"forward_order": noted, "forward_customer": noted}, concurrency=1):
        await all_done(engine, 90)
    assert all(lane.startswith("order:") for lane in ran[:8])
    while_live = ran[: max(number for number, lane in enumerate(ran) if lane.startswith("order:"))]
    backfilled = sum(lane.startswith("customer:") for lane in while_live)
    assert 2 <= backfilled <= 12, ran


async def test_with_a_pace_no_more_is_held_than_a_seconds_calls(engine: AsyncEngine) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, *(order(str(number)) for number in range(40)))
    async with running(engine, {"forward_order": orders}, concurrency=32, rate=5.0):
        await eventually(lambda: len(orders.calls) == 6)
        assert await states(engine) == {"running": 6, "waiting": 34}
        orders.let_go()


# ----------------------------------------------------------------------------------------------- the database


async def test_a_database_that_goes_away_costs_no_attempt_and_no_process(
    engine: AsyncEngine, database_url: str, server_url: str
) -> None:
    orders = QueueHarness()
    orders.hold()
    await accept(engine, order("1"))
    async with running(engine, {"forward_order": orders}, poll_interval=0.05) as on:
        await eventually(lambda: orders.calls)
        async with away(database_url, server_url):
            with capture_logs() as said:
                orders.let_go()  # to be settled while there is no database
                on.loop.wake()  # to claim there
                # more than once each: by then connections are refused
                both = 3 * ["claim_failed", "settle_failed"]
                await eventually(lambda: not Counter(both) - Counter(line["event"] for line in said))
            assert on.loop.alive()
            assert on.seen.settlements == []
        await eventually(lambda: on.seen.settlements)
        await on.accept(order("2"))
        await all_done(engine, 2)
    assert [(job.lane, job.attempt) for job in orders.calls] == [("order:1", 1), ("order:2", 1)]


@asynccontextmanager
async def away(database_url: str, server_url: str) -> AsyncIterator[None]:
    """Nobody is connected to the database, and nobody can be."""
    name = parse_url(database_url).database
    connection = await asyncpg.connect(parse_url(server_url).set(drivername="postgresql").render_as_string(False))
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await connection.close()


async def _is(engine: AsyncEngine, query: str, expected: list[tuple[object, ...]], **parameters: object) -> bool:
    found = await rows(engine, query, **parameters)
    assert found == expected
    return True


async def test_a_claim_that_failed_is_soon_tried_again_although_nothing_is_due(engine: AsyncEngine) -> None:
    """Otherwise an idle worker would notice a failure, and its end, only after several idle intervals."""
    work = Work()
    async with running(engine, {}, work=work, poll_interval=0.05, idle_interval=NEVER) as on:
        record = work.record(Operation.CLAIM, "platform")
        await eventually(lambda: record.succeeded_at)
        await run(engine, "ALTER TABLE lane RENAME TO lane_away")
        on.loop.wake()
        await eventually(record.failing, 15)
        await run(engine, "ALTER TABLE lane_away RENAME TO lane")
        await eventually(lambda: record.failing() is None, 15)
