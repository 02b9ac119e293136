"""The conformance kit over every adapter of ours: no promise is broken, and only what is named here is skipped."""

from __future__ import annotations

import pytest

from platform_relay.conformance import CASES, Facts, run
from platform_relay.stores import adapter_class
from tests.contract.bench import Bench

FACTS = Facts(
    product_ids=("7", "12"), variant_ids=("71", "122"), customer_id="4711", email="Jane@Example.com", address="https://relay.example/v1/store-webhooks/x"
)  # fmt: skip
SKIPS = (
    "the adapter renews nothing",  # a double gives the same token again; each adapter's own tests renew
    "the adapter has no lists", "the adapter fetches nothing", "the adapter sets no webhooks up",
    "the store sends no webhooks", "the store has no customers, orders and products",
    "needs a genuine webhook of the store (--webhook)",
    "the store does not take a request that was changed on its way",  # signed bodies
)  # fmt: skip


@pytest.mark.timeout(300)
async def test_every_promise_is_kept(bench: Bench) -> None:
    if bench.name == "woocommerce":
        bench.set("WEBHOOK_SECRET", "webhook-secret-of-the-test")
    verdicts = [verdict async for verdict in run(adapter_class(bench.name), FACTS, time_limit=5)]
    failed = [f"{verdict.case.name}: {verdict.why}" for verdict in verdicts if verdict.result == "fail"]
    assert not failed, "\n".join(failed)
    assert len(verdicts) == len(CASES)
    assert {verdict.why.partition(":")[0] for verdict in verdicts if verdict.result == "skip"} <= set(SKIPS), verdicts
