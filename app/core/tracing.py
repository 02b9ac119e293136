"""Traces: one trace per message, with a span for its receipt, each attempt of its jobs and each call to a destination.

The id of a message is also the id of its trace. So no trace context is stored or passed on: every process that handles
the message, even days later, adds to the same trace.

Without OTLP_ENDPOINT, OpenTelemetry is not imported and these functions do nothing. With it,
`platform_relay.core.opentelemetry` does the work (extra `otel`).
"""

import importlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from platform_relay.core.opentelemetry import OpenTelemetry

SetResult = Callable[[str], None]
"""Sets the result of a span: the name of an outcome, or an HTTP status."""
J = TypeVar("J", bound="TracedJob")
O = TypeVar("O")  # noqa: E741  # an outcome


class TracedJob(Protocol):
    """The fields of a job (`queue.jobs.Job`) that its spans show."""

    @property
    def message_id(self) -> UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def attempt(self) -> int: ...


def _ignore(_: str) -> None: ...


_OFF: Final[AbstractContextManager[SetResult]] = nullcontext(_ignore)
_tracer: "OpenTelemetry | None" = None


def start(endpoint: str | None, process: str) -> None:
    """Send the traces of this process to `endpoint` (OTLP over HTTP). Raises ValueError when the extra is missing."""
    global _tracer  # noqa: PLW0603  # one per process, as with logging
    if endpoint is None:
        return
    try:
        module = importlib.import_module("platform_relay.core.opentelemetry")
    except ImportError as error:
        raise ValueError(
            f"OTLP_ENDPOINT is set, but {error.name} is not installed; run pip install 'platform-relay[otel]'"
        ) from error
    _tracer = module.OpenTelemetry(endpoint, process)


def stop() -> None:
    """Send the remaining spans, for at most 2 s."""
    global _tracer  # noqa: PLW0603  # as above
    if _tracer is not None:
        _tracer.stop()
        _tracer = None


def set_caller(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Remember the trace of the current request's caller; the span of the message links to it."""
    if _tracer is not None:
        _tracer.set_caller(headers)


def message_received(message_id: UUID, kind: str, source: str, status: str, milliseconds: float) -> None:
    """Write the span of a message's receipt, which ends now and took `milliseconds`."""
    if _tracer is not None:
        _tracer.message_received(message_id, kind, source, status, milliseconds)


def call(method: str, host: str, headers: MutableMapping[str, str]) -> AbstractContextManager[SetResult]:
    """The span of a call to a destination, within the current attempt. Adds the trace context to `headers`."""
    return _OFF if _tracer is None else _tracer.call(method, host, headers)


def traced(handler: Callable[[J], Awaitable[O]]) -> Callable[[J], Awaitable[O]]:
    """Wrap `handler` so that each attempt has a span; return `handler` itself when tracing is off."""
    tracer = _tracer
    if tracer is None:
        return handler

    async def attempt(job: J) -> O:
        with tracer.attempt(job) as set_result:
            outcome = await handler(job)
            set_result(type(outcome).__name__.lower())
            return outcome

    return attempt
