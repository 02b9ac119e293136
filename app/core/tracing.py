"""Traces over a message's whole life: its door, each attempt of its jobs, each call of a destination.

A message's id is its trace's id. So nothing has to be kept or handed on: whoever has the message, in any process and days
later, adds to the same trace. Without OTLP_ENDPOINT nothing of OpenTelemetry is even imported, and what stands here
returns at once; with it, `platform_relay.core.opentelemetry` does the work (the extra `otel`).
"""

import importlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeVar
from uuid import UUID

Told = Callable[[str], None]
"""Says how something ended, in a word."""
J = TypeVar("J", bound="Tried")
O = TypeVar("O")  # noqa: E741  # an outcome


class Tried(Protocol):
    """What an attempt's span tells of its job (`engine.jobs.Job`)."""

    @property
    def message_id(self) -> UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def attempt(self) -> int: ...


class Tracer(Protocol):
    """What is told about ends in spans; none of it holds a body, an id of a person, a code or an address's path."""

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The trace that the caller of this request is in; the endpoint's span links to it."""

    def door(self, message_id: UUID, kind: str, source: str, status: str, milliseconds: float) -> None:
        """A message was received; `milliseconds` until just now."""

    def attempt(self, job: Tried) -> AbstractContextManager[Told]: ...

    def call(self, method: str, host: str, headers: MutableMapping[str, str]) -> AbstractContextManager[Told]:
        """A call of a destination, of the attempt that is under way; its context is written into `headers`."""

    def stop(self) -> None: ...


def _nothing(_: str) -> None: ...


_OFF: Final[AbstractContextManager[Told]] = nullcontext(_nothing)
_tracer: Tracer | None = None


def start(endpoint: str | None, process: str) -> None:
    """From now on this process tells `endpoint` (OTLP over HTTP). Raises ValueError when the extra is missing."""
    global _tracer  # noqa: PLW0603  # as logging: one for the process
    if endpoint is None:
        return
    try:
        module = importlib.import_module("platform_relay.core.opentelemetry")
    except ImportError as error:
        raise ValueError(
            f"OTLP_ENDPOINT is set, and {error.name} is not installed: pip install 'platform-relay[otel]'"
        ) from error
    _tracer = module.OpenTelemetry(endpoint, process)


def stop() -> None:
    """Tell what has gathered, for 2 s at the most."""
    global _tracer  # noqa: PLW0603  # as above
    if _tracer is not None:
        _tracer.stop()
        _tracer = None


def caller(headers: Iterable[tuple[bytes, bytes]]) -> None:
    if _tracer is not None:
        _tracer.caller(headers)


def door(message_id: UUID, kind: str, source: str, status: str, milliseconds: float) -> None:
    if _tracer is not None:
        _tracer.door(message_id, kind, source, status, milliseconds)


def call(method: str, host: str, headers: MutableMapping[str, str]) -> AbstractContextManager[Told]:
    return _OFF if _tracer is None else _tracer.call(method, host, headers)


def traced(handler: Callable[[J], Awaitable[O]]) -> Callable[[J], Awaitable[O]]:
    """The handler, each attempt of which is a span; the handler itself while nobody traces."""
    tracer = _tracer
    if tracer is None:
        return handler

    async def attempt(job: J) -> O:
        with tracer.attempt(job) as told:
            outcome = await handler(job)
            told(type(outcome).__name__.lower())
            return outcome

    return attempt
