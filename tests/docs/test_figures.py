"""The figures in the documents are those of the code: each sentence below is made from constants, and stands on its page."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from platform_relay.access.api_keys import OVERLAP
from platform_relay.api import authentication, batch, request_body
from platform_relay.api.connection_table import RESERVE
from platform_relay.console import login
from platform_relay.core.http import LONGEST_RETRY_AFTER
from platform_relay.queue import decide, maintenance, rate_limiter
from platform_relay.queue.circuit_breaker import FailureWindow
from platform_relay.queue.destinations import FIRST_PAUSE, LONGEST_PAUSE
from platform_relay.queue.lane_failures import LANES, LONGEST_DOUBT, RECENT
from platform_relay.queue.loop import LoopSettings
from platform_relay.queue.queue import PROBE_INTERVAL, PROBES
from platform_relay.queue.rate_limiter import RATE_GROWTH, lowered_rate
from platform_relay.queue.watermark import FULL_SCAN_COST, FULL_SCAN_INTERVAL
from platform_relay.setting_groups import IssuanceLimitSettings
from platform_relay.settings import Settings
from platform_relay.wiring import ATTEMPT_SECONDS, retry_policy
from platform_relay.worker import STOP_SECONDS

ROOT: Final = Path(__file__).parents[2]
SETTINGS: Final = Settings(_env_file=None)
LIMITS: Final = IssuanceLimitSettings()
RETRY: Final = retry_policy(SETTINGS)
LOOP: Final = LoopSettings()
BREAKER: Final = FailureWindow()


def duration(seconds: float) -> str:
    """`12 seconds`, `1 minute`, `3 days`."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise ValueError(seconds)


def share(fraction: float) -> str:
    return f"{round(100 * fraction)} %"


