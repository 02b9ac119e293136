"""The destinations that the journeys call: the Platform's and a WooCommerce store's simulator, each in a process of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import HttpUrl, SecretStr

from platform_relay.core.http import HttpClient, HttpClients
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.responses import THE_PLATFORM
from platform_relay.stores.woocommerce.adapter import WooCommerce, WooCommerceSettings
from simulators.process import Simulator, run
from tests.journeys.handler_jobs import client_of


@pytest.fixture(scope="package")
def platform_process() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture(scope="package")
def shop_process() -> Iterator[Simulator]:
    with run("shop") as simulator:
        yield simulator


@pytest.fixture
def platform(platform_process: Simulator) -> Simulator:
    """Cleared of what an earlier test left."""
    platform_process.reset(config=True)
    return platform_process


@pytest.fixture
def shop(shop_process: Simulator) -> Simulator:
    """Cleared of what an earlier test left."""
    shop_process.reset(config=True)
    return shop_process


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(destination=THE_PLATFORM, time_limit=2.0)
    yield client
    await client.aclose()


@pytest.fixture
def client(platform: Simulator, http: HttpClient) -> PlatformClient:
    return client_of(http, platform.url, shop_key="sim-shop")


@pytest.fixture
async def store(shop: Simulator) -> AsyncIterator[WooCommerce]:
    settings = WooCommerceSettings(
        url=HttpUrl(shop.url), consumer_key=SecretStr("ck_simulator_key"), consumer_secret=SecretStr("cs_simulator_key")
    )
    adapter = WooCommerce(settings, HttpClients(2.0))
    yield adapter
    await adapter.aclose()
