"""Every adapter in turn, on its bench."""

from collections.abc import AsyncIterator, Iterator

import pytest

from simulators.process import Simulator, run
from tests.contract.bench import SHOPS, Bench


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with run("shop") as running:
        yield running


@pytest.fixture(params=sorted(SHOPS))
async def bench(
    request: pytest.FixtureRequest, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """Every shop, or the one that the test is parametrised with (indirectly)."""
    bench = Bench(request.param, simulator, monkeypatch)
    yield bench
    await bench.aclose()
