"""A field that is absent and a field that is null: what is sent of each field, and how the table changes it."""

import json
from typing import Final

import pytest
from pydantic import BaseModel, JsonValue

from platform_relay.forwarding.prepare import PreparedOrder, prepare_order
from platform_relay.imports.conversion import Reading, convert
from platform_relay.inbox.events import (
    EVENTS,
    CustomerEvent,
    DiscountCode,
    EventKind,
    LineItem,
    OrderEvent,
    ProductEvent,
    Variant,
)
from platform_relay.platform import translation
from platform_relay.platform.fields import ASSUMPTIONS, AssumptionError, Fields

VALUES: Final[dict[str, JsonValue]] = {
    "email": "a@example.com", "birthdayMonth": 2, "birthdayDay": 3, "tags": ["vip"], "quantity": 2, "position": 1,
    "price": "9.99", "amount": "5.00", "subtotalPrice": "9.99", "refundedAmount": "3.00", "createdAt": "2026-01-01T00:00:00.000Z",
    "lineItems": [{"productId": "7"}], "discountCodes": [{"code": "AB12"}], "variants": [{"externalVariantId": "8"}],
}  # fmt: skip
EMPTY: Final[dict[str, JsonValue]] = {"tags": [], "lineItems": [], "discountCodes": [], "variants": []}
ORDER: Final = {"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1.00"}
MODELS: Final[dict[str, type[BaseModel]]] = {
    "customer": CustomerEvent,
    "order": OrderEvent,
    "product": ProductEvent,
    "lineItem": LineItem,
    "discountCode": DiscountCode,
    "variant": Variant,
}
UNNAMED: Final = {"order.refundedAmount": "refundedAmount"}
"""Fields that are not sent until an operator names them."""
KEYS: Final = [
    f"{entity}.{name}"
    for entity, model in MODELS.items()
    for name, field in model.model_fields.items()
    if not field.is_required() and name != "updatedAt"
]


def body_of(entity: str, members: dict[str, JsonValue], fields: Fields) -> dict[str, JsonValue]:
    """What is sent of an entity with these members."""
    match entity:
        case "customer":
            raw = json.dumps({"id": "1", **members}).encode()
            return translation.customer(CustomerEvent.parse(raw), fields)
        case "order":
            return translation.order(OrderEvent.parse(json.dumps({**ORDER, **members}).encode()), fields)
        case "lineItem" | "discountCode":
            part = {"code": "AB12", **members} if entity == "discountCode" else members
            name = "lineItems" if entity == "lineItem" else "discountCodes"
            sent = body_of("order", {name: [part]}, fields)[name]
        case "variant":
            sent = body_of("variants", {"variants": [{"externalVariantId": "8", **members}]}, fields)["variants"]
        case _:
            event = ProductEvent.parse(json.dumps({"id": "1", **members}).encode())
            return translation.product(event, fields) | (translation.variants(event, fields) or {})
    assert isinstance(sent, list)
    [item] = sent
    assert isinstance(item, dict)
    return item


def test_every_field_that_can_be_null_is_in_the_table() -> None:
    assert {key.removeprefix("null.") for key in ASSUMPTIONS if key.startswith("null.")} == set(KEYS)


@pytest.mark.parametrize("form", [None, "null", "empty", "omit"])
@pytest.mark.parametrize("key", KEYS)
def test_what_is_sent_of_each_field(key: str, form: str | None) -> None:
    """`form` None: as the table assumes."""
    entity, name = key.split(".")
    try:
        fields = Fields(UNNAMED | ({f"null.{key}": form} if form else {}))
    except AssumptionError:
        assert form == "empty"
        return
    form = form or ASSUMPTIONS[f"null.{key}"].text
    sent = UNNAMED.get(key, ASSUMPTIONS[key].text)
    value = VALUES.get(name, "text")
    without = body_of(entity, {}, fields)
    assert sent not in without
    assert body_of(entity, {name: value}, fields)[sent] == value
    forms: dict[str, dict[str, JsonValue]] = {"null": {sent: None}, "empty": {sent: EMPTY.get(name, "")}, "omit": {}}
    expected = forms[form]
    with_null = body_of(entity, {name: None}, fields)
    assert with_null == {**without, **expected}
    assert (translation.digest(with_null) == translation.digest(without)) == (form == "omit")


@pytest.mark.parametrize("key", UNNAMED)
def test_a_field_without_a_name_is_not_sent(key: str) -> None:
    entity, name = key.split(".")
    assert body_of(entity, {name: VALUES[name]}, Fields()) == body_of(entity, {}, Fields())


def test_another_partial_refund_is_another_version_for_the_platform() -> None:
    """Without a field for the amount, the bodies of both are the same."""

    def digest(refunded: str | None) -> bytes:
        members: dict[str, JsonValue] = {} if refunded is None else {"refundedAmount": refunded}
        prepared = prepare_order(
            json.dumps({**ORDER, "financialStatus": "partially_refunded", **members}).encode(), Fields()
        )
        assert isinstance(prepared, PreparedOrder)
        return prepared.digest

    assert len({digest(amount) for amount in (None, "3.00", "5.00")}) == 3


def test_a_removed_phone_number_is_sent() -> None:
    assert body_of("customer", {"phone": None}, Fields()) == {"phone": ""}


def test_a_name_is_made_of_its_parts_and_removed_with_them() -> None:
    parts: dict[str, JsonValue] = {"firstName": "Ada", "lastName": None, "name": None}
    assert body_of("customer", parts, Fields())["name"] == "Ada"
    assert body_of("customer", {"firstName": None, "lastName": None}, Fields())["name"] == ""
    assert "name" not in body_of("customer", {"firstName": None}, Fields())


def test_an_order_without_an_address_does_not_remove_its_customers() -> None:
    event = OrderEvent.parse(json.dumps({**ORDER, "customerId": "42", "email": None}).encode())
    assert translation.customer_of_order(event, Fields({"null.customer.email": "null"})) == ("42", {})


@pytest.mark.parametrize(("key", "form"), [("customer.phone", "nothing"), ("customer.birthdayDay", "empty")])
def test_a_wrong_form_is_refused(key: str, form: str) -> None:
    with pytest.raises(AssumptionError, match=f"null.{key}"):
        Fields({f"null.{key}": form})


@pytest.mark.parametrize(("flat", "expected"), [(True, {"id": "1"}), (False, {"id": "1", "phone": None})])
def test_an_empty_cell_is_absent_and_a_null_in_json_is_null(flat: bool, expected: dict[str, JsonValue]) -> None:
    mapping = {"id": "Id", "phone": "Phone", "email": "E-mail"}
    assert convert(EventKind.CUSTOMER, {"Id": "1", "Phone": ""}, mapping, Reading(), flat=flat).event == expected
    if not flat:
        assert convert(EventKind.CUSTOMER, {"Id": "1", "Phone": None}, mapping, Reading(), flat=flat).event == expected


@pytest.mark.parametrize("kind", list(EventKind))
def test_a_stored_event_keeps_the_difference(kind: EventKind) -> None:
    """Native events are stored as JSON that is read again by the worker."""
    required = ORDER if kind is EventKind.ORDER else {"id": "1"}
    optional = [name for name, field in EVENTS[kind].model_fields.items() if not field.is_required()]
    event = EVENTS[kind].model_validate({**required, optional[0]: None})
    again = EVENTS[kind].parse(event.model_dump_json(exclude_unset=True).encode())
    assert again.model_fields_set == event.model_fields_set
