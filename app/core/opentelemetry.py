"""Sends the spans of `platform_relay.core.tracing` to an OpenTelemetry collector. Needs the extra `otel`.

The environment variables of the SDK work too (OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS …). To sample traces,
use OTEL_TRACES_SAMPLER=traceidratio: it decides by the trace's id, so every process decides the same.
"""

import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.core.tracing import SetResult, TracedJob

SUCCESSES: Final = ("done", "skip", "wait")
STOP_SECONDS: Final = 2.0
_SPAN_BITS: Final = (1 << 64) - 1
_root: ContextVar[UUID | None] = ContextVar("root", default=None)
_caller: ContextVar[SpanContext | None] = ContextVar("caller", default=None)
_w3c: Final = TraceContextTextMapPropagator()


class _Ids(RandomIdGenerator):
    """Makes the ids of a message's first span from its id: the trace gets the complete id, the span its random half."""

    def generate_trace_id(self) -> int:
        message_id = _root.get()
        return super().generate_trace_id() if message_id is None else message_id.int

    def generate_span_id(self) -> int:
        message_id = _root.get()
        return super().generate_span_id() if message_id is None else message_id.int & _SPAN_BITS


class OpenTelemetry:
    """The tracer of this process. Spans hold no body, no coupon code, no URL path and no id of a customer."""

    def __init__(self, endpoint: str, process: str) -> None:
        resource = Resource.create({"service.name": "platform-relay", "service.instance.role": process})
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("platform-relay")

    def set_caller(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name == b"traceparent"}
        context = trace.get_current_span(_w3c.extract(carrier, Context())).get_span_context()
        _caller.set(context if context.is_valid else None)

    def message_received(self, message_id: UUID, kind: str, source: str, status: str, milliseconds: float) -> None:
        now, caller = time.time_ns(), _caller.get()
        first = status == "accepted"  # a duplicate gets a span below the first one
        token = _root.set(message_id if first else None)
        try:
            span = self._tracer.start_span(
                f"receive {kind}",
                context=Context() if first else _parent(message_id),
                kind=SpanKind.SERVER,
                attributes={"relay.message": str(message_id), "relay.source": source, "relay.status": status},
                links=[Link(caller)] if caller else [],
                start_time=now - int(milliseconds * 1e6),
            )
        finally:
            _root.reset(token)
        span.end(now)

    @contextmanager
    def attempt(self, job: TracedJob) -> Iterator[SetResult]:
        attributes: dict[str, str | int] = {
            "relay.message": str(job.message_id),
            "relay.destination": job.destination,
            "relay.attempt": job.attempt,
        }
        with self._tracer.start_as_current_span(
            job.kind,
            context=_parent(job.message_id),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
        ) as span:
            yield lambda outcome: _end(span, outcome)

    @contextmanager
    def call(self, method: str, host: str, headers: MutableMapping[str, str]) -> Iterator[SetResult]:
        attributes = {"http.request.method": method, "server.address": host}
        with self._tracer.start_as_current_span(
            method, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False
        ) as span:
            _w3c.inject(headers)
            yield lambda status: _end(span, status)

    def stop(self) -> None:
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)


def _parent(message_id: UUID) -> Context:
    """The context in which the message's first span is the parent."""
    parent = SpanContext(message_id.int, message_id.int & _SPAN_BITS, True, TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _end(span: trace.Span, outcome: str) -> None:
    """`outcome` is the name of an outcome or an HTTP status."""
    succeeded = integer(outcome) < 400 if is_count(outcome) else outcome in SUCCESSES
    span.set_attribute("http.response.status_code" if is_count(outcome) else "relay.outcome", outcome)
    if not succeeded:
        span.set_status(Status(StatusCode.ERROR))
