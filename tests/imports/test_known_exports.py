"""Exports that are recognised by their columns: each sample is recognised, mapped completely, and read to the right events."""

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any  # Any: events as JSON

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.imports.choices import Choices
from platform_relay.imports.exports import EXPORTS, LEFT_OUT, KnownExport, known_export, recognise
from platform_relay.imports.exports import known as known_module
from platform_relay.imports.files import FileRow, column_names
from platform_relay.imports.proposal import MissingFieldError, propose
from platform_relay.imports.rows import read_messages
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.messages import Incoming

SAMPLES = Path(__file__).parent / "samples"
PAGE = Path(__file__).parents[2] / "docs" / "imports.md"
BEGIN, END = "<!-- made by tests/imports/test_known_exports.py -->\n", "<!-- end of known exports -->"
BY_NAME = {export.name: export for export in EXPORTS}
FIELD_REPORT = """\
Name,Email,Financial Status,Paid at,Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Created at,\
Lineitem quantity,Lineitem name,Lineitem price,Cancelled at,Id,Phone
#1,a@example.com,paid,2026-11-01 10:00:00 +0100,EUR,50.00,4.90,8.77,54.90,WELCOME5,5.00,2026-11-01 09:59:00 +0100,1,Pot,30.00,,61,
#1,a@example.com,,,,,,,,,,2026-11-01 09:59:00 +0100,2,Cup,10.00,,,
#2,,refunded,2026-11-02 10:00:00 +0100,EUR,10.00,0.00,1.60,10.00,,0.00,2026-11-02 09:59:00 +0100,1,Cup,10.00,,62,
"""


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.csv").read_bytes()


def of(name: str) -> KnownExport:
    export = recognise(column_names(io.BytesIO(sample(name)), "csv"))
    assert export is not None
    return export


def messages(raw: bytes, kind: EventKind, **choices: Any) -> list[dict[str, Any] | str]:
    """The events of a file, or why rows are rejected."""
    plan = propose(io.BytesIO(raw), "file.csv", "csv", kind, Choices(**choices)).plan
    return [
        json.loads(message.body) if isinstance(message, Incoming) else message
        for _, message in read_messages(plan, io.BytesIO(raw))
    ]


# ----------------------------------------------------------------------------------------------- recognition


def test_there_is_a_sample_of_each_export() -> None:
    assert {path.stem for path in SAMPLES.glob("*.csv")} == set(BY_NAME)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_sample_is_recognised_and_each_of_its_columns_is_explained(name: str) -> None:
    export, columns = of(name), column_names(io.BytesIO(sample(name)), "csv")
    assert (export.name, export.kind) == (name, BY_NAME[name].kind)
    fields = {*EVENTS[export.kind].model_fields, *(["birthday"] if export.kind is EventKind.CUSTOMER else [])}
    assert set(export.mapping) <= fields
    read_together = set(columns) - set(export.mapping.values()) - set(export.unused)
    assert all(known_module._matches(column, BY_NAME[name].reads) for column in read_together)  # noqa: SLF001  # the rule itself
    assert known_module.NOT_DOCUMENTED not in export.unused.values()
    required = {field for field, info in EVENTS[export.kind].model_fields.items() if info.is_required()}
    assert required <= {*export.mapping, *export.missing} | (
        {"currency"} if name == "woocommerce-analytics-orders" else set()
    )


def test_no_sample_is_taken_for_another_export() -> None:
    for name in BY_NAME:
        columns = frozenset(column_names(io.BytesIO(sample(name)), "csv"))
        assert [export.name for export in EXPORTS if export.signature <= columns] == [name]


@pytest.mark.parametrize(
    "columns",
    [
        [],
        ["id", "email"],
        ["Name", "Email"],
        ["Customer ID", "First Name", "Last Name", "Email", "Birthday", "Points Balance"],
    ],
)
def test_other_files_are_not_recognised(columns: list[str]) -> None:
    assert recognise(columns) is None


def test_a_duplicate_column_is_no_known_export() -> None:
    assert recognise(["Email", "Tier", "Progression", "Email"]) is None


