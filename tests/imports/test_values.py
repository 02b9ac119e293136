"""Numbers, currencies, dates and times as people write them."""

import string
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from platform_relay.imports.dates import DateOrder
from platform_relay.imports.values import (
    AmbiguousValueError,
    DecimalMark,
    currency_of,
    date_order_of,
    decimal_mark_of,
    parse_date,
    parse_month_day,
    parse_number,
    parse_time,
)

BERLIN = ZoneInfo("Europe/Berlin")
MARKS: tuple[DecimalMark | None, ...] = (",", ".", None)
ORDERS: tuple[DateOrder | None, ...] = ("dmy", "mdy", "ymd", None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", "12"), ("12.50", "12.50"), ("12,50", "12.50"), ("1.234,56", "1234.56"), ("1,234.56", "1234.56"),
        ("1 234,56", "1234.56"), ("1\xa0234,56", "1234.56"), ("1\u202f234,56", "1234.56"), ("1'234.50", "1234.50"),
        ("1’234.50", "1234.50"), ("€ 12", "12"), ("12 €", "12"), ("12\xa0€", "12"), ("$1,234.50", "1234.50"), ("12,-", "12"),
        ("12.–", "12"), ("12,—", "12"), ("12,--", "12"), ("1.200,-", "1200"), ("1'200.–", "1200"), ("CHF 1'200.–", "1200"),
        ("-3.50", "-3.50"), ("(3.50)", "-3.50"), ("−3,50", "-3.50"), ("EUR 12.00", "12.00"), ("12.00 EUR", "12.00"),
        ("€12.00 EUR", "12.00"), ("$12.00 USD", "12.00"), ("-€12", "-12"), ("€-12", "-12"), ("€ -12,5", "-12.5"),
        ("($12.00)", "-12.00"), ("$(12.00)", "-12.00"), ("12 kr.", "12"), ("kr.12", "12"), ("Rs.500", "500"), ("Rs. 500",
        "500"),
        ("R$ 1.234,50", "1234.50"), ("1,234,567", "1234567"), ("1.234.567", "1234567"), ("12,34,567.50", "1234567.50"),
        ("1 234", "1234"), ("1'234", "1234"), ("1 234,567", "1234.567"), ("0.500", "0.500"), ("0,125", "0.125"),
        ("1234.567", "1234.567"), (".50", "0.50"), ("007", "7"), (" 5 ", "5"), ("-0.00", "0.00"), ("S$12", "12"),
    ],
)  # fmt: skip
def test_a_number_with_one_reading(text: str, number: str) -> None:
    assert str(parse_number(text, None)) == number


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "€", "abc", "12 abc", "1_9", "٢٠", "１９", "1e2", "+5", "NaN", "--1", "5-", "12.00-", "- -1", "1.2.3",
        "1,2,3", "½", "12.",
        "12,", ",", ".", "1 23", "1 2", "1'2", "12 34 567", "1.234,567.8", "1,234.567,8", "1..2", "1 ,2", "0,123,456",
        "(12", "12)",
        "((12))", "(-12)", "-(12)", "€12 USD", "€ $ 12", "12%", "1" * 41, "1" * 5000, "5\n6", "1.200.–", ",-", "12-50",
        "1.234.56",
        "12 ,-", "A12", "12 Eur", "–12",
    ],
)  # fmt: skip
def test_any_other_text_is_no_number(text: str) -> None:
    for mark in MARKS:
        with pytest.raises(ValueError, match=r"number|currenc|decimal"):
            parse_number(text, mark)


@pytest.mark.parametrize("text", ["1,234", "1.234", "€ 1.234", "-12,345", "(999.999)"])
def test_a_number_with_two_readings_is_asked_for(text: str) -> None:
    with pytest.raises(AmbiguousValueError, match="comma or a point"):
        parse_number(text, None)
    assert parse_number(text, ",") in (parse_number(text, ".") * 1000, parse_number(text, ".") / 1000)


