"""What several shops' JSON is read with."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.stores.parsing import (
    amount_with_cents,
    exact_amount,
    next_position,
    objects,
    value_at,
    whole_number,
)

PAGE = 3
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


@given(st.lists(st.integers(0, 6), max_size=30), st.sampled_from([0, 1]), st.data())
def test_every_row_is_read_whatever_changes_meanwhile(changes: list[int], tick: int, data: st.DataObject) -> None:
    """Between two pages a row that was read already may change, and so move to the end of the list."""
    shop = dict(enumerate(sorted(changes)))
    clock, seen = 10, set()
    start, passed = (BEGIN - timedelta(seconds=tick)).isoformat(), 0
    for _ in range(200):
        edge = (datetime.fromisoformat(start) - BEGIN).total_seconds()
        listed = sorted((second, row) for row, second in shop.items() if (second > edge if tick else second >= edge))
        page = listed[passed : passed + PAGE]
        seen |= {row for _, row in page}
        moments = [(BEGIN + timedelta(seconds=second)).isoformat() for second, _ in page]
        after = next_position(start, passed, moments, PAGE, timedelta(seconds=tick))
        if after is None:
            break
        start, passed = after
        moved = data.draw(st.sampled_from([None, *sorted(seen)]))
        if moved is not None and clock < 30 and shop[moved] < (datetime.fromisoformat(start) - BEGIN).total_seconds():
            clock += 1
            shop[moved] = clock
    assert seen == set(shop)


def test_a_row_without_a_time_is_no_place_to_go_on() -> None:
    with pytest.raises(ValueError, match="None"):
        next_position(BEGIN.isoformat(), 0, [None] * PAGE, PAGE)


@pytest.mark.parametrize(
    ("value", "result"),
    [("5", "5.00"), (5.5, "5.50"), ("19.9800", "19.98"), ("0.125", "0.125"), (None, "0.00"), ("", "0.00")],
)
def test_amounts_have_cents(value: str | float | None, result: str) -> None:
    assert f"{amount_with_cents(value):f}" == result


@pytest.mark.parametrize("value", ["x", "NaN", "Infinity", [1], {}])
def test_what_is_no_amount(value: object) -> None:
    if not value:
        assert exact_amount(value) == 0  # type: ignore[arg-type]  # what JSON may hold
        return
    with pytest.raises(InvalidOperation):
        exact_amount(value)  # type: ignore[arg-type]  # what JSON may hold


def test_shapes() -> None:
    assert exact_amount("1.50") == Decimal("1.5")
    assert (whole_number(3), whole_number(True), whole_number("3"), whole_number(None)) == (3, None, None, None)
    assert objects([{"a": 1}, None, 2]) == [{"a": 1}]
    assert objects({"a": 1}) == []
    assert value_at({"a": {"b": 1}}, "a", "b") == 1
    assert value_at({"a": [1]}, "a", "b") is None
