"""Failures of the loyalty sync never stop coupons: it is a destination of its own. With a real worker and a real store."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay import wiring
from platform_relay.core.outcomes import Blocked, Reject, Skip, reason_of
from platform_relay.core.reasons import ReasonCode
from platform_relay.platform.webhooks import webhook_message
from platform_relay.setting_groups import CouponSettings, PlatformSettings, StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.loyalty_sync import SyncsLoyalty
from platform_relay.wiring import Clients, Services
from platform_relay.worker import Worker
from simulators.process import Simulator
from tests.database.engine_room import rows
from tests.helpers import eventually

SECRET: Final = "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0"
CUSTOMER: Final = {"externalId": "42", "email": "jane@example.com", "pointBalance": 5}
FAULTS: Final[dict[str, dict[str, Any]]] = {
    "no such path": {"status": 404, "body": "<h1>Not Found</h1>"},
    "another 404": {"status": 404, "body": {"message": "Cannot POST /loyalty"}},
    "not allowed": {"status": 405, "body": ""},
    "another secret": {"status": 401, "body": ""},
    "always failing": {"status": 500, "body": ""},
    "always too many calls": {"status": 429, "body": "", "headers": {"retry-after": "30"}},
    "no response": {"delay_before": 60},
}


@asynccontextmanager
async def working(settings: Settings, database_url: str) -> AsyncIterator[tuple[Services, Clients]]:
    async with wiring.services(settings, database_url, "worker") as parts, wiring.clients(parts) as clients:
        worker = Worker(parts, clients)
        running = asyncio.create_task(worker.run())
        try:
            yield parts, clients
        finally:
            worker.stop()
            await running


@pytest.fixture
def settings(platform: Simulator, shop: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GENERIC_HTTP__URL", f"{shop.url}/relay")
    monkeypatch.setenv("GENERIC_HTTP__SECRET", SECRET)
    url = HttpUrl(platform.url)
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        platform=PlatformSettings(
            url=url, launcher_url=url, api_key=SecretStr("sim-platform-key"), shop_key="sim-shop"
        ),
        store=StoreSettings(adapter="generic_http", loyalty_sync=True, timeout=2.0),
        coupons=CouponSettings(require="secret", confirm_above=None),
    )


async def receive(parts: Services, topic: str, number: int, **body: object) -> None:
    raw = json.dumps({"id": f"{topic} {number}", "customer": {**CUSTOMER, "externalId": str(number)}, **body}).encode()
    identifier = uuid7()
    await parts.inbox.accept(webhook_message(topic, raw, str(identifier), loyalty_sync=True), identifier)


@pytest.mark.parametrize("fault", FAULTS)
async def test_coupons_are_issued_while_the_loyalty_sync_fails(
    fault: str, settings: Settings, database_url: str, engine: AsyncEngine, shop: Simulator
) -> None:
    shop.script(path="^/relay/loyalty$", times=None, **FAULTS[fault])
    async with working(settings, database_url) as (parts, _):
        for number in range(12):
            await receive(parts, "points/earned", number, points=5)
        await eventually(lambda: len(shop.ledger(kind="relay.loyalty")) >= 1)
        for number in range(12):
            code = f"ab12cd34ef{number:02}"
            await receive(parts, "points/redeemed", number, couponCode=code, ruleId="rule-5-off", points=500)

        async def active() -> bool:
            return await rows(engine, "SELECT count(*) FROM coupon WHERE state = 'active'") == [(12,)]

        await eventually(active, within=15)
    assert await rows(engine, "SELECT state FROM destination WHERE name = 'store'") == [("open",)]


@pytest.mark.parametrize("fault", ["no such path", "another 404", "not allowed"])
async def test_a_path_that_does_not_exist_closes_the_loyalty_sync_alone_and_names_its_setting(
    fault: str, settings: Settings, database_url: str, engine: AsyncEngine, shop: Simulator
) -> None:
    shop.script(path="^/relay/loyalty$", times=None, **FAULTS[fault])

    async def closed() -> bool:
        return await rows(engine, "SELECT name FROM destination WHERE state = 'blocked'") == [("store_loyalty",)]

    async with working(settings, database_url) as (parts, _):
        await receive(parts, "points/earned", 1, points=5)
        await eventually(closed)
        [(facts,)] = await rows(engine, "SELECT facts FROM destination WHERE name = 'store_loyalty'")
        assert isinstance(facts, dict)
        assert facts["setting"] == "STORE__LOYALTY_SYNC"
        assert await rows(engine, "SELECT kind FROM job WHERE dead") == []
        shop.control("clear")
        await eventually(lambda: len(shop.ledger(kind="relay.loyalty", applied=1)) == 1, within=10)


@pytest.mark.parametrize(
    ("message", "meaning", "code"),
    [
        ("no loyalty sync", Skip, ReasonCode.NOT_APPLICABLE),
        ("no such customer", Reject, ReasonCode.ENTITY_NOT_FOUND),
        ("Cannot POST /loyalty", Blocked, ReasonCode.SETTING_WRONG),
    ],
)
async def test_what_a_404_means_at_the_path_of_the_loyalty_sync(
    message: str, meaning: type, code: ReasonCode, settings: Settings, database_url: str, shop: Simulator
) -> None:
    shop.script(path="^/relay/loyalty$", status=404, body={"message": message})
    async with wiring.services(settings, database_url, "web") as parts, wiring.clients(parts) as clients:
        store: object = clients.loyalty
        assert isinstance(store, SyncsLoyalty)
        outcome = await store.sync_loyalty("m-1", "points/earned", {"customer": {"externalId": "42"}})
    assert (type(outcome), reason_of(outcome).code) == (meaning, code)
