"""Logs: one line per record on stderr, as JSON or text. Secrets are masked in every line, those of libraries included.

Every message and every attempt has one wide record, so that logs can be counted and filtered by their fields.
"""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from pydantic import BaseModel, SecretStr
from pydantic_core import to_json
from structlog.typing import EventDict, Processor, WrappedLogger

from platform_relay.core import tracing
from platform_relay.core.visible_text import visible, visible_json, visible_lines

MASK: Final = "[secret]"


def configure_logging(*, level: str, log_format: str, secrets: Iterable[str]) -> None:
    """Write the logs of the application and of its libraries to stderr.

    `level` is a name of the standard library ("INFO"), `log_format` is "json" or "text"; `secrets` are masked.
    """
    threshold = logging.getLevelNamesMapping()[level]
    describe: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _remove_rows,
    ]
    render: list[Processor] = (
        [structlog.processors.JSONRenderer(serializer=_json), _Mask(secrets)]
        if log_format == "json"
        else [_make_visible, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()), _Mask(secrets)]
    )
    _wide.configure(threshold, render)
    # Without the standard library: a record costs several times as much there.
    structlog.configure(
        processors=[*describe, *render],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
    )
    handler = _LibraryHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=describe, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.INFO))  # at DEBUG, libraries write requests: codes, signatures, personal data
    logging.getLogger("alembic").setLevel(max(threshold, logging.WARNING))
    # The access log holds URLs, and the Platform's webhook URL contains a secret.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


class _Lines:
    """Writes each line in one piece, so that processes on one stream do not mix their lines.

    A line that cannot be written is lost; the work that it describes must not fail because of it.
    """

    def __init__(self, name: str = "relay") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a broken pipe, a closed stream
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


class _LibraryHandler(logging.Handler):
    """Writes the records of libraries as `_Lines` does. It holds no stream: one that is replaced and closed, as programs do
    that capture stderr, would make every later record an error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # as the handlers of the standard library: a record that cannot be formatted is reported
            self.handleError(record)
        else:
            _Lines().msg(line)


_encode: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _json(record: EventDict, **_: object) -> str:
    try:
        return visible_json(to_json(record, fallback=str).decode())
    except ValueError:  # half of a surrogate pair
        return visible_json(_encode(record))


def _make_visible(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Replace control characters in the values of a line, also inside lists and objects. Its exception keeps its lines."""
    return {
        name: visible_lines(value) if name == "exception" and isinstance(value, str) else _visible(value)
        for name, value in line.items()
    }


def _visible(value: object) -> object:
    match value:
        case str():
            return visible(value)
        case Mapping():
            return {visible(str(name)): _visible(member) for name, member in value.items()}
        case list() | tuple():
            return [_visible(member) for member in value]
        case None | bool() | int() | float():
            return value
        case _:
            return visible(str(value))


