"""How a file is going to be read, what it leaves open, and what becomes of its rows."""

import io
import json
from decimal import Decimal
from typing import Any  # events as JSON

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.imports.choices import Choices
from platform_relay.imports.files import FileFormat
from platform_relay.imports.proposal import MissingFieldError, Proposal, propose
from platform_relay.imports.rows import read_messages
from platform_relay.imports.sample import SAMPLE_ROWS
from platform_relay.imports.summary import Tally
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import Incoming

CUSTOMER, ORDER = EventKind.CUSTOMER, EventKind.ORDER


def proposed(raw: str, kind: EventKind, *fields: str, form: FileFormat = "csv", **choices: Any) -> Proposal:
    return propose(io.BytesIO(raw.encode()), "file", form, kind, Choices(fields, **choices))


def chosen(raw: str, **choices: Any) -> Proposal:
    """The proposal for a CSV file of orders."""
    return propose(io.BytesIO(raw.encode()), "file", "csv", ORDER, Choices(**choices))


def read(raw: str, proposal: Proposal) -> tuple[list[dict[str, Any]], list[str], Tally]:
    """The events, the reasons of rejected rows, and the counts."""
    tally = Tally()
    rows = [row for _, row in read_messages(proposal.plan, io.BytesIO(raw.encode()), tally=tally)]
    events = [json.loads(row.body) for row in rows if isinstance(row, Incoming)]
    return events, [row for row in rows if isinstance(row, str)], tally


def asked(proposal: Proposal) -> list[tuple[str, bool]]:
    return [(question.parameter, question.waits) for question in proposal.questions]


# ----------------------------------------------------------------------------------------------- field reports

BIRTHDAYS = (
    "Customer ID,First Name,Last Name,Email,Birthday,Points Balance\n"
    "941,Bea,Day,bea@mail.example,05/11/1990,120\n"
    "942,Bob,Day,bob@mail.example,,40\n"
    "943,Bib,Day,bib@mail.example,1988-12-24,10\n"
)


def test_a_birthday_that_can_be_two_dates_costs_no_row() -> None:
    proposal = proposed(BIRTHDAYS, CUSTOMER)
    assert asked(proposal) == [("date_order", False)]
    events, rejected, tally = read(BIRTHDAYS, proposal)
    assert [(event["id"], event.get("birthdayMonth"), event.get("birthdayDay")) for event in events] == [
        ("941", None, None),
        ("942", None, None),
        ("943", 12, 24),
    ]
    assert rejected == []
    count = tally.fields["birthday"]
    assert (count.read, count.empty, count.unreadable) == (1, 1, 1)
    assert [(each.row, each.text) for each in count.first] == [(1, "05/11/1990")]


@pytest.mark.parametrize(("order", "date"), [("dmy", (11, 5)), ("mdy", (5, 11))])
def test_a_stated_order_of_dates_is_used(order: str, date: tuple[int, int]) -> None:
    proposal = proposed(BIRTHDAYS, CUSTOMER, date_order=order)
    events, _, _ = read(BIRTHDAYS, proposal)
    assert (events[0]["birthdayMonth"], events[0]["birthdayDay"]) == date
    assert asked(proposal) == []


@pytest.mark.parametrize(
    ("shown", "date"), [("13/04/2000", (11, 5)), ("04/13/2000", (5, 11))], ids=["day first", "month first"]
)
def test_one_date_decides_its_column(shown: str, date: tuple[int, int]) -> None:
    raw = f"{BIRTHDAYS}944,Ben,Day,ben@mail.example,{shown},1\n"
    proposal = proposed(raw, CUSTOMER)
    assert asked(proposal) == []
    events, _, _ = read(raw, proposal)
    assert (events[0]["birthdayMonth"], events[0]["birthdayDay"]) == date


def test_a_value_after_the_sample_decides_its_column() -> None:
    many = "".join(f"{number},05/11/1990\n" for number in range(SAMPLE_ROWS + 5))
    raw = f"id,birthday\n{many}x1,31/01/1990\n"
    assert proposed(raw, CUSTOMER).plan.reading.date_order == {"birthday": "dmy"}
    totals = "".join(f'{number},paid,EUR,"1,234"\n' for number in range(SAMPLE_ROWS + 5))
    raw = f'id,status,currency,total\n{totals}x1,paid,EUR,"0,50"\n'
    assert proposed(raw, ORDER).plan.reading.decimal == {"totalPrice": ","}


