"""Reads events: the body of one, or a line of a batch.

The compute process (`core.compute`) runs this too. It imports no web framework: that would take seconds of the process's start.
"""

import json
import re
from contextlib import suppress
from typing import Final
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from platform_relay.api.body_problems import body_problem, too_large, without_byte_order_mark
from platform_relay.core.errors import FieldError, FieldsInvalid, HeaderInvalid, Problem
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.messages import Incoming, incoming

VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]{1,255}")


def event_message(
    kind: EventKind, raw: bytes, message_id: str, key: str | None, *, backfill: bool
) -> Incoming | Problem:
    """The message of an event, or the problem of its body."""
    try:
        event = EVENTS[kind].parse(raw)
    except ValueError as error:
        return body_problem(error, raw)
    return incoming(event, raw, message_id=message_id, idempotency_key=key, backfill=backfill)


def read_line(line: bytes, limit: int, backfill: bool) -> tuple[UUID, Incoming] | Problem:
    """The message of a line of at most `limit` bytes, or the problem of the line."""
    if len(line) > limit:
        return too_large(limit)
    try:
        return _read_line(without_byte_order_mark(line), backfill)
    except Problem as problem:
        return problem


def idempotency_key(value: str | None) -> str | None:
    """The key as given. Raises HeaderInvalid unless it is 1 to 255 visible ASCII characters."""
    if value is not None and not VISIBLE_ASCII.fullmatch(value):
        message = "must be 1 to 255 visible ASCII characters, without spaces"
        raise HeaderInvalid(f"Idempotency-Key {message}.", [FieldError("Idempotency-Key", message)])
    return value


def _read_line(line: bytes, backfill: bool) -> tuple[UUID, Incoming]:
    try:
        members = members_of(line)
    except (ValueError, RecursionError) as error:
        raise body_problem(ValueError(str(error)), line) from None
    key, kind = None, _KINDS.get(members.get("type", b""))
    if kind is None and (kind := _KIND_NAMES.get(_text(members, "type"))) is None:  # with escapes, or wrong
        raise _wrong("type", "must be one of customers, orders, products")
    if "event" not in members:
        raise _wrong("event", "is missing")
    if members.get("idempotencyKey", b"null") != b"null":
        key = idempotency_key(_text(members, "idempotencyKey"))
    raw = members["event"]
    try:
        event = EVENTS[kind].parse(raw)
    except ValueError as error:
        raise body_problem(error, raw) from None
    message_id = uuid7()
    return message_id, incoming(event, raw, message_id=str(message_id), idempotency_key=key, backfill=backfill)


def members_of(line: bytes) -> dict[str, bytes]:
    """As `spans`, of the encoded line, and much faster for nearly every line."""
    text = line.decode()
    if len(line) < len(_LONG) or _LONG not in line.translate(_DIGITS):
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            return {name: bytes(value) for name, value in _ENVELOPE.decode(line).items()}
    return {name: value.encode() for name, value in spans(text).items()}


def _text(members: dict[str, bytes], name: str) -> str:
    value = json.loads(members.get(name, b"null"))
    if not isinstance(value, str):
        raise _wrong(name, "must be a string" if name in members else "is missing")
    return value


def _wrong(field: str, message: str) -> FieldsInvalid:
    return FieldsInvalid(f"`{field}` {message}.", [FieldError(field, message)])


_KINDS: Final = {f'"{kind}"'.encode(): kind for kind in EVENTS}
_KIND_NAMES: Final = {str(kind): kind for kind in EVENTS}
_ENVELOPE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DIGITS: Final = bytes.maketrans(b"012345678", b"999999999")
_LONG: Final = b"9" * 4301
"""Digits of an integer that Python's parser refuses (`sys.set_int_max_str_digits`)."""
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_decode: Final = json.JSONDecoder().raw_decode


def spans(text: str) -> dict[str, str]:
    """The members of the JSON object in `text`. Each value is the exact source text, because an event is stored as received.

    Raises ValueError if `text` is not exactly one JSON object.
    """
    members: dict[str, str] = {}
    at = _after(text, 0, "{")
    if text.startswith("}", at):
        at += 1
    else:
        while True:
            name, at = _decode(text, at)
            if not isinstance(name, str):
                raise ValueError("a name is not a string")  # noqa: TRY004  # a syntax error, like the others
            begin = _after(text, _blank(text, at), ":")
            _, end = _decode(text, begin)
            members[name] = text[begin:end]
            at = _blank(text, end)
            if not text.startswith(",", at):
                break
            at = _after(text, at, ",")
        at = _after(text, at, "}")
    if _blank(text, at) != len(text):
        raise ValueError("unexpected text after the object")
    return members


def _blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _after(text: str, at: int, sign: str) -> int:
    """The position of the next token after `sign`."""
    at = _blank(text, at)
    if not text.startswith(sign, at):
        raise ValueError(f"expected {sign!r} at character {at + 1}")
    return _blank(text, at + 1)