@pytest.mark.parametrize(
    ("text", "mark"), [("12.50", ","), ("12,50", "."), ("1,234.5", ","), ("1.234,5", "."), ("0,5", ".")]
)
def test_a_number_against_the_decimal_mark_of_its_column_is_an_error(text: str, mark: DecimalMark) -> None:
    with pytest.raises(ValueError, match="decimal mark"):
        parse_number(text, mark)


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (["1,234", "5", "12,50"], ","), (["1.234", "0.5"], "."), (["1.234", "5"], None), (["12,50", "12.50"], None), ([], None),
        (["1.234.567", "1.234"], ","), (["1'234", "1.234"], None), (["12,-", "1.234"], ","), (["", "n/a", "€ 3,99"], ","),
        (["(1,234.00)"], "."), (["-3,5"], ","), (["12.–", "1'234.–"], "."),
    ],
)  # fmt: skip
def test_the_decimal_mark_is_that_of_the_whole_column(values: list[str], mark: str | None) -> None:
    assert decimal_mark_of(values) == mark


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("\xa0", ","), ("\u202f", ","), ("'", "."), ("’", "."),
                     ("", "."), ("", ",")]),
    st.sampled_from(["{}", "€ {}", "{} €", "EUR {}", "{} EUR", "€{}"]),
)  # fmt: skip
def test_an_amount_in_every_notation_is_read_as_it_was_written(
    number: Decimal, notation: tuple[str, str], currency: str
) -> None:
    thousands, mark = notation
    written = f"{number:,.2f}".translate({ord(","): thousands, ord("."): mark})
    text = currency.format(written)
    shown = decimal_mark_of([text])
    assert shown == mark
    for decimal in (shown, None):
        assert parse_number(text, decimal) == number
    assert currency_of(text) == (None if currency == "{}" else "EUR")


@given(st.text(st.sampled_from(string.digits[:4] + ".,' -()€$–"), max_size=14), st.sampled_from(MARKS))
@example("1,234", None)
def test_the_digits_of_a_number_are_never_changed(text: str, mark: DecimalMark | None) -> None:
    try:
        number = parse_number(text, mark)
    except ValueError:
        return
    written = "".join(character for character in text if character in string.digits)
    assert "".join(map(str, number.as_tuple().digits)).lstrip("0") == written.lstrip("0")
    places = -int(number.as_tuple().exponent)
    tail = text.rstrip(" )€$-–—.,")
    if places:  # the decimal places are the digits behind the last mark
        assert tail[-places - 1] in ",."
    elif any(separator in tail for separator in ",."):
        assert max(tail.rfind(","), tail.rfind(".")) == len(tail) - 4


@given(st.text(max_size=80), st.sampled_from(MARKS))
def test_any_text_is_a_number_or_an_error_that_does_not_quote_it(text: str, mark: DecimalMark | None) -> None:
    try:
        assert parse_number(text, mark).is_finite()
    except ValueError as error:
        message = str(error)
    else:
        message = ""
    assert len(text) < 4 or text not in message
    decimal_mark_of([text])
    assert currency_of(text) is None or len(str(currency_of(text))) == 3


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("EUR", "EUR"), ("eur", "EUR"), (" usd ", "USD"), ("€", "EUR"), ("12 €", "EUR"), ("£3", "GBP"), ("$", None),
        ("$12", None),
        ("$12.00 USD", "USD"), ("$12.00 CAD", "CAD"), ("US$ 5", "USD"), ("¥500", None), ("500 kr", None), ("100 zł", "PLN"),
        ("CHF 12.–", "CHF"), ("(12,00 €)", "EUR"), ("€12 USD", None), ("", None), ("12", None), ("ABC", None),
        ("Eur", None), ("euro", None),
        ("BTC", None), ("$ USD 5", "USD"),
    ],
)  # fmt: skip
def test_the_currency_of_a_text(text: str, code: str | None) -> None:
    assert currency_of(text) == code


# ----------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    "text",
    [
        "2000-04-03", "2000/4/3", "2000.04.03", "2000. 04. 03.", "03.04.2000", "3. 4. 2000", "3.4.00", "3 April 2000",
        "3. April 2000",
        "April 3, 2000", "April 3rd, 2000", "3rd of April 2000", "03-Apr-2000", "3-Apr-00", "Mon, 03 Apr 2000",
        "Montag, 3. April 2000",
        "3 avril 2000", "3 de abril de 2000", "3 aprile 2000", "3 april 2000", "2000 April 3", "2000-04-03T10:00:00Z",
        "2000-04-03 10:00", " 2000-04-03 ", "03.04.2000 16:20", "April 3, 2000 at 4:20 PM",
    ],
)  # fmt: skip
def test_a_date_with_one_reading(text: str) -> None:
    assert parse_date(text, None) == date(2000, 4, 3)
    assert parse_month_day(text, None) == (4, 3)


@pytest.mark.parametrize(
    ("text", "month_day"),
    [
        ("--04-03", (4, 3)), ("April 3", (4, 3)), ("3 April", (4, 3)), ("3. Apr.", (4, 3)), ("03.04.", (4, 3)), ("04-13",
        (4, 13)),
        ("13/04", (4, 13)), ("04-04", (4, 4)), ("--02-29", (2, 29)), ("29.02.", (2, 29)), ("29 February", (2, 29)),
        ("29.02.2000", (2, 29)),
        ("1900-02-29", (2, 29)), ("0000-04-03", (4, 3)), ("1604-04-03", (4, 3)), ("24. Dezember 1988", (12, 24)),
    ],
)  # fmt: skip
def test_a_month_and_a_day(text: str, month_day: tuple[int, int]) -> None:
    assert parse_month_day(text, None) == month_day


