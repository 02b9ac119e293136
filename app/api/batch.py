"""The endpoint for many events in one request: NDJSON in, NDJSON out. Valid lines share commits."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.authentication import Authenticator
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import KEY_PROBLEMS, needs_key, problem_responses, success
from platform_relay.api.event_bodies import read_line
from platform_relay.api.events import (
    EVENT_PARAMETERS,
    conflict,
    is_backfill,
    receipt_json,
    require_possible_version,
)
from platform_relay.api.examples import BATCH, BATCH_ANSWER
from platform_relay.api.request_body import read_json_body
from platform_relay.api.root_path import root_path_of
from platform_relay.core.compute import pausing
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldsInvalid,
    Problem,
    QueryInvalid,
    TooManyLines,
)
from platform_relay.core.logs import log_message
from platform_relay.inbox.inbox import Inbox, Receipt
from platform_relay.inbox.messages import Incoming

MAX_LINES: Final = 1000
MAX_BODIES: Final = 16
"""The size limit of a batch, in multiples of BODY_LIMIT."""
MAX_BREAKS: Final = 10 * MAX_LINES
"""The maximum of line breaks, with those of blank lines."""
MEDIA_TYPE: Final = "application/x-ndjson"
_NDJSON: Final = {"schema": {"type": "string"}, "example": BATCH}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the batch: a message for the inbox, or a problem."""

    number: int
    result: tuple[UUID, Incoming] | Problem


def routes(services: Services, authenticator: Authenticator) -> APIRouter:
    router = APIRouter(prefix="/v1/events", tags=["Events"])
    limit, metrics = services.settings.body_limit, services.metrics

    def answer_line(line: Line, receipts: Iterator[Receipt], caller: str, milliseconds: float, root_path: str) -> str:
        if isinstance(line.result, Problem):
            metrics.message("batch", "refused")
            return problem_line(line.number, line.result)
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
        return receipt_line(line.number, receipt, root_path)

    @router.post(
        "/batch",
        operation_id="report_batch",
        summary="Report up to 1,000 events at once",
        response_class=Response,
        responses={
            200: success("A receipt or a problem for each line.", BATCH_ANSWER, MEDIA_TYPE),
            **problem_responses(*KEY_PROBLEMS, BodyTooSlow, BodyTooLarge, EncodingRefused, TooManyLines, QueryInvalid),
        },
        openapi_extra=needs_key("events")
        | {"parameters": EVENT_PARAMETERS["parameters"][1:]}
        | {"requestBody": {"required": True, "content": {MEDIA_TYPE: _NDJSON}}},
    )
    async def report_batch(request: Request) -> Response:
        """Each line is a JSON object with `type` (`customers`, `orders` or `products`), `event` (the body of the single
        operation) and optionally `idempotencyKey`. The relay answers when every valid line is committed. The response has
        one line for each event: its `line` number, and its receipt or its `problem`. An invalid line does not affect the
        others. After a 503, some lines may be stored: send the whole batch again."""
        started = time.perf_counter()
        caller = await authenticator.require(request, "events")
        raw = await read_json_body(request, MAX_BODIES * limit)
        backfill = is_backfill(request)
        lines = [
            Line(number, await services.compute.run_if_large(len(line), partial(read_line, line, limit, backfill)))
            async for number, line in pausing(split_lines(raw))
        ]
        lines = [await _with_possible_version(services.inbox, line) for line in lines]
        accepted = [line.result for line in lines if not isinstance(line.result, Problem)]
        receipts = iter(await services.inbox.accept_many(accepted) if accepted else ())
        milliseconds = (time.perf_counter() - started) * 1000
        root_path = root_path_of(request)
        answers = [answer_line(line, receipts, caller.name, milliseconds, root_path) for line in lines]
        return Response("".join(f"{text}\n" for text in answers), media_type=MEDIA_TYPE)

    return router


def split_lines(raw: bytes) -> list[tuple[int, bytes]]:
    """The lines of the batch with their numbers, without blank ones. Raises TooManyLines."""
    if (breaks := raw.count(b"\n")) > MAX_BREAKS:  # splitting millions of blank lines would hold the event loop
        raise TooManyLines(
            f"The batch has {breaks:,} line breaks; at most {MAX_LINES:,} lines, and {MAX_BREAKS:,} with blank ones, are allowed."
        )
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    if len(lines) > MAX_LINES:
        raise TooManyLines(f"The batch has {len(lines):,} lines; at most {MAX_LINES:,} are allowed.")
    return lines


async def _with_possible_version(inbox: Inbox, line: Line) -> Line:
    """The line; with a problem for an event whose version lies in the future. Raises DatabaseAway."""
    if isinstance(line.result, Problem):
        return line
    try:
        await require_possible_version(inbox, line.result[1].version)
    except FieldsInvalid as problem:
        return Line(line.number, problem)
    return line


def receipt_line(number: int, receipt: Receipt, root_path: str) -> str:
    if receipt.status == "conflict":
        return problem_line(number, conflict(receipt))
    return f'{{"line":{number},{receipt_json(receipt, root_path)[1:]}'


def problem_line(number: int, problem: Problem) -> str:
    return json.dumps({"line": number, "status": "refused", "problem": problem.document()}, ensure_ascii=False)
