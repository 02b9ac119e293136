"""Reads one HTTP/1.1 response from the bytes of a connection. Pure.

The grammar is llhttp's, the parser of Node.js and aiohttp, through `httptools`. This file adds what depends on the caller:
the limits, decompression, and where a response ends.
"""

import zlib
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from platform_relay.core.http_messages import (
    Headers,
    HttpError,
    LostError,
    MalformedError,
    Response,
    TooLargeError,
    UnreadableError,
)
from platform_relay.core.plain_numbers import integer, is_count

HEADER_BYTES: Final = 8190
"""The longest header, and the longest status line, that are accepted."""
HEADER_COUNT: Final = 128
HEAD_BYTES: Final = 1 << 18
"""The longest head: status line and headers. It also limits what the parser holds of a line that does not end."""
_SPACE: Final = 0x20
_CHUNK_OVERHEAD: Final = 8
"""A chunk of one byte takes six on the connection."""
_ZLIB: Final = {"gzip": 47, "x-gzip": 47, "deflate": 15}
"""The window bits for zlib."""
_NOT_ENCODED: Final = frozenset({"", "identity", "none", "utf-8"})
"""`none` and `utf-8` are no encodings, but plugins of stores on PHP send them."""


class ResponseReader:
    """Gets the bytes of one response with `feed`, and the end of the connection with `end`.

    `limit` (bytes) limits the decompressed body. `complete`: the response has ended. `keep_alive`: the connection may be used
    again. `idle_seconds`: how long the server keeps it (`Keep-Alive: timeout=5`), if it names a time.
    """

    def __init__(self, limit: int) -> None:
        self.complete = False
        self.keep_alive = False
        self.idle_seconds: int | None = None
        self.received = 0
        self._limit = limit
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._inflate: zlib._Decompress | None = None
        self._in_body = False
        self._ends_with_connection = True
        self._encoding = b""
        self._unknown_encoding: str | None = None
        self._has_body = False
        self._error: HttpError | None = None
        self._parser = HttpResponseParser(self)
        # As aiohttp does: servers that end lines with LF, or have unusual characters in a header, are common.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: bytes) -> bool:
        """Read the next bytes. Returns whether the response is complete. Raises HttpError."""
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise MalformedError("it switches to another protocol") from None
        except HttpParserError as error:
            if self._error is not None:
                raise self._error from None
            self.keep_alive = False
            if not self.complete:
                raise MalformedError(str(error)) from None
        if self.complete:
            return True
        if not self._in_body and self.received > HEAD_BYTES:
            raise MalformedError(f"its status line and headers are longer than {HEAD_BYTES} bytes")
        if self.received > HEAD_BYTES + _CHUNK_OVERHEAD * self._limit:
            raise TooLargeError(self._parser.get_status_code())
        return False

    def end(self) -> None:
        """The connection ended. Raises LostError, unless the end of the connection is the end of the response."""
        if self._in_body and self._ends_with_connection:
            self._finish()
            if self._error is not None:
                raise self._error
        elif not self.complete:
            when = "before its response was complete" if self.received else "without a response"
            raise LostError(f"it closed the connection {when}", answered=self.received > 0)

    def response(self) -> Response:
        """The complete response."""
        return Response(self._parser.get_status_code(), Headers(self._headers), bytes(self._body))

    # ------------------------------------------------------------------------------------------- called by the parser

    def on_message_begin(self) -> None:
        if self.complete:  # bytes after the response: a second one, which was not requested
            self.keep_alive = False
            raise HttpParserError("bytes after the response")

    def on_status(self, reason: bytes) -> None:
        if len(reason) > HEADER_BYTES:
            self._fail(MalformedError(f"its status line or a header is longer than {HEADER_BYTES} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # after a chunked body
        if len(name) + len(value) > HEADER_BYTES:
            self._fail(MalformedError(f"its status line or a header is longer than {HEADER_BYTES} bytes"))
        if len(self._headers) == HEADER_COUNT:
            self._fail(MalformedError(f"it has more than {HEADER_COUNT} headers"))
        if name[-1] == _SPACE:  # `Content-Length : 8` is a length for the parser, too
            name = name.rstrip()
        self._headers.append((name, value))
        handler = _HANDLERS.get(len(name))
        if handler is not None and name.lower() == handler:
            self._framing(handler, value)

    def _framing(self, name: bytes, value: bytes) -> None:
        """The headers that matter for reading."""
        if name == b"content-length":
            self._ends_with_connection = False
        elif name == b"transfer-encoding":
            self._ends_with_connection = value.strip().lower() == b"identity"
        elif name == b"content-encoding":
            self._encoding = b", ".join((self._encoding, value.lower())) if self._encoding else value.lower()
        else:
            timeout = value.decode("latin-1").partition("timeout=")[2].partition(",")[0].strip()
            self.idle_seconds = integer(timeout) if is_count(timeout) else None

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            self._fail(MalformedError(f"the status {status:03}"))
        if status < 200:
            return  # 100 Continue, 103 Early Hints: the response is still to come
        self._in_body = True
        if status in (204, 304):
            self._ends_with_connection = False
        if not self._encoding:
            return
        names = [name.strip() for name in self._encoding.decode("latin-1").split(",")]
        encoding = ", ".join(name for name in names if name not in _NOT_ENCODED)
        if encoding in _ZLIB:
            self._inflate = zlib.decompressobj(wbits=_ZLIB[encoding])
        elif encoding:
            self._unknown_encoding = encoding

    def on_body(self, chunk: bytes) -> None:
        body, limit = self._body, self._limit
        self._has_body = True
        if self._unknown_encoding is not None:
            problem = f"the encoding {self._unknown_encoding[:40]!r}, which was not requested"
            self._fail(UnreadableError(self._parser.get_status_code(), problem))
        if self._inflate is not None:
            ended = self._inflate.eof
            try:
                chunk = self._inflate.decompress(chunk, limit + 1 - len(body))
            except zlib.error as error:
                problem = f"a body that does not decompress ({error})"
                self._fail(UnreadableError(self._parser.get_status_code(), problem))
            if ended or self._inflate.unused_data:
                problem = "a compressed body with more bytes behind its end"
                self._fail(UnreadableError(self._parser.get_status_code(), problem))
        body += chunk
        if len(body) > limit:
            self._fail(TooLargeError(self._parser.get_status_code()))

    def on_message_complete(self) -> None:
        if self._in_body:
            self.keep_alive = self._parser.should_keep_alive()
            self._finish()
        else:
            self._headers.clear()  # of a 1xx
            self._encoding, self._ends_with_connection = b"", True

    # -------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._inflate is not None and self._has_body and not self._inflate.eof:
            self._fail(UnreadableError(self._parser.get_status_code(), "a compressed body that was cut off"))
        self.complete = True

    def _fail(self, error: HttpError) -> None:
        self._error = error
        raise error


_HANDLERS: Final = {
    len(name): name for name in (b"content-length", b"transfer-encoding", b"content-encoding", b"keep-alive")
}
"""The headers that matter for reading, by their lengths, which differ."""
