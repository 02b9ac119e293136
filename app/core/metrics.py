"""Prometheus metrics. No label holds an id, an address or personal data."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from platform_relay.core.errors import DatabaseAway
from platform_relay.core.reasons import ReasonCode
from platform_relay.core.work import Failure, WorkRecord

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters and histograms of this process, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._request_series: dict[tuple[str, str, int], Histogram] = {}
        self._attempt_series: dict[tuple[str, str, str], Histogram] = {}
        self._settled_series: dict[tuple[str, str], Counter] = {}
        self._messages = Counter(
            "relay_messages", "Messages received, by kind and status.", ["kind", "status"], registry=registry
        )
        self._future_versions = Counter(
            "relay_future_versions",
            "Messages whose version was not taken, because its time lies in the future, by kind.",
            ["kind"],
            registry=registry,
        )
        self._message_reasons = Counter(
            "relay_message_reasons",
            "Accepted messages of the store that have a reason code (docs/reason-codes.md): ignored, unreadable, or with fields"
            " left out. By kind and code.",
            ["kind", "reason_code"],
            registry=registry,
        )
        self._requests = Histogram(
            "relay_http_request_duration_seconds",
            "Duration of HTTP requests, by route, method and status.",
            ["route", "method", "status"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._refused = Counter(
            "relay_bodies_refused",
            "Requests whose body or signature was refused, by route and reason (docs/errors.md).",
            ["route", "reason"],
            registry=registry,
        )
        self._refused_requests_dropped = Counter(
            "relay_refused_requests_dropped",
            "Refused requests that are not kept for the console, because too many were refused at once.",
            registry=registry,
        )
        self._settled = Counter(
            "relay_jobs_settled",
            "Jobs that reached a final state, by kind and state.",
            ["kind", "state"],
            registry=registry,
        )
        self._attempts = Histogram(
            "relay_attempt_duration_seconds",
            "Duration of attempts, by job kind, destination and outcome.",
            ["kind", "destination", "outcome"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._reasons = Counter(
            "relay_attempt_reasons",
            "Attempts that have a reason code (docs/reason-codes.md), by destination, outcome and code.",
            ["destination", "outcome", "reason_code"],
            registry=registry,
        )

        self._background_reads = Counter(
            "relay_background_reads",
            "Reads from the store that are no jobs, by read and result.",
            ["read", "result"],
            registry=registry,
        )
        self._connection_limits = Counter(
            "relay_connection_limits",
            "Connections that reached a limit, by limit (docs/operations.md).",
            ["limit"],
            registry=registry,
        )
        self._discarded = Counter(
            "relay_database_connections_discarded",
            "Database connections that were closed because they returned to the pool in an open transaction.",
            registry=registry,
        )

        self._work_failures = Counter(
            "relay_work_failures",
            "Failed commits of accept, claim and settle, by operation, destination, failed statement and SQLSTATE.",
            ["operation", "destination", "statement", "sqlstate"],
            registry=registry,
        )

    def work_failed(self, record: WorkRecord, failure: Failure) -> None:
        """Count a failed attempt to accept, claim or settle, or a failed probe of it."""
        labels = (record.operation, record.destination, failure.statement, failure.sqlstate or "")
        self._work_failures.labels(*labels).inc()

    def connection_discarded(self) -> None:
        self._discarded.inc()

    def background_read(self, read: str, result: str) -> None:
        """`result` is `succeeded` or `failed`."""
        self._background_reads.labels(read, result).inc()

    def connection_limit(self, limit: str) -> None:
        """Count a connection that reached the `limit`."""
        self._connection_limits.labels(limit).inc()

    def message(self, kind: str, status: str, times: int = 1) -> None:
        """`status` is the receipt's (accepted, duplicate, conflict) or `refused`."""
        self._messages.labels(kind, status).inc(times)

    def refused(self, route: str, reason: str) -> None:
        """`route` is the pattern of the path, `reason` the id of the problem."""
        self._refused.labels(route, reason).inc()

    def refused_request_dropped(self, requests: int) -> None:
        """Count refused requests that are not kept."""
        self._refused_requests_dropped.inc(requests)

    def future_version(self, kind: str) -> None:
        """Count a message that was taken without its version."""
        self._future_versions.labels(kind).inc()

    def message_reason(self, kind: str, reason_code: ReasonCode) -> None:
        """Count an accepted message that has a reason."""
        self._message_reasons.labels(kind, reason_code).inc()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route` is the pattern of the path, not the path."""
        series = self._request_series.get((route, method, status))
        if series is None:
            known = method if method in _METHODS else "other"
            series = self._requests.labels(route, known, str(status))
            if known == method:  # unknown methods are not cached: there is no limit to their number
                self._request_series[route, method, status] = series
        series.observe(seconds)

    def attempt(
        self, kind: str, destination: str, outcome: str, seconds: float, reason_code: ReasonCode | None = None
    ) -> None:
        series = self._attempt_series.get((kind, destination, outcome))
        if series is None:
            series = self._attempts.labels(kind, destination, outcome)
            self._attempt_series[kind, destination, outcome] = series
        series.observe(seconds)
        if reason_code is not None:
            self._reasons.labels(destination, outcome, reason_code).inc()

    def settled(self, kind: str, state: str) -> None:
        """Count a job that reached the final `state`."""
        series = self._settled_series.get((kind, state))
        if series is None:
            series = self._settled_series[kind, state] = self._settled.labels(kind, state)
        series.inc()


class Backlog(NamedTuple):
    """The backlog of one destination; ages in seconds."""

    destination: str
    waiting: int
    oldest: float
    """Seconds since the oldest due lane became due; 0 when none is due."""
    oldest_waiting: float
    """Age of the oldest waiting job; held jobs are not counted."""
    dead: Mapping[str, int]
    """Dead-lettered jobs by reason code."""
    state: str


class QueueSnapshot(NamedTuple):
    """The backlogs of all destinations, the number of open alerts by code, and for how many seconds which reads from the
    store have failed. `trial`: nothing is changed."""

    destinations: Sequence[Backlog] = ()
    alerts: Mapping[str, int] = {}
    failing_reads: Mapping[str, float] = {}
    trial: bool = False


class QueueGauges(Collector):
    """Gauges of the complete queue, the same from every process.

    `read` reads them from the database when they are scraped, at most once per `cache_seconds`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        read: Callable[[], Awaitable[QueueSnapshot]],
        cache_seconds: float = 5.0,
    ) -> None:
        self._registry = registry
        self._read = read
        self._cache_seconds = cache_seconds
        self._valid_until = 0.0
        self._snapshot = QueueSnapshot()
        self._database_up = False
        registry.register(self)

    async def exposition(self) -> bytes:
        """The registry in Prometheus' text format. When the database is unavailable, `relay_database_up` is 0."""
        if time.monotonic() >= self._valid_until:
            try:
                self._snapshot, self._database_up = await self._read(), True
            except DatabaseAway:
                self._snapshot, self._database_up = QueueSnapshot(), False
            self._valid_until = time.monotonic() + self._cache_seconds
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        up = float(self._database_up)
        yield GaugeMetricFamily("relay_database_up", "1 if the last read of the database succeeded.", up)
        trial = float(self._snapshot.trial)
        yield GaugeMetricFamily("relay_trial", "1 while the relay is in its trial, and changes nothing.", trial)
        waiting = GaugeMetricFamily("relay_jobs_waiting", "Waiting jobs, by destination.", labels=["destination"])
        oldest = GaugeMetricFamily(
            "relay_oldest_due_seconds", "Seconds since the oldest due lane became due.", labels=["destination"]
        )
        oldest_waiting = GaugeMetricFamily(
            "relay_oldest_waiting_seconds",
            "Age of the oldest waiting job in seconds, without jobs that are held for a decision.",
            labels=["destination"],
        )
        dead = GaugeMetricFamily(
            "relay_jobs_dead",
            "Dead-lettered jobs, by destination and reason code.",
            labels=["destination", "reason_code"],
        )
        opened = GaugeMetricFamily(
            "relay_destination_open", "1 if the destination is being called.", labels=["destination", "state"]
        )
        for backlog in self._snapshot.destinations:
            name = [backlog.destination]
            waiting.add_metric(name, backlog.waiting)
            oldest.add_metric(name, backlog.oldest)
            oldest_waiting.add_metric(name, backlog.oldest_waiting)
            for code, count in sorted(backlog.dead.items()) or [("", 0)]:
                dead.add_metric([*name, code], count)
            opened.add_metric([*name, backlog.state], float(backlog.state == "open"))
        alerts = GaugeMetricFamily("relay_alerts_open", "Open alerts, by code.", labels=["code"])
        for code, count in sorted(self._snapshot.alerts.items()):
            alerts.add_metric([code], count)
        failing = GaugeMetricFamily(
            "relay_background_read_failing_seconds",
            "Seconds since a read from the store that is no job began to fail, by read. Only reads that fail now.",
            labels=["read"],
        )
        for read, seconds in sorted(self._snapshot.failing_reads.items()):
            failing.add_metric([read], seconds)
        yield from (waiting, oldest, oldest_waiting, dead, opened, alerts, failing)
