"""Many events in one request."""

import json

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.api.batch import LINES, spans
from tests.api.served import Stored

ORDER = {"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1.00"}


def line(kind: str, event: object, **more: object) -> str:
    return json.dumps({"type": kind, "event": event, **more})


async def post(store: httpx.AsyncClient, *lines: str) -> list[dict[str, object]]:
    answer = await store.post("/v1/events/batch", content="\n".join(lines))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(answered) for answered in answer.text.splitlines()]


async def test_good_lines_are_stored_and_bad_ones_refuse_nobody(store: httpx.AsyncClient, stored: Stored) -> None:
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


async def test_an_event_is_kept_exactly_as_it_was_written(store: httpx.AsyncClient, engine: AsyncEngine) -> None:
    event = '{ "id": 1,  "weight": 1.10, "note": "}\\u00e9{é" }'
    await post(store, f'{{"event" : {event} ,"type":"customers"}}')
    async with engine.connect() as connection:
        assert bytes((await connection.execute(text("SELECT body FROM message"))).scalar_one()) == event.encode()


async def test_a_thousand_lines_are_taken_and_one_more_is_not(store: httpx.AsyncClient, stored: Stored) -> None:
    lines = [line("products", {"id": number}) for number in range(LINES + 1)]
    refused = await store.post("/v1/events/batch?backfill=true", content="\n".join(lines))
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:platform-relay:problem:too-many-lines")
    assert await stored() == 0
    assert {answer["status"] for answer in await post(store, *lines[:LINES])} == {"accepted"}
    assert await stored() == LINES


async def test_one_line_too_large_refuses_only_itself(store: httpx.AsyncClient) -> None:
    answers = await post(store, line("products", {"id": 1, "x": "y" * (1 << 20)}), line("products", {"id": 2}))
    assert [answer["status"] for answer in answers] == ["refused", "accepted"]


async def test_an_empty_batch_is_answered_empty(store: httpx.AsyncClient) -> None:
    assert await post(store, "", "  ") == []


NO_OBJECTS = ["", "{", "[]", "1", "{}x", '{"a":1,}', '{"a" 1}', "{a:1}", "{1:1}", '{"a":1 "b":2}', "{,}"]


@pytest.mark.parametrize("written", NO_OBJECTS)
def test_what_is_not_one_object_has_no_spans(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the parser's own words differ
        spans(written)


def test_spans_are_what_was_written() -> None:
    assert spans(' { "a" : 1.10 , "b":{"c": [ ]} } ') == {"a": "1.10", "b": '{"c": [ ]}'}
    assert spans("{ }") == {}
