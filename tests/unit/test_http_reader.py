"""Reading a response does not depend on the pieces in which it arrives, and nothing that arrives raises anything else."""

import gzip
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.http_messages import HttpError, LostError, MalformedError, Response
from platform_relay.core.http_reader import ResponseReader

LIMIT: Final = 1000
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
PACKED: Final = gzip.compress(b'{"a": 1}')
RESPONSES: Final = {
    "a length": b"HTTP/1.1 201 Created\r\nContent-Length: 8\r\nX-A: 1\r\nX-A: 2\r\n\r\n" + b'{"a": 1}',
    "chunks": CHUNKED + b"\r\n3\r\n" + b'{"a' + b'\r\n5;x=y\r\n": 1}\r\n0\r\nX-T: 1\r\n\r\n',
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
    "interim responses": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Encoding: br\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
    b'{"a": 1}',
    "no content": b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n",
}


def read(*pieces: bytes) -> ResponseReader:
    reader = ResponseReader(LIMIT)
    for piece in pieces:
        reader.feed(piece)
    return reader


@pytest.mark.parametrize("name", RESPONSES)
def test_every_cut_gives_the_same_response(name: str) -> None:
    whole = RESPONSES[name]
    expected = read(whole).response()
    assert expected.content == (b"" if expected.status == 204 else b'{"a": 1}')
    for cut in range(1, len(whole)):
        reader = ResponseReader(LIMIT)
        assert not reader.feed(whole[:cut])
        assert reader.feed(whole[cut:])
        got = reader.response()
        assert (got.status, dict(got.headers), got.content) == (
            expected.status,
            dict(expected.headers),
            expected.content,
        )
        assert reader.keep_alive
    assert read(*(whole[index : index + 1] for index in range(len(whole)))).complete


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_that_ends_early_is_lost(name: str) -> None:
    whole = RESPONSES[name]
    for cut in range(len(whole)):
        reader = read(*([whole[:cut]] if cut else []))
        with pytest.raises(LostError) as lost:
            reader.end()
        assert lost.value.answered == (cut > 0)


def test_headers_have_no_case_and_are_joined() -> None:
    headers = read(RESPONSES["a length"]).response().headers
    assert repr(headers) == "Headers(content-length, x-a)"
    assert (headers["x-a"], headers.get("X-A"), "Content-length" in headers, headers.get("y")) == (
        "1, 2",
        "1, 2",
        True,
        None,
    )


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n\r\n", b"{", b"}")
    assert not reader.complete
    reader.end()
    assert (reader.complete, reader.keep_alive, reader.response().content) == (True, False, b"{}")


@pytest.mark.parametrize("extra", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\x00"])
def test_bytes_after_the_response_end_the_connection_and_change_nothing(extra: bytes) -> None:
    reader = read(RESPONSES["a length"] + extra)
    assert (reader.complete, reader.keep_alive) == (True, False)
    assert reader.response().content == b'{"a": 1}'


def test_more_headers_than_the_limit() -> None:
    with pytest.raises(MalformedError, match="more than 128 headers"):
        read(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(129)) + b"\r\n")


PIECES = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n", b"\r\n", b"\n", b"Content-Length: 3\r\n", b"Content-Length: ", b"0\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", PACKED, b"3\r\nabc\r\n", b"abc", b"Keep-Alive: timeout=",
     b"9" * 30, b"Connection: close\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"\xff\x00", b" " * 2000]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)).filter(bool), max_size=12))
def test_whatever_arrives_is_a_response_or_an_http_error(pieces: list[bytes]) -> None:
    reader = ResponseReader(LIMIT)
    try:
        for piece in pieces:
            if reader.feed(piece):
                break
        else:
            reader.end()
    except HttpError:
        return
    response = reader.response()
    assert isinstance(response, Response)
    assert len(response.content) <= LIMIT
