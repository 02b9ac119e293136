"""Ids in files of other systems: the store's own id is used, or asked for, and never another one without a question."""

import json
from typing import Any  # Any: rows as JSON

import pytest

from platform_relay.imports.files import FileFormat
from platform_relay.imports.mapping import Column, guess_mapping
from platform_relay.inbox.events import EventKind
from tests.imports.read_file import FORMATS, Table, read_file, read_table

CUSTOMER, ORDER, PRODUCT = EventKind.CUSTOMER, EventKind.ORDER, EventKind.PRODUCT
PAID = {"status": "paid", "currency": "EUR", "total": "5.00"}
every_format = pytest.mark.parametrize("form", FORMATS)


# ----------------------------------------------------------------------------------------------- two columns of ids


@every_format
@pytest.mark.parametrize(
    ("kind", "row", "column"),
    [
        (CUSTOMER, {"id": "5f0c1d4e-1", "externalId": "7001", "email": "a@mail.example"}, "externalId"),
        (CUSTOMER, {"id": 887766, "merchant_id": "7001", "email": "a@mail.example"}, "merchant_id"),
        (CUSTOMER, {"id": "01GD", "external_id": "7001", "email": "a@mail.example"}, "external_id"),
        (CUSTOMER, {"ID": 1, "Customer ID": "7001", "Email": "a@mail.example"}, "Customer ID"),
        (CUSTOMER, {"ID": 1, "Merchant ID": "7001", "Email": "a@mail.example"}, "Merchant ID"),
        (CUSTOMER, {"id": 1, "user_id": "7001", "email": "a@mail.example"}, "user_id"),
        (CUSTOMER, {"ID": 1, "Kunden-ID": "7001", "E-Mail": "a@mail.example"}, "Kunden-ID"),
        (CUSTOMER, {"ID": 1, "Kundennummer": "7001", "E-Mail": "a@mail.example"}, "Kundennummer"),
        (ORDER, {"ID": 1, "Order ID": "7001", **PAID}, "Order ID"),
        (PRODUCT, {"id": 1, "product_id": "7001", "title": "Cup"}, "product_id"),
        (ORDER, {"id": 1, "customer_id": "7001", "customer user id": "9", **PAID}, None),
        (ORDER, {"id": 1, "order_number": "7001", "customer_id": "9", **PAID}, None),
        (CUSTOMER, {"id": 1, "customer_id": "1", "email": "a@mail.example"}, None),
        (ORDER, {"id": 1, "merchant_id": "7001", **PAID}, None),
        (PRODUCT, {"id": 1, "merchant_id": "7001", "title": "Cup"}, None),
    ],
)
def test_two_columns_of_different_ids_are_asked_about(
    form: FileFormat, kind: EventKind, row: dict[str, Any], column: str | None
) -> None:
    read = read_table([row], kind, form)
    first = next(iter(row))
    if column is None:
        assert read.mapping["id"] in ("id", "customer_id")
        assert all("id=id" not in answers for answers in read.answers)
        return
    pair = {column, first}
    [answers] = read.answers
    assert {answer.removeprefix("id=") for answer in answers} == pair
    assert read.waiting[0].parameter == "map"
    for chosen in pair:
        answered = read_table([row], kind, form, f"id={chosen}")
        assert (answered.answers, answered.values("id")) == ([], [str(row[chosen])])


@every_format
def test_the_external_id_is_proposed_unless_it_is_that_of_the_shop(form: FileFormat) -> None:
    def table(external: list[object]) -> Table:
        return [
            {"id": number, "external_id": value, "email": f"c{number}@mail.example"}
            for number, value in enumerate(external, 1)
        ]

    assert read_table(table(["71", "72"]), CUSTOMER, form).mapping["id"] == "external_id"
    same = read_table(table(["9", "9"]), CUSTOMER, form)
    assert (same.mapping["id"], same.waiting) == ("id", [])
    empty = read_table(table([None, None]), CUSTOMER, form)
    assert (empty.mapping["id"], empty.waiting) == ("id", [])


@every_format
def test_two_customers_of_an_order_are_asked_about(form: FileFormat) -> None:
    row = {"id": 1, "customer_id": 7, "Shopify Customer ID": 9, **PAID}
    assert read_table([row], ORDER, form).answers == [("customerId=customer_id", "customerId=Shopify Customer ID")]
    row["Shopify Customer ID"] = "gid://shopify/Customer/7"
    assert read_table([row], ORDER, form).answers == []


