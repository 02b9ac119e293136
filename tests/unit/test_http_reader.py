"""Reading a response does not depend on the pieces in which it arrives, and nothing that arrives raises anything else."""

import gzip
import zlib
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.http_messages import HttpError, LostError, MalformedError, Response, UnreadableError
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


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length : 8",
        b"Content-Length \t : 8",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked ",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: gzip",
    ],
)
def test_a_length_in_an_unusual_spelling_is_a_length(header: bytes) -> None:
    """The parser accepts more spellings than the standard. A body that was cut off is not taken for a complete one."""
    for body in (b"", b"{", b"8\r\n[", b'8\r\n{"a": 1}\r\n'):
        reader = ResponseReader(LIMIT)
        try:
            assert not reader.feed(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\n" + body[:7])
            reader.end()
        except (LostError, MalformedError):
            continue
        raise AssertionError(reader.response())


@pytest.mark.parametrize("status", [b"000", b"007", b"099", b"101"])
def test_a_status_that_http_does_not_have_is_malformed(status: bytes) -> None:
    """The body of such a response is not joined to that of the next one."""
    with pytest.raises(MalformedError):
        read(b"HTTP/1.1 " + status + b" X\r\nContent-Length: 2\r\n\r\n[]" + RESPONSES["a length"])


@pytest.mark.parametrize("form", [47, 15])
def test_a_compressed_body_is_complete_or_an_error(form: int) -> None:
    """Also when it is cut before the first byte of content, and when there is more behind its end."""
    packed = PACKED if form == 47 else zlib.compress(b'{"a": 1}')
    encoding = b"gzip" if form == 47 else b"deflate"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding
    for cut in range(1, len(packed)):
        with pytest.raises(UnreadableError, match="cut off"):
            read(head + b"\r\nContent-Length: %d\r\n\r\n" % cut + packed[:cut])
        reader = read(head + b"\r\n\r\n" + packed[:cut])
        with pytest.raises(UnreadableError, match="cut off"):
            reader.end()
    for more in (packed, b"x", b"\0"):
        whole = head + b"\r\nContent-Length: %d\r\n\r\n" % len(packed + more) + packed + more
        for pieces in ([whole], [whole[: -len(more)], whole[-len(more) :]]):
            with pytest.raises(UnreadableError, match="more bytes behind its end"):
                read(*pieces)


@pytest.mark.parametrize("encoding", [b"", b"identity", b"none", b"UTF-8", b"identity, none"])
def test_names_that_are_no_encoding_are_ignored(encoding: bytes) -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert reader.response().content == b"{}"


@pytest.mark.parametrize("encoding", [b"x-gzip", b"GZIP", b"gzip, identity"])
def test_other_spellings_of_gzip(encoding: bytes) -> None:
    length = b"\r\nContent-Length: %d\r\n\r\n" % len(PACKED)
    assert read(b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + length + PACKED).response().content == b'{"a": 1}'


@pytest.mark.parametrize("head", [b"204 No Content\r\n", b"200 OK\r\nContent-Length: 0\r\n"])
@pytest.mark.parametrize("encoding", [b"br", b"gzip", b"zstd"])
def test_the_encoding_of_a_body_that_is_empty_does_not_matter(head: bytes, encoding: bytes) -> None:
    reader = read(b"HTTP/1.1 " + head + b"Content-Encoding: " + encoding + b"\r\n\r\n")
    assert reader.keep_alive
    assert reader.response().content == b""


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


ODD: Final = (
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b",",
    b"\0",
    b"0",
    b"9",
    b";",
    b"\xff",
    b"chunked",
    b"\r\n ",
    b"204",
    b"100",
)
ODD_HEADERS: Final = (
    b"Content-Length: 3\r\n",
    b"Content-Length ",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
)


def outcome(*pieces: bytes) -> tuple[int, bytes, bool] | str:
    """The status, the body, and whether the end of the connection ended it; or the name of the error."""
    reader, early = ResponseReader(LIMIT), False
    try:
        early = any(reader.feed(piece) for piece in pieces if not reader.complete)
        if not early:
            reader.end()
    except HttpError as error:
        return type(error).__name__
    response = reader.response()
    return response.status, response.content, not early


@given(st.data())
def test_a_changed_response_is_read_in_one_way_and_its_beginning_is_not_complete(data: st.DataObject) -> None:
    """With bytes inserted or removed anywhere: the pieces do not matter, and what ends by its own length cannot be cut."""
    whole = bytearray(data.draw(st.sampled_from(sorted(RESPONSES.values()))))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from((b"", *ODD, *ODD_HEADERS)))
    raw = bytes(whole)
    expected = outcome(raw)
    cuts = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=8))})
    pieces = [raw[start:end] for start, end in pairwise(cuts) if raw[start:end]]
    assert outcome(*pieces) == expected
    if isinstance(expected, tuple) and not expected[2]:
        cut = outcome(raw[: data.draw(st.integers(0, len(raw)))])
        assert isinstance(cut, str) or not cut[2]
