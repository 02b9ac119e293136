"""A relay in its trial, between the Platform's and a store's simulator."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import HttpUrl, SecretStr
from uuid_utils.compat import uuid7

from platform_relay import wiring
from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import incoming
from platform_relay.platform.webhooks import webhook_message
from platform_relay.setting_groups import CouponSettings, PlatformSettings, RetrySettings, StoreSettings
from platform_relay.settings import Settings
from platform_relay.wiring import Clients, Services
from platform_relay.worker import Worker
from simulators.process import Simulator, run
from tests.database.engine_room import rows
from tests.helpers import eventually

OPERATOR_KEY = "operator-key-for-tests-0123"
ALL_DONE = "SELECT lane FROM job WHERE open"
Row = tuple[Any, ...]


class Relay:
    """A running worker with its services, and the two outside oracles."""

    def __init__(self, parts: Services, clients: Clients, platform: Simulator, shop: Simulator) -> None:
        self.parts, self.clients, self.platform, self.shop = parts, clients, platform, shop
        self.engine = parts.engine

    async def send(self, event: CustomerEvent | OrderEvent | ProductEvent) -> Receipt:
        identifier = uuid7()
        raw = event.model_dump_json(exclude_unset=True).encode()
        return await self.parts.inbox.accept(incoming(event, raw, message_id=str(identifier)), identifier)

    async def webhook(self, topic: str, raw: bytes, **options: Any) -> Receipt:
        identifier = uuid7()
        return await self.parts.inbox.accept(webhook_message(topic, raw, str(identifier), **options), identifier)

    async def rows(self, query: str, **parameters: object) -> list[Row]:
        return await rows(self.engine, query, **parameters)

    async def idle(self) -> None:
        async def quiet() -> bool:
            assert await self.rows(ALL_DONE) == []
            return True

        await eventually(quiet, 15)

    async def jobs(self) -> dict[str, Row]:
        """Lane -> state, reason code, call and cause of its newest job."""
        query = "SELECT lane, state, reason_code, facts ->> 'call', facts -> 'cause' ->> 'code' FROM job ORDER BY created_at, id"
        return {str(lane).split("#")[0]: tuple(rest) for lane, *rest in await self.rows(query)}

    def calls(self) -> list[tuple[str, str]]:
        """Method and path of every call that a destination received and that is not a GET."""
        ledgers = [*self.platform.ledger(), *self.shop.ledger()]
        return [(entry["method"], entry["path"]) for entry in ledgers if entry["method"] != "GET"]


Start = Callable[..., AbstractAsyncContextManager[Relay]]


@pytest.fixture(scope="package")
def platform_process() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture(scope="package")
def shop_process() -> Iterator[Simulator]:
    with run("shop") as simulator:
        yield simulator


@pytest.fixture
def start(
    platform_process: Simulator,
    shop_process: Simulator,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Start:
    """Starts a worker in a mode; several may run after each other, or beside each other, on one database."""
    platform_process.reset(config=True)
    shop_process.reset(config=True)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "WOOCOMMERCE__URL": shop_process.url,
        "WOOCOMMERCE__CONSUMER_KEY": "ck_simulator_key",
        "WOOCOMMERCE__CONSUMER_SECRET": "cs_simulator_key",
        "WOOCOMMERCE__WEBHOOK_SECRET": "webhook-secret-of-the-test",
        "GENERIC_HTTP__URL": shop_process.url + "/relay",
        "GENERIC_HTTP__SECRET": "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0",
    }.items():
        monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def started(
        mode: Literal["live", "shadow"] = "shadow", adapter: str = "woocommerce", work: bool = True
    ) -> AsyncIterator[Relay]:
        url = HttpUrl(platform_process.url)
        settings = Settings(
            _env_file=None,
            mode=mode,
            database_url=SecretStr(database_url),
            operator_key=SecretStr(OPERATOR_KEY),
            public_url=HttpUrl("https://relay.example"),
            data_dir=tmp_path,
            platform=PlatformSettings(
                url=url, launcher_url=url, api_key=SecretStr("sim-platform-key"), shop_key="sim-shop", timeout=2
            ),
            store=StoreSettings(adapter=adapter, timeout=2, loyalty_sync=adapter == "generic_http"),
            coupons=CouponSettings(require="confirmed", currency="EUR"),
            retry=RetrySettings(initial_delay=0.1, max_delay=0.5),
            poll_interval=0.05,
        )
        async with wiring.services(settings, database_url, "test") as parts, wiring.clients(parts) as clients:
            await parts.mode.establish()
            worker = Worker(parts, clients)
            task = asyncio.create_task(worker.run()) if work else None
            try:
                yield Relay(parts, clients, platform_process, shop_process)
            finally:
                worker.stop()
                if task is not None:
                    await task

    return started