def test_the_user_of_an_order_is_not_preferred_to_its_customer() -> None:
    orders = [{"id": number, "customer": 100 + number, "user": {"id": 5}, **PAID} for number in (1, 2)]
    read = read_file("".join(f"{json.dumps(each)}\n" for each in orders), ORDER, "ndjson", "customerId=customer")
    assert [event["customerId"] for event in read.events] == [101, 102]
    proposed = read_file("".join(f"{json.dumps(each)}\n" for each in orders), ORDER, "ndjson")
    assert proposed.mapping["customerId"] == "customer"


@pytest.mark.parametrize("identifier", ["Set-10", "Dec-25", "2024-05-01"])
def test_in_json_an_id_that_looks_like_a_date_is_one(identifier: str) -> None:
    read = read_file(json.dumps({"id": identifier, "title": "Cup"}), PRODUCT, "ndjson", "id=id")
    assert [event["id"] for event in read.events] == [identifier]


def test_a_file_of_klaviyo_is_asked_about() -> None:
    profile = {"type": "profile", "id": "01GD", "attributes": {"email": "a@mail.example", "external_id": "7001"}}
    read = read_file(json.dumps({"data": [profile]}), CUSTOMER, "json")
    assert read.answers == [("id=attributes.external_id", "id=id")]
    chosen = read_file(json.dumps({"data": [profile]}), CUSTOMER, "json", "id=attributes.external_id")
    assert [(event["id"], event["email"]) for event in chosen.events] == [("7001", "a@mail.example")]


@every_format
def test_a_file_of_which_only_the_id_is_understood_waits(form: FileFormat) -> None:
    table: Table = [{"id": "1", "spoken_name": "Ada"}]
    assert read_table(table, CUSTOMER, form).answers == [("id=id",)]
    assert read_table(table, CUSTOMER, form, "id=id").answers == []
    assert read_table(table, CUSTOMER, form, "name=spoken_name").answers == []
    assert read_table([{"id": "1"}], CUSTOMER, form).answers == []


# ----------------------------------------------------------------------------------------------- repeated ids


@every_format
@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (CUSTOMER, [{"id": 1, "email": "a@mail.example"}, {"id": 1, "email": "b@mail.example"}]),
        (ORDER, [{"id": 1, **PAID}, {"id": 1, **PAID, "total": "24.90"}]),
        (ORDER, [{"id": 1, **PAID}, {"id": 1, **PAID, "status": "refunded"}]),
        (PRODUCT, [{"id": 1, "title": "Cup, red"}, {"id": 1, "title": "Cup, blue"}]),
    ],
)
def test_an_id_in_several_rows_with_different_values_waits(form: FileFormat, kind: EventKind, rows: Table) -> None:
    assert read_table(rows, kind, form).answers == [("id=id",)]
    assert read_table(rows, kind, form, "id=id").answers == []
    assert read_table([rows[0], rows[0]], kind, form).answers == []


@every_format
def test_a_customer_with_the_addresses_of_many_waits(form: FileFormat) -> None:
    def table(*orders: tuple[int, str]) -> Table:
        return [
            {"id": number, "customer_id": customer, "email": f"{name}@mail.example", **PAID}
            for number, (customer, name) in enumerate(orders, 1)
        ]

    assert read_table(table((9, "a"), (9, "b")), ORDER, form).answers == [("customerId=customer_id",)]
    faithful = [(customer, str(customer)) for customer in range(20) for _ in range(2) if customer]
    changed = table(*faithful, (50, "old"), (50, "new"))
    assert read_table(changed, ORDER, form).answers == [], "a customer may change the address"
    walk_in = table(*faithful * 10, *((50, f"guest{number}") for number in range(9)))
    assert read_table(walk_in, ORDER, form).answers == [("customerId=customer_id",)]
    guests = table((0, "a"), (0, "b"))
    assert read_table(guests, ORDER, form).answers == []


# ----------------------------------------------------------------------------------------------- the customer of an order


