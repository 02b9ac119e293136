"""Events and store webhooks over 1 MiB, what is refused, and how an operator sees it."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from platform_relay import wiring
from platform_relay.alerts.alerts import open_alerts
from platform_relay.api.store_webhooks import LARGE_BODIES
from platform_relay.core.errors import LargeBodiesBusy
from platform_relay.inbox.messages import JobKind
from platform_relay.queue.queue import Queue
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from tests.api.served import STORE_KEY, serving
from tests.database.engine_room import rows
from tests.helpers import eventually

SECRET = "woo-webhook-secret-0123456789"
WEBHOOKS = "/v1/store-webhooks/woocommerce"
LIMIT = 2 << 20


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("WOOCOMMERCE__URL", "https://shop.example")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_key_for_tests")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_secret_for_tests")
    monkeypatch.setenv("WOOCOMMERCE__WEBHOOK_SECRET", SECRET)
    return settings.model_copy(update={"store": StoreSettings(adapter="woocommerce"), "event_limit": LIMIT})


@pytest.fixture
async def client(web: tuple[wiring.Services, str]) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {STORE_KEY}"}
    async with httpx.AsyncClient(base_url=web[1], headers=headers, timeout=90) as client:
        yield client


def order(lines: int, padding: int = 1500, codes: int = 0) -> bytes:
    """A WooCommerce order with texts that the relay does not forward."""
    line = {"product_id": 7, "name": "Mug", "quantity": 1, "price": 1.5, "meta_data": [{"value": "ä" * padding}]}
    members = {
        "id": 44, "status": "processing", "currency": "EUR", "total": "10.00", "date_modified_gmt": "2026-01-01T00:00:00",
        "customer_id": 4, "line_items": [line] * lines, "coupon_lines": [{"code": f"c{n}"} for n in range(codes)],
    }  # fmt: skip
    return json.dumps(members, ensure_ascii=False).encode()


def signed(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = base64.b64encode(hmac.digest(secret.encode(), raw, hashlib.sha256)).decode()
    return {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature}


async def test_a_byte_order_mark_is_signed_and_changes_nothing(client: httpx.AsyncClient, engine: AsyncEngine) -> None:
    """A PHP file of the store that begins with it puts it before everything."""
    raw = b"\xef\xbb\xbf" + order(1)
    answer = await client.post(WEBHOOKS, content=raw, headers=signed(raw))
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    assert await rows(engine, "SELECT kind, lane FROM job") == [("forward_order", "order:44")]
    again = await client.post(WEBHOOKS, content=order(1), headers=signed(order(1)))
    assert again.json() == {"id": answer.json()["id"], "status": "duplicate"}
    assert (await client.post(WEBHOOKS, content=raw, headers=signed(order(1)))).status_code == 401


async def test_a_webhook_over_a_mebibyte_is_stored_as_it_is(
    client: httpx.AsyncClient, parts: wiring.Services, engine: AsyncEngine
) -> None:
    raw = order(400)
    assert 1 << 20 < len(raw) < LIMIT
    answer = await client.post(WEBHOOKS, content=raw, headers=signed(raw))
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    assert parts.compute.pid is not None  # another process parsed it
    [(body, event)] = await rows(engine, "SELECT body, event FROM message")
    assert bytes(body) == raw  # type: ignore[call-overload]  # a column of bytes
    assert len(json.loads(bytes(event))["lineItems"]) == 400  # type: ignore[call-overload]  # as above
    assert await rows(engine, "SELECT kind, lane FROM job") == [("forward_order", "order:44")]
    again = await client.post(WEBHOOKS, content=raw, headers=signed(raw))
    assert again.json() == {"id": answer.json()["id"], "status": "duplicate"}


async def test_an_event_over_a_mebibyte_is_accepted_and_a_wrong_one_is_explained(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    accepted = await client.post("/v1/events/customers", json={"id": "1", "note": "x" * (1 << 20)})
    assert accepted.status_code == 202
    refused = await client.post("/v1/events/customers", json={"id": "1", "tags": ["x"] * 400_000})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "tags", "message": "has 400,000 elements; at most 1,000 are allowed"}]
    line = json.dumps({"type": "customers", "event": {"id": "2", "note": "x" * 200_000}})
    wrong = json.dumps({"type": "customers", "event": {"id": "3", "tags": ["x"] * 20_000}})
    batch = await client.post("/v1/events/batch", content=f"{line}\n{wrong}\n")
    first, second = (json.loads(text) for text in batch.text.splitlines())
    assert (first["status"], second["status"]) == ("accepted", "refused")
    assert second["problem"]["detail"] == "`tags` has 20,000 elements; at most 1,000 are allowed."
    assert await rows(engine, "SELECT lane FROM job ORDER BY lane") == [("customer:1",), ("customer:2",)]


async def test_what_is_refused_is_logged_and_counted(
    client: httpx.AsyncClient, parts: wiring.Services, engine: AsyncEngine
) -> None:
    large, small, too_large = order(100), order(1), order(1, LIMIT)
    headers = {"content-type": "application/json"}
    with capture_logs() as logs:
        for raw, secret, status in (
            (large, "another secret", 401), (small, "another secret", 401), (too_large, SECRET, 413),
        ):  # fmt: skip
            answer = await client.post(WEBHOOKS, content=raw, headers={**headers, **signed(raw, secret)})
            assert answer.status_code == status
        assert (await client.post("/v1/webhooks/platform/wrong", content=b"{}")).status_code == 404
        assert (await client.post("/v1/events/customers", content=b"{")).status_code == 422
    refused = [(line["route"], line["reason"], line["size"]) for line in logs if line["event"] == "body_refused"]
    store, platform = "/v1/store-webhooks/{adapter}", "/v1/webhooks/platform/{webhook_secret}"
    assert refused == [
        (store, "signature-refused", len(large)),
        (store, "signature-refused", len(small)),
        (store, "body-too-large", len(too_large)),
        (platform, "webhook-secret-wrong", None),
        ("/v1/events/customers", "not-json", 1),
    ]
    value = parts.metrics.registry.get_sample_value
    assert value("relay_bodies_refused_total", {"route": store, "reason": "signature-refused"}) == 2.0
    assert value("relay_bodies_refused_total", {"route": store, "reason": "body-too-large"}) == 1.0
    assert await rows(engine, "SELECT count(*) FROM message") == [(0,)]


async def test_a_refused_webhook_is_shown_to_the_operator(
    client: httpx.AsyncClient, engine: AsyncEngine, parts: wiring.Services
) -> None:
    """Not one without a signature or a topic, and not one of another store: anyone can send those."""
    raw, too_large = order(1), order(1, LIMIT)
    await client.post(WEBHOOKS, content=raw)
    await client.post("/v1/store-webhooks/shopify", content=raw, headers={"x-shopify-hmac-sha256": "x"})
    await client.post("/v1/webhooks/platform/wrong", content=b"{}")
    await client.post("/v1/events/orders", content=b"{", headers={"x-webhook-topic": "x", "x-signature": "x"})
    async with engine.connect() as connection:
        assert await open_alerts(connection) == []
    assert (await client.post(WEBHOOKS, content=too_large, headers=signed(too_large))).status_code == 413
    blank = {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": ""}  # woocommerce/woocommerce #48675
    assert (await client.post(WEBHOOKS, content=raw, headers=blank)).status_code == 401
    topic = {"x-webhook-topic": "points/redeemed"}
    assert (
        await client.post("/v1/webhooks/platform/s3cret-of-a-caller", content=b"{}", headers=topic)
    ).status_code == 404
    async with engine.connect() as connection:
        alerts = await open_alerts(connection)
    assert [(alert.subject, alert.reason.facts["error"]) for alert in alerts] == [
        ("woocommerce", "body-too-large"),
        ("platform", "not-found"),
    ]
    assert f"The body is larger than the {LIMIT:,} bytes" in alerts[0].reason.text
    assert "s3cret" not in alerts[1].reason.text
    explained = await client.get("/v1/explain?order=44")
    assert explained.json()["cause"] == "webhooks_not_accepted", explained.text


async def test_the_process_ends_with_the_relay(settings: Settings, database_url: str) -> None:
    async with serving(settings, database_url) as (parts, url), httpx.AsyncClient(base_url=url, timeout=90) as client:
        raw = order(100)
        assert (await client.post(WEBHOOKS, content=raw, headers=signed(raw))).status_code == 200
        assert parts.compute.pid is not None
        os.kill(parts.compute.pid, 0)
        pid = parts.compute.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_slow_senders_do_not_stop_a_large_webhook_without_limit(
    web: tuple[wiring.Services, str], client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.api.store_webhooks.LARGE_BODY_WAIT", 0.2)
    head = f"POST {WEBHOOKS} HTTP/1.1\r\nHost: relay\r\nContent-Length: {LIMIT}\r\n\r\n{{".encode()
    slow = [await asyncio.open_connection("127.0.0.1", urlsplit(web[1]).port) for _ in range(LARGE_BODIES)]
    for _, writer in slow:
        writer.write(head)
        await writer.drain()
    raw = order(400)

    async def refused() -> httpx.Response | None:
        answer = await client.post(WEBHOOKS, content=raw, headers=signed(raw, "wrong"))
        return answer if answer.status_code == 503 else None

    answer = await eventually(refused, 20)
    assert answer is not None
    assert (answer.headers["retry-after"], answer.json()["title"]) == ("2", LargeBodiesBusy.title)
    small = order(1)
    assert (await client.post(WEBHOOKS, content=small, headers=signed(small))).status_code == 200
    for _, writer in slow:
        writer.close()
        await writer.wait_closed()

    async def accepted() -> bool:
        return (await client.post(WEBHOOKS, content=raw, headers=signed(raw))).status_code == 200

    assert await eventually(accepted, 20)


async def test_a_job_does_not_wait_for_the_process_of_the_requests(
    client: httpx.AsyncClient, parts: wiring.Services, engine: AsyncEngine
) -> None:
    event = {"id": "1", "email": "ada@example.com", "note": "x" * (1 << 20)}
    assert (await client.post("/v1/events/customers", json=event)).status_code == 202
    occupied = asyncio.create_task(parts.compute.run(partial(time.sleep, 60)))
    [job] = await Queue(engine, "platform").claim(1, lease=30)
    async with wiring.clients(parts) as clients, asyncio.timeout(30):
        await wiring.handlers(parts, clients)[JobKind.FORWARD_CUSTOMER](job)
    assert not occupied.done()
    assert parts.worker_compute.pid is not None
    occupied.cancel()
    await asyncio.gather(occupied, return_exceptions=True)
