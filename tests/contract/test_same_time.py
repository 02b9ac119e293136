"""A store changes an entity and does not move its time of change: the Platform ends with what the store has, in every store.

The inbox, the queue, the handlers and a database are real; the stores and the Platform are simulators.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any  # Any: the store's JSON
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.alerts.alerts import Alerts
from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import JobSpec
from platform_relay.coupons.transitions import Coupons
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.fetch import FetchEntity, store_message, webhook_message
from platform_relay.forwarding.order import ForwardOrder
from platform_relay.forwarding.product import ForwardProduct
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Incoming, SameTime
from platform_relay.inbox.same_time import Known, plan
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import THE_PLATFORM
from platform_relay.queue.jobs import Handler
from platform_relay.queue.queue import Queue, Settlement, watch_lane
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.reconcile.compare import ComparedSystems, reconcile
from platform_relay.reconcile.difference_list import list_differences
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.stores.native import FetchesEntities, Ignored, ListsEntities, NativeEvent, ReceivesWebhooks, ToFetch
from platform_relay.sync.polling import KINDS_IN_ORDER, PollResult, poll
from simulators.process import Simulator, run
from tests.contract.bench import Bench
from tests.contract.test_lists import ROW, START
from tests.database.engine_room import broken_counts, rows
from tests.database.engine_room import run as run_sql
from tests.journeys.handler_jobs import client_of

SECRET = b"webhook-secret-of-the-test"
TIME = "2026-01-01T00:00:00Z"
CUSTOMERS: dict[str, dict[str, Any]] = {
    "bigcommerce": {"id": 1, "date_modified": TIME, "date_created": TIME, "last_name": "Doe"},
    "magento": {"id": 1, "updated_at": "2026-01-01 00:00:00", "created_at": "2026-01-01 00:00:00", "lastname": "Doe"},
    "medusa": {"id": "1", "updated_at": TIME, "created_at": TIME, "last_name": "Doe", "has_account": True},
    "saleor": {"id": "VXNlcjox", "updatedAt": TIME, "lastName": "Doe"},
    "shopify": {
        "id": "gid://shopify/Customer/1", "firstName": None, "lastName": "Doe", "tags": [], "createdAt": TIME, "updatedAt": TIME,
        "defaultPhoneNumber": None, "defaultAddress": None,
    },
    "vendure": {"id": "1", "updatedAt": TIME, "lastName": "Doe", "user": {"id": "1"}},
    "woocommerce": {"id": 1, "date_modified_gmt": "2026-01-01T00:00:00", "last_name": "Doe", "role": "customer"},
}  # fmt: skip
SECRET = b"webhook-secret-of-these-tests"
ADD_TO_SEED = ("bigcommerce", "shopify")
"""The simulators that keep the rows that they were given before."""
EMAIL: dict[str, Callable[[str], dict[str, Any]]] = {
    "shopify": lambda email: {"defaultEmailAddress": {"emailAddress": email}},
    "vendure": lambda email: {"emailAddress": email},
}


def customer(store: str, email: str) -> dict[str, Any]:
    """The customer with this address, as the store shows it. Its time of change is always the same."""
    return {**CUSTOMERS[store], **(EMAIL[store](email) if store in EMAIL else {"email": email})}


@pytest.fixture(scope="module")
def platform_process() -> Iterator[Simulator]:
    with run("platform") as process:
        yield process


class Relay:
    """The parts of a relay, whose jobs are run by `deliver`."""

    def __init__(self, engine: AsyncEngine, http: HttpClient, platform: Simulator, bench: Bench) -> None:
        self.engine, self.platform, self.bench, self.source = engine, platform, bench, bench.name
        self.inbox = Inbox(engine, on_commit=lambda _: None)
        self._queues = [Queue(engine, name) for name in ("store", "platform")]
        self._started: list[tuple[Queue, Settlement]] = []
        self._client = client = client_of(http, platform.url)
        customers, compute = Customers(engine), ComputeProcess()
        handlers: dict[str, Handler] = {
            "forward_customer": ForwardCustomer(client, customers, compute, PlatformDrift(engine, Fields())),
            "forward_order": ForwardOrder(client, Coupons(engine), customers, Alerts(engine), compute),
            "forward_product": ForwardProduct(client, compute),
            "fetch_entity": FetchEntity(
                bench.adapter, self.source, self.inbox.accept, partial(watch_lane, engine, "platform")
            ),
        }
        self._runner = Runner(handlers, RetryPolicy(), time_limit=20, longest_wait=1e7, random=lambda: 0.0)

    async def accept(self, parsed: NativeEvent | ToFetch | Ignored) -> str:
        """As the inbox takes a webhook or an entry of a list; returns the receipt's status."""
        message_id = uuid7()
        message = store_message(parsed, b"{}", source=self.source, message_id=str(message_id), fetches=True)
        return (await self.inbox.accept(message, message_id)).status

    async def webhook(self, headers: dict[str, str], raw: bytes) -> str:
        assert isinstance(self.bench.adapter, ReceivesWebhooks)
        parsed = await self.bench.adapter.parse_event(headers, raw)
        message_id = uuid7()
        message = webhook_message(lambda: parsed, raw, source=self.source, message_id=str(message_id), fetches=True)
        assert isinstance(message, Incoming), parsed
        return (await self.inbox.accept(message, message_id)).status

    @property
    def customer_id(self) -> str:
        """The customer's id in events."""
        return str(CUSTOMERS[self.source]["id"]).rpartition("/")[2]

    async def fetched(self) -> NativeEvent:
        """The customer as the store has it now."""
        assert isinstance(self.bench.adapter, FetchesEntities)
        event = await self.bench.adapter.fetch(EventKind.CUSTOMER, self.customer_id)
        assert isinstance(event, NativeEvent), event
        return event

    def change(self, email: str) -> None:
        self.seed(customer(self.source, email))

    def seed(self, row: dict[str, Any]) -> None:
        if self.source in ADD_TO_SEED:
            self.bench.simulator.reset()
        self.bench.simulator.control("seed", customers=[row])

    async def start(self) -> None:
        """Make the calls of the due jobs. `finish` settles them."""
        for queue in self._queues:
            for job in await queue.claim(50, lease=30.0):
                self._started.append((queue, (await self._runner.run(job))[0]))

    async def finish(self) -> None:
        for queue, settlement in self._started:
            await queue.settle([settlement])
        self._started.clear()

    async def reconciled(self, *kinds: EventKind, since: datetime | None = None) -> dict[str, str]:
        """The differences of these kinds (the customers if none is given): causes by id."""
        store: object = self.bench.adapter
        assert isinstance(store, ListsEntities)
        books = Reconciliations(self.engine)
        claimed = await books.claim(await books.request("t", since, timedelta(0)))
        assert claimed is not None
        systems = ComparedSystems(store, self.source, self._client)
        view = await reconcile(self.engine, systems, claimed, kinds=kinds or [EventKind.CUSTOMER])
        assert view.notes == []
        return {row.entity_id: row.cause for row in (await list_differences(self.engine, view.id)).items}

    async def deliver(self) -> None:
        """Run jobs until none is due."""
        while True:
            claimed = [(queue, await queue.claim(50, lease=30.0)) for queue in self._queues]
            for queue, jobs in claimed:
                await queue.settle([(await self._runner.run(job))[0] for job in jobs])
            if not any(jobs for _, jobs in claimed):
                break
        assert await broken_counts(self.engine) == []
        assert await rows(self.engine, "SELECT lane FROM job WHERE open OR dead") == []

    def sent(self, kind: str, field: str) -> list[Any]:
        """The values of a field that reached the Platform, in order."""
        entries = [
            entry for entry in self.platform.ledger() if str(entry["kind"]).startswith(kind) and entry["applied"]
        ]
        return [entry["body"][field] for entry in entries if field in entry["body"]]


