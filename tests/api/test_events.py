"""Events of the store: POST /v1/events/… and GET /v1/events/{message_id}."""

import json
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.served import Stored

CUSTOMER = {"id": "42", "email": "ada@example.com", "favourite": "tea"}
ORDER = {"id": "1001", "customerId": "42", "financialStatus": "paid", "currency": "EUR", "totalPrice": "19.98"}
PRODUCT = {"id": "7", "title": "Teapot"}


@pytest.mark.parametrize(("kind", "body"), [("customers", CUSTOMER), ("orders", ORDER), ("products", PRODUCT)])
async def test_an_event_is_stored_as_sent_with_a_job(
    store: httpx.AsyncClient, engine: AsyncEngine, kind: str, body: dict[str, str]
) -> None:
    raw = json.dumps(body, indent=1).encode()
    answer = await store.post(f"/v1/events/{kind}", content=raw)
    receipt = answer.json()
    assert answer.status_code == 202
    assert receipt == {"id": receipt["id"], "status": "accepted", "links": {"self": f"/v1/events/{receipt['id']}"}}
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT id, kind, body FROM message"))).one()
        jobs = (await connection.execute(text("SELECT message_id, state FROM job"))).all()
    assert (row.id, row.kind, bytes(row.body)) == (UUID(receipt["id"]), kind, raw)
    assert [tuple(job) for job in jobs] == [(UUID(receipt["id"]), "waiting")]


async def test_the_receipt_links_to_the_event(store: httpx.AsyncClient) -> None:
    receipt = (await store.post("/v1/events/orders", json=ORDER)).json()
    answer = await store.get(receipt["links"]["self"])
    message = answer.json()
    assert answer.status_code == 200
    assert (message["id"], message["kind"], message["state"]) == (receipt["id"], "orders", "waiting")
    [job] = message["jobs"]
    assert (job["kind"], job["lane"], job["state"], job["attempts"]) == ("forward_order", "order:1001", "waiting", [])
    assert (job["reason_code"], job["facts"]) == (None, None)
    assert job["text"]
    assert job["next_step"]