def test_an_unknown_column_is_unused_and_said_to_be_unknown() -> None:
    export = recognise(["Email", "Tier", "Progression", "Shoe size"])
    assert export is not None
    assert export.unused["Shoe size"] == known_module.NOT_DOCUMENTED


@pytest.mark.parametrize(
    "name", sorted(name for name, export in BY_NAME.items() if "id" in export.missing and "id" not in export.fields)
)
def test_an_export_without_the_stores_ids_invents_nobody(name: str) -> None:
    with pytest.raises(MissingFieldError, match=r"no column for .*id"):
        messages(sample(name), BY_NAME[name].kind)


def test_an_export_of_orders_is_not_imported_as_customers() -> None:
    with pytest.raises(ValueError, match="import it as orders"):
        messages(sample("shopify-orders"), EventKind.CUSTOMER)


# ----------------------------------------------------------------------------------------------- the events


def test_customers_of_shopify() -> None:
    assert messages(sample("shopify-customers"), EventKind.CUSTOMER) == [
        {
            "id": "7210000000001", "email": "mara.field@example.com", "firstName": "Mara", "lastName": "Field",
            "phone": "+441225000002", "tags": ["vip", "newsletter"],
        },
        {"id": "7210000000002", "lastName": "Okafor", "phone": "+441225000003"},
    ]  # fmt: skip


def test_orders_of_shopify() -> None:
    """Several lines, a code, a refund, a partial refund, tax on top of the prices, and three currencies."""
    assert messages(sample("shopify-orders"), EventKind.ORDER) == [
        {
            "id": "6100000000001", "email": "mara.field@example.com", "financialStatus": "paid", "currency": "EUR",
            "totalPrice": "49.90", "subtotalPrice": "50.00", "createdAt": "2026-05-11T14:20:00+00:00",
            "lineItems": [
                {"title": "Teapot", "quantity": "1", "price": "30.00"}, {"title": 'Cup, "blue"', "quantity": "2",
                "price": "10.00"},
            ],
            "discountCodes": [{"code": "WELCOME5", "amount": "5.00"}],
        },
        {
            "id": "6100000000002", "financialStatus": "refunded", "currency": "EUR", "totalPrice": "10.00",
            "subtotalPrice": "10.00",
            "refundedAmount": "10.00", "createdAt": "2026-05-12T07:59:00+00:00",
            "lineItems": [{"title": "Cup", "quantity": "1", "price": "10.00"}],
        },
        {
            "id": "6100000000003", "email": "ines@example.com", "financialStatus": "partially_refunded", "currency": "USD",
            "totalPrice": "102.60", "refundedAmount": "25.00", "createdAt": "2026-05-13T13:59:00+00:00",
            "lineItems": [{"title": "Plate", "quantity": "4"}], "discountCodes": [{"code": "SPRING"}, {"code": "EXTRA10"}],
        },
        {
            "id": "6100000000004", "email": "jo@example.com", "financialStatus": "pending", "currency": "JPY",
            "totalPrice": "4000",
            "subtotalPrice": "4000", "createdAt": "2026-05-14T00:59:00+00:00",
            "lineItems": [{"title": "Bowl", "quantity": "1", "price": "4000"}],
        },
    ]  # fmt: skip


def test_orders_of_shopify_as_in_the_report_from_the_field() -> None:
    first, second = messages(FIELD_REPORT.encode(), EventKind.ORDER)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert [item["title"] for item in first["lineItems"]] == ["Pot", "Cup"]
    assert (first["id"], first["totalPrice"], first["discountCodes"]) == (
        "61",
        "54.90",
        [{"code": "WELCOME5", "amount": "5.00"}],
    )
    assert (second["id"], second["financialStatus"], "discountCodes" in second) == ("62", "refunded", False)


