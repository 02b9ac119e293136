"""Logs and metrics.

Logs are one JSON object per line on stderr (or text, by LOG_FORMAT): one wide record per message and one per attempt,
whose members are counted rather than searched for. Secrets of the settings are masked in every line, whoever wrote it.
Metrics live in a registry that is passed in; no label ever holds an id, an address or a person.
"""

import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, SecretStr
from pydantic_core import to_json
from structlog.typing import EventDict, Processor, WrappedLogger

from platform_relay.core import tracing
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.reasons import ReasonCode
from platform_relay.settings import Settings

MASK: Final = "[secret]"


# ----------------------------------------------------------------------------------------------- logs


def configure_logging(settings: Settings, more_secrets: Iterable[str] = ()) -> None:
    """Send all logs, ours and the libraries', to stderr. `more_secrets` are the store adapter's."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    describe: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_rows,
    ]
    render: list[Processor] = [
        structlog.processors.JSONRenderer(serializer=_json)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        _Mask([*secrets_of(settings), *more_secrets]),
    ]
    _wide.level, _wide.render = level, render
    # Ours go straight to the stream: through the standard library a record costs several times as much.
    structlog.configure(
        processors=[*describe, *render],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=describe, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(max(level, logging.WARNING))
    # The access log repeats addresses, and the Platform's address holds a secret.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


class _Lines:
    """Writes rendered lines, each in one piece, so that processes on one stream do not mix theirs.

    A line that cannot be written is lost: what it tells of has happened all the same, and must not fail for it.
    """

    def __init__(self, name: str = "relay") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a broken pipe, a closed stream
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


_encode: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _json(record: EventDict, **_: object) -> str:
    try:
        return to_json(record, fallback=str).decode()
    except ValueError:  # half of a surrogate pair, which the stream escapes
        return _encode(record)


def secrets_of(settings: BaseModel) -> Iterator[str]:
    """Every secret in `settings` and its groups."""
    for name in type(settings).model_fields:
        value: object = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        for group in value if isinstance(value, tuple) else (value,):
            if isinstance(group, BaseModel):
                yield from secrets_of(group)


def _without_rows(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Postgres quotes the failing row after DETAIL in its errors: people's data, which no log may hold."""
    if isinstance(text := line.get("exception"), str):
        line["exception"] = _DETAIL.sub("DETAIL: left out", text)
    return line


_DETAIL: Final = re.compile(r"DETAIL:.*")


