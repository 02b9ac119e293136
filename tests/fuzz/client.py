"""The clients: connections that send cases and read what comes back, and the tally of one process.

A case is *unhandled* when a 5xx comes back that is not "503, try later", when nothing that is HTTP comes back where an
answer is due, or when a 2xx holds no receipt that can be read; it *hangs* when neither an answer nor the connection's
end has come `HANG_SECONDS` after it was sent.
"""

import asyncio
import codecs
import hashlib
import json
import math
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg

from tests.fuzz.cases import Case, Target, make, shown

HANG_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 1.0
"""How long an answer is waited for that may never come."""
TICK: Final = 0.05
"""Seconds; patience is counted in these."""
PIPELINE: Final = 6
"""Tame cases that are on their way on one connection at once."""
SHOWN: Final = 40
Receipt = tuple[UUID, bytes | None]


@dataclass
class Tally:
    """What one process saw. `receipts` are the ids acknowledged, each with the SHA-256 of the body where it is certain."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unhandled: int = 0
    hangs: int = 0
    lost: int = 0
    receipts: dict[UUID, bytes | None] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def found(self, kind: str, number: int, case: Case, why: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.findings) < SHOWN:
            self.findings.append(f"{kind}: request {number}: {why}\n    {shown(case)}")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


class NotHttpError(Exception):
    """What came back is no HTTP."""


async def play(target: Target, seed: int, numbers: range, connections: int) -> Tally:
    """Send the cases of `numbers` over so many connections at once."""
    tally, remaining = Tally(), iter(numbers)
    await asyncio.gather(*(_connection(target, seed, remaining, tally) for _ in range(connections)))
    return tally


async def _connection(target: Target, seed: int, remaining: Iterator[int], tally: Tally) -> None:
    waiting: list[tuple[int, Case]] = []
    while (number := next(remaining, None)) is not None:
        case = make(target, seed, number)
        tally.requests += 1
        if case.tame:
            waiting.append((number, case))
            if len(waiting) == PIPELINE:
                await _together(target, waiting, tally)
                waiting = []
        else:
            await _alone(target, number, case, tally)
    await _together(target, waiting, tally)


async def _together(target: Target, cases: list[tuple[int, Case]], tally: Tally) -> None:
    """Cases in one pipeline; when the server ends the connection early, as it may, the others go over a new one.

    A server that ends a connection with requests unread resets it, which may destroy answers that were sent but not yet
    read (RFC 9112, 9.6). So the first of a pipeline is asked again alone before it counts as unanswered.
    """
    while cases:
        opened = await _open(target, *cases[0], tally)
        if opened is None:
            return
        reader, writer = opened
        answered = 0
        try:
            sending = asyncio.create_task(_send(writer, [case for _, case in cases]))  # noqa: RUF006  # awaited below
            for number, case in cases:
                answer = await _next(reader, number, case, tally)
                if answer is None:
                    if answered == 0 and len(cases) > 1:  # a reset, because of one behind it, may have taken its answer
                        await _together(target, cases[:1], tally)
                        answered = 1
                    elif answered == 0:
                        _missing(number, case, tally)
                        answered = 1
                    break
                answered += 1
                _judge(number, case, [answer], tally)
                if answer.headers.get("connection", "").lower() == "close":
                    break
            sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sending
        finally:
            await _close(writer)
        cases = cases[answered:]


def _missing(number: int, case: Case, tally: Tally) -> None:
    if tally.findings and tally.findings[-1].startswith(f"hangs: request {number}:"):
        return
    tally.found("unhandled", number, case, "the connection ended without an answer")


async def _next(reader: asyncio.StreamReader, number: int, case: Case, tally: Tally) -> Response | None:
    """The next answer; None when the connection ended, or when nothing came in time, which is a hang."""
    try:
        async with _patience(HANG_SECONDS):
            return await _read(reader, case.method)
    except TimeoutError:
        tally.found("hangs", number, case, f"no answer within {HANG_SECONDS:g} s")
    except NotHttpError as error:
        tally.found("unhandled", number, case, f"the answer is no HTTP: {error}")
    except (OSError, asyncio.IncompleteReadError):
        pass
    return None


async def _alone(target: Target, number: int, case: Case, tally: Tally) -> None:
    """A case on a connection of its own. Nobody can say how many answers are due, so: all that come while something
    comes, then the end of our side, after which the server has to end its own."""
    opened = await _open(target, number, case, tally)
    if opened is None:
        return
    reader, writer = opened
    answers: list[Response] = []
    try:
        with suppress(OSError):
            await _send(writer, [case])
        if await _listen(reader, case, answers, QUIET_SECONDS):
            with suppress(OSError):
                writer.write_eof()
            if await _listen(reader, case, answers, HANG_SECONDS):
                tally.found("hangs", number, case, f"still open {HANG_SECONDS:g} s after our end of the connection")
    except NotHttpError as error:
        tally.found("unhandled", number, case, f"the answer is no HTTP: {error}")
    finally:
        await _close(writer)
    _judge(number, case, answers, tally)


async def _listen(reader: asyncio.StreamReader, case: Case, answers: list[Response], patience: float) -> bool:
    """Collect answers; whether the connection is still open when none came for `patience` seconds, or all that are due."""
    try:
        while patience == HANG_SECONDS or len(answers) < max(1, len(case.bodies)):
            async with _patience(patience):
                answer = await _read(reader, case.method)
            if answer is None:
                return False
            answers.append(answer)
    except TimeoutError:
        return True
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True


@asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, for the time in which this process runs: one that stands still itself must not say that the
    service does."""
    async with asyncio.timeout(None) as limit:
        ticking = asyncio.create_task(_tick(limit, seconds))
        try:
            yield
        finally:
            ticking.cancel()


