"""A backlog is worth fewer calls than its events: waiting versions collapse into the newest, orders never."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from pydantic import HttpUrl, SecretStr
from uuid_utils.compat import uuid7

from platform_relay import wiring
from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.inbox.messages import incoming
from platform_relay.setting_groups import PlatformSettings, RetrySettings
from platform_relay.settings import Settings
from platform_relay.worker import Worker
from simulators.process import run
from tests.database.engine_room import rows
from tests.helpers import eventually

CUSTOMERS, PRODUCTS, UPDATES = 20, 10, 5
PAID = {"financialStatus": "paid", "currency": "EUR", "totalPrice": "10.00"}
Event = CustomerEvent | ProductEvent | OrderEvent


def updates(rng: random.Random) -> list[Event]:
    """What a store says during an outage: everything changes five times, and every customer orders once."""
    events: list[Event] = []
    for update in range(UPDATES):
        result = {"updatedAt": f"2026-01-01T12:00:0{update}Z"}
        events += [
            CustomerEvent.model_validate({"id": f"c{n}", "name": f"{update}", **result}) for n in range(CUSTOMERS)
        ]
        events += [
            ProductEvent.model_validate({"id": f"p{n}", "title": f"{update}", **result}) for n in range(PRODUCTS)
        ]
    events += [OrderEvent.model_validate({"id": f"o{n}", "customerId": f"c{n}", **PAID}) for n in range(CUSTOMERS)]
    rng.shuffle(events)
    return events


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_an_outage_at_least_70_percent_fewer_puts_are_sent(database_url: str, seed: int) -> None:
    async with AsyncExitStack() as stack:
        platform = stack.enter_context(run("platform"))
        settings = Settings(
            _env_file=None,
            platform=PlatformSettings(url=HttpUrl(platform.url), api_key=SecretStr("sim-platform-key")),
            retry=RetrySettings(initial_delay=0.2, multiplier=1.0),
        )
        parts = await stack.enter_async_context(wiring.services(settings, database_url, "test"))
        worker = Worker(parts, await stack.enter_async_context(wiring.clients(parts)))
        platform.outage()
        result = updates(random.Random(seed))
        for event in result:
            raw, identifier = event.model_dump_json(exclude_none=True).encode(), uuid7()
            await parts.inbox.accept(incoming(event, raw, message_id=str(identifier)), identifier)
        running = asyncio.create_task(worker.run())
        await eventually(lambda: platform.summary()["last_seq"], within=30)
        platform.outage(on=False)
        before = platform.summary()["last_seq"]

        async def nothing_waits() -> bool:
            return not await rows(parts.engine, "SELECT 1 FROM lane WHERE open_jobs > 0 LIMIT 1")

        await eventually(nothing_waits, within=60)
        worker.stop()
        await running
        sent = [entry["kind"] for entry in platform.ledger(since=before, body=0) if entry["kind"].endswith(".put")]
        pending = sum(not isinstance(event, OrderEvent) for event in result)
        assert len(sent) <= 0.3 * pending, (len(sent), pending)
        assert platform.summary()["kinds"]["order.post"]["applied"] == CUSTOMERS
        newest = str(UPDATES - 1)
        assert [each["name"] for each in platform.state("customers").values()] == [newest] * CUSTOMERS
        assert [each["title"] for each in platform.state("products").values()] == [newest] * PRODUCTS
