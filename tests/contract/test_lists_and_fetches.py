"""The list and the look-up of an entity show one version of it. Otherwise every poll would find another version of the same
time, and fetch it again and again."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from platform_relay.core import exact_json
from platform_relay.forwarding.fetch import native_key
from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent, Page
from tests.contract.bench import Bench
from tests.contract.orders import STORES, TAXES, Tax
from tests.contract.test_lists import START, Store, kinds, listing


@listing
@kinds
async def test_the_list_and_the_look_up_show_one_version(bench: Bench, kind: EventKind) -> None:
    adapter: object = bench.adapter
    assert isinstance(adapter, ListsEntities)
    assert isinstance(adapter, FetchesEntities)
    store = Store(bench, kind, {1: START, 2: START + timedelta(seconds=1)})
    page = await adapter.list_entities(kind, None, None)
    assert isinstance(page, Page), page
    assert {event.event.id for event in page.events} == {store.id(1), store.id(2)}
    for listed in page.events:
        fetched = await adapter.fetch(kind, listed.event.id)
        assert isinstance(fetched, NativeEvent), fetched
        assert fetched.event == listed.event
        assert native_key(fetched) == native_key(listed)


@pytest.mark.parametrize(
    "bench", sorted(set(STORES) - {"generic_http", "shopify", "shopify list", "bigcommerce"}), indirect=True
)
@pytest.mark.parametrize("tax", TAXES.values(), ids=TAXES)
async def test_the_list_shows_the_amounts_of_the_look_up(bench: Bench, tax: Tax) -> None:
    """A list requests fewer fields."""
    adapter: object = bench.adapter
    assert isinstance(adapter, ListsEntities)
    assert isinstance(adapter, FetchesEntities)
    build, translated = STORES[bench.name]
    row = build(tax, ("3.00",))
    bench.simulator.control("replace", orders=[json.loads(exact_json.dumps(row))])
    page = await adapter.list_entities(EventKind.ORDER, None, None)
    assert isinstance(page, Page), page
    [listed] = page.events
    assert await adapter.fetch(EventKind.ORDER, listed.event.id) == listed
    assert listed.event == translated(row).event
