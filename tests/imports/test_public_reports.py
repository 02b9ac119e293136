"""Inputs of public bug reports about imports in other programs: each is read rightly here, asked about, or refused.

The files are written anew; only the values that caused the report are taken from it.
"""

import io
import json
from typing import Any  # Any: events as JSON

import pytest

from platform_relay.imports.choices import Choices
from platform_relay.imports.proposal import MissingFieldError, propose
from platform_relay.imports.rows import read_messages
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import Incoming


def imported(lines: list[str], kind: EventKind, **choices: Any) -> tuple[list[dict[str, Any] | str], list[str]]:
    """The events of a file or why its rows are rejected, and the parameters for which the import waits."""
    raw = ("\n".join(lines) + "\n").encode()
    proposal = propose(io.BytesIO(raw), "file.csv", "csv", kind, Choices(**choices))
    events = [
        json.loads(message.body) if isinstance(message, Incoming) else message
        for _, message in read_messages(proposal.plan, io.BytesIO(raw))
    ]
    return events, [question.parameter for question in proposal.waiting]


def totals(amounts: list[str], **choices: Any) -> tuple[list[str | None], list[str]]:
    """The totals of orders with these amounts; None: the order is rejected."""
    lines = ["id;status;currency;total", *(f"{number};paid;EUR;{amount}" for number, amount in enumerate(amounts, 101))]
    events, waiting = imported(lines, EventKind.ORDER, **choices)
    return [None if isinstance(event, str) else event["totalPrice"] for event in events], waiting


@pytest.mark.parametrize(
    ("report", "amounts", "read"),
    [
        ("deadlocker8/BudgetMaster#731: 1.355,90€ was read as 1,35", ["1.355,90€"], ["1355.90"]),
        ("buckets/application#200: cents became euros", ["123,45", "67,00"], ["123.45", "67.00"]),
        ("actualbudget/actual#2143: 1.000 beside 1.111,11 was read as 1", ["1.000", "1.111,11"], ["1000", "1111.11"]),
        ("actualbudget/actual#5020: -110.7 € was read as -1107", ["110.7 €", "116.62 €"], ["110.7", "116.62"]),
        ("firefly-iii/firefly-iii#4106: 10,00 € was read as 1000", ["4.711,98 €", "10,00 €"], ["4711.98", "10.00"]),
        ("invoiceninja/invoiceninja#9130: 5323,54", ["5323,54"], ["5323.54"]),
        ("MaximeCordeil/IATK#40: 96.3 was read as 963", ["96.3"], ["96.3"]),
    ],
)
def test_amounts_of_reports(report: str, amounts: list[str], read: list[str]) -> None:
    assert totals(amounts) == (read, [])


@pytest.mark.parametrize(
    ("report", "amount"),
    [
        ("actualbudget/actual#2374: -3.000 was read as -3", "3.000"),
        ("harung1993/dollardollar#55: 173,900 lost its comma", "173,900"),
        ("shadowmax31/crypto_log#11: 1,000", "1,000"),
    ],
)
def test_an_amount_with_two_meanings_is_asked_for(report: str, amount: str) -> None:
    assert totals([amount]) == ([None], ["decimal"])
    whole, _ = totals([amount], decimal="." if "," in amount else ",")
    assert whole == [amount.replace(",", "").replace(".", "")]


def birthdays(dates: list[str]) -> list[tuple[int, int] | None]:
    lines = ["id,birthday", *(f'{number},"{text}"' for number, text in enumerate(dates, 101))]
    events, _ = imported(lines, EventKind.CUSTOMER)
    assert all(isinstance(event, dict) for event in events)  # an optional value never costs the row
    return [
        (event["birthdayMonth"], event["birthdayDay"]) if isinstance(event, dict) and "birthdayDay" in event else None
        for event in events
    ]