@pytest.fixture
async def relay(engine: AsyncEngine, platform_process: Simulator, bench: Bench) -> AsyncIterator[Relay]:
    platform_process.reset(config=True)
    http = HttpClient(destination=THE_PLATFORM, time_limit=5.0)
    yield Relay(engine, http, platform_process, bench)
    await http.aclose()


every_store = pytest.mark.parametrize("bench", sorted(CUSTOMERS), indirect=True)


@every_store
async def test_a_third_state_that_is_like_the_first_reaches_the_platform(relay: Relay) -> None:
    """The store's time of change stays the same."""
    for email in ("a@example.com", "b@example.com", "a@example.com"):
        relay.change(email)
        assert await relay.accept(await relay.fetched()) == "accepted"
        await relay.deliver()
    assert relay.sent("customer", "email") == ["a@example.com", "b@example.com", "a@example.com"]
    assert await relay.accept(await relay.fetched()) == "duplicate"
    await relay.deliver()


@every_store
async def test_of_two_versions_with_one_time_the_one_that_the_store_has_now_is_sent(relay: Relay) -> None:
    """The webhooks arrive in the wrong order."""
    relay.change("a@example.com")
    older = await relay.fetched()
    relay.change("b@example.com")
    for event in (await relay.fetched(), older, older):
        await relay.accept(event)
    await relay.deliver()
    assert relay.sent("customer", "email")[-1] == "b@example.com"
    assert "a@example.com" not in relay.sent("customer", "email")