ANALYTICS = (
    "Date,Order #,Status,Customer,Customer type,N. Revenue,Currency\n"
    "2026-11-01 09:59:00,1901,completed,Lena Lind,new,54.90,EUR\n"
)


def test_a_column_of_names_is_no_customer() -> None:
    proposal = proposed(ANALYTICS, ORDER, "id=Order #", "totalPrice=N. Revenue")
    assert "customerId" not in proposal.plan.mapping
    assert any(note.startswith("Column Customer is not used for customerId") for note in proposal.plan.notes)
    events, rejected, _ = read(ANALYTICS, proposal)
    assert rejected == []
    assert "customerId" not in events[0]


def test_the_lines_of_a_shopify_order_become_one_order() -> None:
    raw = (
        "Name,Email,Financial Status,Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Created at,"
        "Lineitem quantity,Lineitem name,Lineitem price,Id\n"
        "#1801,lena@mail.example,paid,EUR,50.00,4.90,8.77,54.90,WELCOME5,5.00,2026-11-01 09:59:00 +0100,"
        "1,Teapot,30.00,6100000000001\n"
        "#1801,lena@mail.example,,,,,,,,,2026-11-01 09:59:00 +0100,2,Cup,10.00,\n"
        "#1802,,refunded,EUR,10.00,0.00,1.60,10.00,,0.00,2026-11-02 09:59:00 +0100,1,Cup,10.00,6100000000002\n"
    )
    proposal = proposed(raw, ORDER)
    assert (proposal.plan.export, asked(proposal)) == ("shopify-orders", [])
    events, rejected, tally = read(raw, proposal)
    assert rejected == []
    assert [(event["id"], event["totalPrice"], len(event["lineItems"])) for event in events] == [
        ("6100000000001", "54.90", 2),
        ("6100000000002", "10.00", 1),
    ]
    assert events[0]["discountCodes"] == [{"code": "WELCOME5", "amount": "5.00"}]
    assert tally.fields["id"].read == 2
    with pytest.raises(ValueError, match="import it as orders"):
        proposed(raw, CUSTOMER)


# ----------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("damaged", ["1.23457E+15", "#NAME?", "Mar-04", '"1,23457E+15"'])
def test_a_damaged_id_rejects_its_row_by_name(damaged: str) -> None:
    raw = f"id,email\n17,a@mail.example\n{damaged},b@mail.example\n18,c@mail.example\n"
    proposal = proposed(raw, CUSTOMER)
    assert asked(proposal) == []
    events, rejected, tally = read(raw, proposal)
    assert [event["id"] for event in events] == ["17", "18"]
    assert len(rejected) == 1
    assert rejected[0].startswith("id: ")
    assert "spreadsheet" in rejected[0]
    assert tally.fields["id"].unreadable == 1


def test_ids_that_a_spreadsheet_rounded_are_rejected() -> None:
    raw = "id,email\n12345678901230000,a@mail.example\n98765432109870000,b@mail.example\n17,c@mail.example\n"
    proposal = proposed(raw, CUSTOMER)
    assert proposal.plan.reading.rounded == ("id",)
    events, rejected, _ = read(raw, proposal)
    assert [event["id"] for event in events] == ["17"]
    assert all("rounded" in reason and "12345" not in reason for reason in rejected)


def test_a_damaged_customer_of_an_order_rejects_its_row_and_a_guest_is_none() -> None:
    raw = "id,customer_id,status,currency,total\n1,1.2E+15,paid,EUR,5.00\n2,0,paid,EUR,5.00\n3,7,paid,EUR,5.00\n"
    events, rejected, tally = read(raw, proposed(raw, ORDER))
    assert [(event["id"], event.get("customerId")) for event in events] == [("2", None), ("3", "7")]
    assert [reason.partition(":")[0] for reason in rejected] == ["customerId"]
    assert tally.fields["customerId"].empty == 1