class _Mask:
    def __init__(self, secrets: Iterable[str]) -> None:
        plain = {secret for secret in secrets if secret}
        written = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in plain}
        self._secrets = sorted(plain | written, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
        text = str(line)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


class _WideRecords:
    """Writes what structlog would make of a wide record, without a logger and a chain of processors for each: there are
    as many of these as events, and they took a fifth of accepting one.

    What one round of the event loop says goes out at its end, in pieces of whole lines: those who shared a commit are
    answered in the same round. Without a loop each line goes out at once.
    """

    PIECE: Final = 4096
    """Bytes that a pipe takes in one piece (POSIX's PIPE_BUF on Linux)."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.render: Sequence[Processor] = [structlog.processors.JSONRenderer(serializer=_json)]
        self._lines = _Lines()
        self._gathered: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def write(self, level: int, logger: str, event: str, members: Mapping[str, object]) -> None:
        if level < self.level:
            return
        name = logging.getLevelName(level).lower()
        record: EventDict = {
            **structlog.contextvars.get_contextvars(),
            **members,
            "event": event,
            "logger": logger,
            "level": name,
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        line: object = record
        for step in self.render:
            line = step(None, name, line)  # type: ignore[arg-type]  # the last steps of a chain pass on a text
        self._gathered.append(str(line))
        self._send_soon()

    def _send_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._send()
            return
        if len(self._gathered) == 1 or loop is not self._loop:  # what a loop that has ended left goes out with this one
            self._loop = loop
            loop.call_soon(self._send)

    def _send(self) -> None:
        lines, self._gathered = self._gathered, []
        piece: list[str] = []
        size = 0
        for line in lines:
            length = len(line.encode("utf-8", "replace")) + 1
            if piece and size + length > self.PIECE:
                self._lines.msg("\n".join(piece))
                piece, size = [], 0
            piece.append(line)
            size += length
        if piece:
            self._lines.msg("\n".join(piece))


_wide: Final = _WideRecords()


def log_message(
    message_id: UUID, *, source: str, kind: str, status: str, size: int, jobs: int, milliseconds: float, caller: str
) -> None:
    """One record per message: what came, from whom, and what the inbox said. `milliseconds` until the commit."""
    _wide.write(
        logging.INFO,
        "relay.message",
        "message",
        {
            "message_id": str(message_id),
            "source": source,
            "kind": kind,
            "status": status,
            "size": size,
            "jobs": jobs,
            "ms": round(milliseconds, 1),
            "caller": caller,
        },
    )
    tracing.door(message_id, kind, source, status, milliseconds)


def log_attempt(
    job_id: UUID,
    message_id: UUID,
    *,
    kind: str,
    destination: str,
    attempt: int,
    claim: int,
    outcome: str,
    state: str,
    milliseconds: float,
    status: int | None = None,
    reason_code: str | None = None,
    facts: Mapping[str, object] | None = None,
    delay: float | None = None,
) -> None:
    """One record per attempt: its outcome and reason, what the job became, and when it is tried again (`delay`, seconds)."""
    _wide.write(
        logging.WARNING if state == "dead" else logging.INFO,
        "relay.attempt",
        "attempt",
        {
            "job_id": str(job_id),
            "message_id": str(message_id),
            "kind": kind,
            "destination": destination,
            "attempt": attempt,
            "claim": claim,
            "outcome": outcome,
            "state": state,
            "ms": round(milliseconds, 1),
            "status": status,
            "reason_code": reason_code,
            "facts": facts,
            "delay": delay,
        },
    )


# ----------------------------------------------------------------------------------------------- metrics

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What this process counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._route_children: dict[tuple[str, str, int], Histogram] = {}
        self._messages = Counter(
            "relay_messages", "Messages by kind and what the inbox said.", ["kind", "status"], registry=registry
        )
        self._requests = Histogram(
            "relay_http_request_duration_seconds",
            "Requests by route, method and status.",
            ["route", "method", "status"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._settled = Counter(
            "relay_jobs_settled", "Jobs that ended, by kind and final state.", ["kind", "state"], registry=registry
        )
        self._attempts = Histogram(
            "relay_attempt_duration_seconds",
            "Attempts by job kind, destination and outcome.",
            ["kind", "destination", "outcome"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._reasons = Counter(
            "relay_attempt_reasons",
            "Attempts other than plain successes, by destination, outcome and reason code (docs/reason-codes.md).",
            ["destination", "outcome", "reason_code"],
            registry=registry,
        )

    def message(self, kind: str, status: str) -> None:
        """`status` is the receipt's (accepted, duplicate, conflict) or `refused`."""
        self._messages.labels(kind, status).inc()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route` is the pattern, never the address."""
        child = self._route_children.get((route, method, status))
        if child is None:
            known = method if method in _METHODS else "other"
            child = self._requests.labels(route, known, str(status))
            if known == method:  # others are without number
                self._route_children[route, method, status] = child
        child.observe(seconds)

    def attempt(
        self, kind: str, destination: str, outcome: str, seconds: float, reason_code: ReasonCode | None = None
    ) -> None:
        self._attempts.labels(kind, destination, outcome).observe(seconds)
        if reason_code is not None:
            self._reasons.labels(destination, outcome, reason_code).inc()

    def settled(self, kind: str, state: str) -> None:
        self._settled.labels(kind, state).inc()


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Backlog(NamedTuple):
    """One destination now: waiting jobs, seconds since the oldest lane became due, seconds since the oldest job that waits
    was made (held ones aside), dead jobs by reason code, the destination's state."""

    destination: str
    waiting: int
    oldest: float
    oldest_waiting: float
    dead: Mapping[str, int]
    state: str


class Look(NamedTuple):
    """The whole queue now; `alerts` that are open, by code."""

    destinations: Sequence[Backlog] = ()
    alerts: Mapping[str, int] = {}


class QueueGauges(Collector):
    """Gauges of the whole queue, the same from every process: read from the database when scraped, at most every
    `remembered` seconds."""

    def __init__(
        self,
        registry: CollectorRegistry,
        read: Callable[[], Awaitable[Look]],
        remembered: float = 5.0,
    ) -> None:
        self._registry = registry
        self._read = read
        self._remembered = remembered
        self._until = 0.0
        self._look = Look()
        self._up = False
        registry.register(self)

    async def exposition(self) -> bytes:
        """The registry in Prometheus' text format. An absent database shows as `relay_database_up 0`."""
        if time.monotonic() >= self._until:
            try:
                self._look, self._up = await self._read(), True
            except DatabaseAway:
                self._look, self._up = Look(), False
            self._until = time.monotonic() + self._remembered
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("relay_database_up", "Whether the last look at the database worked.", float(self._up))
        waiting = GaugeMetricFamily("relay_jobs_waiting", "Jobs that are owed, by destination.", labels=["destination"])
        oldest = GaugeMetricFamily(
            "relay_oldest_due_seconds", "How long the oldest due lane has waited for a worker.", labels=["destination"]
        )
        waits = GaugeMetricFamily(
            "relay_oldest_waiting_seconds",
            "Age of the oldest job that waits, for whatever it waits but a person.",
            labels=["destination"],
        )
        dead = GaugeMetricFamily(
            "relay_jobs_dead",
            "Dead-lettered jobs, by destination and reason code.",
            labels=["destination", "reason_code"],
        )
        opened = GaugeMetricFamily(
            "relay_destination_open", "1 while calls are made there.", labels=["destination", "state"]
        )
        for destination in self._look.destinations:
            waiting.add_metric([destination.destination], destination.waiting)
            oldest.add_metric([destination.destination], destination.oldest)
            waits.add_metric([destination.destination], destination.oldest_waiting)
            for code, count in sorted(destination.dead.items()) or [("", 0)]:
                dead.add_metric([destination.destination, code], count)
            opened.add_metric([destination.destination, destination.state], float(destination.state == "open"))
        alerts = GaugeMetricFamily("relay_alerts_open", "Alerts that are open, by code.", labels=["code"])
        for code, count in sorted(self._look.alerts.items()):
            alerts.add_metric([code], count)
        yield from (waiting, oldest, waits, dead, opened, alerts)
