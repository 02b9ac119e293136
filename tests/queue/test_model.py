"""Whatever happens, the Platform sees what a simple model allows. Stateful, by hypothesis; engine, inbox and handlers are
real, the Platform is the simulator in its harshest form: an order that is posted twice exists twice.

Versions arrive in any order and repeatedly, orders before their customers, guests among them. Calls are spoilt, workers
die at every point, settle late, are interrupted. `PROPERTY_EXAMPLES=1000 make test ARGS=tests/queue/test_model.py` plays
more of it than the tests do.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Final, TypeVar

import pytest
import uuid_utils.compat
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import JsonValue
from sqlalchemy import text

from platform_relay.alerts.alerts import Alerts
from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import create_engine
from platform_relay.core.http import HttpClient
from platform_relay.coupons.transitions import Coupons
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.order import ForwardOrder
from platform_relay.inbox.events import CustomerEvent, OrderEvent
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import incoming
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform.fields import Fields
from platform_relay.queue.decide import Interrupted
from platform_relay.queue.jobs import Handler, Job
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from simulators.process import Simulator
from simulators.process import run as simulator
from tests.database.engine_room import broken_counts, rows
from tests.database.engine_room import run as execute
from tests.journeys.handler_jobs import client_of

EXAMPLES: Final = int(os.environ.get("PROPERTY_EXAMPLES", "10"))
CUSTOMERS: Final = ("1", "2", "3")
BUYERS: Final = {"11": "1", "12": "1", "21": "2", "99": None}
"""Orders and their customers; None: a guest."""
SPOILT: Final[tuple[dict[str, JsonValue], ...]] = (
    {"mode": "reset_before"},
    {"mode": "reset_after"},
    {"mode": "apply_then", "status": 500},
    {"mode": "answer", "status": 503},
    {"mode": "answer", "status": 429, "headers": {"retry-after": "7"}},
    {"mode": "garbage"},
    {"mode": "empty"},
    {"mode": "truncated"},
    {"mode": "not_http"},
)
VERSIONS: Final = st.integers(1, 6)
FEW: Final = st.integers(1, 4)
T = TypeVar("T")


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with simulator("platform", "--set", "second_order_post=duplicate") as process:
        yield process


def customer_event(number: str, version: int) -> tuple[CustomerEvent, bytes]:
    body = {"id": number, "email": f"c{number}@example.com", "v": version, "updatedAt": f"2026-01-01T12:00:0{version}Z"}
    raw = json.dumps(body, separators=(",", ":")).encode()
    return CustomerEvent.parse(raw), raw


def order_event(number: str, buyer: str | None, version: int) -> tuple[OrderEvent, bytes]:
    """`buyer` None: a guest."""
    body = {
        "id": number,
        "email": f"c{buyer or 'guest'}@example.com",
        "financialStatus": "paid",
        "currency": "EUR",
        "totalPrice": "10.00",
        "v": version,
        "updatedAt": f"2026-01-01T12:00:0{version}Z",
    }
    raw = json.dumps(body | ({"customerId": buyer} if buyer else {}), separators=(",", ":")).encode()
    return OrderEvent.parse(raw), raw


class Relay:
    """The parts of a worker that is moved by hand, and what was asked of it."""

    def __init__(self, database_url: str, platform: Simulator) -> None:
        self.platform = platform
        self.engine = create_engine(database_url, application_name="tests")
        self.http = HttpClient(time_limit=5.0)
        self.inbox = Inbox(self.engine, on_commit=lambda _: None)
        self.queue = Queue(self.engine, "platform")
        client = client_of(self.http, platform.url)
        customers, compute = Customers(self.engine), ComputeProcess()
        handlers: dict[str, Handler] = {
            "forward_customer": ForwardCustomer(client, customers, compute, PlatformDrift(self.engine, Fields())),
            "forward_order": ForwardOrder(client, Coupons(self.engine), customers, Alerts(self.engine), compute),
        }
        self.runner = Runner(handlers, RetryPolicy(), time_limit=30.0, longest_wait=1e6, random=lambda: 0.0)

    async def anew(self) -> None:
        self.platform.reset()
        await execute(self.engine, "TRUNCATE message, dedupe_digest, job, lane, attempt, entity, coupon CASCADE")

    async def aclose(self) -> None:
        await self.http.aclose()
        await self.engine.dispose()

    async def accept(self, event: CustomerEvent | OrderEvent, raw: bytes) -> None:
        identifier = uuid_utils.compat.uuid7()
        await self.inbox.accept(incoming(event, raw, message_id=str(identifier)), identifier)

    async def claim(self, limit: int) -> list[Job]:
        return await self.queue.claim(limit, lease=3600.0)

    async def call(self, jobs: Sequence[Job]) -> list[Settlement]:
        """Side by side, as the loop does it."""
        return [settlement for settlement, _ in await asyncio.gather(*(self.runner.run(job) for job in jobs))]

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Under leases that nobody else has had: all of them are written."""
        if settlements:
            settled = await self.queue.settle(settlements)
            assert settled.lost == ()

    async def end_leases(self, jobs: Sequence[Job]) -> None:
        async with self.engine.begin() as connection:
            for job in jobs:
                await connection.execute(
                    text("UPDATE lane SET lease_until = now() WHERE key = :key AND fencing_token = :fencing_token"),
                    {"key": job.lane, "fencing_token": job.fencing_token},
                )

    async def time_passes(self) -> None:
        """Back-offs end. What waits for another lane goes on waiting: only its wake-up may help it."""
        await execute(
            self.engine, "UPDATE lane SET run_at = now() WHERE open_jobs > 0 AND NOT leased AND waits_for IS NULL"
        )

    async def open_jobs(self) -> list[tuple[object, ...]]:
        return await rows(self.engine, "SELECT lane, seq, state, disposition, reason_code, facts FROM job WHERE open")


