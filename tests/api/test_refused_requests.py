"""Refused requests: what is kept of them, of whom, how much at most, and that no response waits for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any  # Any: JSON

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.access import refused_requests
from platform_relay.access.refused_requests import MAX_AGE, PENDING, Refused, RefusedRequests, list_refused_requests
from platform_relay.privacy.identity import CustomerIdentity
from platform_relay.privacy.sweep import sweep
from platform_relay.settings import Settings
from tests.api.served import Caller
from tests.helpers import eventually

CANARY = "jane.canary@example.com"


async def kept(operator: httpx.AsyncClient, number: int) -> list[dict[str, Any]]:
    """The list, as soon as it has so many requests."""

    async def there() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await operator.get("/v1/refused-requests")).raise_for_status().json()["items"]
        assert sum(item["requests"] for item in items) == number, items
        return items

    return await eventually(there, 20)


async def everything(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return str((await connection.execute(text("SELECT CAST(refused_request AS text) FROM refused_request"))).all())


async def test_what_is_kept_of_each_kind(
    store: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    calling: Caller,
    engine: AsyncEngine,
) -> None:
    wrong = await calling("a-wrong-key")
    body = {"id": "42", "email": "nobody", "birthdayMonth": 13, CANARY: {"firstName": CANARY}}
    for client, path, request, status in (
        (store, "/v1/events/customers", {"json": body}, 422),
        (store, "/v1/events/customers", {"content": f"id={CANARY}"}, 422),
        (store, "/v1/events/customers", {"content": b"{}", "headers": {"content-encoding": "gzip"}}, 415),
        (store, "/v1/jobs/retry", {"json": {}}, 403),
        (anonymous, "/v1/events/customers", {"json": body}, 401),
        (wrong, "/v1/events/orders", {"json": body}, 401),
        (anonymous, f"/v1/webhooks/platform/mistyped-{CANARY}", {"json": body}, 404),
        (operator, f"/v1/jobs/retry?{CANARY}=1", {"json": {CANARY: 1}}, 422),
    ):
        assert (await client.post(path, **request)).status_code == status, (path, request)
    assert (await operator.get("/v1/jobs/01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a12")).status_code == 404
    assert (await operator.get("/v1/nowhere")).status_code == 404
    assert (await store.post("/v1/events/customers", json={"id": "42"})).status_code == 202
    items = await kept(operator, 8)
    shown = {(item["key"], item["route"], item["status"], item["problem"], *item["fields"]) for item in items}
    assert shown == {
        ("store", "/v1/events/customers", 422, "fields-invalid", "email", "birthdayMonth"),
        ("store", "/v1/events/customers", 422, "not-json", "body"),
        ("store", "/v1/events/customers", 415, "encoding-refused"),
        ("store", "/v1/jobs/retry", 403, "scope-missing"),
        (None, "/v1/events/customers", 401, "key-missing"),
        (None, "/v1/events/orders", 401, "key-refused"),
        (None, "/v1/webhooks/platform/{webhook_secret}", 404, "webhook-secret-wrong"),
        ("operator", "/v1/jobs/retry", 422, "fields-invalid", "other.other.other"),
    }
    shapes = {(item["key"], item["problem"]): item["body_shape"] for item in items}
    assert shapes[("store", "fields-invalid")] == {
        "id": "text",
        "email": "text",
        "birthdayMonth": "number",
        "other-1": {"firstName": "text"},
    }
    assert shapes[("store", "not-json")] == "not JSON"
    assert all(item["body_shape"] is None for item in items if item["key"] is None)
    assert CANARY not in await everything(engine)
    counts = (await operator.get("/v1/refused-requests/counts")).json()
    assert counts["kept"] is True
    assert {"key": "store", "problem": "fields-invalid", "requests": 1} in counts["counts"]


async def test_equal_requests_within_a_second_are_one_row(
    store: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    for _ in range(20):
        await store.post("/v1/events/customers", json={"id": ""})
    items = await kept(operator, 20)
    assert len(items) <= 5


class TestSwitchedOff:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"refused_requests": False})

    async def test_nothing_is_kept(self, store: httpx.AsyncClient, parts: wiring.Services) -> None:
        assert parts.refused_requests is None
        assert (await store.post("/v1/events/customers", json={})).status_code == 422
        assert (await store.get("/v1/refused-requests")).json()["items"] == []
        assert (await store.get("/v1/refused-requests/counts")).json() == {"kept": False, "counts": []}


def refused(number: int, at: datetime | None = None) -> Refused:
    return Refused(
        at or datetime.now(UTC), "store", "POST", f"/v1/route-{number}", 422, "fields-invalid", body=b'{"id": 1}'
    )


async def test_a_flood_costs_the_limit_and_is_counted(engine: AsyncEngine) -> None:
    dropped: list[int] = []
    requests = RefusedRequests(engine, dropped.append)
    for number in range(100_000):
        requests.note(refused(number % 10_000))
    await requests.write()
    await requests.aclose()
    async with engine.connect() as connection:
        page = await list_refused_requests(connection, limit=200)
    assert len(page.items) == PENDING
    assert sum(item.requests for item in page.items) + sum(dropped) == 100_000


async def test_rows_are_bounded_in_number_and_age(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_requests, "KEPT", 5)
    requests = RefusedRequests(engine)
    for start in (0, 4):
        for number in range(start, start + 4):
            requests.note(refused(number))
        await requests.write()
    async with engine.begin() as connection:
        routes = [item.route for item in (await list_refused_requests(connection)).items]
        assert routes == [f"/v1/route-{number}" for number in (7, 6, 5, 4, 3)]
        old = int((datetime.now(UTC) - MAX_AGE - timedelta(minutes=1)).timestamp() * 1000)
        await connection.execute(
            text("UPDATE refused_request SET id = CAST(:id AS uuid) WHERE route = '/v1/route-3'"),
            {"id": f"{old >> 16:08x}-{old & 0xFFFF:04x}-7000-8000-000000000000"},
        )
    await refused_requests.prune_refused_requests(engine)
    async with engine.connect() as connection:
        assert len((await list_refused_requests(connection)).items) == 4
    await requests.aclose()


async def test_what_cannot_be_written_is_counted_and_stops_nothing(engine: AsyncEngine) -> None:
    dropped: list[int] = []
    requests = RefusedRequests(engine, dropped.append)
    requests.note(Refused(datetime.now(UTC), "a\x00b", "POST", "/v1/x", 422, "fields-invalid"))
    await requests.write()
    assert dropped == [1]
    requests.note(refused(1))
    await requests.aclose()
    async with engine.connect() as connection:
        assert len((await list_refused_requests(connection)).items) == 1


async def test_no_response_waits_for_the_write(
    store: httpx.AsyncClient, operator: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """While another session locks the table, requests are answered, refused and accepted."""
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE refused_request IN ACCESS EXCLUSIVE MODE"))
        async with asyncio.timeout(10):
            for number in range(1, 4):
                assert (await store.post("/v1/events/customers", json={"id": ""})).status_code == 422
                assert (await store.post("/v1/events/customers", json={"id": str(number)})).status_code == 202
    await kept(operator, 3)


async def test_the_erasure_reads_the_shapes(engine: AsyncEngine) -> None:
    """No shape names a customer; if an earlier release wrote one that does, the erasure removes it."""
    requests = RefusedRequests(engine)
    requests.note(refused(1))
    await requests.aclose()
    async with engine.begin() as connection:
        planted = {"shape": f'{{"{CANARY}": ["{CANARY}"]}}'}
        await connection.execute(text("UPDATE refused_request SET body_shape = CAST(:shape AS jsonb)"), planted)
    assert (await sweep(engine, CustomerIdentity.of([], [CANARY])))["refused_request"] == 1
    assert CANARY not in await everything(engine)
