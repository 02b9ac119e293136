"""Store events become the Platform's bodies."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core import exact_json
from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.platform import translation
from platform_relay.platform.fields import Fields

FIELDS = Fields()
ORDER = {
    "id": 1001,
    "customerId": "42",
    "email": "Jane@example.com",
    "financialStatus": "paid",
    "currency": "EUR",
    "totalPrice": "19.98",
    "lineItems": [{"productId": 7, "quantity": 2, "price": "9.990", "sku": "A-1"}],
    "discountCodes": [{"code": "ab12", "amount": "5"}],
    "createdAt": "2025-03-01T10:00:00+02:00",
    "updatedAt": "2025-03-01T10:05:00Z",
    "note": {"gift": True},
}


def order(**changed: object) -> OrderEvent:
    return OrderEvent.parse(json.dumps({**ORDER, **changed}).encode())


def test_an_order_keeps_the_digits_of_its_money_and_what_we_do_not_know() -> None:
    assert translation.order(order(), FIELDS) == {
        "customerId": "42",
        "email": "Jane@example.com",
        "financialStatus": "paid",
        "currency": "EUR",
        "totalPrice": "19.98",
        "lineItems": [{"productId": "7", "quantity": 2, "price": "9.990", "sku": "A-1"}],
        "discountCodes": [{"code": "ab12", "amount": "5"}],
        "createdAt": "2025-03-01T08:00:00.000Z",
        "note": {"gift": True},
    }


def test_a_renamed_field_is_renamed_inside_lists_too() -> None:
    body = translation.order(order(), Fields({"lineItem.price": "unitPrice", "order.lineItems": "items"}))
    assert body["items"] == [{"productId": "7", "quantity": 2, "unitPrice": "9.990", "sku": "A-1"}]


@given(st.decimals(min_value=0, max_value=10**12, places=2))
def test_money_is_a_decimal_string_and_never_a_float(amount: Decimal) -> None:
    result = translation.order(order(totalPrice=f"{amount:f}"), FIELDS)["totalPrice"]
    assert result == f"{amount:f}"


def test_money_can_be_a_number_with_its_digits() -> None:
    body = translation.order(order(), Fields({"form.money": "number"}))
    assert b'"totalPrice":19.98' in exact_json.dumps(body)
    assert b'"price":9.990' in exact_json.dumps(body)


def test_a_customer_without_a_name_gets_one_of_its_parts() -> None:
    event = CustomerEvent.parse(
        b'{"id": "42", "firstName": "Jane", "lastName": "Doe", "createdAt": "2025-01-01T00:00:00Z"}'
    )
    assert translation.customer(event, FIELDS) == {
        "firstName": "Jane",
        "lastName": "Doe",
        "name": "Jane Doe",
        "externalCreatedAt": "2025-01-01T00:00:00.000Z",
    }


def test_a_guest_is_known_by_the_mail_address_in_lower_case() -> None:
    assert translation.customer_of_order(order(customerId=None, name="Jane Doe"), FIELDS) == (
        "jane@example.com",
        {"email": "Jane@example.com", "name": "Jane Doe"},
    )


def test_an_order_of_nobody_tells_no_customer() -> None:
    assert translation.customer_of_order(order(customerId=None, email=None), FIELDS) is None


def test_variants_are_told_only_when_the_event_tells_them() -> None:
    assert translation.variants(ProductEvent.parse(b'{"id": 7, "title": "Mug"}'), FIELDS) is None
    assert translation.variants(ProductEvent.parse(b'{"id": 7, "variants": []}'), FIELDS) == {"variants": []}
    event = ProductEvent.parse(b'{"id": 7, "variants": [{"externalVariantId": 71, "position": 1}]}')
    assert translation.variants(event, FIELDS) == {"variants": [{"externalVariantId": "71", "position": 1}]}
    assert translation.product(event, FIELDS) == {}


def test_the_digest_does_not_depend_on_the_order_of_names_nor_on_the_version() -> None:
    later = order(updatedAt="2026-01-01T00:00:00Z")
    assert translation.digest(translation.order(order(), FIELDS)) == translation.digest(
        translation.order(later, FIELDS)
    )
    assert translation.digest({"a": 1, "b": 2}) == translation.digest({"b": 2, "a": 1})
    assert translation.digest({"a": 1}) != translation.digest({"a": 1}, {"variants": []})
