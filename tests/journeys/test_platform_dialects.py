"""With the settings that `relay platform verify` prints, the relay delivers to a Platform of that dialect."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Done
from platform_relay.coupons.transitions import Coupons
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.order import ForwardOrder
from platform_relay.inbox.stored_customers import Customers
from simulators.process import Simulator, run
from tests.cli.test_platform_verify import DIALECTS
from tests.journeys.handler_jobs import client_of, job

CUSTOMER = {"id": "42", "email": "jane@example.com", "firstName": "Jane", "lastName": "Doe", "phone": "+12025550100"}
ORDER = {
    "id": "1001",
    "customerId": "42",
    "email": "jane@example.com",
    "financialStatus": "paid",
    "currency": "EUR",
    "totalPrice": "120.50",
    "lineItems": [{"productId": "7", "title": "Mug", "quantity": 2, "price": "60.25"}],
}


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_customers_and_orders_arrive(
    engine: AsyncEngine, http: HttpClient, platform: Simulator, dialect: str
) -> None:
    platform.reset(config=True)
    platform.config(dialect=dialect)
    client, customers, compute = (
        client_of(http, platform.url, fields=DIALECTS[dialect]),
        Customers(engine),
        ComputeProcess(),
    )
    forward_customer = ForwardCustomer(client, customers, compute, PlatformDrift(engine, client.fields))
    forward_order = ForwardOrder(client, Coupons(engine), customers, Alerts(engine), compute)
    assert isinstance(await forward_customer(job("forward_customer", CUSTOMER)), Done)
    assert isinstance(await forward_order(job("forward_order", ORDER)), Done)
    refund = job("forward_order", {**ORDER, "financialStatus": "refunded"}, exists_remotely=True)
    stored = platform.state("customers", "42")
    assert (stored["firstName"], stored["lastName"], stored["pointBalance"]) == ("Jane", "Doe", 120)
    assert isinstance(await forward_order(refund), Done)
    assert platform.state("customers", "42")["pointBalance"] == 0
    [order] = platform.state("orders", "1001")
    assert json.dumps(order["order"]["lineItems"][0]["quantity"]) == "2"
    customer = await client.get_customer("42")
    assert isinstance(customer, dict)
    assert customer["email"] == "jane@example.com"
    match = await client.find_customer("jane@example.com")
    assert isinstance(match, dict)
    assert match["externalId"] == "42"
