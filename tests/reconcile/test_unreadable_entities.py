"""What a WooCommerce store sends that cannot be read, from the webhook or the list to explain, alerts and the command line."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from platform_relay.alerts.alerts import open_alerts
from platform_relay.alerts.watch import watch_queue
from platform_relay.cli.program import cli
from platform_relay.core.outcomes import Reject, Skip
from platform_relay.core.reasons import ReasonCode
from platform_relay.explain.collect import explain
from platform_relay.explain.explanation import Explanation
from platform_relay.explain.records import Key
from platform_relay.forwarding.fetch import FetchEntity
from platform_relay.inbox.events import EventKind
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.queue.queue import watch_lane
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.native import ListsEntities, Page, Unreadable
from platform_relay.stores.woocommerce.events import to_event
from platform_relay.sync.backfill import backfill
from platform_relay.sync.polling import inbox_items, poll
from simulators.process import Simulator
from tests.api.served import serving
from tests.database.engine_room import rows
from tests.journeys.handler_jobs import job
from tests.reconcile.proof import SOURCE, Relay, relay

SECRET = "webhook-secret-of-the-test"
TIME = "2026-01-02T03:04:05"
GONE = {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": {"status": 404}}
REFUSED = {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot view this.", "data": {"status": 401}}


def an_order(number: int, **changed: object) -> dict[str, Any]:
    return {
        "id": number, "status": "processing", "currency": "EUR", "total": "23.75", "customer_id": 0,
        "billing": {"email": "ada@example.com"}, "date_created_gmt": TIME, "date_modified_gmt": TIME,
        "date_paid_gmt": TIME, "line_items": [], "coupon_lines": [], "refunds": [], **changed,
    }  # fmt: skip


@pytest.fixture
async def here(shop: Simulator, platform: Simulator, database_url: str, tmp_path: Path) -> AsyncIterator[Relay]:
    async with relay(database_url, tmp_path, platform) as running:
        yield running


@pytest.fixture
async def web(here: Relay, database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(_env_file=None, data_dir=tmp_path, store=StoreSettings(adapter=SOURCE, reconcile_at=None))
    async with serving(settings, database_url) as (_, url), httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield client


async def send(web: httpx.AsyncClient, topic: str, body: object) -> dict[str, str]:
    raw = json.dumps(body).encode()
    headers = {
        "x-wc-webhook-topic": topic,
        "x-wc-webhook-id": "12",
        "x-wc-webhook-signature": base64.b64encode(hmac.digest(SECRET.encode(), raw, "sha256")).decode(),
    }
    response = await web.post("/v1/store-webhooks/woocommerce", content=raw, headers=headers)
    assert response.status_code == 200, response.text
    receipt: dict[str, str] = response.json()
    return receipt


async def explained(here: Relay, by: Key, key: str) -> Explanation:
    async with here.parts.engine.connect() as connection:
        return await explain(connection, by, key, timedelta(days=400))


async def jobs(here: Relay) -> list[tuple[Any, ...]]:
    return await rows(
        here.parts.engine, "SELECT lane, state, reason_code FROM job WHERE kind LIKE 'forward_o%' ORDER BY lane"
    )


async def test_an_unreadable_order_is_a_dead_job_under_its_own_id(here: Relay, web: httpx.AsyncClient) -> None:
    broken = an_order(28, currency="EURO")
    assert [(await send(web, "order.updated", broken))["status"] for _ in range(2)] == ["accepted", "duplicate"]
    await here.drained(20)
    assert await jobs(here) == [("order:28", "dead", ReasonCode.ENTITY_UNREADABLE)]
    explanation = await explained(here, "order", "28")
    assert (explanation.matched, explanation.cause) == (True, "unreadable_entity")
    assert explanation.finding.facts.items() >= {"field": "currency", "id": "28", "entity": "order"}.items()
    assert "currency" in explanation.text
    await send(web, "order.updated", an_order(28, date_modified_gmt="2026-01-02T03:04:06"))  # corrected in the store
    await here.drained(20)
    states = [state for _, state, _ in await jobs(here)]
    assert sorted(states) == ["dead", "done"]


async def test_an_unreadable_version_does_not_replace_a_readable_one(
    here: Relay, web: httpx.AsyncClient, platform: Simulator
) -> None:
    platform.outage()
    product = {"id": 5, "name": "Mug", "status": "publish", "date_modified_gmt": TIME}
    await send(web, "product.updated", product)
    unreadable = to_event(EventKind.PRODUCT, {**product, "id": 2**2000, "date_modified_gmt": "2026-03-03T00:00:00"})
    assert isinstance(unreadable, Unreadable)  # its id is too long
    page = Page((), None, (replace(unreadable, id="5"),))
    await here.parts.inbox.accept_many(inbox_items(page, SOURCE, backfill=False))
    platform.outage(on=False)
    await here.drained(20)
    states = await rows(here.parts.engine, "SELECT state FROM job WHERE lane = 'product:5' ORDER BY seq")
    assert states == [("done",), ("dead",)]


async def test_fields_that_are_left_out_are_counted_and_explained(
    here: Relay, web: httpx.AsyncClient, platform: Simulator
) -> None:
    items = [{"product_id": 7, "name": "Linen", "quantity": 2.5, "total": "23.75", "price": 9.5}]
    await send(web, "order.updated", an_order(29, line_items=items, date_created_gmt="0000-00-00T00:00:00"))
    await here.drained(20)
    order = platform.state("orders", "29")[0]["order"]
    assert order["lineItems"][0]["quantity"] == 2.5
    [(code, left_out)] = await rows(
        here.parts.engine, "SELECT reason_code, facts ->> 'fields' FROM message WHERE order_ref = '29'"
    )
    assert (code, left_out) == (ReasonCode.FIELDS_LEFT_OUT, '["createdAt"]')
    assert any("createdAt" in entry.text for entry in (await explained(here, "order", "29")).timeline)


async def test_what_is_not_for_the_platform_keeps_its_code_and_its_order(here: Relay, web: httpx.AsyncClient) -> None:
    await send(web, "order.updated", an_order(30, status="checkout-draft"))
    stored = await rows(here.parts.engine, "SELECT kind, order_ref, reason_code FROM message")
    assert stored == [("ignored", "30", ReasonCode.NOT_APPLICABLE)]
    explanation = await explained(here, "order", "30")
    assert (explanation.matched, explanation.cause) == (True, "ignored")
    assert "checkout-draft" in explanation.text


async def test_errors_instead_of_entities_raise_an_alert_and_are_kept_one_by_one(
    here: Relay, web: httpx.AsyncClient
) -> None:
    topics = ("order.created", "order.updated", "customer.updated")
    receipts = [await send(web, topic, REFUSED) for topic in topics]
    assert [receipt["status"] for receipt in receipts] == ["accepted"] * 3
    async with here.parts.engine.connect() as connection:
        [alert] = [alert for alert in await open_alerts(connection) if alert.subject == SOURCE]
    assert alert.reason.code is ReasonCode.STORE_WEBHOOKS_REFUSED
    assert "WordPress user who owns the webhook 12" in alert.reason.text
    assert "cannot_view" in alert.reason.text
    assert "relay webhooks install --remove, then relay webhooks install" in alert.reason.next_step
    for by, key in (("order", "31"), ("message", receipts[0]["id"])):
        assert (await explained(here, by, key)).cause == "webhooks_refused"  # type: ignore[arg-type]  # both are keys


async def test_only_an_invalid_id_means_deleted(here: Relay, web: httpx.AsyncClient) -> None:
    await send(web, "order.updated", GONE)
    assert await rows(here.parts.engine, "SELECT kind, reason_code FROM message") == [
        ("ignored", ReasonCode.GONE_FROM_STORE)
    ]
    assert await rows(here.parts.engine, "SELECT code FROM alert WHERE code LIKE 'store_webhooks%'") == []


async def test_erased_orders_are_not_merged_and_make_no_customer(
    here: Relay, web: httpx.AsyncClient, platform: Simulator
) -> None:
    for number in (41, 42):
        await send(web, "order.updated", an_order(number, billing={"email": f"guest{number}@example.com"}))
    await here.drained(20)
    later = {"billing": {"email": "deleted@site.invalid"}, "date_modified_gmt": "2026-02-02T00:00:00"}
    for number in (41, 42, 43):
        await send(web, "order.updated", an_order(number, **later))
    await here.drained(20)
    emails = {number: sent[0]["order"]["email"] for number, sent in platform.state("orders").items()}
    assert emails == {"41": "guest41@example.com", "42": "guest42@example.com"}
    assert not any("invalid" in customer for customer in platform.state("customers"))
    assert ("order:43", "skipped", ReasonCode.NO_BUYER) in await jobs(here)
    assert (await explained(here, "order", "43")).cause == "no_buyer"


async def test_lists_count_what_they_cannot_read(here: Relay, shop: Simulator) -> None:
    broken = [an_order(51), an_order(52, currency="EURO"), an_order(53, total="none"), an_order(54)]
    shop.control("seed", orders=broken)
    store: object = here.parts.store
    assert isinstance(store, ListsEntities)
    result = await backfill(here.parts.inbox, store, SOURCE, EventKind.ORDER, None)
    assert (result.seen, result.new, result.unreadable, result.complete) == (4, 4, 2, False)
    again = await backfill(here.parts.inbox, store, SOURCE, EventKind.ORDER, None)
    assert (again.seen, again.new, again.unreadable) == (4, 0, 2)
    polled = await poll(here.parts.engine, here.parts.inbox, store, SOURCE, EventKind.ORDER)
    assert polled is not None
    assert (polled.seen, polled.unreadable, polled.complete) == (4, 2, False)
    await here.drained(20)
    dead = await rows(here.parts.engine, "SELECT lane FROM job WHERE dead ORDER BY lane")
    assert dead == [("order:52",), ("order:53",)]
    view = await here.reconciled()
    assert view.unreadable == {"orders": 2}
    assert (view.complete, view.difference_count) == (False, 0)


@pytest.mark.parametrize("words", [("backfill", "orders"), ("poll", "orders"), ("reconcile", "orders")])
async def test_the_commands_end_with_1(
    shop: Simulator,
    platform: Simulator,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, str],
) -> None:
    shop.control("seed", orders=[an_order(61, currency="EURO")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STORE__ADAPTER", SOURCE)
    result = await asyncio.to_thread(CliRunner().invoke, cli, list(words))
    assert result.exit_code == 1, result.output
    expected = (
        "The list of orders is not complete; 1 of them could not be read"
        if words[0] == "reconcile"
        else "1 seen, 1 new, 1 unreadable"
    )
    assert expected in " ".join(result.output.split())


async def test_the_alert_ends_a_day_after_it_was_raised(here: Relay, web: httpx.AsyncClient) -> None:
    await send(web, "order.updated", REFUSED)
    opened = "SELECT count(*) FROM alert WHERE code = 'store_webhooks_refused' AND resolved_at IS NULL"
    assert await rows(here.parts.engine, opened) == [(1,)]
    async with here.parts.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alert SET at = at - interval '25 hours'")
    await watch_queue(here.parts.engine, OldestWaiting())
    assert await rows(here.parts.engine, opened) == [(0,)]


async def test_an_unreadable_order_that_is_fetched_is_rejected_and_not_tried_for_days(
    here: Relay, shop: Simulator
) -> None:
    shop.control("seed", orders=[an_order(71, currency="EURO"), an_order(72, status="trash")])
    fetch = FetchEntity(
        here.parts.store, SOURCE, here.parts.inbox.accept, partial(watch_lane, here.parts.engine, "platform")
    )
    outcome = await fetch(job("fetch_entity", b"", params={"kind": "orders", "id": "71"}))
    assert isinstance(outcome, Reject), outcome
    assert (outcome.reason.code, outcome.reason.facts["field"]) == (ReasonCode.ENTITY_UNREADABLE, "currency")
    assert isinstance(await fetch(job("fetch_entity", b"", params={"kind": "orders", "id": "72"})), Skip)