class Model(RuleBasedStateMachine):
    """What was accepted, and what the Platform may therefore have seen."""

    relay: Relay
    loop: "asyncio.Runner"

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, set[int]] = defaultdict(set)
        self.applied: dict[str, list[int]] = defaultdict(list)
        self.posts: dict[str, int] = defaultdict(int)
        self.must_follow: dict[str, str] = {}
        self.read = 0
        self.late: list[Settlement] = []
        self.do(self.relay.anew())

    def do(self, work: Awaitable[T]) -> T:
        async def whole() -> T:
            return await work

        return self.loop.run(whole())

    # --------------------------------------------------------------------------------- the store

    @initialize()
    def something_is_owed(self) -> None:
        self.customer("1", 1)
        self.order("11", 1)
        self.order("99", 1)

    @rule(number=st.sampled_from(CUSTOMERS), version=VERSIONS)
    def customer(self, number: str, version: int) -> None:
        self.do(self.relay.accept(*customer_event(number, version)))
        self.sent[f"customer:{number}"].add(version)

    @rule(number=st.sampled_from(sorted(BUYERS)), version=VERSIONS)
    def order(self, number: str, version: int) -> None:
        buyer = BUYERS[number]
        self.do(self.relay.accept(*order_event(number, buyer, version)))
        lane, customer = f"order:{number}", f"customer:{buyer}"
        if self.sent[customer] and not self.sent[lane] and not self.applied[customer]:
            self.must_follow[lane] = customer
        self.sent[lane].add(version)

    # --------------------------------------------------------------------------------- the Platform

    @rule(spoilt=st.sampled_from(SPOILT), path=st.sampled_from(("/v1/orders", "/v1/customers", "/v1")), times=FEW)
    def spoil(self, spoilt: dict[str, JsonValue], path: str, times: int) -> None:
        self.relay.platform.script(**spoilt, path=path, times=times)

    # --------------------------------------------------------------------------------- the workers

    @rule(limit=FEW)
    def work(self, limit: int) -> None:
        jobs = self.do(self.relay.claim(limit))
        self.do(self.relay.settle(self.do(self.relay.call(jobs))))

    @rule()
    def time_passes(self) -> None:
        self.do(self.relay.time_passes())

    @rule(limit=FEW, called=st.booleans())
    def die(self, limit: int, *, called: bool) -> None:
        """Before the call, or between call and settle."""
        jobs = self.do(self.relay.claim(limit))
        if called:
            self.do(self.relay.call(jobs))
        self.do(self.relay.end_leases(jobs))

    @rule(limit=FEW, called=st.booleans())
    def shut_down(self, limit: int, *, called: bool) -> None:
        jobs = self.do(self.relay.claim(limit))
        if called:
            self.do(self.relay.call(jobs))
        given_back = [self.relay.runner.settlement(job, Interrupted(sent=called), 0.0) for job in jobs]
        self.do(self.relay.settle(given_back))

    @rule(limit=FEW)
    def freeze(self, limit: int) -> None:
        """Called, then asleep until after the lease."""
        jobs = self.do(self.relay.claim(limit))
        self.late += self.do(self.relay.call(jobs))
        self.do(self.relay.end_leases(jobs))

    @precondition(lambda self: self.late)
    @rule()
    def wake_up(self) -> None:
        """Its settlements count for nothing where somebody else had the lane meanwhile."""
        late, self.late = self.late, []
        now = {row[0]: row[1] for row in self.do(rows(self.relay.engine, "SELECT key, fencing_token FROM lane"))}
        settled = self.do(self.relay.queue.settle(late))
        stale = [item for item in late if now.get(item.job.lane) != item.job.fencing_token]
        assert all(item in settled.lost for item in stale)

    # --------------------------------------------------------------------------------- what must hold

    @invariant()
    def the_books_are_right(self) -> None:
        assert self.do(broken_counts(self.relay.engine)) == []

    @invariant()
    def the_platform_sees_what_it_may(self) -> None:
        entries = self.relay.platform.ledger(since=self.read)
        self.read += len(entries)
        for entry in sorted(entries, key=lambda entry: entry["applied_seq"] or 0):
            entity, kind = str(entry["entity"]), str(entry["kind"])
            if kind.startswith("order.") and (customer := self.must_follow.get(entity)):
                assert self.applied[customer], f"{kind} of {entity} before {customer}, which was owed"
            if not entry["applied"]:
                continue
            self.posts[entity] += kind == "order.post"
            assert self.posts[entity] <= 1, f"{entity} was created twice"
            body = entry["body"]
            if "v" not in body:  # a customer as an order tells it
                continue
            before = self.applied[entity]
            assert not before or before[-1] <= body["v"], f"{entity}: {body['v']} after {before}"
            before.append(body["v"])

    def teardown(self) -> None:
        """In the end everything has arrived, without another push than time."""
        try:
            self.relay.platform.control("clear")
            self.do(execute(self.relay.engine, "UPDATE lane SET lease_until = now() WHERE leased"))
            for _ in range(60):
                self.do(self.relay.time_passes())
                jobs = self.do(self.relay.claim(20))
                self.do(self.relay.settle(self.do(self.relay.call(jobs))))
                self.the_platform_sees_what_it_may()
                if not jobs and not self.do(self.relay.open_jobs()):
                    break
            assert self.do(self.relay.open_jobs()) == []
            self.the_books_are_right()
            for entity, versions in self.sent.items():
                if versions:
                    assert self.applied[entity], f"{entity}: nothing arrived of {versions}"
                    assert self.applied[entity][-1] == max(versions)
            ended = self.do(rows(self.relay.engine, "SELECT DISTINCT state FROM job"))
            assert {state for (state,) in ended} <= {"done", "skipped", "superseded"}
        finally:
            super().teardown()


