"""One contract over all eight adapters: what becomes of an order that has a field which cannot be read.

Seven adapters translate the store's own order. The merchant of generic_http sends the typed event to the API, which names a
field that cannot be read in its response.
"""

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from platform_relay.core import exact_json
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import TEXT_LENGTH, EventKind, OrderEvent
from platform_relay.inbox.messages import customer_of
from platform_relay.platform import translation
from platform_relay.platform.fields import ASSUMED
from platform_relay.stores import ADAPTERS
from platform_relay.stores.bigcommerce import events as bigcommerce
from platform_relay.stores.magento import events as magento
from platform_relay.stores.medusa import events as medusa
from platform_relay.stores.native import Ignored, NativeEvent, Page, ParsedEntity, Unreadable
from platform_relay.stores.saleor import events as saleor
from platform_relay.stores.shopify import events as shopify
from platform_relay.stores.vendure import events as vendure
from platform_relay.stores.woocommerce import events as woocommerce
from platform_relay.sync.polling import inbox_item

TIME = "2026-01-02T03:04:05+00:00"
NO_TIME = "0000-00-00 00:00:00"
Row = dict[str, Any]
Fields = dict[str, Any]
USUAL: Fields = {
    "quantity": 2, "title": "Linen", "currency": "EUR", "created": TIME, "code": "AB12", "email": "ada@example.com",
}  # fmt: skip


def woocommerce_order(field: Fields) -> Row:
    return {
        "id": 28, "status": "processing", "currency": field["currency"], "total": "23.75", "customer_id": 0,
        "billing": {"email": field["email"]}, "date_created_gmt": field["created"].removesuffix("+00:00"),
        "date_modified_gmt": "2026-01-02T03:04:05", "coupon_lines": [{"code": field["code"], "discount": "1.00"}],
        "line_items": [{"product_id": 7, "name": field["title"], "quantity": field["quantity"], "total": "23.75"}],
    }  # fmt: skip


def shopify_order(field: Fields) -> Row:
    money: Any = {"shopMoney": {"amount": "23.75"}}
    return {
        "id": "gid://shopify/Order/28", "email": field["email"], "currencyCode": field["currency"], "test": False,
        "displayFinancialStatus": "PAID", "createdAt": field["created"], "updatedAt": TIME, "customer": None,
        "discountCodes": [field["code"]], "totalPriceSet": money, "subtotalPriceSet": money,
        "lineItems": {"pageInfo": {"hasNextPage": False}, "nodes": [
            {"title": field["title"], "quantity": field["quantity"], "originalUnitPriceSet": money}]},
    }  # fmt: skip


def bigcommerce_order(field: Fields) -> Row:
    return {
        "id": 28, "status_id": 11, "default_currency_code": field["currency"], "total_inc_tax": "23.7500",
        "billing_address": {"email": field["email"]}, "date_created": _rfc2822(field["created"]),
        "date_modified": _rfc2822(TIME), "coupons": [{"code": field["code"], "discount": "1.0000"}],
        "items": [{"product_id": 7, "name": field["title"], "quantity": field["quantity"], "price_inc_tax": "11.8750"}],
    }  # fmt: skip


def _rfc2822(time: str) -> str:
    return "Fri, 02 Jan 2026 03:04:05 +0000" if time == TIME else time


def magento_order(field: Fields) -> Row:
    return {
        "entity_id": 28, "state": "processing", "grand_total": 23.75, "total_paid": 23.75, "customer_is_guest": 1,
        "order_currency_code": field["currency"], "customer_email": field["email"], "coupon_code": field["code"],
        "discount_amount": -1, "created_at": field["created"].removesuffix("+00:00"), "updated_at": "2026-01-02 03:04:05",
        "items": [{"item_id": 1, "product_id": 7, "name": field["title"], "qty_ordered": field["quantity"], "price": 9.5}],
    }  # fmt: skip


