"""Which column is guessed for which field: ids only from values that look like ids, addresses only from values with an @."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from platform_relay.imports.id_values import are_rounded, damage_of, looks_like_id
from platform_relay.imports.mapping import Column, guess_mapping
from platform_relay.inbox.events import EventKind

HEADERS = (
    "id", "ID", "Id", "Customer", "customer", "Customer ID", "customer_id", "User", "user_id", "Buyer", "External ID",
    "Order", "Order #", "Order ID", "order_number", "Number", "SKU", "Product ID", "entity_id", "increment_id", "Name",
)  # fmt: skip
LETTERS = string.ascii_letters + "äöüßéèçñøåłŠžČ'’-"
WORDS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: any(letter.isalpha() for letter in text))
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join).filter(lambda text: damage_of(text) is None)
"""Without words such as NULL: a column of nothing else counts as empty, and each of its rows is rejected."""


@given(st.sampled_from(EventKind), st.sampled_from(HEADERS), st.lists(NAMES, min_size=1, max_size=20))
@example(EventKind.ORDER, "Customer", ["Lena Lind"])
@example(EventKind.CUSTOMER, "id", ["Lena", "Bob"])
def test_a_column_of_names_never_becomes_an_id(kind: EventKind, header: str, names: list[str]) -> None:
    guess = guess_mapping(kind, [Column(header, names), Column("Status", ["paid"] * len(names))])
    assert not {"id", "customerId"} & set(guess.mapping)


@given(
    st.sampled_from(("Email", "E-Mail", "email", "Customer Email", "billing_email", "mail")),
    st.lists(st.text(min_size=1, max_size=30).filter(lambda text: "@" not in text and text.strip()), min_size=1),
)
def test_a_column_without_addresses_never_becomes_the_email(header: str, values: list[str]) -> None:
    for kind in (EventKind.CUSTOMER, EventKind.ORDER):
        assert "email" not in guess_mapping(kind, [Column(header, values)]).mapping


@pytest.mark.parametrize(
    ("kind", "header", "values", "field", "doubt"),
    [
        (EventKind.CUSTOMER, "Customer ID", ["1", "2"], "id", None),
        (EventKind.CUSTOMER, "id", ["5b0e7a2c-0d3f-4a4e-9d0f-1b2c3d4e5f60"], "id", None),
        (EventKind.CUSTOMER, "id", ["gid://shopify/Customer/7"], "id", None),
        (EventKind.CUSTOMER, "id", ["ada@mail.example", "bob@mail.example"], "id", "addresses"),
        (EventKind.CUSTOMER, "id", ["17", "18", "19", "bob"], "id", "values"),
        (EventKind.CUSTOMER, "id", ["1.23457E+15", "1.23458E+15"], "id", None),
        (EventKind.CUSTOMER, "id", [], "id", None),
        (EventKind.CUSTOMER, "id", ["Lena Lind", "17"], None, None),
        (EventKind.CUSTOMER, "id", ["1.1.2026"], None, None),
        (EventKind.CUSTOMER, "id", ["+49301234"], None, None),
        (EventKind.CUSTOMER, "id", ["12.50"], None, None),
        (EventKind.ORDER, "order_number", ["1901"], "id", "name"),
        (EventKind.ORDER, "Order #", ["#1901"], "id", "name"),
        (EventKind.ORDER, "user_id", ["7"], "customerId", "name"),
        (EventKind.CUSTOMER, "user_id", ["7"], "id", None),
        (EventKind.ORDER, "Customer", ["7", "8"], "customerId", "name"),
        (EventKind.ORDER, "Customer", ["7", "Lena"], None, None),
        (EventKind.PRODUCT, "SKU", ["A-1"], "id", "name"),
    ],
)
def test_ids_are_guessed_by_their_values(
    kind: EventKind, header: str, values: list[str], field: str | None, doubt: str | None
) -> None:
    guess = guess_mapping(kind, [Column(header, values)])
    ids = [name for name in guess.mapping if name in ("id", "customerId")]
    assert ids == ([field] if field else [])
    assert guess.uncertain == ({field: doubt} if field and doubt else {})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (["1", "31"], "birthdayDay"),
        (["1", "32"], "birthday"),
        (["05/11/1990", "1988-12-24"], "birthday"),
        (["3 April"], "birthday"),
    ],
)
def test_a_column_birthday_is_a_day_only_if_all_values_are(values: list[str], field: str) -> None:
    guess = guess_mapping(EventKind.CUSTOMER, [Column("Birthday", values)])
    assert guess.mapping == {field: "Birthday"}


@pytest.mark.parametrize(
    ("kind", "header", "fields"),
    [
        (
            EventKind.CUSTOMER,
            "Kunden-ID;E-Mail-Adresse;Vorname;Nachname;Telefon;Geburtsdatum;Kunde seit;Geändert am",
            "id;email;firstName;lastName;phone;birthday;createdAt;updatedAt",
        ),
        (
            EventKind.CUSTOMER,
            "Identifiant;Adresse e-mail;Prénom;Nom;Date de naissance;Modifié le",
            "id;email;firstName;lastName;birthday;updatedAt",
        ),
        (
            EventKind.ORDER,
            "Bestellnummer;Kundennummer;E-Mail;Status;Währung;Gesamtsumme;Zwischensumme;Datum",
            "id;customerId;email;financialStatus;currency;totalPrice;subtotalPrice;createdAt",
        ),
        (EventKind.ORDER, "Order ID;Date", "id;createdAt"),
        (EventKind.PRODUCT, "Artikelnummer;Titel", "id;title"),
    ],
)
def test_names_of_columns_in_other_languages(kind: EventKind, header: str, fields: str) -> None:
    names = header.split(";")
    values = dict.fromkeys(("E-Mail-Adresse", "Adresse e-mail", "E-Mail"), "a@mail.example") | {"Währung": "EUR"}
    guess = guess_mapping(kind, [Column(name, [values.get(name, "7")]) for name in names])
    assert guess.mapping == dict(zip(fields.split(";"), names, strict=True))


# ----------------------------------------------------------------------------------------------- damaged ids


@pytest.mark.parametrize(
    "text",
    [
        "1,23457E+15", "1.23457E+15", "1E+15", "6.1e+12", "#NAME?", "#REF!", "#N/A", "#NV", "#WERT!", "########", "Mar-04", "4-Mar",
        "04. Mrz", "04-mars", "2004-03-01", "NULL", "nan", "\\N", "(null)", "0", "-1", "----", "?", "1234.0", "1234,00", "1,234",
        "12,345,678", "Total", "Grand Total", "Summe:", "TOTAL GÉNÉRAL", "Gesamtsumme",
    ],
)  # fmt: skip
def test_a_damaged_id_is_named(text: str) -> None:
    assert damage_of(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "42",
        "#1801",
        "1E5",
        "12E4",
        "5e17a2",
        "MAR-04",
        "Mar-2024",
        "A-4",
        "6100000000001",
        "1234567890123450",
        "abc",
        "1,23",
        "Total-1",
        "10.100",
    ],
)
def test_a_sound_id_is_not_damaged(text: str) -> None:
    assert damage_of(text) is None


def test_rounded_numbers_are_seen_in_their_column() -> None:
    rounded = ["12345678901230000", "98765432109870000", "17"]
    assert are_rounded(rounded)
    assert damage_of(rounded[0], rounded=True) is not None
    assert damage_of("17", rounded=True) is None
    assert not are_rounded([*rounded, "12345678901234567"]), "one exact number shows that the column is exact"
    assert not are_rounded(["1234567890123450"]), "one zero can be there by chance"
    assert not are_rounded(["17", "18"])


@given(st.integers(10**15, 10**19))
def test_an_exact_long_number_is_sound_unless_it_looks_rounded(number: int) -> None:
    text = str(number)
    if text[15:].strip("0"):
        assert not are_rounded([text])
        assert damage_of(text, rounded=True) is None
    assert looks_like_id(text)
