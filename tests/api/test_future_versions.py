"""An `updatedAt` in the future: it would supersede every later version, so the endpoints reject it."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.served import Stored

ORDER = {"id": "1001", "financialStatus": "paid", "currency": "EUR", "totalPrice": "19.98"}
FUTURE = ["2062-11-20T10:00:00Z", "9999-12-31T23:59:59Z", 2_600_000_000_000, 19_999_999_999]
"""Also as milliseconds, and as seconds."""


@pytest.mark.parametrize("moment", FUTURE)
@pytest.mark.parametrize(("kind", "body"), [("customers", {"id": "961"}), ("orders", ORDER), ("products", {"id": "7"})])
async def test_a_version_of_the_future_is_refused_with_its_limit(
    store: httpx.AsyncClient, stored: Stored, kind: str, body: dict[str, str], moment: str | int
) -> None:
    answer = await store.post(f"/v1/events/{kind}", json={**body, "updatedAt": moment})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:platform-relay:problem:fields-invalid"
    [error] = answer.json()["errors"]
    assert error["field"] == "updatedAt"
    assert "is in the future; the latest time that is accepted now is" in error["message"]
    assert await stored() == 0


async def test_the_limit_is_one_day_by_the_databases_clock(store: httpx.AsyncClient, engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        now = (await connection.execute(text("SELECT now()"))).scalar_one()
    for ahead, status in ((timedelta(hours=23), 202), (timedelta(hours=25), 422)):
        body = {"id": "961", "updatedAt": (now + ahead).isoformat()}
        assert (await store.post("/v1/events/customers", json=body)).status_code == status


async def test_in_a_batch_only_its_line_is_refused(store: httpx.AsyncClient, stored: Stored) -> None:
    now = datetime.now(UTC).isoformat()
    lines = [
        {"type": "customers", "event": {"id": "1", "updatedAt": now}},
        {"type": "customers", "event": {"id": "2", "updatedAt": "2062-11-20T10:00:00Z"}},
        {"type": "customers", "event": {"id": "3"}},
    ]
    answer = await store.post("/v1/events/batch", content="\n".join(map(json.dumps, lines)))
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [result["status"] for result in results] == ["accepted", "refused", "accepted"]
    assert results[1]["problem"]["errors"][0]["field"] == "updatedAt"
    assert await stored() == 2