@every_store
async def test_versions_with_one_time_that_two_processes_accept_at_the_same_moment_are_fetched(relay: Relay) -> None:
    relay.change("a@example.com")
    older = await relay.fetched()
    relay.change("b@example.com")
    newer = await relay.fetched()

    async def accept(event: NativeEvent) -> None:
        message_id = uuid7()
        message = store_message(event, b"{}", source=relay.source, message_id=str(message_id), fetches=True)
        await Inbox(relay.engine, on_commit=lambda _: None).accept(message, message_id)

    await asyncio.gather(accept(newer), accept(older))
    await relay.deliver()
    assert relay.sent("customer", "email")[-1] == "b@example.com"


@every_store
async def test_a_fetch_decides_if_a_later_transaction_came_first_into_the_lane(relay: Relay) -> None:
    """The newer version has the later time of acceptance, but the older one is behind it in the lane and is sent last."""
    relay.change("a@example.com")
    older = await relay.fetched()
    relay.change("b@example.com")
    newer = await relay.fetched()
    for event in (newer, older):
        message_id = uuid7()
        message = store_message(event, b"{}", source=relay.source, message_id=str(message_id))
        await Inbox(relay.engine, on_commit=lambda _: None).accept(message, message_id)
    await run_sql(
        relay.engine, "UPDATE job SET created_at = now() - (seq - (SELECT min(seq) FROM job) + 1) * interval '1 second'"
    )
    assert await relay.accept(ToFetch(EventKind.CUSTOMER, relay.customer_id, "customer:1:check")) == "accepted"
    await relay.deliver()
    assert relay.sent("customer", "email")[-1] == "b@example.com"


@every_store
async def test_an_id_that_is_reported_again_is_fetched_again(relay: Relay) -> None:
    """A webhook with the id alone looks the same for each change of one second."""
    changed = ToFetch(EventKind.CUSTOMER, relay.customer_id, "customer:1:same-second")
    for email in ("a@example.com", "b@example.com"):
        relay.change(email)
        assert [await relay.accept(changed) for _ in range(3)] == ["accepted", "duplicate", "duplicate"]
        await relay.deliver()
    assert relay.sent("customer", "email") == ["a@example.com", "b@example.com"]


def saleor_product(*, published: bool, variants: tuple[str, ...] = ("v1", "v2")) -> dict[str, Any]:
    return {
        "id": "p1",
        "name": "Mug",
        "updatedAt": TIME,
        "channelListings": [{"channel": {"slug": "eu"}, "isPublished": published}],
        "productVariants": {
            "edges": [{"node": {"id": variant, "name": variant}} for variant in variants],
            "pageInfo": {"hasNextPage": False},
        },
    }


