"""Values in files of other systems: times in UTC, words for "no value", what a spreadsheet destroyed, addresses, yen."""

import json
from typing import Any  # Any: rows as JSON

import pytest

from platform_relay.imports.column_names import names_utc
from platform_relay.imports.files import FileFormat
from platform_relay.inbox.events import EventKind
from tests.imports.read_file import FORMATS, read_file, read_table

CUSTOMER, ORDER, PRODUCT = EventKind.CUSTOMER, EventKind.ORDER, EventKind.PRODUCT
PAID = {"status": "paid", "currency": "EUR", "total": "5.00"}
every_format = pytest.mark.parametrize("form", FORMATS)

# ----------------------------------------------------------------------------------------------- times


@every_format
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
@pytest.mark.parametrize("kind", EventKind)
def test_a_time_in_utc_is_preferred_to_a_local_one(form: FileFormat, zone: str | None, kind: EventKind) -> None:
    row = {
        "id": 7,
        "date_modified": "2026-05-11T23:00:00",
        "date_modified_gmt": "2026-05-11T14:00:00",
        **(PAID if kind is ORDER else {"title": "Cup"} if kind is PRODUCT else {"email": "a@mail.example"}),
    }
    read = read_table([row], kind, form, time_zone=zone)
    assert read.values("updatedAt") == ["2026-05-11T14:00:00+00:00"]
    assert read.waiting == []


@every_format
def test_a_version_without_a_zone_waits(form: FileFormat) -> None:
    row = {"id": 7, "email": "a@mail.example", "date_modified": "2026-05-11T23:00:00"}
    assert [question.parameter for question in read_table([row], CUSTOMER, form).waiting] == ["time_zone"]
    stated = read_table([row], CUSTOMER, form, time_zone="Asia/Tokyo")
    assert (stated.values("updatedAt"), stated.waiting) == (["2026-05-11T14:00:00+00:00"], [])
    created = read_table([{"id": 7, "date_created": "2026-05-11T23:00:00"}], CUSTOMER, form)
    assert [(question.parameter, question.waits) for question in created.proposal.questions] == [("time_zone", False)]


def test_the_names_of_columns_in_utc() -> None:
    assert [names_utc(name) for name in ("date_created_gmt", "Created (UTC)", "Ordered at UTC", "created")] == [
        True, True, True, False,
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------- no value


@every_format
@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(
            ("first_name", text)
            for text in ("NULL", "null", "nan", "NaN", "\\N", "undefined", "None", "#N/A", "#NAME?", "---")
        ),
        *(("phone", text) for text in ("4,91512E+12", "4.91512E+12", "491512345678.0", "#NAME?", "0", "null")),
        *(("tags", text) for text in ("#N/A", "NULL", "nan;NULL")),
        ("last_name", "#REF!"),
        ("name", "N/A"),
    ],
)
def test_a_word_for_no_value_is_left_out_and_counted(form: FileFormat, field: str, text: str) -> None:
    rows = [{"id": 1, "email": "a@mail.example", field: text}, {"id": 2, "email": "b@mail.example", field: "Ada"}]
    read = read_table(rows, CUSTOMER, form)
    [name] = [name for name, column in read.mapping.items() if column == field]
    assert [event.get(name) for event in read.events] == [None, ["Ada"] if name == "tags" else "Ada"]
    assert name not in read.events[0], "an absent field, which changes nothing at the Platform"
    assert (read.tally.fields[name].read, read.tally.fields[name].unreadable) == (1, 1)


@every_format
def test_words_for_no_value_in_other_kinds(form: FileFormat) -> None:
    product = {"id": 1, "title": "Cup", "image": "NULL", "handle": "#N/A", "status": "nan"}
    [event] = read_table([product], PRODUCT, form).events
    assert {name: event[name] for name in event if name != "id"} == {"title": "Cup"}


@every_format
@pytest.mark.parametrize("name", ["Null", "Nan", "Na", "Nil", "Noe", "O'None", "🙂", "0"])
def test_names_of_people_stay(form: FileFormat, name: str) -> None:
    assert read_table([{"id": 1, "last_name": name}], CUSTOMER, form).values("lastName") == [name]


@every_format
@pytest.mark.parametrize(
    "phone", ["+491512345678", "0151 2345678", "030/1234-0", "555.1000", "12345.0", "4915123456789"]
)
def test_telephone_numbers_stay(form: FileFormat, phone: str) -> None:
    assert read_table([{"id": 1, "phone": phone}], CUSTOMER, form).values("phone") == [phone]


@every_format
def test_one_tag_of_several_is_left_out_and_counted(form: FileFormat) -> None:
    read = read_table([{"id": 1, "tags": "vip, #N/A"}], CUSTOMER, form)
    assert (read.values("tags"), read.tally.fields["tags"].unreadable) == ([["vip"]], 1)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize(("text", "codes"), [("NULL", None), ("WELCOME5; #N/A", [{"code": "WELCOME5"}])])
def test_a_word_for_no_value_is_no_discount_code(form: FileFormat, text: str, codes: object) -> None:
    read = read_table([{"id": 1, **PAID, "codes": text}], ORDER, form, "discountCodes=codes")
    assert (read.values("discountCodes"), read.tally.fields["discountCodes"].unreadable) == ([codes], 1)


