"""Variants of WooCommerce's products: the store reports them apart from the product."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from platform_relay.core.outcomes import Retry
from platform_relay.inbox.events import EventKind, ProductEvent
from platform_relay.stores.native import Ignored, NativeEvent, Page, ToFetch
from platform_relay.stores.woocommerce.adapter import WooCommerce
from platform_relay.stores.woocommerce.events import parse_webhook
from platform_relay.stores.woocommerce.variations import MOST
from tests.contract.bench import Bench

SECRET = b"the-secret-of-these-tests"
SHIRT: dict[str, Any] = {
    "id": 50, "name": "Shirt &amp; <em>tie</em>", "slug": "shirt", "type": "variable", "status": "publish", "parent_id": 0,
    "variations": [51, 52], "images": [], "date_modified_gmt": "2026-11-23T05:00:00",
}  # fmt: skip


def variation(number: int, option: str = "Blue", **fields: Any) -> dict[str, Any]:
    return {
        "id": number, "type": "variation", "parent_id": 50, "status": "publish", "name": option, "sku": f"S-{number}",
        "menu_order": 0, "image": {"id": 7, "src": f"https://shop.example/{number}.png"},
        "attributes": [{"id": 1, "name": "Colour", "option": option}, {"id": 2, "name": "Size", "option": "L"}], **fields,
    }  # fmt: skip


def webhook(row: dict[str, Any], topic: str = "product.updated") -> object:
    raw = json.dumps(row).encode()
    signature = base64.b64encode(hmac.digest(SECRET, raw, "sha256")).decode()
    return parse_webhook({"x-wc-webhook-topic": topic, "x-wc-webhook-signature": signature}, raw, SECRET)


def store(bench: Bench) -> WooCommerce:
    assert isinstance(bench.adapter, WooCommerce)
    return bench.adapter


def product_of(event: object) -> ProductEvent:
    assert isinstance(event, NativeEvent), event
    assert isinstance(event.event, ProductEvent)
    return event.event


def test_a_product_with_variations_is_fetched() -> None:
    parsed = webhook(SHIRT)
    assert isinstance(parsed, ToFetch)
    assert (parsed.kind, parsed.id) == (EventKind.PRODUCT, "50")


def test_the_change_of_a_variation_fetches_its_product() -> None:
    first, second = webhook(variation(51)), webhook(variation(51, "Red"))
    assert isinstance(first, ToFetch)
    assert isinstance(second, ToFetch)
    assert (first.kind, first.id, second.id) == (EventKind.PRODUCT, "50", "50")
    assert first.dedupe_key != second.dedupe_key


def test_a_product_without_variations_needs_no_call() -> None:
    assert product_of(webhook({**SHIRT, "type": "simple", "variations": []})).variants is None


def test_a_variation_without_a_product_is_no_product() -> None:
    assert isinstance(webhook(variation(51, parent_id=0)), Ignored)


on_bench = pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)


@on_bench
async def test_variants_are_sent_with_their_product(bench: Bench) -> None:
    rows = [
        SHIRT,
        variation(51, "Blue", menu_order=2),
        variation(52, "R&amp;D", status="private", menu_order=1, image=None),
    ]
    bench.simulator.control("seed", products=rows)
    fetched = await store(bench).fetch(EventKind.PRODUCT, "50")
    product = product_of(fetched)
    assert (product.title, product.status) == ("Shirt & tie", "active")
    shown = [(item.externalVariantId, item.title, item.status, item.position) for item in product.variants or ()]
    assert shown == [("52", "R&D / L", "draft", 1), ("51", "Blue / L", "active", 2)]
    assert [item.imageUrl for item in product.variants or ()] == [None, "https://shop.example/51.png"]
    page = await store(bench).list_entities(EventKind.PRODUCT, None, None)
    assert isinstance(page, Page)
    assert page.events == (fetched,)
    assert await store(bench).fetch(EventKind.PRODUCT, "51") is None


@on_bench
@pytest.mark.parametrize("count", [0, 100, 101, MOST])
async def test_all_variants_are_sent(bench: Bench, count: int) -> None:
    numbers = list(range(1000, 1000 + count))
    bench.simulator.control("seed", products=[{**SHIRT, "variations": numbers}, *map(variation, numbers)])
    variants = product_of(await store(bench).fetch(EventKind.PRODUCT, "50")).variants
    assert variants is not None
    assert [item.externalVariantId for item in variants] == [str(number) for number in numbers]


@on_bench
async def test_too_many_variants_are_left_out(bench: Bench) -> None:
    """An incomplete list would delete the others at the Platform."""
    bench.simulator.control("seed", products=[{**SHIRT, "variations": list(range(1000, 1001 + MOST))}])
    assert product_of(await store(bench).fetch(EventKind.PRODUCT, "50")).variants is None


@on_bench
async def test_a_product_whose_variations_cannot_be_read_is_read_again(bench: Bench) -> None:
    bench.simulator.control("seed", products=[SHIRT, variation(51), variation(52)])
    bench.misbehave(("GET", "^.*/variations$"), status=503, body="maintenance")
    assert isinstance(await store(bench).fetch(EventKind.PRODUCT, "50"), Retry)
