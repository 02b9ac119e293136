"""What several shops' JSON is read with."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import pytest

from platform_relay.stores.parsing import (
    amount_with_cents,
    exact_amount,
    objects,
    value_at,
    whole_number,
)

PAGE = 3
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


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
