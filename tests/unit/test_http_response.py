"""A response of known length is written in one piece, and with the same bytes as uvicorn writes in two."""

import asyncio
import logging

import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from platform_relay.api.http_response import ResponseCycle
from platform_relay.api.middleware import HEADERS


class Written(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def written(
    kind: type[RequestResponseCycle], response: Response, method: str = "GET", *, keep_alive: bool = True
) -> Written:
    transport = Written()
    cycle = kind(
        scope={"type": "http", "method": method, "path": "/"},  # type: ignore[typeddict-item]  # what a response reads
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[(b"date", b"Mon, 30 Nov 2026 00:00:00 GMT")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: setattr(transport, "ended", True),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await response(scope, receive, send)

    await cycle.run_asgi(app)  # type: ignore[arg-type]  # the same types, named by Starlette
    return transport


def secured() -> Response:
    response = Response(b'{"id":"1"}', 202, media_type="application/json")
    response.raw_headers += HEADERS
    return response


RESPONSES = {
    "a receipt": (secured, 1),
    "a problem": (lambda: Response(b"{}", 409, media_type="application/problem+json"), 1),
    "a text": (lambda: Response("text"), 1),
    "a cookie": (lambda: JSONResponse({}, headers={"set-cookie": "a=b"}), 2),
    "its own close": (lambda: Response(b"x", headers={"connection": "close"}), 2),
    "no content": (lambda: Response(status_code=204), 2),
    "a stream": (lambda: StreamingResponse(iter([b"a", b"b"])), 4),
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_the_bytes_are_uvicorns(name: str, method: str, keep_alive: bool) -> None:
    make, pieces = RESPONSES[name]
    ours = await written(ResponseCycle, make(), method, keep_alive=keep_alive)
    uvicorns = await written(RequestResponseCycle, make(), method, keep_alive=keep_alive)
    assert b"".join(ours.pieces) == b"".join(uvicorns.pieces)
    assert ours.closed == uvicorns.closed
    assert ours.ended
    if method == "GET":
        assert len(ours.pieces) == pieces


async def test_a_header_cannot_hold_a_line_break() -> None:
    response = Response(b"x")
    response.raw_headers = [(b"content-length", b"1"), (b"content-type", b"text/plain\r\nset-cookie: a=b")]
    assert b"set-cookie" not in b"".join((await written(ResponseCycle, response)).pieces)


async def test_an_app_that_fails_before_the_body_is_answered_with_500() -> None:
    class Failing(Response):
        async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError("no body")

    assert (await written(ResponseCycle, Failing())).pieces[0].startswith(b"HTTP/1.1 500 ")
