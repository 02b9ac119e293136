"""How an answer, or the lack of one, leaves on the socket.

ASGI hides the connection; `TransportProtocol` puts uvicorn's own transport into the scope, so that a connection can be
reset (SO_LINGER 0 makes closing send RST instead of FIN) or fed bytes that are no HTTP.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from functools import lru_cache
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .call import Response
from .script import Rule

TRANSPORT = "simulator.transport"
Scope = Any
Send = Any
Receive = Any
"""ASGI's own types, left open as in the ASGI specification."""


class TransportProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, which also hands its transport to the program."""

    @override
    def on_message_begin(self) -> None:
        """Begin a request: the scope gets the transport under `extensions`."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


async def read_body(receive: Receive) -> bytes | None:
    """The whole request body, or None when the caller went away while sending it."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def send_answer(send: Send, answer: Response) -> None:
    """Send a whole answer."""
    await _start(send, answer, len(answer.body))
    await send({"type": "http.response.body", "body": answer.body})


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport = scope["extensions"][TRANSPORT]["transport"]
    return transport


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def reset(scope: Scope, receive: Receive) -> None:
    """Cut the connection with a TCP RST: the caller sees "connection reset by peer"."""
    transport = _transport(scope)
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _until_gone(receive)


def planned(rule: Rule, honest: Response) -> Response:
    """The whole answer that `rule` asks for, before anything is cut off it."""
    scripted = rule.body_bytes()
    headers = [(name.lower().encode(), text.encode()) for name, text in rule.headers.items()]
    status = rule.status or honest.status
    match rule.mode:
        case "garbage":
            page = scripted or b"<html><body><h1>It works!</h1></body></html>"
            return Response(rule.status or 200, page, headers or [(b"content-type", b"text/html")])
        case "noise" if honest.status != 204:  # a 204 has no body, whatever a plugin writes
            before = (
                scripted
                if scripted is not None
                else b"<br />\n<b>Warning</b>: Undefined array key 1 in plugin.php on line 7<br />\n"
            )
            return Response(status, before + honest.body + rule.after.encode(), headers or honest.headers)
        case "empty" | "noise":
            return Response(status, b"", headers or honest.headers)
        case "redirect":
            target = [] if any(name == b"location" for name, _ in headers) else [(b"location", b"/redirected")]
            return Response(rule.status or 307, b"", [*headers, *target])
        case "gzip_bomb":
            packed = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
            return Response(status, _bomb(rule.size), [*packed, *headers])
    return Response(status, honest.body if scripted is None else scripted, headers or honest.headers)


async def misbehave(rule: Rule, honest: Response, scope: Scope, receive: Receive, send: Send) -> int | None:
    """Answer the way `rule.mode` says; gives the status sent, None when there was none."""
    answer = planned(rule, honest)
    match rule.mode:
        case "reset_before" | "reset_after":
            await reset(scope, receive)
            return None
        case "not_http":
            transport = _transport(scope)
            transport.write(rule.body_bytes() or b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            transport.close()
            await _until_gone(receive)
            return None
        case "truncated" if answer.status == 204:  # it has no body, so its head is cut
            transport = _transport(scope)
            transport.write(b"HTTP/1.1 204 No Con")
            transport.close()
            await _until_gone(receive)
            return None
        case "truncated":
            await _start(send, answer, len(answer.body) + 64)
            half = answer.body[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            _transport(scope).close()
            await _until_gone(receive)
        case "slow_drip":
            await _drip(send, answer, _transport(scope), rule.delay or 0.2)
        case _:
            await send_answer(send, answer)
    return answer.status


async def _start(send: Send, answer: Response, length: int) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _drip(send: Send, answer: Response, transport: asyncio.Transport, pause: float) -> None:
    await _start(send, answer, len(answer.body))
    for index in range(len(answer.body)):
        if transport.is_closing():
            break
        await send({"type": "http.response.body", "body": answer.body[index : index + 1], "more_body": True})
        await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": b""})


@lru_cache(maxsize=2)
def _bomb(size: int) -> bytes:
    return gzip.compress(b" " * size, 6)
