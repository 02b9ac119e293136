"""What we send to WooCommerce against the schema that a running shop (9.9.5) answers to OPTIONS."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind
from platform_relay.stores.woocommerce.coupons import coupon_body
from tests.contract.bench import Bench, order

SPECS = Path(__file__).parents[3] / "shared" / "specs" / "woocommerce"
LATER = datetime(2030, 1, 31, 1, 2, 3, tzinfo=UTC)
ORDERS = [
    order(email="jane@example.com", minimum_spend=Decimal("30.00"), reference="r-1", title="Thank you"),
    order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), currency=None, usage_limit=None, expires_at=LATER),
    order(kind=CouponKind.FREE_SHIPPING, value=None, currency=None, combinable=False),
    order(kind=CouponKind.FREE_PRODUCT, value=None, currency=None, product_ids=("7", "12"), per_customer_limit=2),
    order(variant_ids=("71", "122")),
]


@cache
def arguments(resource: str, method: str) -> dict[str, Any]:
    """What an endpoint takes, by name."""
    file = SPECS / f"wc-9.9.5-{resource}.OPTIONS.json"
    if not file.exists():
        pytest.skip("the store's own schemas (../shared/specs) are not here")
    endpoints = json.loads(file.read_text())["endpoints"]
    found: dict[str, Any] = next(each["args"] for each in endpoints if method in each["methods"])
    return found


@pytest.mark.parametrize("wanted", ORDERS)
def test_a_coupon_is_what_the_shop_takes(wanted: Any) -> None:
    known = arguments("coupons", "POST")
    body = coupon_body(wanted)
    assert set(body) <= set(known)
    for name, value in body.items():
        schema = {key: each for key, each in known[name].items() if key in ("type", "enum", "items", "minimum")}
        jsonschema.validate(value, schema)


@pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)
async def test_what_is_asked_for_is_known_to_the_shop(bench: Bench) -> None:
    adapter: Any = bench.adapter
    for kind in EventKind:
        bench.simulator.reset()
        await adapter.list_entities(kind, LATER, None)
        [call] = bench.simulator.ledger()
        asked = {pair.partition("=")[0] for pair in call["query"].split("&")}
        assert asked - {"_fields"} <= set(arguments(str(kind), "GET"))  # every endpoint of WordPress knows `_fields`


@pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)
async def test_a_webhook_is_what_the_shop_takes(bench: Bench) -> None:
    bench.set("WEBHOOK_SECRET", "webhook-secret-of-the-test")
    adapter: Any = bench.build()
    bench.simulator.reset()
    await adapter.create_webhook("order.updated", "https://relay.example/in")
    [call] = bench.simulator.ledger()
    known = arguments("webhooks", "POST")
    assert set(call["body"]) <= set(known)
    assert call["body"]["status"] in known["status"]["enum"]
