"""The report: what would have been sent, compared with what the Platform and the store have, and where the trial is shown."""

import asyncio
import json
from datetime import datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from typer.testing import CliRunner

from platform_relay.checks import configuration
from platform_relay.cli.program import cli
from platform_relay.inbox.events import CustomerEvent
from platform_relay.platform.fields import Fields
from platform_relay.platform.webhooks import POINTS_REDEEMED
from platform_relay.stores.base import CouponKind, StoreCoupon
from platform_relay.trial.report import Reporter, TrialReport, compare_coupon, compare_customer
from tests.api.served import serving
from tests.trial.conftest import Relay, Start
from tests.trial.test_trial import CODE, CUSTOMER, redeemed, trial_of_everything

FIELDS = Fields({})


async def report(relay: Relay) -> TrialReport:
    return await Reporter(relay.engine, relay.clients.platform, relay.parts.store).report(timedelta(days=1), 50)


async def results(relay: Relay) -> dict[str, tuple[str, list[str]]]:
    return {item.lane: (item.comparison.result, item.comparison.fields) for item in (await report(relay)).items}


async def test_it_compares_customers_and_coupons_and_reads_only(start: Start) -> None:
    async with start() as relay:
        await trial_of_everything(relay)
        await relay.send(CustomerEvent.parse(b'{"id": "43", "email": "unknown@example.com"}'))
        await relay.idle()
        assert await results(relay) == {
            "customer:42": ("same", []),
            "customer:43": ("missing", []),
            "order:1001": ("not comparable", []),
            "product:7": ("not comparable", []),
            f"coupon:{CODE}": ("missing", []),
        }
        details = {item.lane: item.comparison.detail for item in (await report(relay)).items}
        assert details["order:1001"] == "the Platform has no look-up for orders and products"
        assert relay.calls() == []
        whole = (await report(relay)).model_dump_json()
        assert "jane" not in whole.lower()
        assert "unknown@" not in whole


async def test_the_other_connectors_coupon_is_compared_by_value(start: Start) -> None:
    async with start() as relay:
        for code in ("a1", "b2"):
            await relay.webhook(POINTS_REDEEMED, redeemed(relay.platform, code))
        await relay.idle()
        for code, amount in (("a1", "5.00"), ("b2", "7.00")):
            body = {"code": code, "discount_type": "fixed_cart", "amount": amount, "usage_limit": 1}
            keys = ("ck_simulator_key", "cs_simulator_key")
            made = relay.shop.client.post("/wp-json/wc/v3/coupons", json=body, auth=keys)
            assert made.status_code == 201, made.text
        compared = await results(relay)
        assert compared["coupon:a1"] == ("same", [])
        assert compared["coupon:b2"] == ("differs", ["value"])


def test_customers_are_compared_field_by_field() -> None:
    ours = {"email": "Jane@Example.com", "name": "Jane", "phone": None, "tags": ["b", "a"], "birthdayDay": 3}
    theirs = {"email": "jane@example.com", "name": "Janet", "phone": "", "tags": ["a", "b"], "id": "7"}
    compared = compare_customer(ours, theirs, FIELDS)
    assert (compared.result, compared.fields) == ("differs", ["name"])
    assert compared.detail == "the Platform returns no birthdayDay"
    assert compare_customer({"name": "Jane"}, {"id": "7"}, FIELDS).result == "not comparable"


def test_a_coupon_that_the_relay_would_not_have_created_is_unexpected() -> None:
    assert compare_coupon(CODE, None, None).result == "as expected"
    held = StoreCoupon("1", CODE, CouponKind.FIXED_AMOUNT, Decimal(5), "EUR")
    assert compare_coupon(CODE, None, held).result == "unexpected"


async def test_the_trial_is_shown_wherever_an_operator_looks(start: Start) -> None:
    async with start() as relay:
        settings = relay.parts.settings
        assert settings.database_url is not None
        async with (
            serving(settings, settings.database_url.get_secret_value()) as (_, url),
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            ready = (await client.get("/readyz")).json()
            metrics = (await client.get("/metrics")).text
        assert ready["status"] == "ready"
        [mode] = [check["text"] for check in ready["checks"] if check["name"] == "mode"]
        assert "nothing is changed" in mode
        assert "relay_trial 1.0" in metrics
        checks = {
            item.name: item
            async for item in configuration.check_all(settings, relay.engine, relay.clients.platform, relay.parts.store)
        }
        assert checks["mode"].ok is None
        assert "relay shadow go-live" in str(checks["mode"].next_step)
        assert checks["store"].ok is None
        assert "whether the relay may write" in checks["store"].detail


async def test_the_commands(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with start() as relay:
        settings = relay.parts.settings
        assert settings.database_url is not None
        for name, value in {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "STORE__ADAPTER": "woocommerce",
            "PLATFORM__URL": relay.platform.url,
            "PLATFORM__LAUNCHER_URL": relay.platform.url,
            "PLATFORM__API_KEY": "sim-platform-key",
            "MODE": "shadow",
        }.items():
            monkeypatch.setenv(name, value)
        await relay.send(CUSTOMER)
        await relay.idle()

        def relay_command(*words: str, answer: str = "") -> str:
            result = CliRunner().invoke(cli, ["shadow", *words], input=answer)
            return result.stdout + str(result.exception or "")

        shown = await asyncio.to_thread(relay_command, "report", "--json")
        assert json.loads(shown[shown.index("{") :])["compared"] == {"missing": 1}
        assert "customer:42" in await asyncio.to_thread(relay_command, "report")
        assert "MODE is still shadow" in await asyncio.to_thread(relay_command, "go-live", "--yes")
        monkeypatch.setenv("MODE", "live")
        declined = await asyncio.to_thread(relay_command, "go-live", answer="n\n")
        assert "Nothing was changed." in declined
        assert (await relay.parts.mode.read()).runs
        [(began,)] = await relay.rows("SELECT started_at FROM trial")
        assert isinstance(began, datetime)
        since = f"{began + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}"
        assert "redemptions of the trial are never issued" in await asyncio.to_thread(
            relay_command, "go-live", f"--since={since}", answer="y\n"
        )
        assert not (await relay.parts.mode.read()).runs
        audit = await relay.rows("SELECT actor, action FROM audit ORDER BY seq")
        assert audit == [("relay", "trial.start"), ("cli", "trial.go_live")]
