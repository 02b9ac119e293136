"""Numbers whose digits would fill the memory: a few bytes in a request must not keep a process busy."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from platform_relay.core.plain_numbers import NotANumberError, PlainInt, amount
from platform_relay.inbox.events import ProductEvent
from tests.security.huge_numbers import SECONDS


@pytest.mark.timeout(10 * SECONDS)  # of the clock; the limit of processor time is the program's own
def test_no_number_keeps_a_process_busy() -> None:
    """In every field of every model, and at every place of what stores and the Platform send."""
    program = [sys.executable, "-m", "tests.security.huge_numbers"]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    places = ended.stdout.splitlines()
    assert places[-1:] == ["done"], f"ended while it read {places[-1:]}: {ended.stderr[-2000:]}"
    assert len(places) > 3000


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "-1e40", "1e-40"])
def test_a_number_with_many_digits_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="too many digits"):
        TypeAdapter(PlainInt).validate_python(Decimal(text))
    with pytest.raises(NotANumberError):
        amount(Decimal(text))
    assert TypeAdapter(PlainInt).validate_python(Decimal("12.0")) == 12
    assert amount(Decimal("0.00")) == 0


def test_a_whole_number_may_have_an_exponent() -> None:
    event = ProductEvent.parse(b'{"id":"1","variants":[{"externalVariantId":"1","position":1e2}]}')
    assert event.variants is not None
    assert event.variants[0].position == 100
