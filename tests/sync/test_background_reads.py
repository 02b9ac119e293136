"""Reads from the store that fail: their back-off, their alert and the readiness, against a real database and a simulator."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import HttpUrl, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import HttpClients
from platform_relay.core.metrics import Metrics
from platform_relay.core.outcomes import JobSpec
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.reconcile.compare import ComparedSystems, run_requested
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.woocommerce.adapter import WooCommerce, WooCommerceSettings
from platform_relay.sync import background_reads
from platform_relay.sync.background_reads import BackgroundReads, NotRead
from platform_relay.sync.polling import KINDS_IN_ORDER, poll
from simulators.process import Simulator
from simulators.process import run as simulator
from tests.api.served import serving
from tests.database.engine_room import accept, message, rows, run

OPEN_ALERTS = "SELECT code, subject FROM alert WHERE resolved_at IS NULL ORDER BY subject"
STATES = "SELECT name, state FROM destination ORDER BY name"
PATHS = {EventKind.CUSTOMER: "customers", EventKind.PRODUCT: "products", EventKind.ORDER: "orders"}


@pytest.fixture(scope="module")
def shop_process() -> Iterator[Simulator]:
    with simulator("shop") as process:
        yield process


class Polls:
    """The polls of a worker with a WooCommerce store."""

    def __init__(self, engine: AsyncEngine, store: WooCommerce, shop: Simulator) -> None:
        self.engine, self.shop = engine, shop
        self.metrics = Metrics(CollectorRegistry())
        self.reads = BackgroundReads(engine, self.metrics)
        self.store, self._inbox = store, Inbox(engine, on_commit=lambda _: None)

    async def run(self, *kinds: EventKind) -> int:
        """Run the polls of these kinds (all if none is given), as the worker does; returns how many calls the store got."""
        before = len(self.shop.ledger())

        async def read(kind: EventKind) -> Reason | None:
            result = await poll(self.engine, self._inbox, self.store, "woocommerce", kind)
            return result.failed if result else None

        for kind in kinds or KINDS_IN_ORDER:
            await self.reads.run(f"poll:{kind}", partial(read, kind))
        return len(self.shop.ledger()) - before

    async def pauses_end(self) -> None:
        await run(self.engine, "UPDATE background_read SET next_at = now() - interval '1 second'")


@pytest.fixture
async def polls(engine: AsyncEngine, shop_process: Simulator) -> AsyncIterator[Polls]:
    shop_process.reset(config=True)
    settings = WooCommerceSettings(
        url=HttpUrl(shop_process.url),
        consumer_key=SecretStr("ck_simulator_key"),
        consumer_secret=SecretStr("cs_simulator_key"),
    )
    store = WooCommerce(settings, HttpClients(2.0))
    yield Polls(engine, store, shop_process)
    await store.aclose()


async def test_polls_without_permission_back_off_raise_an_alert_and_leave_the_destination_open(polls: Polls) -> None:
    polls.shop.script(path="/wp-json/wc/v3/orders", persistent=True, status=401, body={"code": "x", "message": "no"})
    pauses = []
    for _ in range(background_reads.ALERT_FAILURES):
        assert await rows(polls.engine, OPEN_ALERTS) == []
        assert await polls.run(EventKind.ORDER) == 1
        assert [await polls.run(EventKind.ORDER) for _ in range(3)] == [0, 0, 0], "no call before the pause ends"
        [(pause,)] = await rows(
            polls.engine, "SELECT round(extract(epoch FROM next_at - now()), -1) FROM background_read"
        )
        pauses.append(int(str(pause)))
        await polls.pauses_end()
    assert pauses == [10, 20, 40]
    assert await rows(polls.engine, OPEN_ALERTS) == [(ReasonCode.BACKGROUND_READ_FAILING, "poll:orders")]
    assert await polls.run(EventKind.CUSTOMER, EventKind.PRODUCT) == 2, "each kind has a back-off of its own"
    assert await rows(polls.engine, STATES) == [("platform", "open"), ("store", "open"), ("store_loyalty", "open")]
    exposed = generate_latest(polls.metrics.registry).decode()
    assert 'relay_background_reads_total{read="poll:orders",result="failed"} 3.0' in exposed
    assert 'relay_background_reads_total{read="poll:customers",result="succeeded"} 1.0' in exposed

    polls.shop.control("clear")
    assert await polls.run(EventKind.ORDER) == 1
    assert await rows(polls.engine, OPEN_ALERTS) == []
    assert await rows(polls.engine, "SELECT failures, failing_since FROM background_read") == [(0, None)]


async def test_the_pause_grows_to_five_minutes(polls: Polls) -> None:
    polls.shop.outage()
    for _ in range(8):
        await polls.run(EventKind.ORDER)
        await run(polls.engine, "UPDATE background_read SET next_at = next_at - interval '1 hour'")
    polls.shop.outage(on=False)
    [(seconds,)] = await rows(
        polls.engine, "SELECT round(extract(epoch FROM next_at + interval '1 hour' - now()), -1) FROM background_read"
    )
    assert int(str(seconds)) == background_reads.LONGEST_PAUSE


async def test_a_paused_store_is_not_polled(polls: Polls) -> None:
    await run(polls.engine, "UPDATE destination SET state = 'paused' WHERE name = 'store'")
    assert await polls.run() == 0
    reason = await polls.reads.held_back()
    assert reason is not None
    assert reason.code is ReasonCode.DESTINATION_CLOSED


async def test_a_closed_store_is_polled_only_if_no_job_will_probe_it_and_polls_never_open_it(polls: Polls) -> None:
    await run(polls.engine, "UPDATE destination SET state = 'tripped' WHERE name = 'store'")
    await accept(polls.engine, message(JobSpec("issue_coupon", "store", "coupon:A")))
    assert await polls.run() == 0
    await run(polls.engine, "UPDATE lane SET open_jobs = 0")
    assert await polls.run() == 3
    assert await rows(polls.engine, STATES) == [("platform", "open"), ("store", "tripped"), ("store_loyalty", "open")]


async def test_a_poll_that_another_replica_makes_is_neither_a_failure_nor_a_success(polls: Polls) -> None:
    async def not_read() -> NotRead:
        return NotRead()

    await polls.reads.record("poll:orders", because(ReasonCode.SERVER_ERROR))
    await polls.pauses_end()
    assert not await polls.reads.run("poll:orders", not_read)
    assert await rows(polls.engine, "SELECT failures FROM background_read") == [(1,)]


async def test_a_requested_reconciliation_waits_until_the_store_may_be_called(polls: Polls) -> None:
    books = Reconciliations(polls.engine)
    requested = await books.request("t", None)
    systems = ComparedSystems(polls.store, "woocommerce")
    await run(polls.engine, "UPDATE destination SET state = 'paused' WHERE name = 'store'")
    assert not await run_requested(polls.engine, systems, None, polls.reads)
    await run(polls.engine, "UPDATE destination SET state = 'open'")
    assert await run_requested(polls.engine, systems, None, polls.reads)
    view = await books.find(requested)
    assert view is not None
    assert (view.state, view.complete) == ("done", True)


async def test_an_adapter_that_crashes_is_a_failure_and_not_the_end_of_the_worker(polls: Polls) -> None:
    async def read() -> Reason | None:
        raise RuntimeError("a bug")

    assert await polls.reads.run("drift_check", read)
    [(code,)] = await rows(polls.engine, "SELECT reason_code FROM background_read")
    assert code == ReasonCode.INTERNAL_ERROR


async def test_readiness_degrades_when_the_polls_of_a_store_without_webhooks_have_failed_for_long(
    engine: AsyncEngine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("URL", "http://127.0.0.1:9"), ("USERNAME", "relay"), ("PASSWORD", "relay-password-1")):
        monkeypatch.setenv(f"MAGENTO__{name}", value)
    settings = Settings(_env_file=None, data_dir=tmp_path, store=StoreSettings(adapter="magento", poll_interval=10))
    async with serving(settings, database_url) as (parts, url), httpx.AsyncClient(base_url=url) as client:

        async def status() -> tuple[str, list[str]]:
            view = (await client.get("/readyz")).json()
            return view["status"], [check["text"] for check in view["checks"] if check["name"] == "polls"]

        assert await status() == ("ready", ["the store's lists are read"])
        reads = BackgroundReads(parts.engine)
        await reads.record("poll:orders", Reason(ReasonCode.PERMISSION_MISSING, {"destination": "the store"}))
        assert (await status())[0] == "ready", "it has failed for a moment only"
        await run(engine, "UPDATE background_read SET failing_since = now() - interval '31 minutes'")
        [text] = (await status())[1]
        assert text.startswith("the store's lists cannot be read: orders (")
        assert (await status())[0] == "degraded"
        assert 'relay_background_read_failing_seconds{read="poll:orders"} 18' in (await client.get("/metrics")).text
        await reads.record("poll:orders", None)
        assert (await status())[0] == "ready"
