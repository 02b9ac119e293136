"""The Platform begins to ignore a field while customers are delivered: one alert, which a restart does not repeat."""

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import open_alerts
from platform_relay.alerts.platform_drift import INTERVAL, PlatformDrift
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Done
from platform_relay.core.reasons import ReasonCode
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform.drift import CONSISTENT
from simulators.process import Simulator, run
from tests.journeys.handler_jobs import client_of, job


@pytest.fixture(scope="module")
def platform_process() -> Iterator[Simulator]:
    with run("platform", "--set", "dialect=plain") as simulator:
        yield simulator


@pytest.fixture
def platform(platform_process: Simulator) -> Simulator:
    platform_process.reset(config=True)
    return platform_process


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


class Process:
    """A worker that delivers customers; each takes longer than the interval of the comparison."""

    def __init__(self, engine: AsyncEngine, http: HttpClient, platform: Simulator, **fields: str) -> None:
        self._now = 0.0
        client = client_of(http, platform.url, fields=fields)
        drift = PlatformDrift(engine, client.fields, lambda: self._now)
        self._forward = ForwardCustomer(client, Customers(engine), ComputeProcess(), drift)

    async def deliver(self, count: int, pause: float = INTERVAL) -> None:
        for number in range(count):
            self._now += pause
            event = {
                "id": f"c{number}",
                "email": f"c{number}@example.com",
                "firstName": f"Jane {number}",
                "phone": "+12025550100",
            }
            assert isinstance(await self._forward(job("forward_customer", event)), Done)


async def alerts(engine: AsyncEngine) -> list[tuple[ReasonCode, str]]:
    async with engine.connect() as connection:
        return [(alert.reason.code, alert.subject) for alert in await open_alerts(connection)]


IGNORED = [
    (ReasonCode.PLATFORM_FIELD_DIFFERS, "customer.firstName"),
    (ReasonCode.PLATFORM_FIELD_DIFFERS, "customer.phone"),
]


async def test_ignored_fields_raise_one_alert_each(engine: AsyncEngine, http: HttpClient, platform: Simulator) -> None:
    process = Process(engine, http, platform)
    await process.deliver(2 * CONSISTENT)
    assert await alerts(engine) == []
    platform.config(dialect="other_names")
    platform.reset()
    await process.deliver(CONSISTENT)
    assert sorted(await alerts(engine)) == IGNORED
    await process.deliver(CONSISTENT)
    await Process(engine, http, platform).deliver(2 * CONSISTENT)  # after a restart
    assert sorted(await alerts(engine)) == IGNORED
    fixed = {"customer.firstName": "first_name", "customer.phone": "phoneNumber", "customer.lastName": "last_name"}
    await Process(engine, http, platform, **fixed).deliver(CONSISTENT)
    assert await alerts(engine) == []
    await Process(engine, http, platform).deliver(2 * CONSISTENT)  # known, so not reported again
    assert await alerts(engine) == []


async def test_a_response_of_another_shape_raises_one_alert(
    engine: AsyncEngine, http: HttpClient, platform: Simulator
) -> None:
    process = Process(engine, http, platform)
    platform.script(
        path="/v1/customers", method="PUT", persistent=True, body={"data": {"customer": {"id": "1"}}}, status=200
    )
    await process.deliver(2 * CONSISTENT)
    assert await alerts(engine) == [(ReasonCode.PLATFORM_RESPONSE_CHANGED, "response.customer")]


async def test_under_load_only_some_responses_are_compared(
    engine: AsyncEngine, http: HttpClient, platform: Simulator
) -> None:
    platform.config(dialect="other_names")
    process = Process(engine, http, platform)
    await process.deliver(2 * CONSISTENT, pause=INTERVAL / 4)
    assert await alerts(engine) == []
    await process.deliver(2 * CONSISTENT, pause=INTERVAL / 4)
    assert sorted(await alerts(engine)) == IGNORED
