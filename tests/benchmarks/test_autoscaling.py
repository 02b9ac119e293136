"""A small burst with real workers, driven as the autoscaler would: it grows, is delivered, and does not oscillate."""

import asyncio

import pytest

from benchmarks.autoscaling import run
from benchmarks.scale import TINY
from benchmarks.stage import stage


@pytest.mark.timeout(600)
def test_a_burst_is_delivered_without_oscillation() -> None:
    with stage(TINY) as place:
        result = asyncio.run(run(place, 2000, backfill=True, most=3, calm=1.0))
    summary = result.summary()
    assert result.drained, summary
    assert int(str(summary["direction_changes"])) <= 1, summary
    assert result.replicas[-1] == 1, summary
    assert result.latencies, summary