@every_format
def test_an_address_that_is_a_link_is_an_address(form: FileFormat) -> None:
    assert read_table([{"id": 1, "email": "MailTo:a@mail.example"}], CUSTOMER, form).values("email") == [
        "a@mail.example"
    ]


# ----------------------------------------------------------------------------------------------- orders of WooCommerce


@every_format
def test_the_columns_of_advanced_order_export(form: FileFormat) -> None:
    row = {
        "Order ID": 1001,
        "Order Status": "Processing",
        "Currency": "EUR",
        "Order Total Amount": "5.00",
        "Email (Billing)": "a@mail.example",
        "Phone (Billing)": "+49 30 1234",
    }
    read = read_table([row], ORDER, form)
    assert (read.values("email"), read.values("totalPrice"), read.waiting) == (["a@mail.example"], ["5.00"], [])
    customer = {"id": 1, "First Name (Billing)": "Ada", "Last Name (Billing)": "Day", "Phone (Billing)": "+49 30 1234"}
    read = read_table([customer], CUSTOMER, form)
    assert [read.values(name) for name in ("firstName", "lastName", "phone")] == [["Ada"], ["Day"], ["+49 30 1234"]]


def test_the_address_within_an_order_of_woocommerce() -> None:
    orders = [{"id": 1, "customer_id": 0, "billing": {"email": "a@mail.example"}, **PAID}]
    for form in ("ndjson", "json"):
        assert read_table(orders, ORDER, form).values("email") == ["a@mail.example"]


@every_format
def test_a_column_with_values_is_preferred(form: FileFormat) -> None:
    row = {"id": 1, "mail": "", "billing email": "a@mail.example", "phone": None, "billing phone": "+49 30 1234"}
    read = read_table([row], CUSTOMER, form)
    assert (read.values("email"), read.values("phone")) == (["a@mail.example"], ["+49 30 1234"])


def test_the_address_of_an_image_within_a_product_of_shopify() -> None:
    products = [{"id": 1, "title": "Cup", "image": {"src": "https://store.example/cup.jpg"}}]
    for form in ("ndjson", "json"):
        assert read_table(products, PRODUCT, form).values("imageUrl") == ["https://store.example/cup.jpg"]


@every_format
def test_orders_without_a_customer_are_noted(form: FileFormat) -> None:
    def notes(*customers: tuple[object, str | None]) -> list[str]:
        rows: list[dict[str, Any]] = [
            {"id": number, "customer_id": customer, "email": email, **PAID}
            for number, (customer, email) in enumerate(customers, 1)
        ]
        return [note for note in read_table(rows, ORDER, form).proposal.plan.notes if "give no points" in note]

    assert notes((7, None), (0, "a@mail.example")) == []
    assert notes((0, None), (7, None), (None, "")) == [
        "2 of the first 3 orders have neither an id nor an e-mail address of a customer: they give no points."
    ]
    assert notes((0, None))[0].startswith("All of the first 1 orders")


# ----------------------------------------------------------------------------------------------- other files


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('[\n{"id": 1},\n{"id": 2}\n]', "one JSON array"),
        ('[{"id": 1}]', "one JSON array"),
        ('\ufeff{\n  "id": 1\n}\n', "JSON over several lines"),
        ("id,email\n1,a@mail.example\n", "none of the first lines is a JSON object"),
    ],
)
def test_another_json_than_ndjson_is_named(raw: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_file(raw, CUSTOMER, "ndjson")


def test_one_broken_line_is_a_rejected_row() -> None:
    read = read_file(f"no JSON\n{json.dumps({'id': 1, 'email': 'a@mail.example'})}\n", CUSTOMER, "ndjson")
    assert (len(read.events), len(read.rejected)) == (1, 1)


@every_format
def test_a_form_with_a_file_is_named(form: FileFormat) -> None:
    body = (
        '--------------------------d74496d66958873e\r\nContent-Disposition: form-data; name="file"; filename="c.csv"\r\n'
        "Content-Type: text/csv\r\n\r\nid,email\r\n1,a@mail.example\r\n--------------------------d74496d66958873e--\r\n"
    )
    with pytest.raises(ValueError, match="within a form"):
        read_file(body, CUSTOMER, form)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("total", "amount", "currency"),
    [
        ("1,200円", "1200", "JPY"),
        ("￥980", "980", "JPY"),
        ("JP¥980", "980", "JPY"),
        ("¥1,200", "1200", "JPY"),
        ("₩1,200", "1200", "KRW"),
        ("1,200 JPY", "1200", "JPY"),
        ("CN¥1,200.50", "1200.50", "CNY"),
        ("¥1.200", "1200", "JPY"),
    ],
)
def test_amounts_in_yen(form: FileFormat, total: str, amount: str, currency: str) -> None:
    read = read_table([{"id": 1, "status": "paid", "total": total}], ORDER, form, currency="JPY")
    assert (read.values("totalPrice"), read.values("currency"), read.waiting) == ([amount], [currency], [])
