"""The amounts of an order mean the same in every store, whether its prices include tax or not (docs/stores.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)
from pydantic import ValidationError

from platform_relay.inbox.events import EventKind, LineItem, OrderEvent
from platform_relay.stores import ADAPTERS
from platform_relay.stores.amounts import in_currency, money, number, refunded, saved_with_tax, unit_price
from platform_relay.stores.native import NativeEvent
from platform_relay.stores.saleor import documents as saleor
from platform_relay.stores.shopify import documents as shopify
from platform_relay.stores.vendure import events as vendure
from tests.contract.orders import (
    SOURCES,
    STORES,
    TAXES,
    Json,
    names_in,
    saleor_order,
    shopify_node,
    table_of_amounts,
    vendure_order,
)

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
BEGIN, END = "<!-- made by tests/contract/test_order_amounts.py -->", "<!-- end of amounts -->"


def order_of(native: NativeEvent) -> OrderEvent:
    assert isinstance(native.event, OrderEvent)
    return native.event


@pytest.mark.parametrize("tax", TAXES)
@pytest.mark.parametrize("store", STORES)
def test_prices_are_with_tax_and_before_discounts(store: str, tax: str) -> None:
    build, translate = STORES[store]
    event = order_of(translate(build(TAXES[tax])))
    assert [(item.title, item.quantity, str(item.price)) for item in event.lineItems or ()] == [
        ("Salt mill", Decimal(1), "32.50"),
        ("Pepper mill", Decimal(2), "45.00"),
    ]
    amounts = (str(event.subtotalPrice), str(event.totalPrice), event.currency, event.refundedAmount)
    assert amounts == ("122.50", "115.25", "EUR", None)
    assert [(used.code, str(used.amount)) for used in event.discountCodes or ()] == [("SPRING-10", "12.25")]


@pytest.mark.parametrize("store", STORES)
def test_a_second_partial_refund_is_another_version(store: str) -> None:
    """Also in the same second, with the same status and the same time of change."""
    build, translate = STORES[store]
    versions = [translate(build(TAXES["included"], refunds)) for refunds in ((), ("3.00",), ("3.00", "2.00"))]
    amounts = [order_of(version).refundedAmount for version in versions]
    assert amounts == [None, Decimal("3.00"), Decimal("5.00")]
    assert len({version.dedupe_key for version in versions}) == len(versions)
    assert {str(order_of(version).totalPrice) for version in versions} == {"115.25"}


def test_every_store_is_in_the_table() -> None:
    assert set(SOURCES) == set(ADAPTERS) == {store.partition(" ")[0] for store in STORES}


def test_the_table_of_amounts_is_in_the_docs() -> None:
    """`WRITE_DOCS=1 pytest tests/contract/test_order_amounts.py` writes it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}\n{table_of_amounts()}{END}{after}")
    assert f"{BEGIN}\n{table_of_amounts()}{END}" in PAGE.read_text()


@pytest.mark.parametrize("store", SOURCES)
def test_the_table_names_fields_of_the_store(store: str) -> None:
    build, _ = STORES[store]
    fields = {name for source in SOURCES[store] for name in re.findall(r"`([^`]+)`", source)}
    assert fields <= set(names_in(build(TAXES["excluded"], ("1.00",))))


# -------------------------------------------------------------------------------------- the shape of GraphQL's orders


def selected(document: str, field: str) -> Mapping[str, Any]:
    """The fields that a query selects of `field`, with the fields of each."""
    definitions = parse(document).definitions
    fragments = {
        node.name.value: node.selection_set for node in definitions if isinstance(node, FragmentDefinitionNode)
    }
    (operation,) = [node for node in definitions if isinstance(node, OperationDefinitionNode)]

    def tree(selection: SelectionSetNode | None) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for node in selection.selections if selection else ():
            if isinstance(node, FieldNode):
                fields[node.alias.value if node.alias else node.name.value] = tree(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                fields |= tree(fragments[node.name.value])
            elif isinstance(node, InlineFragmentNode):
                fields |= tree(node.selection_set)
        return fields

    order: Mapping[str, Any] = tree(operation.selection_set)[field]
    return order


def has_fields(value: object, fields: Mapping[str, Any]) -> None:
    """The row has exactly the fields of the query."""
    if isinstance(value, list):
        for member in value:
            has_fields(member, fields)
    elif isinstance(value, dict):
        assert value.keys() == fields.keys()
        for name, member in value.items():
            has_fields(member, fields[name])


@pytest.mark.parametrize(
    ("row", "document", "field"),
    [
        (saleor_order, saleor.ORDER, "order"),
        (vendure_order, vendure.SINGLE[EventKind.ORDER], "order"),
        (shopify_node, shopify.GET_ORDER, "result"),
    ],
)
def test_the_rows_have_the_fields_of_the_query(row: Any, document: str, field: str) -> None:
    order: Json = row(TAXES["excluded"], ("1.00",))
    has_fields(order, selected(document, field))


# ------------------------------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("amount", "currency", "result"),
    [("1.005", "EUR", "1.01"), ("1.0049", "EUR", "1.00"), ("1200.5", "JPY", "1201"), ("1.2345", "KWD", "1.235")],
)
def test_amounts_are_rounded_half_up_to_the_places_of_the_currency(amount: str, currency: str, result: str) -> None:
    assert str(in_currency(Decimal(amount), currency)) == result


@pytest.mark.parametrize("value", ["abc", "1,50", "NaN", "Infinity", True, {}, []])
def test_what_is_no_amount_spoils_no_other_amount(value: Any) -> None:
    amount = number(value)
    one = Decimal(1)
    results = [
        amount,
        in_currency(amount + one, "EUR"),
        unit_price(amount, one, "EUR"),
        unit_price(one, amount, "EUR"),
        refunded(amount, "EUR"),
        saved_with_tax(amount, one, one, one),
    ]
    assert all(isinstance(result, Decimal) and result.is_nan() for result in results)
    assert saved_with_tax(one, amount, one, amount) == one
    with pytest.raises(ValidationError):
        LineItem(price=amount)


def test_an_amount_that_is_too_large_is_none() -> None:
    assert in_currency(Decimal("1e40"), "EUR").is_nan()
    assert money("", "EUR") is None
    assert money(None, "EUR") is None
    assert str(money(0, "EUR")) == "0.00"


def test_a_line_without_units_has_no_price() -> None:
    assert unit_price(Decimal("9.99"), Decimal(0), "EUR") is None
    assert unit_price(Decimal("10.00"), Decimal("2.5"), "EUR") == Decimal("4.00")


@pytest.mark.parametrize(
    ("saved", "all_saved", "net", "gross", "result"),
    [
        ("10", "10", "10", "12.5", "12.5"),  # taken off net prices
        ("4", "10", "10", "12.5", "5"),  # one of several discounts
        ("12.5", "12.5", "10", "12.5", "12.5"),  # taken off gross prices
        ("10.01", "10.01", "10", "12.5", "12.5125"),  # with rounded lines
        ("10", "10", "10", "10", "10"),  # no tax
        ("10", "10", "0", "0", "10"),  # the order does not show what changed
    ],
)
def test_a_discount_with_its_share_of_tax(saved: str, all_saved: str, net: str, gross: str, result: str) -> None:
    amounts = (Decimal(amount) for amount in (saved, all_saved, net, gross))
    assert saved_with_tax(*amounts) == Decimal(result)