def medusa_order(field: Fields) -> Row:
    return {
        "id": "28", "status": "pending", "payment_status": "captured", "currency_code": field["currency"],
        "email": field["email"], "customer": {"has_account": False}, "total": 23.75, "created_at": field["created"],
        "updated_at": TIME, "items": [{
            "product_id": "7", "title": field["title"], "quantity": field["quantity"], "unit_price": 9.5,
            "adjustments": [{"code": field["code"], "amount": 1}]}],
    }  # fmt: skip


def saleor_order(field: Fields) -> Row:
    money: Any = {"gross": {"amount": 23.75, "currency": field["currency"]}, "net": {"amount": 23.75}}
    return {
        "id": "28", "status": "FULFILLED", "chargeStatus": "FULL", "authorizeStatus": "FULL", "userEmail": field["email"],
        "user": None, "total": money, "subtotal": money, "shippingPrice": money, "undiscountedTotal": money,
        "voucherCode": field["code"], "created": field["created"],
        "updatedAt": TIME, "discounts": [{"type": "VOUCHER", "total": {"amount": 1}}],
        "lines": [{"productName": field["title"], "quantity": field["quantity"], "undiscountedUnitPrice": money,
                   "undiscountedTotalPrice": money}],
    }  # fmt: skip


def vendure_order(field: Fields) -> Row:
    return {
        "id": "28", "code": "T28", "state": "PaymentSettled", "active": False, "orderPlacedAt": field["created"],
        "createdAt": TIME, "updatedAt": TIME, "currencyCode": field["currency"], "totalWithTax": 2375,
        "customer": {"emailAddress": field["email"], "user": None}, "couponCodes": [field["code"]],
        "payments": [{"amount": 2375, "state": "Settled", "updatedAt": TIME}],
        "lines": [{"quantity": field["quantity"], "unitPriceWithTax": 950, "productVariant": {"name": field["title"]}}],
    }  # fmt: skip


ROWS: dict[str, Callable[[Fields], Row]] = {
    "woocommerce": woocommerce_order, "shopify": shopify_order, "bigcommerce": bigcommerce_order, "magento": magento_order,
    "medusa": medusa_order, "saleor": saleor_order, "vendure": vendure_order,
}  # fmt: skip
NATIVE: dict[str, Callable[[Row], ParsedEntity]] = {
    "woocommerce": lambda row: woocommerce.to_event(EventKind.ORDER, row),
    "shopify": lambda row: shopify.event_from_node(EventKind.ORDER, row),
    "bigcommerce": lambda row: bigcommerce.order_event(row, row["items"], row["coupons"]),
    "magento": lambda row: magento.to_event(EventKind.ORDER, row, ""),
    "medusa": lambda row: medusa.to_event(EventKind.ORDER, row),
    "saleor": lambda row: saleor.to_event(EventKind.ORDER, row, "web"),
    "vendure": lambda row: vendure.to_event(EventKind.ORDER, row, 2),
}
every_native = pytest.mark.parametrize("store", NATIVE)


def api_order(field: Fields) -> OrderEvent:
    """The event that the merchant's own code sends. Raises ValidationError."""
    return OrderEvent.parse(exact_json.dumps({
        "id": "28", "financialStatus": "paid", "currency": field["currency"], "totalPrice": "23.75", "email": field["email"],
        "createdAt": field["created"], "updatedAt": TIME, "discountCodes": [{"code": field["code"], "amount": "1.00"}],
        "lineItems": [{"title": field["title"], "quantity": field["quantity"]}],
    }))  # fmt: skip


def read(store: str, **changed: Any) -> tuple[OrderEvent, list[str], list[str]]:
    """The order, the fields that were left out, and the texts that were cut."""
    parsed = NATIVE[store](ROWS[store]({**USUAL, **changed}))
    assert isinstance(parsed, NativeEvent), parsed
    assert isinstance(parsed.event, OrderEvent)
    facts: Any = parsed.note.facts if parsed.note else {}
    assert parsed.note is None or parsed.note.code is ReasonCode.FIELDS_LEFT_OUT
    return parsed.event, list(facts.get("fields", ())), list(facts.get("cut", ()))


