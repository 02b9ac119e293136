"""An event whose unknown fields have the names that the operator mapped to other fields. Mapped fields always win."""

import json
from collections.abc import Mapping
from typing import Final, cast

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.forwarding.prepare import PreparedOrder, prepare_order
from platform_relay.imports.conversion import Reading, convert
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.platform import translation
from platform_relay.platform.fields import ASSUMPTIONS, AssumptionError, Fields

ORDER: Final[dict[str, JsonValue]] = {
    "id": "1001", "customerId": "42", "email": "jane@example.com", "financialStatus": "paid", "currency": "EUR",
    "totalPrice": "19.98", "lineItems": [{"productId": "7", "quantity": 2}], "createdAt": "2025-03-01T10:00:00Z",
}  # fmt: skip
CUSTOMER: Final[dict[str, JsonValue]] = {
    "id": "42",
    "email": "jane@example.com",
    "firstName": "Jane",
    "lastName": "Doe",
}
PRODUCT: Final[dict[str, JsonValue]] = {"id": "7", "title": "Blue", "variants": [{"externalVariantId": "7-1"}]}
OTHERS: Final = ("externalId", "total", "buyer", "amount", "state", "n", "label", "key")
"""Names that are no fields of an event."""
BODIES: Final = ("order", "customer", "product", "variant", "lineItem")
extras = st.dictionaries(st.sampled_from(OTHERS), st.sampled_from(["forged", {"forged": 1}, None]), max_size=6)


@st.composite
def mappings(draw: st.DrawFn) -> Fields:
    """The table with random names for some fields of the bodies."""
    keys = [key for key in ASSUMPTIONS if key.split(".")[0] in BODIES]
    chosen = draw(st.lists(st.sampled_from(keys), unique=True, max_size=8))
    overrides = {key: draw(st.sampled_from(OTHERS)) for key in chosen}
    try:
        return Fields(overrides)
    except AssumptionError:  # two fields of one body with the same name
        return Fields(dict(list(overrides.items())[:1]))


def names(fields: Fields, entity: str) -> set[str]:
    """The names of all mapped fields of a body."""
    return {fields[key] for key in ASSUMPTIONS if key.startswith(f"{entity}.")}


def with_extras(event: Mapping[str, JsonValue], more: Mapping[str, JsonValue]) -> bytes:
    return json.dumps({**more, **event}).encode()


@given(mappings(), extras)
@example(Fields({"order.id": "externalId"}), {"externalId": "forged"})
def test_an_order_keeps_its_mapped_fields(fields: Fields, more: dict[str, JsonValue]) -> None:
    plain = translation.order(OrderEvent.parse(json.dumps(ORDER).encode()), fields)
    body = translation.order(OrderEvent.parse(with_extras(ORDER, more)), fields)
    assert body == plain | {name: value for name, value in more.items() if name not in names(fields, "order")}
    prepared = prepare_order(with_extras(ORDER, more), fields)
    assert isinstance(prepared, PreparedOrder)
    create = exact_json.loads(prepared.create)
    assert exact_json.member(create, fields["order.id"]) == "1001"


@given(mappings(), extras)
@example(Fields({"customer.name": "label"}), {"label": "forged"})
@example(Fields({"customer.phone": "label"}), {"label": "forged"})
def test_a_customer_keeps_its_mapped_fields(fields: Fields, more: dict[str, JsonValue]) -> None:
    plain = translation.customer(CustomerEvent.parse(json.dumps(CUSTOMER).encode()), fields)
    body = translation.customer(CustomerEvent.parse(with_extras(CUSTOMER, more)), fields)
    assert body == plain | {name: value for name, value in more.items() if name not in names(fields, "customer")}


@given(mappings(), extras)
def test_products_variants_and_line_items_keep_their_mapped_fields(fields: Fields, more: dict[str, JsonValue]) -> None:
    def product(extra: dict[str, JsonValue]) -> ProductEvent:
        variants: JsonValue = [{**extra, "externalVariantId": "7-1"}]
        return ProductEvent.parse(with_extras({**PRODUCT, "variants": variants}, extra))

    def inner(body: Mapping[str, JsonValue] | None, name: str) -> dict[str, JsonValue]:
        [row] = cast("list[dict[str, JsonValue]]", (body or {})[name])
        return row

    def others(entity: str) -> dict[str, JsonValue]:
        return {name: value for name, value in more.items() if name not in names(fields, entity)}

    plain = product({})
    assert translation.product(product(more), fields) == translation.product(plain, fields) | others("product")
    key = fields["product.variants"]
    variant = inner(translation.variants(product(more), fields), key)
    assert variant == inner(translation.variants(plain, fields), key) | others("variant")
    items: JsonValue = [{**more, "productId": "7", "quantity": 2}]
    order = translation.order(OrderEvent.parse(json.dumps({**ORDER, "lineItems": items}).encode()), fields)
    item: dict[str, JsonValue] = {fields["lineItem.productId"]: "7", fields["lineItem.quantity"]: 2}
    assert inner(order, fields["order.lineItems"]) == item | others("lineItem")


@given(st.dictionaries(st.sampled_from(["id", "email", "customerId", "totalPrice"]), st.sampled_from(OTHERS)), extras)
@example({"id": "externalId"}, {})
def test_a_row_of_a_file_fills_mapped_fields_from_their_columns_only(
    mapping: dict[str, str], columns: dict[str, JsonValue]
) -> None:
    event = convert(EventKind.ORDER, {**columns, **ORDER}, mapping, Reading(), flat=False).event
    for field, column in mapping.items():
        value = columns.get(column)
        is_no_id = field in ("id", "customerId") and isinstance(value, dict)  # its row is rejected
        assert event.get(field) == (None if is_no_id else value), field
    assert {name: event.get(name) for name in ORDER if name not in mapping} == {
        name: value for name, value in ORDER.items() if name not in mapping
    }
