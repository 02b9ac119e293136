"""Reconciliations over HTTP: start, read and repair."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.coverage import Coverage
from platform_relay.reconcile.differences import Difference
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from platform_relay.wiring import Services
from tests.database.engine_room import rows


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("WOOCOMMERCE__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    return settings.model_copy(update={"store": StoreSettings(adapter="woocommerce")})


async def test_a_reconciliation_is_started_read_and_repaired(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    asked = await operator.post("/v1/reconciliations", json={"since": "2026-05-10T00:00:00Z", "grace_seconds": 0})
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    at = f"/v1/reconciliations/{asked.json()['id']}"
    await _worked(engine, UUID(asked.json()["id"]))
    reconciliation = (await store.get(at)).json()
    assert (reconciliation["state"], reconciliation["difference_counts"]) == (
        "done",
        {"lost_by_webhook": 600, "extra": 1},
    )
    pages: list[dict[str, str]] = []
    cursor: str | None = None
    while True:
        asks = {"cause": "lost_by_webhook", "limit": "200", **({"cursor": cursor} if cursor else {})}
        page = (await store.get(f"{at}/differences", params=asks)).json()
        pages += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert sorted(int(item["entity_id"]) for item in pages) == list(range(600))
    assert (await store.post(f"{at}/repair")).status_code == 403
    mended = (await operator.post(f"{at}/repair")).json()
    assert mended["repaired"] == {"lost_by_webhook": 600, "extra": 1}
    assert sorted(mended["texts"]) == ["extra", "lost_by_webhook"]
    assert await rows(engine, "SELECT count(*), min(kind), min(state) FROM job") == [(600, "fetch_entity", "waiting")]
    assert (await operator.post(f"{at}/repair")).json()["repaired"] == {}
    acts = await rows(engine, "SELECT actor, action FROM audit ORDER BY seq")
    assert acts == [("operator", "reconciliation.request"), *[("operator", "reconciliation.repair")] * 2]
    assert [listed["id"] for listed in (await store.get("/v1/reconciliations")).json()["items"]] == [asked.json()["id"]]


async def _worked(engine: AsyncEngine, identifier: UUID) -> None:
    """Store the result that a worker would store."""
    reconciliations = Reconciliations(engine)
    assert await reconciliations.claim(identifier) is not None
    now = datetime.now(UTC)
    await reconciliations.add_differences(
        identifier,
        [Difference(EventKind.ORDER, str(number), "lost_by_webhook", "it changed", now) for number in range(600)],
    )
    await reconciliations.add_differences(
        identifier, [Difference(EventKind.PRODUCT, "7", "extra", "it is there alone")]
    )
    await reconciliations.finish(identifier, {"orders": 600}, [], None, Coverage())


async def test_an_unknown_reconciliation_and_invalid_requests(operator: httpx.AsyncClient) -> None:
    anonymous = "/v1/reconciliations/01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a11"
    assert (await operator.get(anonymous)).status_code == 404
    assert (await operator.get(f"{anonymous}/differences")).status_code == 404
    assert (await operator.post(f"{anonymous}/repair")).status_code == 404
    assert (await operator.post("/v1/reconciliations", json={"since": "yesterday"})).status_code == 422


async def test_a_store_without_lists(operator: httpx.AsyncClient, parts: Services) -> None:
    parts.store = None
    refused = await operator.post("/v1/reconciliations", json={})
    assert (refused.status_code, "no lists" in refused.json()["detail"]) == (409, True)
