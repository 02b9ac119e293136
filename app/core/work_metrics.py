"""Gauges of what a process last committed. They need no database, so they are exposed while it is unavailable."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from platform_relay.core.work import Work


class WorkGauges(Collector):
    """Registers itself."""

    def __init__(self, registry: CollectorRegistry, work: Work) -> None:
        self._work = work
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        failing = GaugeMetricFamily(
            "relay_work_failing_seconds",
            "For how long this process cannot commit an operation, by operation, destination, failed statement and SQLSTATE."
            " Only operations that fail now.",
            labels=["operation", "destination", "statement", "sqlstate"],
        )
        for work in self._work.failing():
            failure = work.failure
            failing.add_metric(
                [work.operation, work.destination, failure.statement, failure.sqlstate or ""], work.seconds
            )
        ages = GaugeMetricFamily(
            "relay_last_commit_seconds",
            "Seconds since this process last committed an operation, by operation and destination. It grows while there is"
            " nothing to do.",
            labels=["operation", "destination"],
        )
        for record in self._work.records():
            if record.succeeded_at is not None:
                ages.add_metric([record.operation, record.destination], record.clock() - record.succeeded_at)
        yield from (failing, ages)
