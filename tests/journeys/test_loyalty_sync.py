"""The store's own webhooks and lists: connected, verified, translated, delivered once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import ReasonCode, stored
from platform_relay.inbox.events import EventKind
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks
from platform_relay.sync import webhooks
from platform_relay.sync.polling import poll
from platform_relay.wiring import Services
from simulators.process import Simulator
from tests.api.served import serving
from tests.database.engine_room import rows

ORDER: dict[str, Any] = {
    "id": 44, "status": "processing", "currency": "EUR", "total": "45.00", "customer_id": 2,
    "billing": {"email": "jane@example.com"}, "line_items": [], "coupon_lines": [],
    "date_created_gmt": "2026-01-01T10:00:00", "date_modified_gmt": "2026-01-01T10:00:05",
}  # fmt: skip


@pytest.fixture
def shop(shop_process: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    shop_process.reset(config=True)
    monkeypatch.setenv("WOOCOMMERCE__URL", shop_process.url)
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__WEBHOOK_SECRET", "webhook-secret-of-the-test")
    return shop_process


@pytest.fixture
async def web(shop: Simulator, database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Services, str]]:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        store_key=SecretStr("store-key-of-the-test-0123456"),
        public_url=HttpUrl("http://127.0.0.1"),
        store=StoreSettings(adapter="woocommerce"),
    )
    async with serving(settings, database_url) as running:
        yield running


async def connected(parts: Services, url: str) -> SetsUpWebhooks:
    store: object = parts.store
    assert isinstance(store, SetsUpWebhooks)
    address = f"{url}/v1/store-webhooks/woocommerce"
    for step in webhooks.plan(store.webhook_topics(), ()):
        await webhooks.apply(store, address, step)
    return store


async def test_connecting_twice_makes_each_webhook_once(web: tuple[Services, str], shop: Simulator) -> None:
    parts, url = web
    store = await connected(parts, url)
    present = await store.list_webhooks(f"{url}/v1/store-webhooks/woocommerce")
    assert isinstance(present, tuple)
    assert sorted(webhook.topic for webhook in present) == sorted(store.webhook_topics())
    assert {step.action for step in webhooks.plan(store.webhook_topics(), present)} == {"keep"}


async def switched_off_by_the_shop(shop: Simulator, store: SetsUpWebhooks, address: str) -> str:
    """The topic of the webhook that the store gave up."""
    present = await store.list_webhooks(address)
    assert isinstance(present, tuple)
    auth = httpx.BasicAuth("ck_simulator_key", "cs_simulator_key")
    async with httpx.AsyncClient(base_url=shop.url, auth=auth, trust_env=False) as client:
        await client.put(f"/wp-json/wc/v3/webhooks/{present[0].id}", json={"status": "disabled"})
    return present[0].topic


async def test_a_webhook_that_the_shop_switched_off_is_noticed_told_and_switched_on_and_the_gap_is_filled(
    web: tuple[Services, str], shop: Simulator, engine: AsyncEngine
) -> None:
    parts, url = web
    store = await connected(parts, url)
    address = f"{url}/v1/store-webhooks/woocommerce"
    await asyncio.to_thread(shop.control, "event", topic="order.created", resource={**ORDER, "id": 43})
    topic = await switched_off_by_the_shop(shop, store, address)
    missed = {**ORDER, "date_modified_gmt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")}
    await asyncio.to_thread(shop.control, "seed", orders=[missed])
    assert await webhooks.watch(engine, parts.inbox, store, "woocommerce", address) == [topic]
    [(code, facts)] = await rows(engine, "SELECT code, facts FROM alert WHERE resolved_at IS NULL")
    assert (code, facts) == (ReasonCode.STORE_WEBHOOKS_OFF, {"topics": [topic], "days": 14})
    assert await rows(engine, "SELECT lane FROM job ORDER BY lane") == [("order:43",), ("order:44",)]
    assert await webhooks.watch(engine, parts.inbox, store, "woocommerce", address) == []
    assert await rows(engine, "SELECT code FROM alert WHERE resolved_at IS NULL") == []


async def test_a_webhook_that_may_not_be_switched_on_stays_an_alert(
    web: tuple[Services, str], shop: Simulator, engine: AsyncEngine
) -> None:
    parts, url = web
    store = await connected(parts, url)
    address = f"{url}/v1/store-webhooks/woocommerce"
    topic = await switched_off_by_the_shop(shop, store, address)
    shop.config(read_only=True)
    for _ in range(2):
        assert await webhooks.watch(engine, parts.inbox, store, "woocommerce", address) == [topic]
        [(code, facts)] = await rows(engine, "SELECT code, facts FROM alert WHERE resolved_at IS NULL")
        alert = stored(str(code), facts)  # type: ignore[arg-type]  # JSON
        assert alert is not None
        assert alert.facts["topics"] == [topic]
        assert isinstance(failures := alert.facts["failures"], dict)
        assert isinstance(failure := failures[topic], dict)
        assert failure["code"] in (ReasonCode.KEY_REJECTED, ReasonCode.PERMISSION_MISSING)
        assert "could not be switched on" in alert.text
        assert "relay webhooks install" in alert.next_step
    shop.config(read_only=False)
    assert await webhooks.watch(engine, parts.inbox, store, "woocommerce", address) == [topic]
    assert await webhooks.watch(engine, parts.inbox, store, "woocommerce", address) == []
    assert await rows(engine, "SELECT code FROM alert WHERE resolved_at IS NULL") == []


async def test_an_order_of_the_shop_becomes_a_job_once(
    web: tuple[Services, str], shop: Simulator, engine: AsyncEngine
) -> None:
    parts, url = web
    await connected(parts, url)
    await asyncio.to_thread(shop.control, "event", topic="order.created", resource=ORDER, times=2)
    await asyncio.to_thread(shop.control, "event", topic="order.updated", resource=ORDER)
    assert await rows(engine, "SELECT kind, lane, depends_on FROM job") == [("forward_order", "order:44", "customer:2")]
    [(source, event)] = await rows(engine, "SELECT source, event FROM message WHERE kind = 'orders'")
    assert source == "woocommerce"
    assert b'"financialStatus":"paid"' in bytes(event)  # type: ignore[call-overload]  # bytea
    await asyncio.to_thread(shop.control, "event", topic="order.updated", resource={**ORDER, "status": "refunded"})
    assert await rows(engine, "SELECT count(*) FROM job") == [(2,)]


async def test_a_forged_webhook_is_refused_and_nothing_is_stored(
    web: tuple[Services, str], engine: AsyncEngine
) -> None:
    _, url = web
    headers = {"x-wc-webhook-topic": "order.created", "x-wc-webhook-signature": "Zm9yZ2Vk"}
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        refused = await client.post("/v1/store-webhooks/woocommerce", json=ORDER, headers=headers)
        unknown = await client.post("/v1/store-webhooks/shopify", json=ORDER)
    assert refused.status_code == 401
    assert refused.json()["type"].endswith("signature-refused")
    assert unknown.status_code == 404
    assert await rows(engine, "SELECT count(*) FROM message") == [(0,)]


async def test_polling_reads_what_changed_and_knows_it_again(
    web: tuple[Services, str], shop: Simulator, engine: AsyncEngine
) -> None:
    parts, _ = web
    store: object = parts.store
    assert isinstance(store, ListsEntities)
    shop.control("seed", orders=[{**ORDER, "id": number} for number in range(1, 251)])
    first = await poll(engine, parts.inbox, store, "woocommerce", EventKind.ORDER)
    again = await poll(engine, parts.inbox, store, "woocommerce", EventKind.ORDER)
    assert first is not None
    assert (first.seen, first.new, first.failed) == (250, 250, None)
    assert again is not None
    assert again.new == 0


async def test_what_a_webhook_brought_is_not_brought_again_by_polling(
    web: tuple[Services, str], shop: Simulator, engine: AsyncEngine
) -> None:
    parts, url = web
    await connected(parts, url)
    store: object = parts.store
    assert isinstance(store, ListsEntities)
    await asyncio.to_thread(shop.control, "event", topic="order.created", resource=ORDER)
    polled = await poll(engine, parts.inbox, store, "woocommerce", EventKind.ORDER)
    assert polled is not None
    assert (polled.seen, polled.new) == (1, 0)


async def test_a_shop_that_is_away_moves_no_cursor(
    web: tuple[Services, str], shop: Simulator, engine: AsyncEngine
) -> None:
    parts, _ = web
    store: object = parts.store
    assert isinstance(store, ListsEntities)
    shop.outage()
    failed = await poll(engine, parts.inbox, store, "woocommerce", EventKind.ORDER)
    shop.outage(on=False)
    assert failed is not None
    assert failed.failed is not None
    assert failed.failed.code is ReasonCode.DESTINATION_UNAVAILABLE
    assert await rows(engine, "SELECT since FROM poll_cursor") == [(None,)]