CONNECTIONS: Final = SETTINGS.connections
FIGURES: Final = [
    (
        "docs/states.md",
        f"after {duration(FIRST_PAUSE)} at first, later after up to {duration(LONGEST_PAUSE)}",
    ),
    (
        "docs/states.md",
        (
            f"A failed job is tried again after {duration(RETRY.first)}. Each delay is {RETRY.factor:g} times the one before,"
            f" up to {duration(RETRY.longest)}, plus up to {share(RETRY.jitter)} at random. After"
            f" {duration(RETRY.window.total_seconds())} ({RETRY.attempts} attempts) the job is dead"
        ),
    ),
    ("docs/states.md", f"A lease lasts {duration(LOOP.lease)}"),
    ("docs/states.md", f"takes at most {ATTEMPT_SECONDS:.0f} seconds"),
    (
        "docs/states.md",
        (
            f"after {duration(decide.PARKED_RECHECK)} when it waits for a lane, after {duration(decide.UNREADABLE_RECHECK)}"
            " when it waits for an encryption key"
        ),
    ),
    (
        "docs/states.md",
        f"at least {share(BREAKER.share)} of the last {BREAKER.size} calls failed, on {BREAKER.lanes} or more lanes",
    ),
    ("docs/states.md", f"every {duration(PROBE_INTERVAL)} by up to {PROBES} jobs, of lanes that have not failed"),
    ("docs/states.md", f"the same response on {LANES} lanes, and no success in the last {duration(RECENT)}"),
    ("docs/states.md", f"it is refused for {duration(LONGEST_DOUBT)}"),
    (
        "docs/states.md",
        f"continues when a success decides, when the destination opens, after {duration(decide.DOUBT_RECHECK)}",
    ),
    ("docs/states.md", f"pauses all calls to the destination for up to {duration(rate_limiter.LONGEST_PAUSE)}"),
    ("docs/states.md", f"A `Retry-After` of more than {duration(LONGEST_RETRY_AFTER)}"),
    ("docs/states.md", f"grows again by {share(RATE_GROWTH - 1)} per second"),
    ("docs/reliability.md", f"its rate grows by only {share(RATE_GROWTH - 1)} per second"),
    ("docs/reliability.md", f"a lease is {duration(LOOP.lease)} long"),
    ("docs/reliability.md", f"The leases of a killed worker end after {LOOP.lease:g} s"),
    ("docs/adr/0007-short-leases.md", f"A lease lasts {duration(LOOP.lease)}"),
    ("docs/adr/0022-claims-start-at-a-watermark.md", f"{FULL_SCAN_COST} times the duration of that read"),
    ("docs/operations.md", f"call failed, it is kept for {duration(maintenance.IDLE_LANE_SECONDS)}"),
    ("docs/scaling.md", f"calls at a time ({LOOP.concurrency}) to each destination"),
    ("docs/personal-data.md", f"({duration(SETTINGS.retention.total_seconds())} by default)"),
    (
        "docs/coupons.md",
        (
            f"{LIMITS.customer_count:,} coupons per customer in 24 hours,"
            f" {LIMITS.hour_count:,} per hour and {LIMITS.day_count:,} per day"
        ),
    ),
    ("SECURITY.md", f"| connections of one process | {CONNECTIONS.total:,}; fewer when"),
    ("SECURITY.md", f"| of these, without a request | {CONNECTIONS.idle} |"),
    ("SECURITY.md", f"| {CONNECTIONS.per_address}, {CONNECTIONS.idle_per_address} without a request |"),
    ("SECURITY.md", f"| reserve for `/healthz` and `/readyz` | {RESERVE} connections |"),
    ("SECURITY.md", f"| {CONNECTIONS.header_bytes // 1024} KiB, {CONNECTIONS.header_count} headers (431) |"),
    ("SECURITY.md", f"| first byte of a connection | {CONNECTIONS.first_byte_timeout:g} s |"),
    ("SECURITY.md", f"| complete headers | {CONNECTIONS.headers_timeout:g} s (408) |"),
    ("SECURITY.md", f"in reading the response | {CONNECTIONS.byte_timeout:g} s (408) |"),
    ("SECURITY.md", f"| idle connection after a response | {CONNECTIONS.idle_timeout} s |"),
    ("docs/errors.md", f"did not arrive within {duration(request_body.SECONDS)}"),
    ("docs/errors.md", f"`BODY_LIMIT` ({SETTINGS.body_limit // 1024 // 1024} MiB by default)"),
    ("docs/errors.md", f"A batch may have {batch.MAX_BODIES} times as many"),
    ("docs/errors.md", f"more than {batch.MAX_LINES:,} lines"),
    ("docs/errors.md", f"There were {authentication.TRIES} wrong keys within a minute"),
    ("docs/getting-started.md", f"up to {batch.MAX_LINES:,} lines per request"),
    ("docs/reconcile.md", f"(UTC, {SETTINGS.store.reconcile_at} by default"),
    ("docs/tour.md", f"after a rotation the old key works for {OVERLAP // timedelta(hours=1)} hours"),
    ("SECURITY.md", f"the old key works beside the new one for {OVERLAP // timedelta(hours=1)} hours"),
    (
        "SECURITY.md",
        f"After {authentication.TRIES} wrong keys from one address (IPv6: one /64 network) within a minute",
    ),
    ("SECURITY.md", f"in the console after {login.ATTEMPTS_PER_ADDRESS}, further wrong keys"),
    ("SECURITY.md", f"within {authentication.CACHE_SECONDS:.0f} s in every process"),
]


@pytest.mark.parametrize(("page", "sentence"), FIGURES)
def test_the_figures_of_a_page_are_those_of_the_code(page: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / page).read_text("utf-8").split())


def test_figures_that_are_said_in_words() -> None:
    assert lowered_rate(10, 0) == 5  # docs/states.md: the rate is halved
    assert STOP_SECONDS <= 10  # docs/operations.md: ends within 10 seconds
    assert FULL_SCAN_INTERVAL == 0.5  # ADR 0022: at least every half second
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert re.search(r"ends within 10 seconds", operations)
