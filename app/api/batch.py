"""Many events in one request: NDJSON in, NDJSON out, the good lines in shared commits."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, needs_key, refusals
from platform_relay.api.event_examples import BATCH, BATCH_ANSWER
from platform_relay.api.events import (
    EVENT_PARAMETERS,
    KEY_REFUSALS,
    conflict,
    idempotency_key,
    is_backfill,
    receipt_json,
)
from platform_relay.api.problems import of_body
from platform_relay.api.request_body import read_body, too_large
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldError,
    FieldsInvalid,
    Problem,
    QueryInvalid,
    TooManyLines,
)
from platform_relay.core.telemetry import log_message
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import EVENTS, Incoming, Kind, incoming

LINES: Final = 1000
BODIES: Final = 16
"""A batch may be as large as this many single bodies."""
MEDIA_TYPE: Final = "application/x-ndjson"
NDJSON: Final = {"schema": {"type": "string"}, "example": BATCH}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the batch: either a message for the inbox, or a problem."""

    number: int
    result: tuple[UUID, Incoming] | Problem


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/events", tags=["Events"])
    limit, metrics = services.settings.body_limit, services.metrics

    def answer_of(line: Line, receipts: Iterator[Receipt], caller: str, milliseconds: float) -> str:
        if isinstance(line.result, Problem):
            metrics.message("batch", "refused")
            return refusal_json(line.number, line.result)
        receipt, message = next(receipts), line.result[1]
        metrics.message(message.kind, receipt.status)
        log_message(
            receipt.id,
            source=message.source,
            kind=message.kind,
            status=receipt.status,
            size=len(message.body),
            jobs=len(message.jobs),
            milliseconds=milliseconds,
            caller=caller,
        )
        return receipt_line(line.number, receipt)

    @router.post(
        "/batch",
        operation_id="report_batch",
        summary="Report up to 1,000 events at once",
        response_class=Response,
        responses={
            200: answer("A receipt or a problem for each line.", BATCH_ANSWER, MEDIA_TYPE),
            **refusals(*KEY_REFUSALS, BodyTooSlow, BodyTooLarge, EncodingRefused, TooManyLines, QueryInvalid),
        },
        openapi_extra=needs_key("events")
        | {"parameters": EVENT_PARAMETERS["parameters"][1:]}
        | {"requestBody": {"required": True, "content": {MEDIA_TYPE: NDJSON}}},
    )
    async def report_batch(request: Request) -> Response:
        """One JSON object per line: `type` (`customers`, `orders` or `products`), `event` (the body that the single
        operation takes) and, if you like, `idempotencyKey`. Answered when every good line is committed, with one line
        for each: its `line` number, and its receipt or its `problem`. A bad line refuses no other. With 503 some lines
        may be stored: send the whole batch again."""
        started = time.perf_counter()
        caller = await keys.require(request, "events")
        raw = await read_body(request, BODIES * limit)
        lines = list(read_lines(raw, limit, backfill=is_backfill(request)))
        accepted = [line.result for line in lines if not isinstance(line.result, Problem)]
        receipts = iter(await services.inbox.accept_many(accepted) if accepted else ())
        milliseconds = (time.perf_counter() - started) * 1000
        answers = [answer_of(line, receipts, caller.name, milliseconds) for line in lines]
        return Response("".join(f"{text}\n" for text in answers), media_type=MEDIA_TYPE)

    return router


def read_lines(raw: bytes, limit: int, *, backfill: bool) -> Iterator[Line]:
    """The batch line by line, blank ones left out. `limit` bytes bound one line. Raises TooManyLines."""
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    if len(lines) > LINES:
        raise TooManyLines(f"The batch has {len(lines):,} lines; {LINES:,} are taken at once.")
    for number, line in lines:
        try:
            if len(line) > limit:
                raise too_large(limit)
            yield Line(number, _read_line(line, backfill))
        except Problem as problem:
            yield Line(number, problem)


def _read_line(line: bytes, backfill: bool) -> tuple[UUID, Incoming]:
    try:
        members = spans(line.decode())
    except (ValueError, RecursionError) as error:
        raise of_body(ValueError(str(error)), line) from None
    kind, key = _text(members, "type"), None
    if kind not in EVENTS:
        raise _wrong("type", "must be one of customers, orders, products")
    if "event" not in members:
        raise _wrong("event", "is missing")
    if members.get("idempotencyKey", "null") != "null":
        key = idempotency_key(_text(members, "idempotencyKey"))
    raw = members["event"].encode()
    try:
        event = EVENTS[Kind(kind)].parse(raw)
    except ValueError as error:
        raise of_body(error, raw) from None
    message_id = uuid7()
    return message_id, incoming(event, raw, message_id=str(message_id), idempotency_key=key, backfill=backfill)


def _text(members: dict[str, str], name: str) -> str:
    value = json.loads(members.get(name, "null"))
    if not isinstance(value, str):
        raise _wrong(name, "must be text" if name in members else "is missing")
    return value


def _wrong(field: str, message: str) -> FieldsInvalid:
    return FieldsInvalid(f"`{field}` {message}.", [FieldError(field, message)])


_BLANK: Final = re.compile(r"[ \t\r\n]*")
_decode: Final = json.JSONDecoder().raw_decode


def spans(text: str) -> dict[str, str]:
    """The members of the JSON object in `text`, each value exactly as it is written (an event is kept as received).

    Raises ValueError when it is not one JSON object.
    """
    members: dict[str, str] = {}
    at = _after(text, 0, "{")
    if text.startswith("}", at):
        at += 1
    else:
        while True:
            name, at = _decode(text, at)
            if not isinstance(name, str):
                raise ValueError("a name is not text")  # noqa: TRY004  # of a text, as every other
            begin = _after(text, _blank(text, at), ":")
            _, end = _decode(text, begin)
            members[name] = text[begin:end]
            at = _blank(text, end)
            if not text.startswith(",", at):
                break
            at = _after(text, at, ",")
        at = _after(text, at, "}")
    if _blank(text, at) != len(text):
        raise ValueError("something follows the object")
    return members


def _blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _after(text: str, at: int, sign: str) -> int:
    """The place of the next token after `sign`."""
    at = _blank(text, at)
    if not text.startswith(sign, at):
        raise ValueError(f"expected {sign!r} at character {at + 1}")
    return _blank(text, at + 1)


def receipt_line(number: int, receipt: Receipt) -> str:
    if receipt.status == "conflict":
        return refusal_json(number, conflict(receipt))
    return f'{{"line":{number},{receipt_json(receipt)[1:]}'


def refusal_json(number: int, problem: Problem) -> str:
    return json.dumps({"line": number, "status": "refused", "problem": problem.document()}, ensure_ascii=False)