def test_an_id_with_two_addresses_waits() -> None:
    raw = "id,email\n1,a@mail.example\n1,b@mail.example\n"
    assert asked(proposed(raw, CUSTOMER)) == [("map", True)]
    assert asked(proposed(raw, CUSTOMER, "id=id")) == []
    assert asked(proposed("id,email\n1,a@mail.example\n1,A@mail.example\n", CUSTOMER)) == []


def test_an_uncertain_column_waits_until_it_is_named() -> None:
    raw = "Number,status,currency,total\n1,paid,EUR,5.00\n"
    proposal = proposed(raw, ORDER)
    assert asked(proposal) == [("map", True)]
    assert proposal.waiting[0].answers == ("id=Number",)
    assert asked(proposed(raw, ORDER, "id=Number")) == []


def test_a_missing_id_names_the_column_that_was_refused() -> None:
    with pytest.raises(MissingFieldError, match="values of Customer ID do not look like ids") as caught:
        proposed("Customer ID,email\nLena,a@mail.example\n", CUSTOMER)
    assert caught.value.parameter == "map"


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (
            "Customers, November\n\nCustomer ID;Email;Name\n1;a@mail.example;Ada\n",
            "delete the lines above it, such as a title",
        ),
        (
            ",Contact,,Address\nCustomer ID,Email,Name,City\n1,a@mail.example,Ada,Ulm\n",
            "under the first one looks like the names",
        ),
        ("GUID,Email\n9f3c-1,a@mail.example\n9f3c-2,b@mail.example\n", "look like ids are in GUID"),
        ("id   email\n1    a@mail.example\n", "one column only"),
    ],
)
def test_a_missing_id_says_what_may_be_wrong_with_the_file(raw: str, hint: str) -> None:
    with pytest.raises(MissingFieldError, match=hint):
        proposed(raw, CUSTOMER)


def test_rows_that_are_no_customers_are_rejected_whatever_was_confirmed() -> None:
    """Rows of totals, headers of files that were joined, lines under the header, guests."""
    rows = "".join(f"{number},c{number}@mail.example\n" for number in range(1, 11))
    raw = f"Customer ID,Email\n---,---\n{rows}Customer ID,Email\n0,g@mail.example\n\\N,h@mail.example\nTotal,\n"
    for fields in ((), ("id=Customer ID",)):
        events, rejected, _ = read(raw, proposed(raw, CUSTOMER, *fields))
        assert [event["id"] for event in events] == [str(number) for number in range(1, 11)]
        assert rejected == [
            "id: means no value, so that it cannot be an id",
            "id: Customer ID is the name of the column, so the row is a second header",
            "id: means no value, so that it cannot be an id",
            "id: \\N means no value, so that it cannot be an id",
            "id: Total is the label of a row of totals, not an id",
        ]


def test_the_question_about_ids_shows_what_does_not_look_like_one() -> None:
    rows = "".join(f"{number},c{number}@mail.example\n" for number in range(1, 6))
    question = proposed(f"id,email\n{rows}adam,a@mail.example\n", CUSTOMER).questions[0]
    assert "Not all values of column id look like ids: 'adam'." in question.text


def test_a_currency_that_the_total_does_not_show_is_asked_for_by_its_option() -> None:
    raw = "id,status,total\n1,paid,€ 5.00\n2,paid,$5.00\n"
    events, rejected, _ = read(raw, proposed(raw, ORDER))
    assert [event["currency"] for event in events] == ["EUR"]
    assert rejected == [
        "currency: is not shown by this row; name the currency of orders without one (--currency, currency=)"
    ]


def test_text_that_was_damaged_before_is_named() -> None:
    remarks = proposed("id,name\n1,Zoë\n2,JosÃ©\n", CUSTOMER).remarks
    assert [remark for remark in remarks if "such as JosÃ©, which was probably José" in remark] == list(remarks)
    assert proposed("id,name\n1,Zoë\n2,São João\n3,Ænne Ørsted\n", CUSTOMER).remarks == ()


# ----------------------------------------------------------------------------------------------- amounts


def orders(*totals: str) -> str:
    rows = "".join(f'{number},paid,EUR,"{total}"\n' for number, total in enumerate(totals, 1))
    return f"id,status,currency,total\n{rows}"


