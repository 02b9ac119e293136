"""Errors: authentication, limits, routing, and failures of the relay."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.access import api_keys
from platform_relay.settings import Settings
from tests.api.served import OPERATOR_KEY, STORE_KEY, WEBHOOK_SECRET, Caller, Stored, serving
from tests.helpers import free_port

CUSTOMER = {"id": "42"}
URN = "urn:platform-relay:problem:"


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document["detail"]
    assert document["next_step"]
    return answer.status_code, document["type"].removeprefix(URN)


async def test_a_missing_or_wrong_key_is_rejected(anonymous: httpx.AsyncClient, stored: Stored) -> None:
    for header, expected in (
        (None, "key-missing"),
        ("", "key-missing"),
        ("Bearer", "key-missing"),
        (f"Basic {STORE_KEY}", "key-missing"),
        ("Bearer wrong", "key-refused"),
        (f"Bearer {STORE_KEY}x", "key-refused"),
    ):
        headers = {} if header is None else {"authorization": header}
        answer = await anonymous.post("/v1/events/customers", json=CUSTOMER, headers=headers)
        assert problem(answer) == (401, expected), header
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert STORE_KEY not in answer.text
    assert await stored() == 0


async def test_the_key_is_checked_before_the_body_is_read(anonymous: httpx.AsyncClient) -> None:
    assert problem(await anonymous.post("/v1/events/customers", content=b"not json")) == (401, "key-missing")


async def test_a_scope_is_required(store: httpx.AsyncClient, operator: httpx.AsyncClient) -> None:
    assert problem(await store.post("/v1/jobs/retry", json={})) == (403, "scope-missing")
    assert problem(await store.put("/v1/reward-rules/a", json={})) == (403, "scope-missing")
    assert (await operator.post("/v1/jobs/retry", json={})).status_code == 200


async def test_stored_keys_have_scopes_and_expire(
    calling: Caller, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.api.authentication.CACHE_SECONDS", 0.0)
    key = await api_keys.create(engine, "reporting", ["read"], by="test")
    reader = await calling(key)
    assert (await reader.get("/v1/jobs/counts")).status_code == 200
    assert problem(await reader.post("/v1/events/customers", json=CUSTOMER)) == (403, "scope-missing")
    [known] = await api_keys.list_keys(engine)
    await api_keys.revoke(engine, known.id, by="test")
    assert problem(await reader.get("/v1/jobs/counts")) == (401, "key-refused")
    expired = hashlib.sha256(b"expired-key").digest()
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO api_key (id, name, hash, scopes, created_at, expires_at)"
                " VALUES (gen_random_uuid(), 'old', :hash, '{read}', now(), now() - interval '1 second')"
            ),
            {"hash": expired},
        )
    assert problem(await (await calling("expired-key")).get("/v1/jobs/counts")) == (401, "key-refused")


async def test_a_body_over_the_limit_is_rejected(store: httpx.AsyncClient, stored: Stored, settings: Settings) -> None:
    body = json.dumps({"id": "1", "note": "x" * settings.event_limit}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    assert problem(await store.post("/v1/events/customers", content=body)) == (413, "body-too-large")
    assert problem(await store.post("/v1/events/customers", content=chunks())) == (413, "body-too-large")
    webhook = f"/v1/webhooks/platform/{WEBHOOK_SECRET}"
    assert problem(await store.post(webhook, content=body)) == (413, "body-too-large")
    assert await stored() == 0
    exact = json.dumps({"id": "1", "note": ""}).encode()
    fitting = exact.replace(b'""', b'"' + b"x" * (settings.event_limit - len(exact)) + b'"')
    assert (await store.post("/v1/events/customers", content=fitting)).status_code == 202


async def test_a_content_length_over_the_limit_is_rejected_before_the_body_arrives(
    web: tuple[wiring.Services, str],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(web[1]).port)
    writer.write(
        b"POST /v1/events/customers HTTP/1.1\r\nHost: relay\r\nContent-Length: 999999999\r\n"
        b"Authorization: Bearer " + STORE_KEY.encode() + b"\r\n\r\n"
    )
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()


async def test_a_slow_body_times_out(web: tuple[wiring.Services, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform_relay.api.request_body.SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(web[1]).port)
    writer.write(
        b"POST /v1/events/customers HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer " + STORE_KEY.encode() + b'\r\n\r\n{"id'
    )
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()


async def test_a_compressed_body_is_rejected(store: httpx.AsyncClient) -> None:
    answer = await store.post("/v1/events/customers", content=b"{}", headers={"content-encoding": "gzip"})
    assert problem(answer) == (415, "encoding-refused")
    plain = {"content-encoding": "identity"}
    assert (await store.post("/v1/events/customers", json=CUSTOMER, headers=plain)).status_code == 202


async def test_unknown_paths_methods_and_parameters(store: httpx.AsyncClient) -> None:
    assert problem(await store.get("/")) == (404, "not-found")
    assert problem(await store.post("/v1/events/carts", json={})) == (405, "method-not-allowed")
    assert problem(await store.post("/v1/events/customers/", json=CUSTOMER)) == (404, "not-found")
    wrong = await store.delete("/v1/events/customers")
    assert problem(wrong) == (405, "method-not-allowed")
    assert "POST" in wrong.headers["allow"] or "GET" in wrong.headers["allow"]
    assert problem(await store.get("/v1/jobs?limit=0&state=odd")) == (422, "query-invalid")


@pytest.mark.parametrize(
    ("method", "path", "advice"),
    [
        ("POST", "/v1/events/customers/", "The path ends with a slash. The right path is `/v1/events/customers`."),
        ("POST", "//v1/events//customers", "has several slashes in a row. The right path is `/v1/events/customers`."),
        ("POST", "/v1/event/order", "The nearest path is `/v1/events/orders`."),
        ("POST", "/events/orders", "The nearest path is `/v1/events/orders`."),
        ("POST", "/V1/Events/Orders", "The nearest path is `/v1/events/orders`."),
        ("POST", "/loyalty/v1/events/orders", "The nearest path is `/v1/events/orders`."),
        ("POST", "/v1/events/order", "The nearest path is `/v1/events/orders`."),  # 405, because of GET /v1/events/{id}
        ("POST", "/v1/webhooks/platform/s3cret/", "The right path is `/v1/webhooks/platform/{webhook_secret}`."),
        ("POST", "/v1/webhook/platform/s3cret", "The nearest path is `/v1/webhooks/platform/{webhook_secret}`."),
        ("POST", "/v1/store-webhook/s3cret", "The nearest path is `/v1/store-webhooks/{adapter}`."),
        ("GET", "/healthz/", "The right path is `/healthz`."),
        ("PUT", "/v1/events/orders", "This path does not support PUT, only "),
        ("POST", "/wp-login.php", ""),
        ("POST", "/" + "v1/" * 5000, ""),
    ],
)
async def test_a_near_miss_names_the_right_path_and_no_secret(
    anonymous: httpx.AsyncClient, method: str, path: str, advice: str
) -> None:
    """Nothing is redirected: the body of a POST would be lost."""
    answer = await anonymous.request(method, str(anonymous.base_url).rstrip("/") + path, json={})
    assert answer.status_code in (404, 405)
    detail = answer.json()["detail"]
    assert advice in detail
    assert bool(advice) == ("path" in detail)
    assert "s3cret" not in answer.text
    assert "location" not in answer.headers


MARK = b"\xef\xbb\xbf"


async def test_a_byte_order_mark_belongs_to_the_encoding(store: httpx.AsyncClient, operator: httpx.AsyncClient) -> None:
    """A body is the same with and without it: for a repetition, for an Idempotency-Key, and as it is stored."""
    body = b'{"id":"971","email":"bom@example.org","updatedAt":"2026-05-01T10:00:00Z"}'
    for path, headers, content in (
        ("/v1/events/customers", {}, body),
        ("/v1/events/customers", {"idempotency-key": "bom"}, body.replace(b"971", b"972")),
    ):
        first = await store.post(path, content=content, headers=headers)
        second = await store.post(path, content=MARK + content, headers=headers)
        assert (first.status_code, second.status_code) == (202, 200), second.text
        assert first.json()["id"] == second.json()["id"]
    fresh = await store.post("/v1/events/customers", content=MARK + b'{"id":"973"}')
    assert fresh.status_code == 202
    line = b'{"type":"customers","event":{"id":"974"}}'
    batch = await store.post("/v1/events/batch", content=MARK + line + b"\r\n" + MARK + line)
    assert [json.loads(one).get("status") for one in batch.text.splitlines()] == ["accepted", "accepted"], batch.text
    rule = await operator.put("/v1/reward-rules/r-1", content=MARK + b'{"kind":"free_shipping"}')
    assert rule.status_code in (200, 201), rule.text
    erased = await operator.post("/v1/customers/export", content=MARK + b'{"customer":"973"}')
    assert erased.status_code == 200, erased.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"id":"1"}'.encode("utf-16"), "The body is UTF-16; send JSON as UTF-8."),
        ('{"id":"1"}'.encode("utf-16-le"), "The body is UTF-16; send JSON as UTF-8."),
        ('{"id":"1"}'.encode("utf-32"), "The body is UTF-32; send JSON as UTF-8."),
        (
            b'{"id":"1","name":"J\xf6rg"}',
            "The body is not UTF-8: the byte 0xF6 at position 19 is not valid; send JSON as UTF-8.",
        ),
        (MARK, "EOF while parsing a value"),
    ],
)
async def test_another_encoding_is_named(
    store: httpx.AsyncClient, operator: httpx.AsyncClient, content: bytes, reason: str
) -> None:
    for client, method, path in ((store, "POST", "/v1/events/customers"), (operator, "PUT", "/v1/reward-rules/r-1")):
        answer = await client.request(
            method, path, content=content, headers={"content-type": "application/json; charset=utf-16"}
        )
        assert problem(answer) == (422, "not-json")
        assert reason in answer.json()["detail"]


async def test_a_nul_in_the_url_is_rejected(operator: httpx.AsyncClient) -> None:
    assert problem(await operator.get("/v1/reward-rules/%00")) == (404, "not-found")
    assert problem(await operator.get("/v1/coupons?customer=%00")) == (422, "query-invalid")


async def test_a_form_with_too_many_fields_is_rejected(web: tuple[wiring.Services, str]) -> None:
    async with httpx.AsyncClient(base_url=web[1], headers={"origin": web[1]}) as browser:
        assert (await browser.post("/console/login", content=b"a=b&" * 101)).status_code == 422


async def test_every_response_has_the_security_headers(store: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/nowhere", "/docs", "/v1/jobs/counts"):
        headers = (await store.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


async def test_an_unavailable_database_is_503_with_retry_after(settings: Settings) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere"
    async with (
        serving(settings, nowhere) as (_, address),
        httpx.AsyncClient(base_url=address, headers={"authorization": f"Bearer {OPERATOR_KEY}"}) as client,
    ):
        for answer in (
            await client.post("/v1/events/customers", json=CUSTOMER),
            await client.post("/v1/events/batch", content=b'{"type":"customers","event":{"id":1}}'),
            await client.post(f"/v1/webhooks/platform/{WEBHOOK_SECRET}", json={}),
            await client.get("/v1/jobs/counts"),
            await client.post("/v1/jobs/retry", json={}),
            await client.put("/v1/reward-rules/a", json={"kind": "free_shipping"}),
            await client.get("/v1/jobs/counts", headers={"authorization": "Bearer some-key-of-the-table"}),
        ):
            assert problem(answer) == (503, "database-away"), answer.request.url
            assert int(answer.headers["retry-after"]) > 0
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert "relay_database_up 0.0" in (await client.get("/metrics")).text


async def test_an_internal_error_reveals_only_an_incident_id(
    store: httpx.AsyncClient,
    parts: wiring.Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the innermost secret")

    monkeypatch.setattr(parts.inbox, "accept", broken)
    with caplog.at_level(logging.ERROR):
        answer = await store.post("/v1/events/customers", json=CUSTOMER)
    assert problem(answer) == (500, "internal-error")
    assert answer.json()["instance"].startswith("urn:uuid:")
    assert "innermost" not in answer.text
    assert "Traceback" not in answer.text