async def saleor_sends(relay: Relay, name: str, body: dict[str, Any]) -> str:
    raw = json.dumps(body).encode()
    signature = hmac.new(SECRET, raw, hashlib.sha256).hexdigest()
    return await relay.webhook({"saleor-event": name, "saleor-signature": signature}, raw)


@pytest.fixture
def signed(bench: Bench) -> None:
    bench.set("WEBHOOK_SECRET", SECRET.decode())
    bench.adapter = bench.build()


on_saleor = pytest.mark.parametrize("bench", ["saleor"], indirect=True)
on_woocommerce = pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)


@on_saleor
async def test_a_saleor_product_that_is_hidden_and_published_again_is_active(signed: None, relay: Relay) -> None:
    for published in (True, False, True):
        product = saleor_product(published=published)
        relay.bench.simulator.control("seed", products=[product])
        assert await saleor_sends(relay, "product_updated", {"product": product}) == "accepted"
        await relay.deliver()
    assert relay.sent("product.put", "status") == ["active", "draft", "active"]


@on_saleor
async def test_a_saleor_variant_that_is_deleted_is_deleted_at_the_platform(signed: None, relay: Relay) -> None:
    """The webhook still contains the variant."""
    before, after = saleor_product(published=True), saleor_product(published=True, variants=("v1",))
    relay.bench.simulator.control("seed", products=[before])
    await saleor_sends(relay, "product_updated", {"product": before})
    await relay.deliver()
    relay.bench.simulator.control("seed", products=[after])
    await saleor_sends(relay, "product_variant_deleted", {"productVariant": {"product": before}})
    await relay.deliver()
    sent = [[variant["externalVariantId"] for variant in row] for row in relay.sent("variants", "variants")]
    assert sent == [["v1", "v2"], ["v1"]]


@on_woocommerce
async def test_a_partial_refund_that_is_deleted_in_woocommerce_is_deleted_at_the_platform(
    signed: None, relay: Relay
) -> None:
    for refunds in ([], [{"id": 9, "total": "-5.00"}], []):
        order = {
            "id": 7,
            "status": "processing",
            "currency": "EUR",
            "total": "20.00",
            "customer_id": 0,
            "billing": {"email": "guest@example.com"},
            "line_items": [],
            "coupon_lines": [],
            "refunds": refunds,
            "date_created_gmt": "2026-01-01T00:00:00",
            "date_modified_gmt": "2026-01-01T00:00:00",
        }
        relay.bench.simulator.control("seed", orders=[order])
        raw = json.dumps(order).encode()
        signature = base64.b64encode(hmac.digest(SECRET, raw, "sha256")).decode()
        assert await relay.webhook(
            {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature}, raw
        ) == ("accepted")
        await relay.deliver()
    assert relay.sent("order", "financialStatus") == ["paid", "partially_refunded", "paid"]


ACTIONS = st.lists(st.sampled_from(("change to a", "change to b", "webhook", "again", "start", "finish")), max_size=14)


@on_woocommerce
@settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "8")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(actions=ACTIONS, seed=st.randoms(use_true_random=False))
async def test_whatever_the_order_of_webhooks_and_jobs_the_platform_ends_with_what_the_store_has(
    relay: Relay, actions: list[str], seed: random.Random
) -> None:
    """The time never changes. Webhooks overtake each other and are repeated; jobs of the store and the Platform run at any time."""
    relay.platform.reset()
    await run_sql(relay.engine, "TRUNCATE message, dedupe_digest, job, lane, attempt, entity")
    pending: list[NativeEvent] = []
    sent: list[NativeEvent] = []
    email = ""

    async def change(value: str) -> None:
        nonlocal email
        email = f"{value}@example.com"
        relay.change(email)
        pending.append(await relay.fetched())

    await change("a")
    for action in actions:
        match action:
            case "webhook" if pending:
                sent.append(pending.pop(seed.randrange(len(pending))))
                await relay.accept(sent[-1])
            case "again" if sent:
                await relay.accept(seed.choice(sent))
            case "start":
                await relay.start()
            case "finish":
                await relay.finish()
            case _ if action.startswith("change"):
                await change(action[-1])
    for event in pending:
        await relay.accept(event)
    await relay.finish()
    await relay.deliver()
    assert relay.sent("customer", "email")[-1] == email


