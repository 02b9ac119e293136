"""The shape of a refused body contains no value of it, and no name that is not a field's name of a model."""

import json
from typing import Any  # Any: JSON

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from platform_relay.access.body_shapes import MORE, MOST_VALUES, known_names, masked_path, shape_of

CANARIES = (
    "jane.canary@example.com", "Canaria", "+49-30-5550199", "Kanalstraße 7", "canary-881", "DE89370400440532013000",
    "1985-04-12", "8819.98", "мария", "canary\u0000", "firstName2", "Email",
)  # fmt: skip
TYPES = {"text", "empty text", "number", "boolean", "null", "not JSON", MORE, "…"}
canaries = st.sampled_from(CANARIES)
names = st.one_of(canaries, st.sampled_from(sorted(known_names())), st.text(max_size=8))
bodies = st.recursive(
    st.one_of(canaries, st.text(max_size=8), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(names, inner, max_size=8)),
    max_leaves=40,
)


def words(shape: Any) -> set[str]:
    """Every name and every text of the shape."""
    if isinstance(shape, dict):
        return set(shape).union(*(words(member) for member in shape.values()))
    if isinstance(shape, list):
        return set().union(*(words(item) for item in shape))
    assert isinstance(shape, str)
    return {shape}


def is_allowed(word: str) -> bool:
    return word in TYPES or word in known_names() or (word.startswith("other-") and word[6:].isdigit())


@given(bodies)
@example({"jane.canary@example.com": {"email": "jane.canary@example.com", "Canaria": ["+49-30-5550199"]}})
@example({"type": "canary-881", "event": {"customAttributes": {"Canaria": {"1985-04-12": 8819.98}}}})
def test_no_word_of_a_body_is_shown_but_known_names(body: Any) -> None:
    assert {word for word in words(shape_of(json.dumps(body).encode())) if not is_allowed(word)} == set()


@given(st.binary(max_size=200))
def test_nothing_of_another_body_is_shown(raw: bytes) -> None:
    assert all(is_allowed(word) for word in words(shape_of(raw)))


@given(st.lists(st.one_of(canaries, st.sampled_from(["lineItems", "0", "price", "body"])), min_size=1, max_size=9))
def test_a_path_shows_known_names_and_numbers(steps: list[str]) -> None:
    shown = masked_path(".".join(steps)).split(".")
    assert set(shown) <= {"lineItems", "#", "price", "body", "other"}


def test_a_shape() -> None:
    body = {
        "id": 42,
        "email": "a@b.c",
        "totalPrice": 9.5,
        "vip": True,
        "lineItems": [{"price": None}] * 5,
        "Ada": {"Ada": ""},
    }
    assert shape_of(json.dumps(body).encode()) == {
        "id": "number",
        "email": "text",
        "totalPrice": "number",
        "other-1": "boolean",
        "lineItems": [{"price": "null"}, {"price": "null"}, {"price": "null"}, "more"],
        "other-2": {"other-3": "empty text"},
    }


@pytest.mark.parametrize(
    "body",
    [
        {str(number): {str(inner): number for inner in range(100)} for number in range(100)},
        [[[[[[[[[[1]]]]]]]]]],
        {"id": ["x" * 100] * 1000},
    ],
    ids=["wide", "deep", "long"],
)
def test_a_shape_is_bounded(body: Any) -> None:
    assert len(json.dumps(shape_of(json.dumps(body).encode()))) < 30 * MOST_VALUES


def test_a_body_nested_too_deeply_is_not_json() -> None:
    assert shape_of(b"[" * 16_000) == "not JSON"