def test_every_adapter_is_here() -> None:
    assert {*NATIVE, "generic_http"} == set(ADAPTERS)


@every_native
def test_an_order_that_is_complete_has_no_note(store: str) -> None:
    event, left_out, cut = read(store)
    assert (event.id, event.email, event.currency, left_out, cut) == ("28", "ada@example.com", "EUR", [], [])


@pytest.mark.parametrize("quantity", [Decimal("1.5"), Decimal("2.5"), Decimal("0.125")])
@pytest.mark.parametrize("store", [*NATIVE, "generic_http"])
def test_a_fractional_quantity_reaches_the_platform(store: str, quantity: Decimal) -> None:
    event = api_order({**USUAL, "quantity": quantity}) if store == "generic_http" else read(store, quantity=quantity)[0]
    stored = OrderEvent.parse(event.model_dump_json(exclude_unset=True).encode())
    assert stored == event
    body = translation.order(stored, ASSUMED)
    assert f'"quantity":{quantity}'.encode() in exact_json.dumps(body)
    assert translation.digest(body) == translation.digest(translation.order(event, ASSUMED))


@every_native
@pytest.mark.parametrize(("quantity", "whole"), [(2, 2), (Decimal("2.0"), 2), (Decimal("2.0000"), 2)])
def test_a_whole_quantity_stays_whole(store: str, quantity: Decimal, whole: int) -> None:
    body = exact_json.dumps(translation.order(read(store, quantity=quantity)[0], ASSUMED))
    assert f'"quantity":{whole}'.encode() in body
    assert b'"quantity":2.' not in body


@every_native
@pytest.mark.parametrize("quantity", [-1, "many", True])
def test_a_quantity_that_is_none_is_left_out(store: str, quantity: object) -> None:
    event, left_out, _ = read(store, quantity=quantity)
    amounts = {"lineItems.0.price", "subtotalPrice"}  # where the store has no field for them
    assert {"lineItems.0.quantity"} <= set(left_out) <= {"lineItems.0.quantity", *amounts}
    assert event.lineItems is not None
    assert event.lineItems[0].title == "Linen"


@every_native
def test_a_title_above_the_limit_is_cut(store: str) -> None:
    event, left_out, cut = read(store, title="x" * (TEXT_LENGTH + 1))
    assert (left_out, cut) == ([], ["lineItems.0.title"])
    assert event.lineItems is not None
    assert event.lineItems[0].title == "x" * TEXT_LENGTH


@every_native
@pytest.mark.parametrize("currency", ["EURO", "", None, 978])
def test_an_order_in_no_currency_is_unreadable_under_its_own_id(store: str, currency: object) -> None:
    parsed = NATIVE[store](ROWS[store]({**USUAL, "currency": currency}))
    assert isinstance(parsed, Unreadable), parsed
    assert (parsed.kind, parsed.id) == (EventKind.ORDER, "28")
    assert parsed.reason.code is ReasonCode.ENTITY_UNREADABLE
    assert (parsed.reason.facts["field"], parsed.reason.facts["entity"]) == ("currency", "order")
    assert "currency" in parsed.reason.text
    assert parsed.version is not None
    assert "ada@" not in repr(parsed.reason)
    page = Page.of([parsed, NATIVE[store](ROWS[store](USUAL)), Ignored(parsed.reason)], None)
    assert ([entity.id for entity in page.unreadable], len(page.events)) == (["28"], 1)


@every_native
def test_a_date_that_is_none_is_left_out(store: str) -> None:
    event, left_out, _ = read(store, created=NO_TIME)
    assert (event.createdAt, left_out) == (None, ["createdAt"])