@pytest.mark.parametrize(
    ("totals", "read_as"),
    [
        (["1.234,56", "1,50", "7"], ["1234.56", "1.50", "7"]),
        (["1,234.56", "1.50", "1,234"], ["1234.56", "1.50", "1234"]),
        (["€ 12", "12,-", "1.234,00"], ["12", "12", "1234.00"]),
        (["1.234,00", "1.234"], ["1234.00", "1234"]),
        (["54.900000"], ["54.9000"]),
    ],
)
def test_amounts_are_read_by_their_column(totals: list[str], read_as: list[str]) -> None:
    raw = orders(*totals)
    proposal = proposed(raw, ORDER)
    assert asked(proposal) == []
    events, rejected, _ = read(raw, proposal)
    assert ([event["totalPrice"] for event in events], rejected) == (read_as, [])


def test_an_amount_with_two_meanings_waits_and_is_never_guessed() -> None:
    raw = orders("1,234", "7")
    proposal = proposed(raw, ORDER)
    assert asked(proposal) == [("decimal", True)]
    events, rejected, _ = read(raw, proposal)  # as with --yes
    assert [event["totalPrice"] for event in events] == ["7"]
    assert len(rejected) == 1
    assert rejected[0].startswith("totalPrice: ")
    for mark, total in ((",", "1.234"), (".", "1234")):
        stated = proposed(raw, ORDER, decimal=mark)
        assert asked(stated) == []
        assert read(raw, stated)[0][0]["totalPrice"] == total
    optional = "id,status,currency,total,subtotal\n" + '1,paid,EUR,5.00,"1,234"\n'
    proposal = proposed(optional, ORDER)
    assert asked(proposal) == [("decimal", False)]
    events, rejected, tally = read(optional, proposal)
    assert (rejected, "subtotalPrice" in events[0], tally.fields["subtotalPrice"].unreadable) == ([], False, 1)


STYLES = {
    "plain": lambda amount: f"{amount:.2f}",
    "english": lambda amount: f"{amount:,.2f}",
    "german": lambda amount: f"{amount:,.2f}".translate(str.maketrans(",.", ".,")),
    "english, whole": lambda amount: f"{amount:,.0f}",
    "german, whole": lambda amount: f"{amount:,.0f}".replace(",", "."),
}


@given(
    st.sampled_from(sorted(STYLES)),
    st.lists(st.decimals(0, 9_999_999, places=2, allow_nan=False, allow_infinity=False), min_size=1, max_size=10),
)
def test_no_amount_is_silently_wrong_by_a_factor(style: str, amounts: list[Decimal]) -> None:
    written = [STYLES[style](amount) for amount in amounts]
    raw = orders(*written)
    events, _, _ = read(raw, proposed(raw, ORDER))
    exact = {
        str(number): amount.quantize(Decimal(1) if "whole" in style else Decimal("0.01"))
        for number, amount in enumerate(amounts, 1)
    }
    for event in events:
        difference = abs(Decimal(event["totalPrice"]) - exact[event["id"]])
        assert difference <= (Decimal(1) if "whole" in style else 0), (written, event)


@pytest.mark.parametrize(
    ("header", "row", "choices", "currency"),
    [
        ("id,status,total", "1,paid,€ 12.00", {}, "EUR"),
        ("id,status,total", "1,paid,12.00", {"currency": "CHF"}, "CHF"),
        ("id,status,total,currency", "1,paid,12.00,€", {}, "EUR"),
        ("id,status,total,currency", "1,paid,12.00,eur", {}, "EUR"),
    ],
)
def test_the_currency_comes_from_a_column_a_symbol_or_the_caller(
    header: str, row: str, choices: dict[str, str], currency: str
) -> None:
    raw = f"{header}\n{row}\n"
    events, rejected, _ = read(raw, chosen(raw, **choices))
    assert ([event["currency"] for event in events], rejected) == ([currency], [])


@pytest.mark.parametrize("total", ["12.00", "$12.00"])
def test_a_file_without_a_currency_is_not_imported(total: str) -> None:
    with pytest.raises(MissingFieldError) as caught:
        proposed(f"id,status,total\n1,paid,{total}\n", ORDER)
    assert caught.value.parameter == "currency"


