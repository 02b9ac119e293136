"""Every call of every adapter keeps the destination's pace, and the destination is told when a store is called too often."""

from __future__ import annotations

from typing import Any

import pytest

from platform_relay.core.outcomes import Retry
from platform_relay.inbox.messages import Kind
from platform_relay.stores.native import FetchesEntities, ListsEntities, SetsUpWebhooks
from tests.contract.bench import Bench, order


class Recorder:
    """A pace (`platform_relay.core.http.Pace`) that writes down what it is asked and told; `away`: what it answers to
    the next turns."""

    def __init__(self, away: float | None = None) -> None:
        self.turns = 0
        self.pauses: list[float] = []
        self._away = away

    async def turn(self) -> float | None:
        self.turns += 1
        return self._away

    async def throttled(self, pause: float) -> None:
        self.pauses.append(pause)


async def test_every_call_waits_for_its_turn(bench: Bench) -> None:
    pace = Recorder()
    adapter: Any = bench.build(pace=pace)
    await adapter.check()
    await adapter.issue_coupon(order())
    await adapter.find_coupon("any")
    await adapter.retire_coupon(order().code)
    if isinstance(adapter, ListsEntities):
        await adapter.list_entities(Kind.ORDER, None, None)
    if isinstance(adapter, FetchesEntities):
        await adapter.fetch(Kind.CUSTOMER, "4711")
    if isinstance(adapter, SetsUpWebhooks):
        await adapter.list_hooks("https://relay.example/v1/store-webhooks/any")
    assert pace.turns == len(bench.simulator.ledger()) > 3
    assert pace.pauses == []


async def test_without_a_turn_nothing_is_sent(bench: Bench) -> None:
    adapter = bench.build(pace=Recorder(away=90.0))
    for outcome in (await adapter.issue_coupon(order()), await adapter.find_coupon("any"), await adapter.check()):
        assert isinstance(outcome, Retry), outcome
        assert outcome.after == 90
    assert bench.simulator.ledger() == []


async def test_the_channel_is_told_of_a_429(bench: Bench) -> None:
    pace = Recorder()
    adapter = bench.build(pace=pace)
    bench.misbehave(bench.shop.find, status=429, body={"message": "slow down"}, headers={"Retry-After": "7"})
    assert isinstance(await adapter.find_coupon("any"), Retry)
    assert pace.pauses == [7]


@pytest.mark.parametrize("bench", ["shopify"], indirect=True)
async def test_the_channel_is_told_of_used_up_cost_points(bench: Bench) -> None:
    pace = Recorder()
    bench.simulator.config(throttled=1)
    adapter = bench.build(pace=pace)
    assert isinstance(await adapter.find_coupon("any"), Retry)
    assert pace.pauses == [3]


@pytest.mark.parametrize("bench", ["bigcommerce"], indirect=True)
async def test_the_channel_is_told_when_the_quota_begins_anew(bench: Bench) -> None:
    pace = Recorder()
    adapter = bench.build(pace=pace)
    headers = {"X-Rate-Limit-Requests-Left": "0", "X-Rate-Limit-Time-Reset-Ms": "15000"}
    bench.misbehave(bench.shop.find, status=429, body={"title": "Too many requests"}, headers=headers)
    assert isinstance(await adapter.find_coupon("any"), Retry)
    assert pace.pauses == [15]
