"""Numbers whose digits would fill the memory: a few bytes in a request must not keep a process busy."""

import time
from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from platform_relay.api.event_bodies import read_line
from platform_relay.core.plain_numbers import PlainInt
from platform_relay.inbox.events import EVENTS, EventKind

WHOLE = ("1e999999999", "1E99999999", "123456789e9999999", "1e-999999999", "-1.5e99999999", "9" * 5000)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", WHOLE, ids=lambda number: number[:14])
@pytest.mark.parametrize("kind", list(EventKind))
def test_a_number_with_a_large_exponent_takes_no_time(kind: EventKind, number: str) -> None:
    """In every field of every event, as its value and as a member of its parts."""
    model = EVENTS[kind]
    started = time.process_time()
    for field in ("unknown", *model.model_fields):
        for value in (number, f'[{{"quantity":{number},"price":{number},"position": {number}}}]'):
            start = '{"id":"1","financialStatus":"paid","currency":"EUR","totalPrice":"1","title":"x",'
            body = f'{start}"{field}":{value}}}'.encode()
            try:
                model.parse(body)
            except ValueError:
                continue
            line = b'{"type": "%s", "event": %s}' % (str(kind).encode(), body)
            read_line(line, 1 << 20, backfill=False)
    assert time.process_time() - started < 5


@pytest.mark.timeout(60)
def test_a_whole_number_of_a_model_is_never_made_of_a_large_exponent() -> None:
    """Also where a model gets exact numbers directly, as from a store's adapter."""
    with pytest.raises(ValidationError, match="too many digits"):
        TypeAdapter(PlainInt).validate_python(Decimal("1e999999999"))
    assert TypeAdapter(PlainInt).validate_python(Decimal("12.0")) == 12
