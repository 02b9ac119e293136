"""One received call and the answer to it: the two values every part of a simulator speaks in."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from .ledger import Entry, Ledger

Json = dict[str, Any]
"""A JSON object. `Any`, because a simulator receives whatever it is sent."""


class Response:
    """A status, a body and headers (lower-case names), ready to be sent."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers or []

    @property
    def json(self) -> object:
        """The parsed body, or `...` (Ellipsis) when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return ...


JSON_HEADER = (b"content-type", b"application/json; charset=utf-8")


def json_response(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    """`value` as compact JSON with `status`; `headers` are added to the content type."""
    extra = [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()]
    return Response(status, json.dumps(value, separators=(",", ":")).encode(), [JSON_HEADER, *extra])


class RefusalError(Exception):
    """A handler's way to refuse a call: carries the answer to give; nothing was applied."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Call:
    """One received call; `path` as sent, still percent-encoded.

    `kind` and `entity` name what it is about ("order.post", "order:1001") for the ledger.
    """

    __slots__ = (
        "_json", "_query", "argument", "body", "entity", "entry", "handler", "headers", "kind", "ledger", "method",
        "path", "query_string", "scheme",
    )  # fmt: skip

    def __init__(
        self, method: str, path: str, query_string: bytes, headers: list[tuple[bytes, bytes]], scheme: str, body: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.scheme = scheme
        self.body = body
        self.kind = "unknown"
        self.entity = ""
        self.argument = ""
        self.handler: Handler | None = None
        self.entry: Entry | None = None
        self.ledger: Ledger | None = None
        self._json: object = ...
        self._query: dict[str, str] | None = None

    def header(self, name: bytes) -> str:
        """The first header of that (lower-case) name, or an empty text."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    @property
    def query(self) -> dict[str, str]:
        """The query parameters, the last of each name; blanks kept."""
        if self._query is None:
            self._query = dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))
        return self._query

    @property
    def json(self) -> object:
        """The parsed body, or `...` (Ellipsis) when it is not JSON."""
        if self._json is ...:
            try:
                self._json = json.loads(self.body)
            except ValueError:
                return ...
        return self._json

    def replace_body(self, value: Json) -> None:
        """Treat the call as if this was its body; the ledger keeps what came."""
        self._json = value

    def ignore_body(self) -> None:
        """Treat the call as if it had no body; the ledger keeps what came."""
        self.body = b""
        self._json = ...

    @property
    def object(self) -> Json:
        """The body when it is a JSON object, else an empty one."""
        value = self.json
        return value if isinstance(value, dict) else {}

    def applied(self) -> None:
        """To be called by a handler at the instant its effect is in place."""
        if self.ledger is not None and self.entry is not None:
            self.ledger.applied(self.entry)

    def duplicate(self) -> None:
        """To be called by a handler that sees an effect asked for which already exists."""
        if self.ledger is not None and self.entry is not None:
            self.ledger.duplicate(self.entry)


Handler = Callable[[Call], Awaitable[Response]]