def test_orders_of_the_woocommerce_report() -> None:
    """The customer is a name and never an id; the total is not the net revenue, and the first of two after a refund."""
    raw = sample("woocommerce-analytics-orders")
    assert messages(raw, EventKind.ORDER, time_zone="Europe/Berlin") == [
        {
            "id": "1901", "financialStatus": "paid", "currency": "EUR", "totalPrice": "54.90",
            "createdAt": "2026-05-11T07:59:00+00:00",
            "lineItems": [{"title": "Teapot", "quantity": "1"}, {"title": "Cup, blue", "quantity": "2"}],
            "discountCodes": [{"code": "welcome5"}, {"code": "tea"}],
        },
        {
            "id": "1902", "financialStatus": "paid", "currency": "EUR", "totalPrice": "30.00",
            "createdAt": "2026-05-12T07:59:00+00:00",
            "lineItems": [{"title": "Bowl", "quantity": "1"}],
        },
        {
            "id": "1903", "financialStatus": "refunded", "currency": "EUR", "totalPrice": "12.00",
            "createdAt": "2026-05-13T07:59:00+00:00",
            "lineItems": [{"title": "Cup", "quantity": "1"}],
        },
    ]  # fmt: skip


def test_the_net_revenue_of_a_report_is_only_a_total_if_the_operator_says_so() -> None:
    raw = (
        "Date,Order #,Status,Customer,Customer type,Product(s),Items sold,Coupon(s),N. Revenue,Currency\n"
        "2026-11-01 09:59:00,1901,completed,Lena Lind,new,1× Teapot,1,,54.90,EUR\n"
    ).encode()
    with pytest.raises(MissingFieldError, match=r"totalPrice.*without tax and shipping"):
        messages(raw, EventKind.ORDER)
    [event] = messages(raw, EventKind.ORDER, fields=("totalPrice=N. Revenue",))
    assert isinstance(event, dict)
    assert (event["totalPrice"], event["id"]) == ("54.90", "1901")
    assert not {"customerId", "email"} & set(event)


@pytest.mark.parametrize("status", ["wc-partially-paid", "Partially paid", "wc-partial-payment", "partial-paid"])
def test_a_deposit_is_not_paid_in_full(status: str) -> None:
    """In WooCommerce's reports, and in any other file."""
    report = (
        "Date,Order #,Status,Customer,Customer type,Product(s),Items sold,Coupon(s),N. Revenue,Currency\n"
        f"2026-11-01 09:59:00,1901,{status},Lena Lind,new,1× Teapot,1,,54.90,EUR\n"
    ).encode()
    [event] = messages(report, EventKind.ORDER, fields=("totalPrice=N. Revenue",))
    plain = f"order id,email,financial status,currency,total\n1901,lena@example.com,{status},EUR,54.90\n".encode()
    [other] = messages(plain, EventKind.ORDER)
    assert isinstance(event, dict)
    assert isinstance(other, dict)
    assert (event["financialStatus"], other["financialStatus"]) == ("partially_paid", "partially_paid")


def test_orders_of_the_import_export_suite() -> None:
    raw = sample("woocommerce-suite-orders")
    assert messages(raw, EventKind.ORDER, time_zone="UTC") == [
        {
            "id": "1901", "customerId": "12", "email": "lena.lind@example.com", "financialStatus": "paid", "currency": "EUR",
            "totalPrice": "49.90", "subtotalPrice": "50.00", "createdAt": "2026-05-11T09:59:00+00:00",
            "lineItems": [
                {"productId": "7", "title": "Teapot|green", "quantity": "1", "price": "30"},
                {"productId": "8", "title": "Cup", "quantity": "2", "price": "10"},
            ],
            "discountCodes": [{"code": "welcome5", "amount": "5.00"}],
        },
        {
            "id": "1902", "email": "jo.park@example.com", "financialStatus": "partially_refunded", "currency": "EUR",
            "totalPrice": "11.90", "refundedAmount": "4.00", "createdAt": "2026-05-12T09:59:00+00:00",
            "lineItems": [{"productId": "8", "title": "Cup", "quantity": "1"}],
        },
        {
            "id": "1903", "customerId": "12", "financialStatus": "pending", "currency": "CHF", "totalPrice": "20.00",
            "subtotalPrice": "20.00", "createdAt": "2026-05-13T09:59:00+00:00",
            "lineItems": [{"productId": "8", "title": "Cup", "quantity": "2", "price": "10"}],
            "discountCodes": [{"code": "a", "amount": "1.00"}, {"code": "b", "amount": "2.00"}],
        },
    ]  # fmt: skip