@pytest.mark.parametrize(
    ("report", "dates", "read"),
    [
        ("dannymcc/may#250: 12/01/2026 became 12 January", ["12/31/2026", "12/01/2026"], [(12, 31), (12, 1)]),
        ("submersion-app/submersion#1828: 03/04/1991 became 4 March", ["15/04/1991", "03/04/1991"], [(4, 15), (4, 3)]),
        ("submersion-app/submersion#1829: 4/15/91 became the year 91", ["4/15/91", "4/3/91"], [(4, 15), (4, 3)]),
        ("wealthfolio/wealthfolio#1601: 03/08/2026 became 8 March", ["03/08/2026", "26/06/2026"], [(8, 3), (6, 26)]),
        ("dataplat/dbatools#10338: 01.05.2026 became 5 January", ["01.05.2026", "14.04.2026"], [(5, 1), (4, 14)]),
        ("apache/superset#25113: 01-08-2023 became 8 January", ["01-08-2023", "21-08-2023"], [(8, 1), (8, 21)]),
        ("monicahq/monica#1462: a wrong date broke the import", ["not known", "31.12.1990"], [None, (12, 31)]),
        ("none of the dates shows the order", ["03/04/1991", "05/06/1991"], [None, None]),
    ],
)
def test_dates_of_reports(report: str, dates: list[str], read: list[tuple[int, int] | None]) -> None:
    assert birthdays(dates) == read


def test_times_of_reports() -> None:
    """plomino/Plomino#81: a time without a zone; Lumina-Finance#281: one with it."""
    lines = ["id,created_at", "101,2012-03-12T00:00:00", "102,2012-03-12T00:00:00-05:00"]
    events, _ = imported(lines, EventKind.CUSTOMER, time_zone="Europe/Berlin")
    assert [event["createdAt"] for event in events if isinstance(event, dict)] == [
        "2012-03-11T23:00:00+00:00", "2012-03-12T05:00:00+00:00",
    ]  # fmt: skip


def test_a_file_without_ids_invents_nobody() -> None:
    """twentyhq/twenty#11864, invoiceninja/invoiceninja#9613: rows without an id made a second record of each person."""
    with pytest.raises(MissingFieldError, match="no column for id"):
        imported(["name,email", "Ann,ann@example.com"], EventKind.CUSTOMER)


def test_accounts_with_one_address_stay_apart() -> None:
    """woocommerce/woocommerce-subscriptions-importer-exporter#74: one address for several accounts."""
    events, _ = imported(["id,email", "101,ann@example.com", "102,ann@example.com"], EventKind.CUSTOMER)
    assert [event["id"] for event in events if isinstance(event, dict)] == ["101", "102"]


def test_spaces_around_addresses_and_in_names() -> None:
    """JWManagement/JWManagement#103: spaces in the address; julien-nc/cospend-nc#97: spaces removed from names."""
    events, _ = imported(["id,email,name", "101, ann@example.com ,John Doe"], EventKind.CUSTOMER)
    assert events == [{"id": "101", "email": "ann@example.com", "name": "John Doe"}]


def test_a_row_without_a_required_value_is_rejected_with_a_sentence() -> None:
    """akaunting/akaunting#2583: a missing value caused an error of the program."""
    events, _ = imported(["id,email", "101,ann@example.com", ",bob@example.com"], EventKind.CUSTOMER)
    assert isinstance(events[1], str)
    assert "id" in events[1]


def test_a_refunded_order_of_several_lines_is_one_order() -> None:
    """julionc/awesome-shopify#81: order fields are empty in further rows, and the price is that of one unit."""
    item = "Lineitem quantity,Lineitem name,Lineitem price"
    lines = [
        f"Name,Financial Status,Currency,Subtotal,Shipping,Taxes,Total,{item},Refunded Amount,Id",
        "#7,refunded,EUR,70.00,0.00,0.00,70.00,3,Cup,10.00,70.00,900",
        "#7,,,,,,,2,Plate,20.00,,",
    ]
    [event], _ = imported(lines, EventKind.ORDER)
    assert isinstance(event, dict)
    assert (event["financialStatus"], event["refundedAmount"], event["subtotalPrice"]) == ("refunded", "70.00", "70.00")
