"""The many orders of one customer do not delay those of others. The order of events shows it, not their time."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import JobSpec, Outcome
from platform_relay.inbox.messages import Incoming
from platform_relay.jobs.actions import OperatorActions
from platform_relay.queue.fairness import ClaimedJobs, Limits
from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Queue
from platform_relay.queue.states import dead
from tests.database.engine_room import accept, broken_counts, claim, customer, message, order, rows, run, settle, states
from tests.helpers import eventually
from tests.queue.harness import QueueHarness, running
from tests.reasons import HTTP_400

BIG = "customer:big"


def orders_of(owner: str, count: int, *, backfill: bool = False) -> list[Incoming]:
    specs = (
        JobSpec("forward_order", "platform", f"order:{owner}-{number}", depends_on=owner, backfill=backfill)
        for number in range(count)
    )
    return [message(spec) for spec in specs]


class Orders:
    """A handler whose calls for BIG last until `big.let_go`."""

    def __init__(self) -> None:
        self.big, self.others = QueueHarness(), QueueHarness()
        self.big.hold()

    async def __call__(self, job: Job) -> Outcome:
        return await (self.big if job.owner == BIG else self.others)(job)


async def all_done(engine: AsyncEngine, jobs: int) -> None:
    async def so_many() -> bool:
        return await states(engine) == {"done": jobs}

    await eventually(so_many, 20)
    assert await broken_counts(engine) == []


async def test_others_are_served_while_one_customer_has_many_slow_orders(engine: AsyncEngine) -> None:
    orders = Orders()
    await accept(engine, *orders_of(BIG, 100))
    await accept(engine, *(order(str(number), depends_on="customer:x") for number in range(3)))
    async with running(engine, {"forward_order": orders, "forward_customer": orders}, concurrency=16) as on:
        await eventually(lambda: len(orders.others.calls) == 3)
        await eventually(lambda: orders.big.most == 12)
        for number in range(3, 9):  # newcomers, when the customer has all that it may have
            await on.accept(order(str(number), depends_on=f"customer:{number}"), customer(str(number)))
            await eventually(lambda number=number: len(orders.others.calls) == 3 + 2 * (number - 2))  # type: ignore[misc]  # mypy: no default in a lambda
        assert len(orders.big.calls) == 12
        orders.big.let_go()
        await all_done(engine, 100 + 3 + 12)
    assert orders.big.most == 12


async def test_a_customer_has_a_quarter_while_others_want_more(engine: AsyncEngine) -> None:
    orders, others = Orders(), [f"customer:{number}" for number in range(40)]
    orders.others.hold()
    await accept(engine, *orders_of(BIG, 100))
    await accept(engine, *(each for owner in others for each in orders_of(owner, 2)))
    async with running(engine, {"forward_order": orders}, concurrency=16):
        await eventually(lambda: len(orders.others.calls) == 12 and len(orders.big.calls) == 4)
        in_hand = await rows(engine, _IN_HAND)
        assert len(in_hand) == 32
        assert in_hand.count((BIG,)) == 4
        orders.others.let_go()
        orders.big.let_go()
        await all_done(engine, 180)


_IN_HAND = "SELECT owner FROM lane WHERE leased"


async def test_two_workers_serve_others_too(engine: AsyncEngine) -> None:
    orders = Orders()
    await accept(engine, *orders_of(BIG, 100))
    async with (
        running(engine, {"forward_order": orders}, concurrency=8) as one,
        running(engine, {"forward_order": orders}, concurrency=8),
    ):
        await eventually(lambda: len(orders.big.calls) == 12)
        for number in range(8):
            await one.accept(order(str(number), depends_on=f"customer:{number}"))
        await eventually(lambda: len(orders.others.calls) == 8)
        assert len(orders.big.calls) == 12
        orders.big.let_go()
        await all_done(engine, 108)


async def test_a_backfill_is_not_delayed_either_and_comes_after_live_orders(engine: AsyncEngine) -> None:
    orders = Orders()
    await accept(engine, *orders_of(BIG, 50), *orders_of(BIG, 50, backfill=True)[25:])
    await accept(engine, *(each for number in range(9) for each in orders_of(f"customer:{number}", 1, backfill=True)))
    async with running(engine, {"forward_order": orders}, concurrency=8):
        await eventually(lambda: len(orders.others.calls) == 9)
        await eventually(lambda: len(orders.big.calls) == 6)
        orders.big.let_go()
        await all_done(engine, 84)


async def test_one_call_at_a_time_alternates_between_customers(engine: AsyncEngine) -> None:
    """As with a low rate limit: the customer with many orders is not in hand when the next job is claimed."""
    orders = QueueHarness()
    await accept(engine, *orders_of(BIG, 30))
    await accept(engine, order("1", depends_on="customer:1"), order("2", depends_on="customer:2"))
    async with running(engine, {"forward_order": orders}, concurrency=1):
        await all_done(engine, 32)
    assert {"order:1", "order:2"} <= set(orders.lanes[:8]), orders.lanes


async def test_lanes_that_were_left_out_are_found_again(engine: AsyncEngine) -> None:
    """The watermark does not pass them: neither those of an owner without a share, nor those above the share."""
    queue = Queue(engine, "platform")
    await accept(engine, *orders_of(BIG, 3), order("1"))
    await run(engine, "UPDATE lane SET run_at = now() - interval '1 minute'")
    left_out = await queue.claim_within(Limits((BIG,), 10, 10), lease=30.0)
    assert ([job.lane for job in left_out.jobs], left_out.cut) == (["order:1"], False)
    one = await queue.claim_within(Limits((), 1, 10), lease=30.0)
    assert (len(one.jobs), one.cut) == (1, True)
    assert len(await queue.claim(10, lease=30.0)) == 2


async def test_a_retried_job_whose_lane_was_pruned_has_its_owner_again(engine: AsyncEngine) -> None:
    await accept(engine, *orders_of(BIG, 2))
    jobs = await claim(engine)
    await settle(engine, jobs, dead("rejected", HTTP_400), "reject")
    await run(engine, "DELETE FROM lane WHERE key = 'order:customer:big-0'")
    assert await OperatorActions(engine).retry([job.id for job in jobs], "ada") == 2
    assert await rows(engine, "SELECT key, owner FROM lane ORDER BY key") == [
        ("order:customer:big-0", BIG),
        ("order:customer:big-1", BIG),
    ]


async def test_the_owner_is_what_the_job_depends_on_unless_it_names_one(engine: AsyncEngine) -> None:
    await accept(engine, order("1", depends_on="customer:1"), customer("1"))
    await accept(engine, message(JobSpec("issue_coupon", "platform", "coupon:A", owner="customer:2")))
    await accept(engine, order("1", depends_on=None), order("1", depends_on="customer:3"), order("1"))
    owners = await rows(engine, "SELECT key, owner FROM lane ORDER BY key")
    assert owners == [("coupon:A", "customer:2"), ("customer:1", None), ("order:1", "customer:3")]


# ----------------------------------------------------------------------------------------------- the decisions alone


async def jobs_of(engine: AsyncEngine, **owners: int) -> list[Job]:
    [first] = await accept(engine, order("any"))
    [job] = await claim(engine)
    assert job.message_id == first.id
    return [
        replace(job, lane=f"order:{owner}-{number}", owner=f"customer:{owner}")
        for owner, count in owners.items()
        for number in range(count)
    ]


async def test_a_waiting_job_does_not_stand_behind_those_of_a_customer_that_is_served(engine: AsyncEngine) -> None:
    claimed = ClaimedJobs()
    for job in await jobs_of(engine, a=3, b=1, c=2):
        claimed.add(job)
    taken = [await claimed.get() for _ in range(6)]
    lanes = [job.lane.removeprefix("order:") for job in taken]
    assert lanes == ["a-0", "b-0", "c-0", "a-1", "c-1", "a-2"]
    assert claimed.get_nowait() is None


async def test_no_customer_is_left_out_below_its_share(engine: AsyncEngine) -> None:
    """So an ordinary claim takes one statement."""
    claimed = ClaimedJobs()
    jobs = await jobs_of(engine, a=15, b=1)
    for job in jobs:
        claimed.add(job)
    assert claimed.fair_limits(64, 100).busy == ()
    claimed.add(jobs[0])
    assert claimed.fair_limits(64, 100).busy == ("customer:a",)
    remaining = claimed.remaining_limits(64, 100)
    assert (remaining.busy, remaining.share, remaining.lanes) == ((), 32, 32 + 47)
    for _ in range(17):
        claimed.remove(await claimed.get())
    assert claimed.fair_limits(64, 100).busy == ()