@pytest.mark.parametrize("born", ["0000-00-00", "soon", 7])
def test_a_birthday_that_is_none_is_left_out(born: object) -> None:
    row: Row = {"id": 5, "email": "ada@example.com", "dob": born, "updated_at": "2026-01-02 03:04:05"}
    parsed = magento.to_event(EventKind.CUSTOMER, row, "")
    assert isinstance(parsed, NativeEvent), parsed
    assert parsed.note is not None
    assert parsed.note.facts["fields"] == ["birthdayMonth", "birthdayDay"]


@every_native
@pytest.mark.parametrize("code", [None, "", "x" * 256])
def test_a_discount_without_a_code_is_left_out(store: str, code: object) -> None:
    event, _, _ = read(store, code=code)
    assert not event.discountCodes
    assert event.totalPrice == Decimal("23.75")


@every_native
@pytest.mark.parametrize("email", ["no address", "two@at@signs", "@"])
def test_an_address_that_is_none_is_left_out(store: str, email: str) -> None:
    event, left_out, _ = read(store, email=email)
    assert (event.email, left_out) == (None, ["email"])


@pytest.mark.parametrize("email", ["deleted@site.invalid", "x@mail.example", "Erased@Shop.TEST", "x@invalid"])
@pytest.mark.parametrize("store", [*NATIVE, "generic_http"])
def test_a_placeholder_address_identifies_no_customer(store: str, email: str) -> None:
    """No customer, no points, and the orders of different people are not merged."""
    event = api_order({**USUAL, "email": email}) if store == "generic_http" else read(store, email=email)[0]
    assert customer_of(event) is None
    assert translation.customer_of_order(event, ASSUMED) is None
    assert "email" not in translation.order(event, ASSUMED)


@pytest.mark.parametrize(
    "changed", [{"title": "x" * (TEXT_LENGTH + 1)}, {"currency": "EURO"}, {"created": NO_TIME}, {"code": ""}]
)
def test_the_api_names_the_field_that_it_cannot_read(changed: Fields) -> None:
    with pytest.raises(ValidationError) as error:
        api_order({**USUAL, **changed})
    assert len(error.value.errors()) == 1


# ------------------------------------------------------------------------------------------- every field, any value

NASTY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.decimals(allow_nan=False, allow_infinity=False),
    st.just([]), st.just({}), st.just([None]),
    st.sampled_from(["NaN", "Infinity", "1e400", "\x00", "\ud800", "0000-00-00", "a@b.invalid", "x" * 3000, -(10**40)]),
)  # fmt: skip


def places(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The place of every value inside a JSON document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [inner for name, member in members for inner in [(*place, name), *places(member, (*place, name))]]


@every_native
@given(data=st.data())
def test_whatever_a_field_holds_the_order_is_sent_or_unreadable(store: str, data: st.DataObject) -> None:
    """It raises nothing, and is not silently ignored; what is unreadable has the order's id, unless the id itself is changed."""
    row = ROWS[store](USUAL)
    place = data.draw(st.sampled_from(places(row)))
    row = copy.deepcopy(row)
    changed: Any = row
    for step in place[:-1]:
        changed = changed[step]
    changed[place[-1]] = data.draw(NASTY)
    parsed = NATIVE[store](row)
    if isinstance(parsed, Unreadable):
        assert parsed.id == "28" or place[-1] in ("id", "entity_id")
        assert parsed.reason.facts["problem"]
        assert inbox_item(parsed, store, backfill=False)[1].reason == parsed.reason
    elif isinstance(parsed, NativeEvent):
        stored = inbox_item(parsed, store, backfill=False)[1].event
        assert stored is not None
        again = OrderEvent.parse(stored)
        assert (again.id, again.model_fields_set) == (parsed.event.id, parsed.event.model_fields_set)
    else:
        assert place in {("status",), ("test",)}