@every_format
def test_the_user_of_an_order_may_be_staff(form: FileFormat) -> None:
    read = read_table([{"id": 1, "user_id": 8, **PAID}], ORDER, form)
    assert (read.mapping["customerId"], read.answers) == ("user_id", [("customerId=user_id",)])
    both = read_table([{"id": 1, "user_id": 8, "customer_id": 7, **PAID}], ORDER, form)
    assert (both.values("customerId"), both.answers) == (["7"], [])


def test_the_customer_within_an_order_of_shopify_is_the_customer() -> None:
    orders: Table = [
        {"id": 1, "user_id": 88880001, "customer": {"id": 7100000000001, "email": "a@mail.example"}, **PAID},
        {"id": 2, "user_id": 88880001, "customer": None, **PAID},
    ]
    for form in ("ndjson", "json"):
        read = read_table(orders, ORDER, form)
        assert (read.values("customerId"), read.values("email")) == (["7100000000001", None], ["a@mail.example", None])
        assert read.answers == []
    flat = [{"id": 1, "user_id": 8, "customer.id": 7, **PAID}]
    assert read_table(flat, ORDER, "csv").values("customerId") == ["7"]


@every_format
@pytest.mark.parametrize("value", [0, "0", "NULL", -1, 0.0])
def test_a_guest_is_no_customer(form: FileFormat, value: object) -> None:
    read = read_table([{"id": 1, "customer_id": 7, **PAID}, {"id": 2, "customer_id": value, **PAID}], ORDER, form)
    if isinstance(value, float) and form in ("csv", "xlsx"):
        assert [reason.partition(":")[0] for reason in read.rejected] == ["customerId"]
        return
    assert (read.values("customerId"), read.rejected) == (["7", None], [])


@every_format
@pytest.mark.parametrize("value", ["NULL", "0", 0, "undefined", "Mar-04", "1.23457E+15", "#NAME?", "id"])
def test_a_text_that_is_no_id_rejects_its_row(form: FileFormat, value: object) -> None:
    table: Table = [{"id": number, "email": f"c{number}@mail.example"} for number in range(1, 20)]
    read = read_table([*table, {"id": value, "email": "x@mail.example"}], CUSTOMER, form)
    is_id = value == "Mar-04" and form in ("ndjson", "json")  # no spreadsheet saved it
    assert (len(read.events), [reason[:3] for reason in read.rejected]) == ((20, []) if is_id else (19, ["id:"]))


@pytest.mark.parametrize("form", ["ndjson", "json"])
@pytest.mark.parametrize(
    ("value", "customer"),
    [
        ("5.0", 5),
        ("5.5", None),
        ("1e3", None),
        ("9007199254740993.0", None),
        ("true", None),
        ('{"id": 5}', None),
        ("[5]", None),
    ],
)
def test_the_customer_of_an_order_is_never_left_out(form: FileFormat, value: str, customer: int | None) -> None:
    """pandas writes 5.0 for 5 if a row of the column has no value."""
    line = f'{{"id": 1, "customerId": {value}, "financialStatus": "paid", "currency": "EUR", "totalPrice": "5.00"}}\n'
    read = read_file(line if form == "ndjson" else f"[{line}]", ORDER, form)
    if customer is None:
        assert (read.events, [reason.partition(":")[0] for reason in read.rejected]) == ([], ["customerId"])
    else:
        assert (read.values("customerId"), read.rejected) == ([str(customer)], [])


@every_format
def test_a_customer_with_a_text_that_no_id_has_rejects_the_order(form: FileFormat) -> None:
    table: Table = [{"id": 1, "customer_id": 7, **PAID}, {"id": 2, "customer_id": "9" * 256, **PAID}]
    read = read_table(table, ORDER, form, "customerId=customer_id")
    assert (read.values("id"), [reason.partition(":")[0] for reason in read.rejected]) == (["1"], ["customerId"])


@every_format
def test_the_error_of_a_formula_is_no_guest(form: FileFormat) -> None:
    table: Table = [{"id": number, "customer_id": 7, **PAID} for number in range(1, 20)]
    read = read_table([*table, {"id": 20, "customer_id": "#N/A", **PAID}], ORDER, form)
    assert (len(read.events), [reason.partition(":")[0] for reason in read.rejected]) == (19, ["customerId"])


# ----------------------------------------------------------------------------------------------- Shopify's GraphQL API