def test_users_of_the_import_export_suite() -> None:
    assert messages(sample("woocommerce-suite-customers"), EventKind.CUSTOMER) == [
        {
            "id": "12", "email": "lena.lind@example.com", "firstName": "Lena", "lastName": "Lind", "phone": "+49301234",
            "createdAt": "2025-01-02T10:00:00+00:00",
        }
    ]  # fmt: skip


def test_customers_of_magento() -> None:
    assert messages(sample("magento-customers"), EventKind.CUSTOMER, time_zone="Europe/Berlin") == [
        {
            "id": "41", "email": "nora.vale@example.com", "name": "Nora Vale", "phone": "0301234", "birthdayMonth": 2,
            "birthdayDay": 29,
            "createdAt": "2025-05-11T14:20:00+00:00",
        }
    ]  # fmt: skip


def test_the_number_of_a_magento_order_is_not_its_id() -> None:
    raw = sample("magento-orders")
    with pytest.raises(MissingFieldError, match="each order would count twice"):
        messages(raw, EventKind.ORDER, currency="EUR")
    [event] = messages(raw, EventKind.ORDER, currency="EUR", fields=("id=ID",), time_zone="UTC")
    assert isinstance(event, dict)
    assert (event["id"], event["totalPrice"], event["financialStatus"]) == ("000000017", "54.9000", "paid")


def test_customers_of_bigcommerce() -> None:
    assert messages(sample("bigcommerce-customers"), EventKind.CUSTOMER) == [
        {
            "id": "77", "email": "otis.reed@example.com", "firstName": "Otis", "lastName": "Reed", "phone": "5550100",
            "createdAt": "2025-04-26T00:00:00+00:00",
        }
    ]  # fmt: skip


def test_orders_of_bigcommerce() -> None:
    first, second, third = messages(sample("bigcommerce-orders"), EventKind.ORDER, time_zone="UTC")
    assert first == {
        "id": "118", "customerId": "77", "email": "otis.reed@example.com", "financialStatus": "paid", "currency": "USD",
        "totalPrice": "270.5000", "subtotalPrice": "265.5000", "createdAt": "2026-04-26T14:05:00+00:00",
        "lineItems": [
            {"productId": "100", "title": "Lamp & shade, small", "quantity": "2"}, {"productId": "115", "title": "Desk",
            "quantity": "1"},
        ],
    }  # fmt: skip
    assert isinstance(second, dict)
    assert (second["financialStatus"], second["refundedAmount"], second["email"]) == (
        "partially_refunded", "15.0000", "ana.soto@example.com",
    )  # fmt: skip
    assert "customerId" not in second
    assert third == "is not an order yet: its status is Incomplete"


def test_orders_of_shopify_that_a_spreadsheet_saved_again() -> None:
    """Semicolons and decimal commas."""
    lines = [
        "Name;Email;Financial Status;Currency;Subtotal;Shipping;Taxes;Total;Lineitem quantity;Lineitem name;Lineitem price;Id",
        "#1;a@example.com;paid;EUR;1050,5;4,9;0;1055,4;2;Pot;525,25;6100000000001",
        "#2;b@example.com;paid;EUR;1,234;0;0;1,234;1;Cup;1,234;6100000000002",
    ]
    first, second = messages("\n".join(lines).encode(), EventKind.ORDER)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["totalPrice"], first["lineItems"]) == (
        "1055.4",
        [{"title": "Pot", "quantity": "2", "price": "525.25"}],
    )
    assert (second["totalPrice"], second["lineItems"]) == ("1.234", [{"title": "Cup", "quantity": "1"}])


def test_removed_line_items_and_titles_with_html() -> None:
    lines = [
        "Name,Email,Financial Status,Currency,Subtotal,Shipping,Taxes,Total,Lineitem quantity,Lineitem name,Lineitem price,Id",
        "#1,a@example.com,paid,EUR,5.00,0,0,5.00,0,Gone,9.00,61",
        "#1,a@example.com,,,,,,,1,<b>Salt</b> &amp; pepper,5.00,",
    ]
    [event] = messages("\n".join(lines).encode(), EventKind.ORDER)
    assert isinstance(event, dict)
    assert event["lineItems"] == [{"title": "Salt & pepper", "quantity": "1", "price": "5.00"}]
    assert event["subtotalPrice"] == "5.00"


