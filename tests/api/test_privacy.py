"""Personal data: export and erasure need the scope `admin`, return a receipt, and put no customer data in URLs or the audit."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from platform_relay.access.api_keys import create
from platform_relay.history.leave import History
from platform_relay.wiring import Services
from tests.api.served import Caller

JANE = {"id": "42", "email": "jane@example.com", "updatedAt": "2026-05-11T16:20:00Z"}


async def test_a_customer_is_exported_and_erased(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, calling: Caller, parts: Services
) -> None:
    sent = await store.post("/v1/events/customers", json=JANE)
    assert sent.status_code == 202
    who = {"customer": "jane@example.com"}
    limited = await calling(await create(parts.engine, "ops", ["events", "read", "operate"], "test"))
    for path in ("/v1/customers/export", "/v1/customers/erase"):
        for caller in (store, limited):
            assert (await caller.post(path, json=who)).status_code == 403
        assert (await operator.post(path, json={"customer": ""})).status_code == 422
    held = (await operator.post("/v1/customers/export", json=who)).json()
    assert held["customer"] == ["42", "jane@example.com"]
    assert [message["body"] for message in held["messages"]] == [JANE]
    receipt = (await operator.post("/v1/customers/erase", json=who)).json()
    assert (receipt["messages"], receipt["jobs"], receipt["dropped"]) == (1, 1, 1)
    assert (await operator.post("/v1/customers/export", json=who)).json()["messages"] == []
    event = (await operator.get(f"/v1/events/{sent.json()['id']}")).json()
    assert event["jobs"][0]["state"] == "dropped"
    assert "jane" not in str(event)
    assert (await operator.get("/v1/jobs/counts")).json()["balanced"]


async def test_a_receipt_names_the_exported_files_with_the_customer(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, parts: Services, tmp_path: Path
) -> None:
    """All rows of the customer left the history, apart from those in the file."""
    assert (await store.post("/v1/events/customers", json=JANE)).status_code == 202
    async with parts.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE job SET state = 'done', finished_at = now()")
    later = datetime.now(UTC) + timedelta(days=402)
    assert await History(parts.engine, timedelta(days=400), tmp_path, pause=0).run(later) == 1
    [file] = os.listdir(tmp_path)
    receipt = (await operator.post("/v1/customers/erase", json={"customer": "42"})).json()
    assert (receipt["messages"], receipt["exports"]) == (0, [file])
    assert [step for step in receipt["next_steps"] if file in step]
    other = (await operator.post("/v1/customers/erase", json={"customer": "43"})).json()
    assert other["exports"] == []


async def test_an_erasure_reports_a_running_job(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, parts: Services
) -> None:
    assert (await store.post("/v1/events/customers", json=JANE)).status_code == 202
    async with parts.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE job SET state = 'running'")
    refused = await operator.post("/v1/customers/erase", json={"customer": "42"})
    assert refused.status_code == 409
    assert "right now" in refused.json()["detail"]