@every_format
def test_ids_of_shopifys_graphql_api_are_those_of_its_webhooks(form: FileFormat) -> None:
    rows: Table = [
        {"id": "gid://shopify/Order/9", "customer_id": "gid://shopify/Customer/7", **PAID},
        {"id": "gid://shopify/DraftOrder/8", "customer_id": "gid://shopify/Customer/7", **PAID},
        {"id": "gid://shopify/Order/10", "customer_id": "gid://shopify/Company/7", **PAID},
    ]
    read = read_table(rows, ORDER, form)
    assert (read.values("id"), read.values("customerId")) == (["9"], ["7"])
    assert ["DraftOrder" in read.rejected[0], "Company" in read.rejected[1]] == [True, True]
    customers = read_table([{"id": "gid://shopify/Customer/7", "email": "a@mail.example"}], CUSTOMER, form)
    products = read_table([{"id": "gid://shopify/Product/5", "title": "Cup"}], PRODUCT, form)
    assert (customers.values("id"), products.values("id")) == (["7"], ["5"])


@every_format
def test_a_part_of_an_entity_is_no_entity(form: FileFormat) -> None:
    rows: Table = [
        {"id": "gid://shopify/Product/1", "title": "Cup", "__parentId": None},
        {"id": "gid://shopify/Product/2", "title": "red", "__parentId": "gid://shopify/Product/1"},
    ]
    read = read_table(rows, PRODUCT, form)
    assert (read.values("id"), len(read.rejected)) == (["1"], 1)
    assert "part of another entity" in read.rejected[0]


def test_the_products_of_line_items_have_plain_ids() -> None:
    order = {
        "id": 1,
        **PAID,
        "lineItems": [{"productId": "gid://shopify/Product/5", "variantId": "a"}, {"title": "Cup"}],
    }
    [event] = read_table([order], ORDER, "ndjson").events
    assert event["lineItems"] == [{"productId": "5", "variantId": "a"}, {"title": "Cup"}]


@every_format
@pytest.mark.parametrize("column", ["test", "Test", "is_test"])
def test_an_order_that_was_a_test_is_rejected(form: FileFormat, column: str) -> None:
    rows: Table = [
        {"id": number, **PAID, column: value} for number, value in enumerate((False, True, None, "true", "false"))
    ]
    rows = [{**row, "id": number} for number, row in enumerate(rows, 1)]
    read = read_table(rows, ORDER, form)
    assert read.values("id") == ["1", "3", "5"]
    assert all("is a test order" in reason for reason in read.rejected)


# ----------------------------------------------------------------------------------------------- names in all scripts


@pytest.mark.parametrize(
    ("kind", "header", "fields"),
    [
        (ORDER, "顧客ID;注文ID;メールアドレス;合計金額", "customerId;id;email;totalPrice"),
        (CUSTOMER, "会員ID;氏名;電話番号;生年月日", "id;name;phone;birthday"),
        (CUSTOMER, "ID клиента;Имя;Фамилия;Телефон", "id;firstName;lastName;phone"),
        (CUSTOMER, "ID klienta;Imię;Nazwisko;Telefon", "id;firstName;lastName;phone"),
        (CUSTOMER, "Kd-Nr;Vorname;Tel.;geb.", "id;firstName;phone;birthday"),
        (CUSTOMER, "Kundennr.;Vorname", "id;firstName"),
        (CUSTOMER, "ID cliente;Nombre;Apellidos;Teléfono;Fecha de nacimiento", "id;firstName;lastName;phone;birthday"),
        (CUSTOMER, "ＩＤ;Ｎａｍｅ", "id;name"),
        (CUSTOMER, "店舗ID;会員番号", ";id"),
        (CUSTOMER, "Номер;店舗ID;회원ID", ";;"),
        (ORDER, "Identyfikator;Łączna ID", ";"),
    ],
)
def test_names_of_columns_keep_their_letters(kind: EventKind, header: str, fields: str) -> None:
    names = header.split(";")
    values = {"メールアドレス": "a@mail.example"}
    guess = guess_mapping(kind, [Column(name, [values.get(name, "7")]) for name in names])
    wanted = {field: name for field, name in zip(fields.split(";"), names, strict=True) if field}
    assert {field: guess.mapping.get(field) for field in wanted} == wanted
    assert ("id" in guess.mapping) == ("id" in wanted)