MOVED: dict[str, tuple[str, str]] = {
    "bigcommerce": ("date_modified", "2026-02-01T00:00:00Z"),
    "magento": ("updated_at", "2026-02-01 00:00:00"),
    "medusa": ("updated_at", "2026-02-01T00:00:00Z"),
    "saleor": ("updatedAt", "2026-02-01T00:00:00Z"),
    "shopify": ("updatedAt", "2026-02-01T00:00:00Z"),
    "vendure": ("updatedAt", "2026-02-01T00:00:00Z"),
    "woocommerce": ("date_modified_gmt", "2026-02-01T00:00:00"),
}
"""The time of change of each store's customer, and a later one."""


@every_store
async def test_a_reconciliation_compares_contents_and_not_times(relay: Relay) -> None:
    """Saleor moves a user's time at the first order."""
    relay.change("a@example.com")
    await relay.accept(await relay.fetched())
    await relay.deliver()
    moved = {**customer(relay.source, "a@example.com"), **dict([MOVED[relay.source]])}
    relay.seed(moved)
    assert await relay.reconciled() == {}
    relay.change("b@example.com")
    assert await relay.reconciled() == {relay.customer_id: "stale"}


@every_store
async def test_a_store_that_does_not_change_has_nothing_new_and_no_differences(relay: Relay) -> None:
    """Some of the orders name no customer, like sales at the till."""
    store: object = relay.bench.adapter
    assert isinstance(store, ListsEntities)
    for kind in EventKind:
        entities = [ROW[relay.source](kind, number, START + timedelta(seconds=number)) for number in (1, 2)]
        if (relay.source, kind) == ("shopify", EventKind.ORDER):
            entities[0]["customer"] = {"id": "gid://shopify/Customer/1001"}
            entities[1] |= {"customer": None, "email": None}
        relay.bench.simulator.control("replace", **{str(kind): entities})
    for expected in (2, 0):
        for kind in KINDS_IN_ORDER:
            polled = await poll(relay.engine, relay.inbox, store, relay.source, kind)
            assert polled == PollResult(2, expected)
        await run_sql(relay.engine, "DELETE FROM poll_cursor")  # the next poll reads everything again
        await relay.deliver()
    for since in (None, START - timedelta(days=1)):
        assert await relay.reconciled(*EventKind, since=since) == {}


KEYS = st.sampled_from("abc")


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=12))
def test_a_message_repeats_only_the_newest_version_of_its_time(sent: list[tuple[str, bool]]) -> None:
    """Pure. The flag: the message comes from a fetch, so its content is the newest."""
    fetch = JobSpec("fetch_entity", "store", "fetch:products:1", collapse=True)
    newest: dict[tuple[str, str], tuple[UUID, str]] = {}
    taken: list[str] = []
    for content, is_fetched in sent:
        message_id = uuid7()
        message = Incoming(
            "store",
            "products",
            f"p:{content}",
            b"",
            (JobSpec("forward_product", "platform", "product:1"),),
            product_ref="1",
            same_time=SameTime("p:", None if is_fetched else fetch),
        )
        planned = plan([(message_id, message)], Known(newest, {}))
        if taken and taken[-1] == content:
            assert (planned.items, list(planned.repeated)) == ((), [message_id])
        elif not taken or is_fetched:
            [(_, stored)] = planned.items
            assert stored.jobs == message.jobs
            taken.append(content)
            newest["store", "p:"] = message_id, message.dedupe_key
        else:
            [(_, stored)] = planned.items
            assert stored.jobs == (fetch,)
            assert stored.dedupe_key != message.dedupe_key