async def _tick(limit: asyncio.Timeout, seconds: float) -> None:
    for _ in range(math.ceil(seconds / TICK)):
        await asyncio.sleep(TICK)  # time: what this measures
    limit.reschedule(asyncio.get_running_loop().time())


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _open(target: Target, number: int, case: Case, tally: Tally) -> Streams | None:
    """A connection; None when the service takes none, which is a hang."""
    try:
        async with _patience(HANG_SECONDS):
            reader, writer = await asyncio.open_connection(target.host, target.port, limit=1 << 22)
    except (TimeoutError, OSError) as error:
        tally.found("hangs", number, case, f"no connection could be opened before it: {error!r}")
        return None
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer


async def _send(writer: asyncio.StreamWriter, cases: list[Case]) -> None:
    for case in cases:
        for piece in case.pieces:
            writer.write(piece)
            await writer.drain()
            if len(case.pieces) > 1:
                await asyncio.sleep(0.002)  # time: so that they leave in packets of their own


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


# ----------------------------------------------------------------------------------------------- answers


async def _read(reader: asyncio.StreamReader, method: str) -> Response | None:
    """One whole answer, or None at the connection's end. Raises NotHttpError, OSError, IncompleteReadError."""
    while True:
        line = await reader.readline()
        if not line:
            return None
        parts = line.split(b" ", 2)
        if not line.startswith(b"HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():
            raise NotHttpError(repr(line[:80]))
        status, headers = int(parts[1]), {}
        while (line := await reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if status == 100:
            continue
        return Response(status, headers, await _read_body(reader, method, status, headers))


async def _read_body(reader: asyncio.StreamReader, method: str, status: int, headers: dict[str, str]) -> bytes:
    if method == "HEAD" or status in (204, 304) or status < 200:
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size + 2)
        await reader.readline()
        return body
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


def _judge(number: int, case: Case, answers: list[Response], tally: Tally) -> None:
    stored = iter(case.bodies)
    for answer in answers:
        tally.statuses[answer.status] += 1
        if answer.status >= 500 and not (answer.status == 503 and "retry-after" in answer.headers):
            words = answer.body[:300].decode("utf-8", "replace")
            tally.found("unhandled", number, case, f"answered {answer.status} {words}")
        elif case.what == "batch" and answer.status == 200:
            _batch(number, case, answer, tally)
        elif case.bodies:
            raw = next(stored, None)
            if 200 <= answer.status < 300:
                _receipt(number, case, answer, raw, tally)


def _receipt(number: int, case: Case, answer: Response, raw: bytes | None, tally: Tally) -> None:
    try:
        receipt = json.loads(answer.body)
        _owed(tally, UUID(receipt["id"]), raw, certain=case.strict or receipt["status"] == "accepted")
    except (ValueError, KeyError, TypeError):
        tally.found("unhandled", number, case, f"{answer.status} without a receipt: {answer.body[:100]!r}")


def _batch(number: int, case: Case, answer: Response, tally: Tally) -> None:
    receipts = [json.loads(line) for line in answer.body.splitlines()]
    if len(receipts) != len(case.bodies):
        tally.found("unhandled", number, case, f"{len(receipts)} receipts for {len(case.bodies)} lines")
        return
    for receipt, raw in zip(receipts, case.bodies, strict=True):
        if "id" in receipt:
            _owed(tally, UUID(receipt["id"]), raw, certain=True)


def _owed(tally: Tally, message_id: UUID, raw: bytes | None, *, certain: bool) -> None:
    """A byte order mark is part of the encoding, so the body is stored without it."""
    if certain and raw is not None:
        while raw.startswith(codecs.BOM_UTF8):
            raw = raw[len(codecs.BOM_UTF8) :]
        tally.receipts[message_id] = hashlib.sha256(raw).digest()
    else:
        tally.receipts.setdefault(message_id, None)


async def find_again(database_url: str, tally: Tally) -> None:
    """Look every receipt up in the database; what is not there, or with other bytes, is lost."""
    connection = await asyncpg.connect(database_url)
    try:
        ids = list(tally.receipts)
        for start in range(0, len(ids), 5000):
            part = ids[start : start + 5000]
            rows = await connection.fetch("SELECT id, sha256(body) AS hash FROM message WHERE id = ANY($1)", part)
            known = {row["id"]: bytes(row["hash"]) for row in rows}
            for message_id in part:
                due = tally.receipts[message_id]
                if message_id not in known or (due is not None and known[message_id] != due):
                    tally.lost += 1
                    what = "with another body" if message_id in known else "nowhere"
                    tally.findings.append(f"lost: {message_id} was acknowledged and is stored {what}")
    finally:
        await connection.close()
