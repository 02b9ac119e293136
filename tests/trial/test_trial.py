"""The trial, end to end: accepted, explained, and nothing changed at the Platform or the store."""

import json
from typing import Any

from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.platform.webhooks import POINTS_REDEEMED
from simulators.process import Simulator
from tests.trial.conftest import Relay, Start

CODE = "a1b2c3d4e5f6"
CUSTOMER = CustomerEvent.parse(b'{"id": "42", "email": "jane@example.com", "name": "Jane"}')
ORDER = OrderEvent.parse(
    b'{"id": "1001", "customerId": "42", "financialStatus": "paid", "currency": "EUR", "totalPrice": "19.98"}'
)
PRODUCT = ProductEvent.parse(b'{"id": "7", "title": "Mug"}')


def redeemed(platform: Simulator, code: str = CODE, **changes: Any) -> bytes:
    """A genuine redemption: the Platform knows the customer and lists the reward. Returns the webhook's body."""
    platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com", "points": 100_000}])
    body = platform.control("redeem", customerId="42", ruleId="rule-5-off", code=code, deliver=False, **changes)["body"]
    return json.dumps(body).encode()


async def trial_of_everything(relay: Relay) -> None:
    for event in (CUSTOMER, ORDER, PRODUCT):
        await relay.send(event)
    await relay.webhook(POINTS_REDEEMED, redeemed(relay.platform))
    await relay.idle()


async def test_everything_is_explained_and_nothing_is_sent(start: Start) -> None:
    async with start() as relay:
        await trial_of_everything(relay)
        assert await relay.jobs() == {
            "customer:42": ("skipped", "shadow", "PUT customer", None),
            "order:1001": ("skipped", "shadow", "POST or PATCH order", None),
            "product:7": ("skipped", "shadow", "PUT product", None),
            f"coupon:{CODE}": ("skipped", "shadow", "create coupon", None),
        }
        assert relay.calls() == []
        assert await relay.rows("SELECT * FROM entity") == []
        assert await relay.rows("SELECT * FROM coupon") == []
        [(spec,)] = await relay.rows("SELECT facts ->> 'spec' FROM job WHERE kind = 'issue_coupon'")
        assert json.loads(str(spec))["value"] == "5.00"
