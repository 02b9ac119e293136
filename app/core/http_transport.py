"""httpx's requests over aiohttp's connections: what goes between them, and nothing else.

A transport for `platform_relay.core.http` alone, on its hot path. It raises aiohttp's own errors, which tell whether
a request left.
"""

from collections.abc import AsyncIterator, Callable

import aiohttp
import httpx


class AiohttpTransport(httpx.AsyncBaseTransport):
    """`session` is called with the first request, as aiohttp's session needs the running loop.

    `connect` (seconds) bounds getting a connection. Redirects are not followed and bodies come as they were sent, in
    the coding that their headers name. Raises `aiohttp.ClientError`, OSError and ValueError (what HTTP cannot carry).
    """

    def __init__(self, session: Callable[[], aiohttp.ClientSession], connect: float) -> None:
        self._make_session = session
        self._session: aiohttp.ClientSession | None = None
        self._timeout = aiohttp.ClientTimeout(connect=connect)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """`request` has been read (`Request.read`)."""
        if self._session is None:
            self._session = self._make_session()
        answer = await self._session.request(
            request.method,
            str(request.url),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=request.content or None,
            allow_redirects=False,
            auto_decompress=False,
            timeout=self._timeout,
        )
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body as it arrives."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer.content.iter_any()

    async def aclose(self) -> None:
        """A connection whose answer was not read to its end is of no use any more."""
        if not self._answer.closed:
            self._answer.release()
            await self._answer.wait_for_close()
