"""Redemptions that the Platform lists late: the queue, the handler, the Platform's and a store's simulator, and a database."""

import json
from typing import Any, Final  # Any: bodies are free-form JSON

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.alerts import watch
from platform_relay.alerts.alerts import open_alerts
from platform_relay.core.reasons import ReasonCode
from platform_relay.coupons import unlisted
from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.unlisted import check_refused
from platform_relay.inbox.inbox import Inbox
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.webhooks import webhook_message
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.queue.queue import Queue
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.journeys.test_issue_coupon import CODE, REDEEMED, coupon, handler

CONFIRM_WITHIN: Final = 300


class Relay:
    """Runs the jobs of redemptions one by one, and moves all times of the database into the past."""

    def __init__(self, engine: AsyncEngine, store: WooCommerce, client: PlatformClient) -> None:
        issue = handler(store, client, engine, require="confirmed")
        self.engine, self._queue = engine, Queue(engine, "store")
        self._runner = Runner(
            {"issue_coupon": issue}, RetryPolicy(), time_limit=20, longest_wait=1e7, random=lambda: 0.0
        )

    async def redeemed(self, code: str = CODE) -> None:
        identifier = uuid7()
        body: dict[str, Any] = {**REDEEMED, "id": f"p-{code}", "couponCode": code}
        message = webhook_message("points/redeemed", json.dumps(body).encode(), str(identifier))
        await Inbox(self.engine, on_commit=lambda _: None).accept(message, identifier)

    async def attempt(self) -> int:
        """Make one attempt of every job that is due or waits; returns how many there were."""
        async with self.engine.begin() as connection:
            await connection.execute(text("UPDATE lane SET run_at = now() WHERE NOT leased AND open_jobs > 0"))
        jobs = await self._queue.claim(100, lease=30.0, priority=0)
        for job in jobs:
            settlement, _ = await self._runner.run(job)
            await self._queue.settle([settlement])
        return len(jobs)

    async def later(self, seconds: float) -> None:
        times = {
            "job": ("created_at", "finished_at"),
            "attempt": ("started_at",),
            "coupon": ("received_at", "created_at", "updated_at"),
        }
        async with self.engine.begin() as connection:
            for table, columns in times.items():
                moved = ", ".join(f"{column} = {column} - make_interval(secs => :seconds)" for column in columns)
                await connection.execute(text(f"UPDATE {table} SET {moved}"), {"seconds": seconds})  # noqa: S608  # constants only

    async def refused(self) -> None:
        """Attempts until all redemptions are refused."""
        for _ in range(3):
            await self.attempt()
            await self.later(CONFIRM_WITHIN)
        assert await self.attempt() == 0

    async def state(self, code: str = CODE) -> str:
        return (await coupon(self.engine, code)).state


@pytest.fixture
def relay(engine: AsyncEngine, store: WooCommerce, client: PlatformClient, platform: Simulator) -> Relay:
    platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com", "points": 100_000}])
    return Relay(engine, store, client)


def list_reward(platform: Simulator, code: str = CODE) -> None:
    platform.control("list-rewards", rewards=[{"code": code, "customerId": "42", "points": 500}])


def questions(platform: Simulator) -> int:
    return len(platform.ledger(kind="launcher.rewards"))


async def test_one_negative_answer_after_a_long_outage_refuses_nothing(
    relay: Relay, platform: Simulator, shop: Simulator
) -> None:
    """The patience counts from the first negative answer, and the Platform is asked several times."""
    await relay.redeemed()
    platform.script(path="/launcher/v1/customer/all-rewards", status=503, body="")
    await relay.attempt()
    row = await coupon(relay.engine)
    assert row.reason
    assert row.reason.code is ReasonCode.CONFIRMATION_UNAVAILABLE
    await relay.later(3600)
    await relay.attempt()
    row = await coupon(relay.engine)
    assert row.reason
    assert (row.state, row.reason.code) == ("held", ReasonCode.CONFIRMATION_PENDING)
    await relay.later(3600)
    await relay.attempt()
    assert await relay.state() == "held", "two answers, with a long outage in between, are not several"
    list_reward(platform)
    await relay.attempt()
    assert await relay.state() == "active"
    assert len(shop.state("coupons", CODE)) == 1


async def test_a_redemption_that_is_never_listed_is_refused_after_several_answers(
    relay: Relay, platform: Simulator, shop: Simulator
) -> None:
    await relay.redeemed()
    await relay.refused()
    assert (await relay.state(), questions(platform)) == ("refused", 3)
    assert shop.state("coupons", CODE) == []


async def test_a_refused_redemption_that_the_platform_lists_hours_later_gets_its_coupon(
    relay: Relay, platform: Simulator, shop: Simulator
) -> None:
    await relay.redeemed()
    await relay.refused()
    assert await check_refused(relay.engine) == 0, "it is not due yet"
    for _ in range(3):
        await relay.later(3700)
        assert await check_refused(relay.engine) == 1
        before = questions(platform)
        assert await relay.attempt() == 1
        assert (await relay.state(), questions(platform) - before) == ("refused", 1), "one question"
        assert await check_refused(relay.engine) == 0
    list_reward(platform)
    await relay.later(3700)
    assert await check_refused(relay.engine) == 1
    await relay.attempt()
    assert await relay.state() == "active"
    assert len(shop.state("coupons", CODE)) == 1
    async with relay.engine.connect() as connection:
        ledger = await read_ledger(connection)
    assert (ledger.refused, ledger.balanced) == (0, True)
    await relay.later(3700)
    assert await check_refused(relay.engine) == 0


async def test_a_forged_redemption_is_checked_for_a_day_and_stays_refused(relay: Relay, shop: Simulator) -> None:
    await relay.redeemed()
    await relay.refused()
    checks = 0
    for _ in range(30):
        await relay.later(3700)
        checks += await check_refused(relay.engine)
        await relay.attempt()
        assert await relay.state() == "refused"
    assert checks == 23
    assert shop.state("coupons") == []


async def test_a_check_that_cannot_ask_the_platform_leaves_the_redemption_refused(
    relay: Relay, platform: Simulator
) -> None:
    await relay.redeemed()
    await relay.refused()
    await relay.later(3700)
    assert await check_refused(relay.engine) == 1
    platform.script(path="/launcher/v1/customer/all-rewards", status=503, body="")
    await relay.attempt()
    assert await relay.state() == "refused"
    list_reward(platform)
    await relay.attempt()
    assert await relay.state() == "active"


async def test_a_flood_of_forged_redemptions_causes_no_flood_of_checks_and_counts_once(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlisted, "CHUNK", 2)
    monkeypatch.setattr(watch, "MANY_REFUSED", 3)
    for number in range(3):
        await relay.redeemed(f"forged{number}")
    await relay.refused()
    await relay.later(3700)
    assert [await check_refused(relay.engine) for _ in range(3)] == [2, 1, 0]
    assert await relay.attempt() == 3
    await watch.watch_queue(relay.engine, OldestWaiting())
    async with relay.engine.connect() as connection:
        assert [alert.reason.code for alert in await open_alerts(connection)] == []