async def test_the_same_key_and_body_gets_the_first_receipt(store: httpx.AsyncClient, stored: Stored) -> None:
    first = await store.post("/v1/events/customers", json=CUSTOMER, headers={"Idempotency-Key": "a"})
    again = await store.post("/v1/events/customers", json=CUSTOMER, headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {**first.json(), "status": "duplicate"}
    assert await stored() == 1


async def test_the_same_key_with_another_body_is_a_conflict(store: httpx.AsyncClient, stored: Stored) -> None:
    first = await store.post("/v1/events/customers", json=CUSTOMER, headers={"Idempotency-Key": "a"})
    other = await store.post("/v1/events/customers", json={**CUSTOMER, "id": "43"}, headers={"Idempotency-Key": "a"})
    assert other.status_code == 409
    assert other.json()["type"] == "urn:platform-relay:problem:idempotency-conflict"
    assert first.json()["id"] in other.json()["detail"]
    assert await stored() == 1


async def test_an_invalid_idempotency_key_is_rejected(store: httpx.AsyncClient, stored: Stored) -> None:
    for key in (b"", b"two words", b"x" * 256, "na\u00efve".encode("latin-1")):
        headers = httpx.Headers([(b"idempotency-key", key)])
        answer = await store.post("/v1/events/customers", json=CUSTOMER, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key"), key
    assert await stored() == 0


BAD_CUSTOMERS = [
    (b"", "not-json", "body"),
    (b"{", "not-json", "body"),
    (b"id=1", "not-json", "body"),
    (b'{"id":"\xff"}', "not-json", "body"),
    (b"[" * 5000, "not-json", "body"),
    (b"[]", "fields-invalid", "body"),
    (b"{}", "fields-invalid", "id"),
    (b'{"id":1.5}', "fields-invalid", "id"),
    (b'{"id":true}', "fields-invalid", "id"),
    (b'{"id":""}', "fields-invalid", "id"),
    (b'{"id":"a","tags":["x",{"y":"\\u0000"}]}', "fields-invalid", "tags.1"),
    (b'{"id":"a","extra":{"deep":["\\u0000"]}}', "fields-invalid", "extra.deep.0"),
    (b'{"id":"a","extra":{"deep":["\\ud800"]}}', "fields-invalid", "extra.deep.0"),
    (b'{"id":"a","extra":NaN}', "fields-invalid", "extra"),
    (b'{"id":"a","extra":[-1e999]}', "fields-invalid", "extra.0"),
    (b'{"id":"a","birthdayMonth":13}', "fields-invalid", "birthdayMonth"),
    (b'{"id":"a","updatedAt":"2026-01-01T10:00:00"}', "fields-invalid", "updatedAt"),
]
BAD_ORDERS: list[tuple[dict[str, object], str]] = [
    ({"financialStatus": "bezahlt"}, "financialStatus"),
    ({"totalPrice": 0.1 + 0.2}, "totalPrice"),
    ({"totalPrice": "1,50"}, "totalPrice"),
    ({"currency": "euro"}, "currency"),
    ({"lineItems": [{"quantity": -1}]}, "lineItems.0.quantity"),
    ({"customerId": 4.2}, "customerId"),
]


async def test_an_invalid_customer_is_rejected_with_its_fields(store: httpx.AsyncClient, stored: Stored) -> None:
    for body, problem, field in BAD_CUSTOMERS:
        answer = await store.post("/v1/events/customers", content=body)
        document = answer.json()
        assert answer.status_code == 422, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert (document["type"], document["status"]) == (f"urn:platform-relay:problem:{problem}", 422), body
        assert [error["field"] for error in document["errors"]] == [field], body
        assert document["next_step"]
    assert await stored() == 0


async def test_an_invalid_order_is_rejected_with_its_fields(store: httpx.AsyncClient, stored: Stored) -> None:
    for change, field in BAD_ORDERS:
        answer = await store.post("/v1/events/orders", json={**ORDER, **change})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), change
        assert field in answer.json()["detail"]
    assert await stored() == 0


@pytest.mark.parametrize("field", ["lineItems", "discountCodes", "tags"])
async def test_only_the_first_invalid_element_is_reported(store: httpx.AsyncClient, field: str) -> None:
    """Describing each of a million elements would block the process for seconds."""
    kind, event = ("customers", CUSTOMER) if field == "tags" else ("orders", ORDER)
    answer = await store.post(f"/v1/events/{kind}", json={**event, field: [0] * 1000})
    assert [error["field"] for error in answer.json()["errors"]] == [f"{field}.0"]


async def test_ids_that_are_integers_are_kept_exactly(store: httpx.AsyncClient, engine: AsyncEngine) -> None:
    big = 9007199254740993123
    assert (await store.post("/v1/events/customers", content=f'{{"id":{big}}}')).status_code == 202
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT lane FROM job"))).scalar_one() == f"customer:{big}"


@pytest.mark.parametrize("guest", [0, "0", None])
async def test_the_customer_0_of_an_order_is_a_guest(
    store: httpx.AsyncClient, engine: AsyncEngine, guest: object
) -> None:
    for number in (1, 2):
        order = {**ORDER, "id": number, "customerId": guest, "email": f"guest{number}@example.com"}
        assert (await store.post("/v1/events/orders", json=order)).status_code == 202
    async with engine.connect() as connection:
        customers = (await connection.execute(text("SELECT customer_ref FROM message ORDER BY id"))).scalars().all()
        waits_for = (await connection.execute(text("SELECT depends_on FROM job ORDER BY id"))).scalars().all()
    assert customers == ["guest1@example.com", "guest2@example.com"]
    assert waits_for == ["customer:guest1@example.com", "customer:guest2@example.com"]


@pytest.mark.parametrize(
    ("kind", "event", "field", "explanation"),
    [
        ("customers", {"id": 0}, "id", "only customers with an account"),
        ("customers", {"id": "0"}, "id", "only customers with an account"),
        ("customers", {"id": "undefined"}, "id", "a missing value"),
        ("orders", {**ORDER, "customerId": "null"}, "customerId", "leave it out for guest orders"),
        ("orders", {**ORDER, "customerId": "None"}, "customerId", "leave it out for guest orders"),
    ],
)
async def test_an_id_that_is_no_customers_is_rejected(
    store: httpx.AsyncClient, stored: Stored, kind: str, event: dict[str, object], field: str, explanation: str
) -> None:
    """Otherwise all guests would be one customer at the Platform, with the name and address of the first."""
    answer = await store.post(f"/v1/events/{kind}", json=event)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert explanation in error["message"]
    line = json.dumps({"type": kind, "event": event})
    [batch] = [json.loads(row) for row in (await store.post("/v1/events/batch", content=line)).text.splitlines()]
    assert (batch["status"], batch["problem"]["errors"]) == ("refused", [error])
    assert await stored() == 0


async def test_backfill_is_delivered_after_live_events(store: httpx.AsyncClient, engine: AsyncEngine) -> None:
    await store.post("/v1/events/customers?backfill=true", json=CUSTOMER)
    await store.post("/v1/events/products", json=PRODUCT)
    odd = await store.post("/v1/events/products?backfill=maybe", json=PRODUCT)
    async with engine.connect() as connection:
        lanes = (await connection.execute(text("SELECT key, priority FROM lane ORDER BY key"))).all()
    assert [tuple(lane) for lane in lanes] == [("customer:42", 1), ("product:7", 0)]
    assert (odd.status_code, odd.json()["errors"][0]["field"]) == (422, "backfill")


async def test_an_unknown_event_is_not_found(store: httpx.AsyncClient) -> None:
    missing = await store.get("/v1/events/01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a11")
    odd = await store.get("/v1/events/42")
    assert (missing.status_code, odd.status_code) == (404, 422)
    assert odd.json()["errors"][0]["field"] == "message_id"
