"""The words for the payment status of an order: known ones, and unknown ones, which are asked for."""

import pytest

from platform_relay.imports.exports.bigcommerce import STATUSES as BIGCOMMERCE
from platform_relay.imports.exports.magento import ORDERS as MAGENTO
from platform_relay.imports.file_rows import FileRow
from platform_relay.imports.files import FileFormat
from platform_relay.imports.proposal import MissingFieldError
from platform_relay.imports.statuses import MAX_ASKED, STATUSES, parse_statuses, read_status, unknown_words
from platform_relay.inbox.events import EventKind
from platform_relay.stores.bigcommerce.events import INCOMPLETE
from platform_relay.stores.bigcommerce.events import financial_status as in_bigcommerce
from platform_relay.stores.woocommerce.events import STATUS as WOOCOMMERCE
from tests.imports.read_file import FORMATS, Table, read_file, read_table

ORDER = EventKind.ORDER
every_format = pytest.mark.parametrize("form", FORMATS)


def orders(*statuses: str) -> Table:
    return [
        {"id": number, "email": "a@mail.example", "status": status, "currency": "EUR", "total": "5.00"}
        for number, status in enumerate(statuses, 1)
    ]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Pending payment", "pending"),
        ("Payment accepted", "paid"),
        ("Bezahlt", "paid"),
        ("Payée", "paid"),
        ("wc-completed", "paid"),
        ("Teilweise erstattet", "partially_refunded"),
        ("PARTIALLY_PAID", "partially_paid"),
        ("Partially Refunded", "partially_refunded"),
        ("Cancelled", "voided"),
        *((status, status) for status in STATUSES),
    ],
)
def test_known_words(word: str, status: str) -> None:
    assert read_status(word, {}) == status


@pytest.mark.parametrize("word", ["---", "✓", "Geliefert", "paid?no", ""])
def test_unknown_words_are_never_guessed(word: str) -> None:
    with pytest.raises(ValueError, match="no payment status that is known"):
        read_status(word, {})


def test_words_of_stores_mean_what_they_mean_in_the_adapters() -> None:
    for word, status in WOOCOMMERCE.items():
        assert read_status(word, {}) == status
    for number, word in enumerate(BIGCOMMERCE):
        if number != INCOMPLETE and word != "disputed":
            assert read_status(word, {}) == in_bigcommerce({"status_id": number}), word


@pytest.mark.parametrize("word", ["trash", "wc-checkout-draft", "Incomplete"])
def test_what_is_no_order_is_rejected_without_a_question(word: str) -> None:
    read = read_table(orders("paid", word), ORDER, "csv")
    assert (read.waiting, [reason.partition(":")[0] for reason in read.rejected]) == ([], ["financialStatus"])


@every_format
def test_an_unknown_word_waits_and_its_meaning_can_be_stated(form: FileFormat) -> None:
    table = orders("Geliefert", "paid", "Geliefert", "Closed")
    read = read_table(table, ORDER, form)
    assert [(question.parameter, question.answers[0]) for question in read.waiting] == [
        ("status", f"Geliefert={STATUSES[0]}"),
        ("status", f"Closed={STATUSES[0]}"),
    ]
    assert "'Geliefert' in 2 rows" in read.waiting[0].text
    assert (read.values("id"), len(read.rejected)) == (["2"], 3)
    stated = read_table(table, ORDER, form, statuses=("geliefert=paid", "Closed=reject"))
    assert stated.waiting == []
    assert stated.values("financialStatus") == ["paid", "paid", "paid"]
    assert "as it was stated" in stated.rejected[0]
    assert stated.proposal.plan.key != read.proposal.plan.key, "read in another way, it is another import"


def test_a_stated_meaning_comes_before_a_known_one() -> None:
    assert read_table(orders("Failed"), ORDER, "csv", statuses=("failed=voided",)).values("financialStatus") == [
        "voided"
    ]


@pytest.mark.parametrize("item", ["Bezahlt", "Bezahlt=", "Bezahlt=done", "=paid", "!=paid", "a\0=paid"])
def test_a_wrong_statement_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="WORD=STATUS"):
        read_table(orders("paid"), ORDER, "csv", statuses=(item,))


def test_a_word_may_have_an_equals_sign() -> None:
    assert parse_statuses(["a=b=paid"]) == {"ab": "paid"}


def test_the_most_frequent_words_are_asked_for() -> None:
    words = [f"state {chr(97 + number)}" for number in range(MAX_ASKED + 3)]
    assert len(read_table(orders(*words), ORDER, "csv").waiting) == MAX_ASKED
    assert unknown_words(["x", "y", "Y", "paid", "", "#N/A"], {}) == [("y", 2), ("x", 1)]
    notes = read_table(orders(*words), ORDER, "csv").proposal.plan.notes
    assert any(f"not known ({MAX_ASKED + 3})" in note for note in notes)
    assert "state a" not in str(notes), "notes are stored, and hold no values"


def test_a_closed_order_of_magento_is_refunded() -> None:
    assert MAGENTO.join is not None
    [row] = MAGENTO.join([FileRow(1, 1, {"Status": "Closed"})])
    assert row.values["Status"] == "refunded"
    header = "ID,Purchase Point,Purchase Date,Grand Total (Base),Grand Total (Purchased),Status,Customer Email"
    raw = f"{header}\n1,Main,2026-05-11 10:00:00,€5.00,€5.00,Closed,a@mail.example\n"
    read = read_file(raw, ORDER, "csv", "id=ID")
    assert (read.proposal.plan.export, read.values("financialStatus")) == ("magento-orders", ["refunded"])
    with pytest.raises(MissingFieldError):
        read_file(raw, ORDER)