def test_the_platform_sees_only_what_the_model_allows(database_url: str, platform: Simulator) -> None:
    with asyncio.Runner() as loop:

        async def relay() -> Relay:
            return Relay(database_url, platform)

        Model.loop, Model.relay = loop, loop.run(relay())
        try:
            run_state_machine_as_test(
                Model,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=30,
                    phases=[phase for phase in Phase if phase is not Phase.shrink],  # every example asks a database
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            loop.run(Model.relay.aclose())


@pytest.fixture
async def relay(database_url: str, platform: Simulator) -> AsyncIterator[Relay]:
    parts = Relay(database_url, platform)
    await parts.anew()
    yield parts
    await parts.aclose()


async def drained(relay: Relay) -> None:
    while jobs := await relay.claim(50):
        await relay.settle(await relay.call(jobs))


def calls(platform: Simulator, kind: str) -> list[str]:
    return [str(entry["entity"]) for entry in platform.ledger(body=0) if str(entry["kind"]).startswith(kind)]


async def test_an_outage_costs_few_customers_calls_and_every_orders_own(relay: Relay) -> None:
    """Each customer changed five times while nothing could be sent: one call of six. Each version of an order is sent."""
    customers, versions = range(1, 41), range(6)
    for version in versions:
        for number in customers:
            await relay.accept(*customer_event(str(number), version))
    for version in range(3):
        await relay.accept(*order_event("o", "1", version))
    await drained(relay)
    assert sorted(calls(relay.platform, "customer.put")) == sorted(f"customer:{number}" for number in customers)
    assert len(calls(relay.platform, "order.")) == 3


async def test_one_failing_order_delays_no_other(relay: Relay) -> None:
    """An order that the Platform chokes on; the other orders of that customer and its updates go on."""
    relay.platform.script(contains='"id":"failing"', status=500, persistent=True)
    await relay.accept(*customer_event("1", 1))
    for number in ("failing", "2", "3"):
        await relay.accept(*order_event(number, "1", 1))
    await drained(relay)
    await relay.accept(*order_event("2", "1", 2))
    await drained(relay)
    assert [lane for lane, *_ in await relay.open_jobs()] == ["order:failing"]
    assert calls(relay.platform, "order.").count("order:failing") == 1