# ----------------------------------------------------------------------------------------------- times


def test_times_without_a_zone_are_in_the_stated_one_and_otherwise_in_utc() -> None:
    raw = "id,created,updated_at\n1,2026-07-01 10:00:00,2026-07-01T10:00:00Z\n"
    proposal = proposed(raw, CUSTOMER)
    assert asked(proposal) == [("time_zone", False)]
    assert "Times without a time zone in created count as UTC." in proposal.plan.notes
    assert read(raw, proposal)[0][0]["createdAt"] == "2026-07-01T10:00:00+00:00"
    stated = proposed(raw, CUSTOMER, time_zone="Europe/Berlin")
    assert read(raw, stated)[0][0]["createdAt"] == "2026-07-01T08:00:00+00:00"
    assert read(raw, stated)[0][0]["updatedAt"] == "2026-07-01T10:00:00+00:00"
    assert asked(proposed("id,date_created_gmt\n1,2026-07-01 10:00:00\n", CUSTOMER)) == []
    with pytest.raises(ValueError, match="time zone"):
        proposed(raw, CUSTOMER, time_zone="Mars/Base")


# ----------------------------------------------------------------------------------------------- optional fields


def test_an_optional_value_never_costs_the_row() -> None:
    raw = (
        "id,email,name,updated_at,birthday month\n"
        f"1,nobody,{'x' * 2001},yesterday,13\n"
        "2,a@mail.example,Ada,2026-01-01T00:00:00Z,4\n"
        "3,b@mail.example,Bob,,\n"
    )
    events, rejected, tally = read(raw, proposed(raw, CUSTOMER))
    assert rejected == []
    assert events[0] == {"id": "1"}
    assert {name: (count.read, count.empty, count.unreadable) for name, count in tally.fields.items()} == {
        "id": (3, 0, 0),
        "email": (2, 0, 1),
        "name": (2, 0, 1),
        "updatedAt": (1, 1, 1),
        "birthdayMonth": (1, 1, 1),
    }
    assert tally.fields["name"].first[0].text == "x" * 39 + "…"


def test_an_optional_value_of_json_never_costs_the_row() -> None:
    order = {"id": 1, "financialStatus": "paid", "currency": "EUR", "totalPrice": "5.00"}
    bad = {
        **order,
        "email": 7,
        "subtotalPrice": "1.234,56",
        "lineItems": [{"title": "Cup", "quantity": -1}, {"title": "Pot", "quantity": 2}],
        "note": "a\x00b",
        "discountCodes": [{"amount": "1.00"}],
    }
    raw = json.dumps(order) + "\n" + json.dumps(bad) + "\n" + json.dumps({**order, "totalPrice": "1.234,56"}) + "\n"
    events, rejected, tally = read(raw, proposed(raw, ORDER, form="ndjson"))
    assert events[0] == order
    assert events[1] == {**order, "lineItems": [{"title": "Cup"}, {"title": "Pot", "quantity": 2}]}
    assert [reason.partition(":")[0] for reason in rejected] == ["totalPrice"]
    unreadable = {name for name, count in tally.fields.items() if count.unreadable}
    assert unreadable == {"email", "subtotalPrice", "lineItems", "note", "discountCodes"}


def test_a_product_never_loses_one_variant() -> None:
    raw = json.dumps({"id": 1, "title": "Cup", "variants": [{"externalVariantId": 1}, {"title": "no id"}]})
    events, rejected, _ = read(raw, proposed(raw, EventKind.PRODUCT, form="ndjson"))
    assert (events, rejected) == ([{"id": 1, "title": "Cup"}], [])


def test_what_is_read_in_another_way_is_another_import() -> None:
    raw = orders("1,234")
    keys = {chosen(raw, **choices).plan.key for choices in ({}, {"decimal": ","}, {"decimal": "."})}
    assert len(keys) == 3
    long = proposed(
        "id," + ",".join("x" * 300 + str(number) for number in range(5)) + "\n1\n", CUSTOMER, "name=" + "x" * 300 + "0"
    )
    assert len(long.plan.key) < 1000
