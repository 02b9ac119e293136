"""Batches of events: POST /v1/events/batch."""

import json

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.api.batch import MAX_LINES
from platform_relay.api.event_bodies import spans
from tests.api.served import Stored

ORDER = {"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1.00"}


def line(kind: str, event: object, **more: object) -> str:
    return json.dumps({"type": kind, "event": event, **more})


async def post(store: httpx.AsyncClient, *lines: str) -> list[dict[str, object]]:
    answer = await store.post("/v1/events/batch", content="\n".join(lines))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(answered) for answered in answer.text.splitlines()]


async def test_valid_lines_are_stored_although_others_are_invalid(store: httpx.AsyncClient, stored: Stored) -> None:
    answers = await post(
        store,
        line("customers", {"id": 1}),
        "not json",
        line("orders", {**ORDER, "financialStatus": "odd"}),
        "",
        line("orders", ORDER, idempotencyKey="once"),
        line("orders", ORDER, idempotencyKey="once"),
        line("orders", {**ORDER, "id": "2"}, idempotencyKey="once"),
        line("carts", {"id": 1}),
        line("customers", {"id": 2}, idempotencyKey="two words"),
        json.dumps({"type": "customers"}),
        "[]",
        '{"type":"customers","event":{"id":"\\ud800"}}',
    )
    assert [(answer["line"], answer["status"]) for answer in answers] == [
        (1, "accepted"),
        (2, "refused"),
        (3, "refused"),
        (5, "accepted"),
        (6, "duplicate"),
        (7, "refused"),
        (8, "refused"),
        (9, "refused"),
        (10, "refused"),
        (11, "refused"),
        (12, "refused"),
    ]
    problems = [str(answer["problem"]["type"]).rpartition(":")[2] for answer in answers if "problem" in answer]  # type: ignore[index]  # JSON
    assert problems == [
        "not-json",
        "fields-invalid",
        "idempotency-conflict",
        "fields-invalid",
        "header-invalid",
        "fields-invalid",
        "not-json",
        "fields-invalid",
    ]
    assert answers[4]["id"] == answers[3]["id"]
    assert await stored() == 2


async def test_an_event_is_stored_byte_for_byte(store: httpx.AsyncClient, engine: AsyncEngine) -> None:
    event = '{ "id": 1,  "weight": 1.10, "note": "}\\u00e9{é" }'
    await post(store, f'{{"event" : {event} ,"type":"customers"}}')
    async with engine.connect() as connection:
        assert bytes((await connection.execute(text("SELECT body FROM message"))).scalar_one()) == event.encode()


async def test_a_batch_has_at_most_a_thousand_lines(store: httpx.AsyncClient, stored: Stored) -> None:
    lines = [line("products", {"id": number}) for number in range(MAX_LINES + 1)]
    refused = await store.post("/v1/events/batch?backfill=true", content="\n".join(lines))
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:platform-relay:problem:too-many-lines")
    assert await stored() == 0
    assert {answer["status"] for answer in await post(store, *lines[:MAX_LINES])} == {"accepted"}
    assert await stored() == MAX_LINES


async def test_a_line_that_is_too_large_does_not_affect_others(store: httpx.AsyncClient) -> None:
    answers = await post(store, line("products", {"id": 1, "x": "y" * (1 << 20)}), line("products", {"id": 2}))
    assert [answer["status"] for answer in answers] == ["refused", "accepted"]


async def test_an_empty_batch_gets_an_empty_response(store: httpx.AsyncClient) -> None:
    assert await post(store, "", "  ") == []


NOT_OBJECTS = ["", "{", "[]", "1", "{}x", '{"a":1,}', '{"a" 1}', "{a:1}", "{1:1}", '{"a":1 "b":2}', "{,}"]


@pytest.mark.parametrize("written", NOT_OBJECTS)
def test_spans_rejects_text_that_is_not_one_object(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the parser's own words differ
        spans(written)


def test_spans_are_the_source_text() -> None:
    assert spans(' { "a" : 1.10 , "b":{"c": [ ]} } ') == {"a": "1.10", "b": '{"c": [ ]}'}
    assert spans("{ }") == {}