def _remove_rows(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Remove the failing row, which PostgreSQL quotes after DETAIL in its errors: it holds personal data."""
    if isinstance(text := line.get("exception"), str):
        line["exception"] = _DETAIL.sub("DETAIL: removed", text)
    return line


_DETAIL: Final = re.compile(r"DETAIL:.*")


def secrets_of(settings: BaseModel) -> Iterator[str]:
    """Every secret in `settings` and its groups."""
    for name in type(settings).model_fields:
        value: object = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        for group in value if isinstance(value, tuple) else (value,):
            if isinstance(group, BaseModel):
                yield from secrets_of(group)


class _Mask:
    """Replaces secrets in a rendered line, as they are and as JSON writes them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        plain = {secret for secret in secrets if secret}
        as_json = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in plain}
        self._secrets = sorted(plain | as_json, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
        text = str(line)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


_LEVEL_NAMES: Final = {logging.INFO: "info", logging.WARNING: "warning"}
"""Those of wide records."""


class _WideRecords:
    """Writes wide records as structlog would write them, without a logger and its chain of processors for each record.
    That chain took a fifth of the time to accept an event.

    The records of one iteration of the event loop are written together at its end, in pieces of complete lines: messages
    that shared a commit are answered in the same iteration. Without a running loop each line is written immediately.
    """

    PIECE: Final = 4096
    """Bytes that a pipe accepts in one piece (PIPE_BUF of POSIX, on Linux)."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.render: Sequence[Processor] = [structlog.processors.JSONRenderer(serializer=_json)]
        self._lines = _Lines()
        self._templates: dict[tuple[object, ...], str] = {}
        """The lines of this iteration of the event loop, with _PLACES instead of what is their own (`write_similar`)."""
        self._pending: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def configure(self, level: int, render: Sequence[Processor]) -> None:
        self.level, self.render = level, render
        self._templates.clear()

    def write(self, level: int, logger: str, event: str, members: Mapping[str, object]) -> None:
        if level >= self.level:
            self.add([self.line(level, logger, event, members)])

    def write_similar(
        self, level: int, logger: str, event: str, own: Mapping[str, object], common: Mapping[str, object]
    ) -> None:
        """As `write`. Most records of one iteration differ only in their `own` members, whose names are in _PLACES: what they have
        in `common` is rendered once."""
        if level < self.level:
            return
        key = (event, *common.values())
        line = self._templates.get(key)
        if line is None:
            line = self.line(level, logger, event, {**{name: _PLACES[name] for name in own}, **common})
            self._templates[key] = line
        for name, value in own.items():
            line = line.replace(_PLACE_TEXTS[name], str(value))
        self.add([line])

    def line(self, level: int, logger: str, event: str, members: Mapping[str, object]) -> str:
        name = _LEVEL_NAMES[level]
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
            line = step(None, name, line)  # type: ignore[arg-type]  # the last step gets a text
        return str(line)

    def add(self, lines: Sequence[str]) -> None:
        """Write the lines at the end of this iteration of the event loop."""
        scheduled = bool(self._pending)
        self._pending += lines
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._flush()
            return
        if not scheduled or loop is not self._loop:  # lines of a loop that has ended are written by this one
            self._loop = loop
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        lines, self._pending = self._pending, []
        self._templates.clear()
        piece: list[str] = []
        size = 0
        for line in lines:
            length = (len(line) if line.isascii() else len(line.encode("utf-8", "replace"))) + 1
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
    """Write the record of one message, and its span. `milliseconds` is the time until the commit."""
    own = {"message_id": str(message_id), "size": size, "ms": round(milliseconds, 1)}
    common = {"source": source, "kind": kind, "status": status, "jobs": jobs, "caller": caller}
    _wide.write_similar(logging.INFO, "relay.message", "message", own, common)
    tracing.message_received(message_id, kind, source, status, milliseconds)


class MessageLog:
    """Writes the records of messages that were received together. Those that differ only in id and size are rendered once."""

    def __init__(self, *, milliseconds: float, caller: str) -> None:
        self._milliseconds, self._caller = milliseconds, caller
        self._templates: dict[tuple[str, str, str, int], tuple[str, str, str]] = {}
        self._lines: list[str] = []

    def add(self, message_id: UUID, *, source: str, kind: str, status: str, size: int, jobs: int) -> None:
        """As `log_message`; `write` writes the record."""
        if _wide.level <= logging.INFO:
            key = source, kind, status, jobs
            parts = self._templates.get(key)
            if parts is None:
                parts = self._templates[key] = self._template(*key)
            self._lines.append(f"{parts[0]}{message_id}{parts[1]}{size}{parts[2]}")
        tracing.message_received(message_id, kind, source, status, self._milliseconds)

    def write(self) -> None:
        if self._lines:
            _wide.add(self._lines)

    def _template(self, source: str, kind: str, status: str, jobs: int) -> tuple[str, str, str]:
        members = {
            "message_id": _PLACES["message_id"],
            "size": _PLACES["size"],
            "ms": round(self._milliseconds, 1),
            "source": source,
            "kind": kind,
            "status": status,
            "jobs": jobs,
            "caller": self._caller,
        }
        line = _wide.line(logging.INFO, "relay.message", "message", members)
        before, _, rest = line.partition(_PLACE_TEXTS["message_id"])
        between, _, after = rest.partition(_PLACE_TEXTS["size"])
        return before, between, after


_PLACES: Final[Mapping[str, str | int | float]] = {
    "job_id": "7c1f8a52-93e4-4d06-b7ab-e20d5f3c9a68",
    "message_id": "2b96d1c4-08fa-4e57-9d3c-51e7a0b4f6d2",
    "fencing_token": 9_071_352_846_193_507_284,
    "size": 8_350_714_962_205_183_947,
    "ms": 4_826_193_705_112.5,
}
"""Values that no record has, of members that differ from record to record."""
_PLACE_TEXTS: Final = {name: str(value) for name, value in _PLACES.items()}


def log_attempt(
    job_id: UUID,
    message_id: UUID,
    *,
    kind: str,
    destination: str,
    attempt: int,
    fencing_token: int,
    outcome: str,
    state: str,
    milliseconds: float,
    status: int | None = None,
    reason_code: str | None = None,
    facts: Mapping[str, object] | None = None,
    delay: float | None = None,
) -> None:
    """Write the record of one attempt. `state` is the job's new state, `delay` the seconds until the next attempt."""
    level = logging.WARNING if state == "dead" else logging.INFO
    own = {
        "job_id": str(job_id),
        "message_id": str(message_id),
        "fencing_token": fencing_token,
        "ms": round(milliseconds, 1),
    }
    common = {
        "kind": kind,
        "destination": destination,
        "attempt": attempt,
        "outcome": outcome,
        "state": state,
        "status": status,
        "reason_code": reason_code,
        "facts": facts,
        "delay": delay,
    }
    if facts is None and delay is None:
        _wide.write_similar(level, "relay.attempt", "attempt", own, common)
    else:  # each its own, and rare
        _wide.write(level, "relay.attempt", "attempt", {**own, **common})
