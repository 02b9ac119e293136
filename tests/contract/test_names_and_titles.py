"""Names of customers and titles of products: what reaches the Platform is a name or a plain text, in every store."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.forwarding.prepare import PreparedCustomer, prepare_customer
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.platform.fields import ASSUMED
from platform_relay.stores.bigcommerce.events import product_event
from platform_relay.stores.magento import events as magento
from platform_relay.stores.medusa import events as medusa
from platform_relay.stores.native import NativeEvent
from platform_relay.stores.saleor import events as saleor
from platform_relay.stores.shopify import events as shopify
from platform_relay.stores.text import plain_text
from platform_relay.stores.vendure import events as vendure
from platform_relay.stores.woocommerce import events as woocommerce
from tests.contract.orders import STORES as ORDERS
from tests.contract.orders import TAXES, TITLES, shopify_event

TIME = "2026-01-01T00:00:00Z"
Json = dict[str, Any]
Translate = Callable[[Json], object]

CUSTOMERS: dict[str, tuple[Json, tuple[str, str], str, Translate]] = {
    "medusa": (
        {"id": "c", "email": "a@example.com", "updated_at": TIME}, ("first_name", "last_name"),
        "addresses", lambda row: medusa.to_event(EventKind.CUSTOMER, row),
    ),
    "saleor": (
        {"id": "c", "email": "a@example.com", "updatedAt": TIME}, ("firstName", "lastName"),
        "defaultBillingAddress", lambda row: saleor.to_event(EventKind.CUSTOMER, row, "web"),
    ),
    "shopify list": (
        {"id": "gid://shopify/Customer/1", "updatedAt": TIME}, ("firstName", "lastName"),
        "defaultAddress", lambda row: shopify.event_from_node(EventKind.CUSTOMER, row),
    ),
    "shopify": (
        {"id": 1, "updated_at": TIME}, ("first_name", "last_name"),
        "default_address", lambda row: shopify_event(row, "customers/update"),
    ),
    "woocommerce": (
        {"id": 1, "email": "a@example.com", "date_modified_gmt": "2026-01-01T00:00:00"}, ("first_name", "last_name"),
        "billing", lambda row: woocommerce.to_event(EventKind.CUSTOMER, row),
    ),
}  # fmt: skip
"""A customer without a name, the names of the fields in account and address, the address, and the translation.
Not here: accounts of BigCommerce and Magento always have a name; the integration of `generic_http` sends what it has."""


def customer(store: str, account: Json, address: Json | None) -> CustomerEvent:
    row, _, place, translate = CUSTOMERS[store]
    billing: Any = [{**(address or {}), "is_default_billing": True}] if store == "medusa" else address
    event = translate({**row, **account, place: billing})
    assert isinstance(event, NativeEvent), event
    assert isinstance(event.event, CustomerEvent)
    return event.event


@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize("store", CUSTOMERS)
def test_names_come_from_the_billing_address_where_the_account_has_none(store: str, missing: str | None) -> None:
    first, last = CUSTOMERS[store][1]
    without = {first: missing, last: missing}
    event = customer(store, without, {first: "Ada", last: "Lovelace"})
    assert (event.firstName, event.lastName) == ("Ada", "Lovelace")
    prepared = prepare_customer(event.model_dump_json(exclude_unset=True).encode(), ASSUMED)
    assert isinstance(prepared, PreparedCustomer)
    assert b'"name":"Ada Lovelace"' in prepared.body.replace(b": ", b":")
    unnamed = customer(store, without, {first: missing, last: missing})
    assert (unnamed.firstName, unnamed.lastName) == (None, None)
    assert customer(store, without, None).firstName is None


@pytest.mark.parametrize("store", CUSTOMERS)
def test_the_names_of_the_account_are_not_mixed_with_those_of_an_address(store: str) -> None:
    first, last = CUSTOMERS[store][1]
    event = customer(store, {first: "Grace", last: ""}, {first: "Ada", last: "Lovelace"})
    assert (event.firstName, event.lastName) == ("Grace", None)


def test_vendures_addresses_have_one_field_for_both_names() -> None:
    row: Json = {"id": "1", "emailAddress": "a@example.com", "updatedAt": TIME, "user": {"id": "3"}}
    addresses: list[Any] = [
        {"fullName": "Somebody Else", "defaultBillingAddress": False},
        {"fullName": "Ada Lovelace", "defaultBillingAddress": True},
    ]

    def name(**fields: Any) -> object:
        event = vendure.to_event(EventKind.CUSTOMER, {**row, "addresses": addresses, **fields}, 2)
        assert isinstance(event, NativeEvent), event
        assert isinstance(event.event, CustomerEvent)
        return event.event.name

    assert name(firstName="", lastName="") == "Ada Lovelace"
    assert name(firstName="Grace", lastName="") is None
    assert name(firstName="", lastName="", addresses=addresses[:1]) is None


# ---------------------------------------------------------------------------------------------------------- titles

MARKED = "Salt &amp; <b>Pepper</b> &#8211; 3 < 5"
PLAIN = "Salt & Pepper – 3 < 5"
PRODUCTS: dict[str, tuple[Json, Translate]] = {
    "bigcommerce": ({"id": 1, "name": MARKED, "date_modified": TIME, "variants": [
        {"id": 2, "option_values": [{"label": MARKED}]}]}, product_event),
    "magento": ({"id": 1, "name": MARKED, "visibility": 4, "updated_at": "2026-01-01 00:00:00"},
                lambda row: magento.to_event(EventKind.PRODUCT, row, "")),
    "medusa": ({"id": "p", "title": MARKED, "updated_at": TIME, "variants": [{"id": "v", "title": MARKED}]},
               lambda row: medusa.to_event(EventKind.PRODUCT, row)),
    "saleor": ({"id": "p", "name": MARKED, "updatedAt": TIME, "productVariants": {
        "edges": [{"node": {"id": "v", "name": MARKED}}], "pageInfo": {"hasNextPage": False}}},
        lambda row: saleor.to_event(EventKind.PRODUCT, row, "web")),
    "shopify": ({"id": 1, "title": MARKED, "updated_at": TIME, "variants": [{"id": 2, "title": MARKED}]},
                lambda row: shopify_event(row, "products/update")),
    "shopify list": ({"id": "gid://shopify/Product/1", "title": MARKED, "status": "ACTIVE", "updatedAt": TIME, "variants": {
        "nodes": [{"id": "gid://shopify/ProductVariant/2", "title": MARKED}], "pageInfo": {"hasNextPage": False}}},
        lambda row: shopify.event_from_node(EventKind.PRODUCT, row)),
    "vendure": ({"id": "1", "name": MARKED, "updatedAt": TIME, "variants": [{"id": "2", "name": MARKED}]},
                lambda row: vendure.to_event(EventKind.PRODUCT, row, 2)),
    "woocommerce": ({"id": 1, "name": MARKED, "type": "variable", woocommerce.VARIANTS: [
        {"id": 2, "status": "publish", "attributes": [{"option": MARKED}]}]},
        lambda row: woocommerce.to_event(EventKind.PRODUCT, row)),
}  # fmt: skip


@pytest.mark.parametrize("store", PRODUCTS)
def test_titles_of_products_and_variants_are_plain_text(store: str) -> None:
    row, translate = PRODUCTS[store]
    event = translate(row)
    assert isinstance(event, NativeEvent), event
    assert isinstance(event.event, ProductEvent)
    assert event.event.title == PLAIN
    assert {variant.title for variant in event.event.variants or ()} <= {PLAIN}
    assert store == "magento" or event.event.variants


@pytest.mark.parametrize("store", sorted(set(ORDERS) - {"generic_http"}))
def test_titles_of_line_items_are_plain_text(store: str) -> None:
    build, translate = ORDERS[store]
    event = translate(replaced(build(TAXES["included"]), TITLES[0], MARKED)).event
    assert isinstance(event, OrderEvent)
    assert [item.title for item in event.lineItems or ()] == [PLAIN, TITLES[1]]


def replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {name: replaced(member, old, new) for name, member in value.items()}
    if isinstance(value, list):
        return [replaced(member, old, new) for member in value]
    return new if value == old else value


@pytest.mark.parametrize(
    ("title", "result"),
    [
        ("Mug", "Mug"),
        ("Caf&eacute; &#8211; 1&nbsp;l", "Café – 1\xa0l"),
        ("O&#039;Brien&#x27;s", "O'Brien's"),
        ("&amp;amp;", "&amp;"),  # decoded once
        ("&lt;b&gt; is a tag", "<b> is a tag"),
        ('<span class="new" data-x="1">New</span> mug', "New mug"),
        ("Mug<br/>blue<br>large", "Mug blue large"),
        ("<!-- hidden -->Mug", "Mug"),
        ("I <3 tea", "I <3 tea"),
        ("3 < 5 > 2", "3 < 5 > 2"),
        ("A <b", "A <b"),
        ("AT&T", "AT&T"),
        ("  Mug  ", "  Mug  "),  # no HTML: unchanged
    ],
)
def test_plain_text(title: str, result: str) -> None:
    assert plain_text(title) == result


@given(st.text())
def test_an_escaped_title_is_the_title(title: str) -> None:
    assert plain_text(html.escape(title) + "<i></i>") == title.strip()
    assert plain_text(f'<p class="title">{html.escape(title)}</p>') == title.strip()


@pytest.mark.parametrize("part", ["<", "<a", "<a ", "</", "&", "&amp", "<br>", "<!--"])
def test_plain_text_takes_time_in_proportion(part: str) -> None:
    def seconds(count: int) -> float:
        started = time.perf_counter()
        plain_text(part * count)
        return time.perf_counter() - started

    assert min(seconds(200_000) for _ in range(3)) < 2.0
