"""The endpoint for many events in one request: NDJSON in, NDJSON out. Valid lines share commits."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    impossible_version,
    is_backfill,
    receipt_json,
)
from platform_relay.api.examples import BATCH, BATCH_ANSWER
from platform_relay.api.raw_route import RawRoute
from platform_relay.api.request_body import read_json_body
from platform_relay.api.root_path import root_path_of
from platform_relay.core.compute import LARGE, pausing
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    Problem,
    QueryInvalid,
    TooManyLines,
)
from platform_relay.core.logs import MessageLog
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import Incoming
from platform_relay.inbox.versions import is_too_far_ahead

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

    def answer_lines(
        lines: Sequence[Line], receipts: Iterator[Receipt], log: MessageLog, root_path: str
    ) -> Iterator[str]:
        """The response's lines. Logs and counts the messages."""
        counts = Counter[tuple[str, str]]()
        for line in lines:
            if isinstance(line.result, Problem):
                counts["batch", "refused"] += 1
                yield problem_line(line.number, line.result)
                continue
            receipt, message = next(receipts), line.result[1]
            counts[message.kind, receipt.status] += 1
            log.add(
                receipt.id,
                source=message.source,
                kind=message.kind,
                status=receipt.status,
                size=len(message.body),
                jobs=len(message.jobs),
            )
            yield receipt_line(line.number, receipt, root_path)
        log.write()
        for (kind, status), times in counts.items():
            metrics.message(kind, status, times)

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
            Line(
                number,
                read_line(line, limit, backfill)
                if len(line) <= LARGE
                else await services.compute.run(partial(read_line, line, limit, backfill)),
            )
            async for number, line in pausing(split_lines(raw))
        ]
        if any(not isinstance(line.result, Problem) and line.result[1].version is not None for line in lines):
            now = await services.inbox.clock.now()
            lines = [_with_possible_version(line, now) for line in lines]
        accepted = [line.result for line in lines if not isinstance(line.result, Problem)]
        receipts = iter(await services.inbox.accept_many(accepted) if accepted else ())
        log = MessageLog(milliseconds=(time.perf_counter() - started) * 1000, caller=caller.name)
        answers = answer_lines(lines, receipts, log, root_path_of(request))
        return Response("".join(f"{text}\n" for text in answers), media_type=MEDIA_TYPE)

    router.add_api_route(
        "/batch",
        report_batch,
        methods=["POST"],
        route_class_override=RawRoute,
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


def _with_possible_version(line: Line, now: datetime) -> Line:
    """The line; with a problem for an event whose version lies too far ahead of `now`."""
    version = None if isinstance(line.result, Problem) else line.result[1].version
    if version is None or not is_too_far_ahead(version, now):
        return line
    return Line(line.number, impossible_version(version, now))


def receipt_line(number: int, receipt: Receipt, root_path: str) -> str:
    if receipt.status == "conflict":
        return problem_line(number, conflict(receipt))
    return f'{{"line":{number},{receipt_json(receipt, root_path)[1:]}'


def problem_line(number: int, problem: Problem) -> str:
    return json.dumps({"line": number, "status": "refused", "problem": problem.document()}, ensure_ascii=False)
