"""The store and the Platform that are compared: simulators in processes of their own."""

from collections.abc import Iterator

import pytest

from simulators.process import Simulator, run


@pytest.fixture(scope="module")
def destinations() -> Iterator[tuple[Simulator, Simulator]]:
    with run("shop") as shop, run("platform") as platform:
        yield shop, platform


@pytest.fixture
def shop(destinations: tuple[Simulator, Simulator], monkeypatch: pytest.MonkeyPatch) -> Simulator:
    destinations[0].reset(config=True)
    monkeypatch.setenv("WOOCOMMERCE__URL", destinations[0].url)
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__WEBHOOK_SECRET", "webhook-secret-of-the-test")
    return destinations[0]


@pytest.fixture
def platform(destinations: tuple[Simulator, Simulator]) -> Simulator:
    destinations[1].reset(config=True)
    return destinations[1]