@pytest.mark.parametrize(
    ("text", "order", "month_day"),
    [
        ("4/3/2000", "mdy", (4, 3)), ("4/3/2000", "dmy", (3, 4)), ("04-03", "mdy", (4, 3)), ("04-03", "ymd", (4, 3)),
        ("04-03", "dmy", (3, 4)),
        ("00/4/3", "ymd", (4, 3)), ("03.04.00", "mdy", (3, 4)), ("2000-04-03", "dmy", (4, 3)), ("25/12/1990", "ymd", (12, 25)),
    ],
)  # fmt: skip
def test_the_order_of_the_column_decides(text: str, order: DateOrder, month_day: tuple[int, int]) -> None:
    assert parse_month_day(text, order) == month_day


@pytest.mark.parametrize(
    ("text", "order"), [("4/3/2000", None), ("04-03", None), ("4/3/00", "ymd"), ("04/03/2000", "ymd"), ("4/3", "ymd")]
)
def test_a_date_with_two_readings_is_asked_for(text: str, order: DateOrder | None) -> None:
    with pytest.raises(AmbiguousValueError, match="day/month/year or month/day/year"):
        parse_month_day(text, order)


@pytest.mark.parametrize(
    "text",
    [
        "", "abc", "2000-13-01", "2000-02-30", "2001-02-29", "31.04.2000", "0/0/2000", "32/32/2000", "04-03/2000",
        "4.3/2000", "April",
        "April 2000", "Apr-03", "36619", "20000403", "1-2-3-4", "2000-04", "٣ April 2000", "3 April May 2000",
        "3 4 April 2000", "x 3 April",
        "10000-01-01", "--13-01", "--0403", "-3", "3/4/200", "1" * 5000, "April 3 2000 5", "٠٣.٠٤.٢٠٠٠",
    ],
)  # fmt: skip
def test_any_other_text_is_no_date(text: str) -> None:
    for order in ORDERS:
        with pytest.raises(ValueError, match="date"):
            parse_month_day(text, order)


def test_a_date_that_contradicts_its_column_is_an_error() -> None:
    with pytest.raises(ValueError, match="in the order month/day/year"):
        parse_date("25/12/1990", "mdy")
    with pytest.raises(ValueError, match="in the order day/month/year"):
        parse_date("12/25/1990", "dmy")
    with pytest.raises(ValueError, match="without a year"):
        parse_date("3 April", None)


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["05/11/1990", "25/12/1990"], "dmy"), (["05/11/1990", "12/25/1990"], "mdy"), (["05/11/1990", "1988-12-24"], None),
        (["1988-12-24"], "ymd"), (["3 April 2000"], "ymd"), (["03.04.2000"], "dmy"), (["03.04.2000", "12.25.2000"], "mdy"),
        (["25/12/1990", "12/25/1990"], None), ([], None), (["", "n/a"], None), (["05/11/1990", "", "x", "13/11/1990 10:00"],
        "dmy"),
        (["11-12-13"], None), (["25-12-90"], "dmy"), (["90-12-25"], "ymd"), (["04-13", "04-03"], "mdy"), (["13-04",
        "04-03"], "dmy"),
        (["5/11/2026 4:20 PM", "5/31/2026 4:20 PM"], "mdy"), (["2000-04-03", "04-03"], None), (["05/05/1990"], None),
        (["03.04.2000", "4/3/2000"], None),
    ],
)  # fmt: skip
def test_the_order_is_that_of_the_whole_column(values: list[str], order: DateOrder | None) -> None:
    assert date_order_of(values) == order
    assert date_order_of(reversed(values)) == order


FORMATS: dict[str, DateOrder | None] = {
    "%Y-%m-%d": None, "%d.%m.%Y": "dmy", "%d/%m/%Y": "dmy", "%m/%d/%Y": "mdy", "%d-%m-%y": "dmy", "%m/%d/%y": "mdy",
    "%d %B %Y": None,
    "%B %d, %Y": None, "%d-%b-%Y": None, "%Y/%m/%d": None, "%d.%m.%y": "dmy", "%y-%m-%d": "ymd", "%a, %d %b %Y": None,
}  # fmt: skip


@given(
    st.lists(st.dates(date(1969, 1, 1), date(2068, 12, 31)), min_size=1, max_size=20), st.sampled_from(sorted(FORMATS))
)
def test_a_column_of_dates_is_read_as_it_was_written_or_asked_for(dates: list[date], written: str) -> None:
    values = [day.strftime(written) for day in dates]
    order = date_order_of(values)
    assert order in (FORMATS[written] or "ymd", None) or "." in written
    for day, value in zip(dates, values, strict=True):
        assert parse_date(value, FORMATS[written]) == day
        try:
            assert parse_date(value, order) == day
            assert parse_month_day(value, order) == (day.month, day.day)
        except AmbiguousValueError:
            assert order is None


