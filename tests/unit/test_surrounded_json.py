"""JSON with other text around it is read if it is exactly one complete value."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core import surrounded_json
from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Unknown
from platform_relay.platform.responses import Accepted, read_response

WARNING = "<br />\n<b>Warning</b>: Undefined array key 1 in <b>/var/www/x.php</b> on line <b>7</b><br />\n"
DATABASE = (
    '<div id="error"><p class="wpdberror"><b>WordPress database error:</b> [Table &#039;x&#039; is missing]</p></div>'
)
COMMENT = "\n<!-- Page supported by a cache plugin 3.6 -->"
BOM = "\ufeff"
AROUND = [
    (BOM, ""),
    ("", COMMENT),
    (WARNING, ""),
    (DATABASE, COMMENT),
    (BOM + WARNING, COMMENT),
    ("<!-- theme -->\n", ""),
    (")]}',\n", ""),
    ("for(;;);", ""),
    (WARNING + BOM, "\0"),
]
ROWS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VALUES = st.lists(ROWS, max_size=4) | st.dictionaries(st.text(max_size=5), ROWS, max_size=4)


@given(value=VALUES, around=st.sampled_from(AROUND))
def test_one_value_is_read(value: object, around: tuple[str, str]) -> None:
    before, after = around
    text = before + json.dumps(value, ensure_ascii=False) + after
    if "\\ud" in json.dumps(value):
        text = before + json.dumps(value) + after
    assert surrounded_json.loads(text.encode()) == value


@given(value=VALUES, data=st.data())
def test_a_part_of_a_value_is_never_read_as_the_value(value: object, data: st.DataObject) -> None:
    """Cut off at the end, at the beginning, or both, with a warning before it."""
    text = json.dumps(value)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    part = text[start:end]
    try:
        whole = json.loads(part)
    except ValueError:
        whole = None
    if isinstance(whole, list | dict):
        return  # the cut left a complete value
    outside = text[:start] + text[end:]
    if not any(bracket in outside for bracket in "[]{}"):
        return
    try:
        read = surrounded_json.loads((WARNING + part).encode())
    except ValueError:
        return
    # Only a value whose brackets are all closed within the part can be read: the cut went through a text with brackets.
    assert json.dumps(read) in part


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<p>Error</p>",
        "12",
        '"text"',
        '{"id": 1}{"id": 1}',
        '{"id": 1}\n{"id": 2}\n',
        '{"id": 1}}',
        '{"id": 1}]',
        '<!-- {"id": 0} -->{"id": 1}',
        '{"id": 1})]}\'',
        "[1] {",
        '{"id": 1}<!-- {"cache": "hit"} -->',
        '[{"id": 1},{"id": 2},{"id"',
        '[{"id": 1},{"id"',
        '"name": "a"}, {"id": 2}]',
        "<html><script>var layer = [];</script></html>",
        "<!DOCTYPE html><p>[]</p>",
        "{" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[ " * 50 + "[]",
    ],
)
def test_an_ambiguous_text_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|nested"):
        surrounded_json.loads(text.encode())


@pytest.mark.parametrize("around", AROUND)
def test_only_reads_and_errors_are_read_with_text_around_them(around: tuple[str, str]) -> None:
    body = f'{around[0]}{{"message": "x", "total": 1.10}}{around[1]}'.encode()
    whole = {"message": "x", "total": Decimal("1.10")}
    for status, reads in ((200, True), (400, False), (404, True)):
        assert HttpResponse(status, Headers(), body, reads=reads).json() == whole
    written = HttpResponse(201, Headers(), body).json("the creation")
    if around == (BOM, ""):
        assert written == whole  # a byte order mark is part of the encoding
    else:
        assert isinstance(written, Unknown)
        assert "other text around it" in str(written.reason.facts["problem"])


def test_the_reason_says_what_is_wrong() -> None:
    answers = {
        b"": "an empty body",
        b"<p>x</p>": "a body that is not JSON",
        b"[]<p>[]</p>": "several JSON values, with other text around it",
        b"<html>[]</html>": "JSON within a page, with other text around it",
        gzip.compress(b'{"id": 1}'): "a body that is not JSON",
        b'{"id": 1}\n{"id": 2}': "several JSON values, with other text around it",
        b'{"id":1}}': "a part of a JSON value, with other text around it",
        b'[{"id":1},{': "a part of a JSON value, with other text around it",
    }
    for body, problem in answers.items():
        value = HttpResponse(200, Headers(), body, reads=True).json()
        assert isinstance(value, Unknown)
        assert value.reason.facts["problem"] == problem


def test_the_platform_reads_the_same() -> None:
    body = f'{WARNING}{{"id": "42"}}{COMMENT}'.encode()
    read = read_response(HttpResponse(200, Headers(), body, reads=True))
    assert isinstance(read, Accepted)
    assert read.body == {"id": "42"}
    assert isinstance(read_response(HttpResponse(200, Headers(), body)), Unknown)