@pytest.mark.parametrize(
    "name",
    [
        "smile-customers",
        "yotpo-customers",
        "influence-tiers",
        "influence-points",
        "magento-customers-main-file",
        "magento-orders",
    ],
)
def test_an_export_that_got_a_column_of_ids_is_read_by_its_values(name: str) -> None:
    columns = column_names(io.BytesIO(sample(name)), "csv")
    assert recognise([*columns, "Shoe size"]) is not None
    assert recognise([*columns, "Customer ID"]) is None
    assert recognise([*columns, "entity_id"]) is None


# ----------------------------------------------------------------------------------------------- joining


COLUMNS = (
    "Name",
    "Id",
    "Financial Status",
    "Currency",
    "Total",
    "Lineitem name",
    "Lineitem quantity",
    "Lineitem price",
)


def rows(*lines: Sequence[str]) -> list[FileRow]:
    """Rows of Shopify's orders; each ends 100 bytes after the one before."""
    return [FileRow(at, at * 100, dict(zip(COLUMNS, line, strict=False))) for at, line in enumerate(lines, 1)]


def joined(name: str, lines: Iterable[FileRow]) -> Iterator[FileRow]:
    join_rows = known_export(name, COLUMNS).join
    return iter(lines) if join_rows is None else join_rows(lines)


def join(lines: Sequence[FileRow]) -> list[FileRow]:
    return list(joined("shopify-orders", lines))


def line(order: int, item: int) -> tuple[str, ...]:
    head = (f"{order}", "paid", "EUR", "1.00") if item == 0 else ("", "", "", "")
    return (f"#{order}", *head, f"item {item}", "1", "1.00")


def titles(row: FileRow) -> list[str]:
    items = row.values["Lineitem name"]
    assert isinstance(items, list)
    return [str(item["title"]) for item in items if isinstance(item, dict)]


@given(st.lists(st.integers(1, 6), max_size=30), st.integers(0, 40))
def test_orders_are_joined_and_a_resume_splits_none(sizes: list[int], stop: int) -> None:
    lines = rows(*(line(order, item) for order, size in enumerate(sizes) for item in range(size)))
    whole = join(lines)
    assert [len(titles(row)) for row in whole] == sizes
    assert [row.values["Id"] for row in whole] == [str(order) for order in range(len(sizes))]
    done = whole[: min(stop, len(whole))]
    end = done[-1].end if done else 0
    assert done + join([row for row in lines if row.end > end]) == whole


def test_a_row_that_continues_an_order_elsewhere_is_a_problem() -> None:
    good, other, orphan = join(rows(line(1, 0), line(1, 1), line(2, 0), line(1, 2)))
    assert (good.problem, other.problem) == (None, None)
    assert (orphan.number, orphan.problem) == (
        4, "continues an order whose rows are not directly above it (rows 1 to 2): sort the file by Name",
    )  # fmt: skip


def test_an_order_that_appears_again_is_a_problem() -> None:
    *_, again = join(rows(line(1, 0), line(2, 0), line(1, 0)))
    assert again.problem == "has the Name of an order that appeared before (row 1): its rows must be adjacent"


def test_orders_with_one_name_and_other_ids_are_two_orders() -> None:
    first, second = join(rows(line(1, 0), ("#1", "99", "paid", "EUR", "1.00", "other", "1", "1.00")))
    assert (first.values["Id"], second.values["Id"], titles(first)) == ("1", "99", ["item 0"])
    assert second.problem is not None  # the name was used before


def test_an_unreadable_row_makes_its_order_unusable_and_no_other() -> None:
    lines = rows(line(1, 0), line(1, 1), line(2, 0))
    lines[1] = replace(lines[1], problem="has 9 fields for 8 columns")
    first, second = join(lines)
    assert (first.number, first.problem) == (2, "cannot be used, because row 2 has 9 fields for 8 columns")
    assert second.problem is None


def test_an_unreadable_row_without_values_may_belong_to_the_order_above() -> None:
    lines = rows(line(1, 0), line(1, 1), line(2, 0))
    lines[1] = FileRow(2, 200, {}, "is not CSV")
    first, broken, second = join(lines)
    assert first.problem == "is incomplete if row 2, which cannot be read, belongs to it"
    assert (broken.problem, second.problem) == ("is not CSV", None)


