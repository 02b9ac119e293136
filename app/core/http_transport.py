"""Sends httpx requests over aiohttp connections, and parses their URLs.

Only for `platform_relay.core.http`, which is on the hot path. It raises aiohttp's errors, which show whether a request
was sent.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp
import httpx

_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.)(?:[\w.~:-]|%[0-9A-F]{2})*)+", re.ASCII)
"""A path without dot segments, query and characters that httpx would escape."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """`session` is called with the first request, because an aiohttp session needs the running event loop.

    `connect` (seconds) limits the opening of a connection. Redirects are not followed, and bodies are not decompressed.
    Raises `aiohttp.ClientError`, OSError, and ValueError for requests that HTTP does not allow.
    """

    def __init__(self, session: Callable[[], aiohttp.ClientSession], connect: float) -> None:
        self._make_session = session
        self._session: aiohttp.ClientSession | None = None
        self._timeout = aiohttp.ClientTimeout(connect=connect)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, whose body must have been read (`Request.read`)."""
        if self._session is None:
            self._session = self._make_session()
        response = await self._session.request(
            request.method,
            str(request.url),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=request.content or None,
            allow_redirects=False,
            auto_decompress=False,
            timeout=self._timeout,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response), request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body in the pieces in which it arrives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.content.iter_any()

    async def aclose(self) -> None:
        """Release the connection, or close it when the body was not read completely."""
        if not self._response.closed:
            self._response.release()
            await self._response.wait_for_close()


class UrlParser:
    """Parses URLs like `httpx.URL`, but a repeated origin only once: parsing a URL takes as long as all other steps of
    making a request."""

    def __init__(self) -> None:
        self._origin = "", httpx.URL()

    def parse(self, url: str) -> httpx.URL:
        """Raises `httpx.InvalidURL`."""
        slash = url.find("/", len("https://"))
        origin, path = (url[:slash], url[slash:]) if slash > 0 else (url, "")
        if not _PLAIN_PATH.fullmatch(path):
            return httpx.URL(url)
        if origin != self._origin[0]:
            parsed = httpx.URL(origin)
            if parsed.raw_path != b"/" or parsed.fragment:
                return httpx.URL(url)
            self._origin = origin, parsed
        return _UrlWithPath(self._origin[1], path)


class _UrlWithPath(httpx.URL):
    """The URL of `origin` with `path`."""

    def __init__(self, origin: httpx.URL, path: str) -> None:
        self._uri_reference = origin._uri_reference._replace(path=path)  # noqa: SLF001  # httpx has no public function
