"""The trial by the API: the report, the comparison, and the switch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from platform_relay.api import trial as trial_api
from platform_relay.inbox.events import CustomerEvent
from platform_relay.platform.webhooks import POINTS_REDEEMED
from tests.api.served import serving
from tests.trial.conftest import OPERATOR_KEY, Relay, Start
from tests.trial.test_trial import CODE, CUSTOMER, redeemed, trial_of_everything

INTERRUPTED = text("UPDATE trial SET live_at = clock_timestamp(), resend_since = started_at, resent_to = ''")
STORE_KEY = "store-key-of-the-trial-0123"


@asynccontextmanager
async def calling(relay: Relay, key: str = OPERATOR_KEY) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a web server with the settings of the relay."""
    settings = relay.parts.settings.model_copy(update={"store_key": SecretStr(STORE_KEY)})
    assert settings.database_url is not None
    headers = {"authorization": f"Bearer {key}"}
    async with (
        serving(settings, settings.database_url.get_secret_value()) as (_, url),
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client,
    ):
        yield client


async def test_the_report_has_counts_and_pages_and_compares_on_request(start: Start) -> None:
    async with start() as relay:
        await trial_of_everything(relay)
        async with calling(relay, STORE_KEY) as client:
            counted = (await client.get("/v1/trial")).json()
            assert counted["started_at"] is not None
            assert counted["live_at"] is None
            jobs = {row["kind"]: row["jobs"] for row in counted["counts"]}
            assert jobs == {"forward_customer": 1, "forward_order": 1, "forward_product": 1, "issue_coupon": 1}

            seen, cursor = [], None
            while True:
                parameters = {"limit": "3", **({"cursor": cursor} if cursor else {})}
                page = (await client.get("/v1/trial/jobs", params=parameters)).json()
                seen += page["items"]
                if (cursor := page["next_cursor"]) is None:
                    break
            assert {item["lane"] for item in seen} == {"customer:42", "order:1001", "product:7", f"coupon:{CODE}"}
            assert len(seen) == 4
            assert {item["comparison"]["result"] for item in seen} == {"not compared"}

            compared = (await client.get("/v1/trial/jobs", params={"compare": "true"})).json()["items"]
            results = {item["lane"]: item["comparison"]["result"] for item in compared}
            assert results == {"customer:42": "same", f"coupon:{CODE}": "missing"}
            assert (await client.get("/v1/trial/jobs", params={"cursor": "x"})).status_code == 422
        assert relay.calls() == []


async def test_a_slow_platform_costs_no_page_its_answer(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with start() as relay:
        await relay.send(CUSTOMER)
        await relay.idle()
        monkeypatch.setattr(trial_api, "COMPARE_SECONDS", 0.0)
        async with calling(relay) as client:
            [item] = (await client.get("/v1/trial/jobs", params={"compare": "true"})).json()["items"]
        assert item["comparison"]["result"] == "not compared"
        assert "too slow" in item["comparison"]["detail"]


async def test_the_switch_needs_the_scope_a_confirmation_and_no_process_in_shadow(start: Start) -> None:
    confirmed = {"other_connector_stopped": True}
    async with start() as relay:
        async with calling(relay) as client:
            refused = await client.post("/v1/trial/go-live", json=confirmed)
            assert refused.status_code == 409
            assert "MODE is still shadow" in refused.json()["detail"]
        await relay.send(CUSTOMER)
        await relay.webhook(POINTS_REDEEMED, redeemed(relay.platform))
        await relay.idle()
        [(began,)] = await relay.rows("SELECT started_at FROM trial")
    assert isinstance(began, datetime)
    async with start(mode="live", work=False) as relay:
        async with calling(relay, STORE_KEY) as client:
            assert (await client.post("/v1/trial/go-live", json=confirmed)).status_code == 403
        async with calling(relay) as client:
            for body in ({}, {"other_connector_stopped": False}, {**confirmed, "window": 1}):
                assert (await client.post("/v1/trial/go-live", json=body)).status_code == 422
            early = {"since": (began - timedelta(days=1)).isoformat()}
            assert (await client.get("/v1/trial/go-live", params=early)).status_code == 409
            assert (await client.post("/v1/trial/go-live", json=confirmed | early)).status_code == 409
            assert (await relay.parts.mode.read()).runs

            window = {"since": began.isoformat()}
            plan = (await client.get("/v1/trial/go-live", params=window)).json()
            assert plan == {"resent": {"forward_customer": 1}, "redemptions": 1, "waiting": 0}
            went = await client.post("/v1/trial/go-live", json=confirmed | window)
            assert went.status_code == 200, went.text
            assert went.json()["resent"] == 1
            again = await client.post("/v1/trial/go-live", json=confirmed | window)
            assert again.status_code == 409
            assert "this relay has been live since" in again.json()["detail"]
            assert (await client.get("/v1/trial")).json()["live_at"] == went.json()["live_at"]
        assert not (await relay.parts.mode.read()).runs
        audit = await relay.rows("SELECT actor, action FROM audit ORDER BY seq")
        assert audit == [("relay", "trial.start"), ("operator", "trial.go_live")]


async def test_a_switch_that_was_interrupted_is_completed_by_the_same_request(start: Start) -> None:
    async with start() as relay:
        await relay.send(CustomerEvent.parse(b'{"id": "43", "email": "c43@example.com"}'))
        await relay.idle()
    async with start(mode="live", work=False) as relay:
        async with relay.engine.begin() as connection:
            await connection.execute(INTERRUPTED)
        async with calling(relay) as client:
            completed = await client.post("/v1/trial/go-live", json={"other_connector_stopped": True})
        assert completed.status_code == 200, completed.text
        assert completed.json()["resent"] == 1
