"""Every call of every adapter keeps the destination's rate limit, which is lowered when the store asks for fewer calls."""

from __future__ import annotations

from typing import Any

import pytest

from platform_relay.core.outcomes import Retry
from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import FetchesEntities, ListsEntities, SetsUpWebhooks
from tests.contract.bench import Bench, order


class Recorder:
    """A rate limit (`platform_relay.core.http.RateLimit`) that records its calls; `wait`: the seconds that it reacquired."""

    def __init__(self, wait: float | None = None) -> None:
        self.acquired = 0
        self.pauses: list[float] = []
        self._wait = wait

    async def acquire(self) -> float | None:
        self.acquired += 1
        return self._wait

    async def back_off(self, pause: float) -> None:
        self.pauses.append(pause)


async def test_every_call_waits_for_the_rate_limit(bench: Bench) -> None:
    rate_limit = Recorder()
    adapter: Any = bench.build(rate_limit=rate_limit)
    await adapter.check()
    await adapter.issue_coupon(order())
    await adapter.find_coupon("any")
    await adapter.retire_coupon(order().code)
    if isinstance(adapter, ListsEntities):
        await adapter.list_entities(EventKind.ORDER, None, None)
    if isinstance(adapter, FetchesEntities):
        await adapter.fetch(EventKind.CUSTOMER, "4711")
    if isinstance(adapter, SetsUpWebhooks):
        await adapter.list_webhooks("https://relay.example/v1/store-webhooks/any")
    assert rate_limit.acquired == len(bench.simulator.ledger()) > 3
    assert rate_limit.pauses == []


async def test_without_a_place_nothing_is_sent(bench: Bench) -> None:
    adapter = bench.build(rate_limit=Recorder(wait=90.0))
    for outcome in (await adapter.issue_coupon(order()), await adapter.find_coupon("any"), await adapter.check()):
        assert isinstance(outcome, Retry), outcome
        assert outcome.after == 90
    assert bench.simulator.ledger() == []


async def test_a_429_lowers_the_rate_limit(bench: Bench) -> None:
    rate_limit = Recorder()
    adapter = bench.build(rate_limit=rate_limit)
    bench.misbehave(bench.shop.find, status=429, body={"message": "slow down"}, headers={"Retry-After": "7"})
    assert isinstance(await adapter.find_coupon("any"), Retry)
    assert rate_limit.pauses == [7]


@pytest.mark.parametrize("bench", ["shopify"], indirect=True)
async def test_used_up_cost_points_lower_the_rate_limit(bench: Bench) -> None:
    rate_limit = Recorder()
    bench.simulator.config(throttled=1)
    adapter = bench.build(rate_limit=rate_limit)
    assert isinstance(await adapter.find_coupon("any"), Retry)
    assert rate_limit.pauses == [3]


@pytest.mark.parametrize("bench", ["bigcommerce"], indirect=True)
async def test_a_used_up_quota_lowers_the_rate_limit_until_it_is_renewed(bench: Bench) -> None:
    rate_limit = Recorder()
    adapter = bench.build(rate_limit=rate_limit)
    headers = {"X-Rate-Limit-Requests-Left": "0", "X-Rate-Limit-Time-Reset-Ms": "15000"}
    bench.misbehave(bench.shop.find, status=429, body={"title": "Too many requests"}, headers=headers)
    assert isinstance(await adapter.find_coupon("any"), Retry)
    assert rate_limit.pauses == [15]
