"""The store and the Platform that are compared: simulators in processes of their own."""

from collections.abc import Iterator

import pytest

from simulators.process import Simulator, run


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Simulator, Simulator]]:
    with run("shop") as shop, run("platform") as platform:
        yield shop, platform


@pytest.fixture
def shop(far: tuple[Simulator, Simulator], monkeypatch: pytest.MonkeyPatch) -> Simulator:
    far[0].reset(config=True)
    monkeypatch.setenv("WOOCOMMERCE__URL", far[0].url)
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__WEBHOOK_SECRET", "webhook-secret-of-the-test")
    return far[0]


@pytest.fixture
def platform(far: tuple[Simulator, Simulator]) -> Simulator:
    far[1].reset(config=True)
    return far[1]