def test_a_row_without_a_name_is_a_problem() -> None:
    [row] = join(rows(("", "", "", "", "", "Cup", "1", "1.00")))
    assert row.problem == "has no Name, so it belongs to no order"


def test_an_order_without_an_id_is_a_problem() -> None:
    first, second = join(rows(("#1", "", "paid", "EUR", "1.00", "Cup", "1", "1.00"), line(2, 0)))
    assert (first.problem, second.problem) == ("has no Id, so the order has no id", None)


def test_trimmed_cells_of_all_rows_of_an_order_are_counted() -> None:
    lines = [replace(row, trimmed=("Lineitem name",)) for row in rows(line(1, 0), line(1, 1))]
    assert [row.trimmed for row in join(lines)] == [("Lineitem name", "Lineitem name")]


def test_the_memory_of_a_join_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_module, "REMEMBERED", 2)
    monkeypatch.setattr(known_module, "MAX_LINES", 3)
    monkeypatch.setattr(known_module, "MAX_ORDER", 100)
    produced = join(rows(line(1, 0), *(line(2, item) for item in range(5)), line(3, 0), line(4, 0), line(1, 0)))
    assert [row.problem for row in produced] == [None, "has more than 3 rows or 0 MiB", None, None, None]
    long = join(rows(line(1, 0), ("#1", "", "", "", "", "x" * 101, "1", "1.00")))
    assert [row.problem for row in long] == ["has more than 3 rows or 0 MiB"]


def test_a_join_reads_one_row_ahead_and_no_more() -> None:
    read = 0

    def lines() -> Iterator[FileRow]:
        nonlocal read
        for row in rows(*(line(order, 0) for order in range(100))):
            read = row.number
            yield row

    produced = joined("shopify-orders", lines())
    for expected in range(1, 50):
        assert (next(produced).number, read) == (expected, expected + 1)


def test_a_resumed_import_reads_the_remaining_orders() -> None:
    raw = sample("shopify-orders")
    plan = propose(io.BytesIO(raw), "f.csv", "csv", EventKind.ORDER).plan
    whole = [row for row, _ in read_messages(plan, io.BytesIO(raw))]
    assert [row.number for row in whole] == [2, 3, 4, 5]
    for done, row in enumerate(whole, 1):
        resumed = read_messages(plan, io.BytesIO(raw), after=row.end, number=row.number)
        assert [rest for rest, _ in resumed] == whole[done:]


@given(st.sampled_from(sorted(BY_NAME)), st.lists(st.lists(st.text(max_size=12), max_size=30), max_size=8))
def test_any_values_are_read_or_rejected(name: str, cells: list[list[str]]) -> None:
    columns = column_names(io.BytesIO(sample(name)), "csv")
    lines = [FileRow(at, at, dict(zip(columns, row, strict=False))) for at, row in enumerate(cells, 1)]
    produced = list(joined(name, lines))
    assert len(produced) <= len(lines)
    assert [row.number for row in produced] == sorted({row.number for row in produced})
    assert not lines or produced[-1].number == len(lines)


# ----------------------------------------------------------------------------------------------- the page


def test_the_page_lists_the_known_exports() -> None:
    """`WRITE_DOCS=1 pytest tests/imports/test_known_exports.py` writes it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    table = table_of_exports()
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}")
    assert f"{BEGIN}{table}{END}" in PAGE.read_text()


def table_of_exports() -> str:
    lines = ["| export | kind | recognised by | fields and their columns | cannot be filled |", "|---|---|---|---|---|"]
    for name, template in BY_NAME.items():
        export = of(name)
        cells = [
            export.title,
            str(export.kind),
            ", ".join(f"`{column}`" for column in sorted(template.signature)),
            ", ".join(f"`{field}` ← `{column}`" for field, column in export.mapping.items()),
            "; ".join(f"`{field}`: {reason}" for field, reason in export.missing.items()) or "",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    left_out = [f"- **{system}**: {reason}" for system, reason in LEFT_OUT.items()]
    return "\n".join([*lines, "", "Not recognised:", "", *left_out, ""])
