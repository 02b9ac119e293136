"""The conformance kit over every adapter: no requirement is violated, and only the named cases are skipped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from platform_relay.conformance import CASES, SandboxData, run
from platform_relay.stores import adapter_class
from tests.contract.bench import Bench

DATA = SandboxData(
    product_ids=("7", "12"), variant_ids=("71", "122"), customer_id="4711", email="Jane@Example.com", address="https://relay.example/v1/store-webhooks/x"
)  # fmt: skip
SKIPS = (
    "the adapter renews no token",  # a double returns the same token again; the tests of each adapter cover the renewal
    "the adapter has no lists", "the adapter counts no entities", "the adapter fetches no entities",
    "the adapter sets up no webhooks",
    "the store sends no webhooks", "the store has no customers, orders and products",
    "the store has no customers, orders, products",
    "needs a genuine webhook of the store (--webhook)",
    "the store does not accept a request that was changed",  # signed bodies
)  # fmt: skip


@pytest.mark.timeout(300)
async def test_every_requirement_is_met(bench: Bench) -> None:
    if bench.name == "woocommerce":
        bench.set("WEBHOOK_SECRET", "webhook-secret-of-the-test")
    data = replace(DATA, carts=bench.carts)
    results = [result async for result in run(adapter_class(bench.name), data, time_limit=5)]
    failed = [f"{result.case.name}: {result.problem}" for result in results if result.result == "fail"]
    assert not failed, "\n".join(failed)
    assert len(results) == len(CASES)
    assert {result.problem.partition(":")[0] for result in results if result.result == "skip"} <= set(SKIPS), results
