"""The fast decoder reads what Python's own decoder reads, with the same digits, and refuses what it refuses."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from platform_relay.api import event_bodies
from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactNumber
from platform_relay.inbox.events import OrderEvent

NUMBERS: Final = (
    "1.0", "1.00", "-0", "-0.0", "0e0", "1e400", "1E+5", "1e-7", "0.0000001", "0.00000000", "123456789012345678901234567890",
    "0.1234567890123456789012345678901234567890", "1e999999999999999999999", "01", "1.", ".5", "+1", "1e", "NaN", "Infinity",
    "-Infinity", "0x1", "1_0", "9" * 5000,
)  # fmt: skip
PARTS: Final = (
    *NUMBERS, "{", "}", "[", "]", ",", ":", '"', '"a"', '"b"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\q"', '"\\u12"',
    '"\x01"', '"\x7f"', '"é"', '"\u2028"', "null", "true", "nul", " ", "\t", "\n", "\x0b", "\xa0", "\ufeff", "//",
)  # fmt: skip
VALUES: Final = st.recursive(
    st.sampled_from(NUMBERS[:12])
    | st.text(st.characters(codec="utf-8")).map(json.dumps)
    | st.sampled_from(["null", "true"]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"é"']), inner), max_size=4).map(
            lambda items: "{" + ",".join(f"{name}:{value}" for name, value in items) + "}"
        )
    ),
)


def mutated(text: str, cut: int, part: str, removed: int) -> bytes:
    cut %= len(text) + 1
    return (text[:cut] + part + text[cut + removed :]).encode("utf-8", "surrogatepass")


def slow(raw: bytes) -> object:
    """What Python's decoder makes of it, as `loads` did before it had another one."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        text = raw.decode(json.detect_encoding(raw), "surrogatepass")
        return json.JSONDecoder(parse_float=ExactNumber, parse_constant=refuse).decode(text)
    except (ValueError, RecursionError):
        return ValueError


def fast(raw: bytes) -> object:
    try:
        return exact_json.loads(raw)
    except ValueError:
        return ValueError


def shape(value: object) -> object:
    """The value with the digits and the types of its numbers, and the order of its names."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return ("number", exact_json.number_text(value)) if isinstance(value, Decimal) else (type(value), value)


@settings(max_examples=400)
@given(VALUES, st.integers(0, 10_000), st.sampled_from(["", *PARTS]), st.integers(0, 3))
def test_both_decoders_read_and_refuse_the_same(text: str, cut: int, part: str, removed: int) -> None:
    raw = mutated(text, cut, part, removed)
    assert shape(fast(raw)) == shape(slow(raw))


@pytest.mark.parametrize(
    "raw",
    [
        *(number.encode() for number in NUMBERS),
        b"", b" ", b"\xef\xbb\xbf1.50", "1.50".encode("utf-16"), "[1.50]".encode("utf-32-le"), b'"\xff"', b'"\xed\xa0\x80"',
        b'"\xc0\xaf"', b'{"a":1,"a":2.50}', b'{"a":1}x', b"[" * 5000 + b"]" * 5000, b"[" * 300 + b"1.50" + b"]" * 300,
    ],
)  # fmt: skip
def test_the_rare_texts_too(raw: bytes) -> None:
    assert shape(fast(raw)) == shape(slow(raw))


ORDER: Final = '{"id":"1","financialStatus":"paid","currency":"EUR","totalPrice":"1.00","x":%s}'


@settings(max_examples=200)
@given(VALUES)
@example("[" * 199 + "0.5" + "]" * 199)
@example("[" * 250 + "0.5" + "]" * 250)
@example('{"y":' * 250 + "0.5" + "}" * 250)
@example("[" + ",".join(["[0.50]"] * 300) + "]")
def test_an_event_is_read_alike_with_and_without_exact_numbers(value: str) -> None:
    """Beside a number that needs the exact decoder, and without one: pydantic's own parser decides what is accepted."""
    raw = (ORDER % value).encode()
    event, error = parsed(OrderEvent.parse, raw)
    _, expected = parsed(OrderEvent.model_validate_json, raw)
    if expected is not None:
        assert type(error) is type(expected)
    elif event is not None:  # otherwise it holds NUL, or a number that is not finite
        assert shape((event.model_extra or {})["x"]) == shape(slow(value.encode()))


def parsed(parse: Callable[[bytes], OrderEvent], raw: bytes) -> tuple[OrderEvent | None, ValueError | None]:
    try:
        return parse(raw), None
    except ValueError as error:
        return None, error


@settings(max_examples=400)
@given(VALUES, st.integers(0, 10_000), st.sampled_from(["", *PARTS]), st.integers(0, 3))
def test_a_line_of_a_batch_is_split_as_before(value: str, cut: int, part: str, removed: int) -> None:
    line = mutated(f'{{"type": "orders", "event" :  {value} , "idempotencyKey":"k"}}', cut, part, removed)
    try:
        before: object = {name: text.encode() for name, text in event_bodies.spans(line.decode()).items()}
    except (ValueError, RecursionError):
        before = ValueError
    try:
        after: object = event_bodies.members_of(line)
    except (ValueError, RecursionError):
        after = ValueError
    assert after == before


def test_the_canonical_text_does_not_depend_on_the_order_of_names_and_keeps_digits() -> None:
    one = {"b": Decimal("1.00"), "a": [{"z": ExactNumber("1e2"), "y": "é\ud800"}], "c": 5}
    two = {"c": 5, "a": [{"y": "é\ud800", "z": ExactNumber("1e2")}], "b": Decimal("1.00")}
    assert exact_json.canonical(one) == exact_json.canonical(two)
    assert exact_json.canonical(one) == '{"a":[{"y":"é\\ud800","z":1e2}],"b":1.00,"c":5}'.encode()
    assert exact_json.canonical({"b": Decimal("1.0"), "a": "x"}) == b'{"a":"x","b":1.0}'
    with pytest.raises(ValueError):  # noqa: PT011  # any ValueError is handled alike
        exact_json.canonical({"x": Decimal("NaN")})