@given(st.text(max_size=80), st.sampled_from(ORDERS))
def test_any_text_is_a_date_or_an_error_that_does_not_quote_it(text: str, order: DateOrder | None) -> None:
    for value in (text, f"2000-04-03 {text}", f"3{text}4{text}2000"):
        for read in (parse_date, parse_month_day, lambda part, rule: parse_time(part, BERLIN, rule)):
            message = ""
            try:
                read(value, order)
            except ValueError as error:
                message = str(error)
            assert len(text) < 6 or text not in message
        date_order_of([value])


# ----------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "order", "utc"),
    [
        ("2026-05-11T16:20:00Z", None, "2026-05-11T16:20:00"), ("2026-05-11T16:20:00+02:00", None, "2026-05-11T14:20:00"),
        ("2026-05-11 16:20:00 +0200", None, "2026-05-11T14:20:00"), ("2026-05-11 16:20:00 UTC", None, "2026-05-11T16:20:00"),
        ("2026-05-11T16:20:00.123456789Z", None, "2026-05-11T16:20:00.123456"), ("2026-05-11 16:20", None,
        "2026-05-11T14:20:00"),
        ("2026-05-11", None, "2026-05-10T22:00:00"), ("11.05.2026 16:20", None, "2026-05-11T14:20:00"),
        ("11.05.2026, 16:20 Uhr", None, "2026-05-11T14:20:00"), ("5/11/2026 4:20 PM", "mdy", "2026-05-11T14:20:00"),
        ("5/11/2026 12:00 AM", "mdy", "2026-05-10T22:00:00"), ("5/11/2026 12:30 p.m.", "mdy", "2026-05-11T10:30:00"),
        ("11/05/2026 16:20", "dmy", "2026-05-11T14:20:00"), ("Mon, 11 May 2026 16:20:00 +0000", None, "2026-05-11T16:20:00"),
        ("May 11, 2026 4:20 pm", None, "2026-05-11T14:20:00"), ("2026-05-11 16:20:00 -03", None, "2026-05-11T19:20:00"),
        ("2026-05-11 16:20:00 GMT+0200", None, "2026-05-11T14:20:00"), ("2026-01-11 16:20", None, "2026-01-11T15:20:00"),
    ],
)  # fmt: skip
def test_a_time_in_utc(text: str, order: DateOrder | None, utc: str) -> None:
    assert parse_time(text, BERLIN, order) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-11 25:00", "2026-05-11 16:60", "2026-05-11 16:20:61", "2026-05-11 13:00 PM", "2026-05-11 0:00 AM",
        "2026-05-11 16:20 CEST",
        "2026-05-11 16:20 +1500", "2026-05-11 16:20 +0260", "16:20", "1778509200", "1778509200000", "0001-01-01T00:00:00+14:00",
        "2026-05-11 16:20:00:00", "2026-05-11 1６:20", "April 3 4:20 PM",
    ],
)  # fmt: skip
def test_any_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|date"):
        parse_time(text, UTC, "mdy")


def test_seconds_since_1970_only_when_they_are_expected() -> None:
    assert parse_time("1778509200", BERLIN, None, epoch=True) == datetime(2026, 5, 11, 14, 20, tzinfo=UTC)
    for text in ("2026-05-11", "1e9", "9" * 30, ""):
        with pytest.raises(ValueError, match="seconds since 1970"):
            parse_time(text, BERLIN, None, epoch=True)


def test_a_time_that_occurs_twice_or_never() -> None:
    assert parse_time("2026-10-25 02:30", BERLIN, None) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )  # the first: +02:00
    assert parse_time("2026-03-29 02:30", BERLIN, None) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30 +02:00
    assert parse_time("2026-03-29 02:30", BERLIN, None).astimezone(BERLIN).hour == 3


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2067, 12, 31)),  # noqa: DTZ001  # the zone follows
    st.integers(-12 * 60, 14 * 60),
    st.sampled_from(["T{} ", " {} ", "T{}", " {}"]),
)
def test_every_time_with_an_offset_is_read(moment: datetime, minutes: int, written: str) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    offset = aware.strftime("%z")
    for zone in (offset, f"{offset[:3]}:{offset[3:]}"):
        text = moment.strftime("%Y-%m-%d") + written.format(moment.strftime("%H:%M:%S.%f")) + zone
        assert parse_time(text, BERLIN, None) == aware.astimezone(UTC)
