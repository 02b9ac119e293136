"""What every adapter promises while the store, or the way to it, misbehaves."""

from __future__ import annotations

import time
from typing import Any

import pytest

from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from tests.contract.bench import Bench, order

FAULTS: dict[str, dict[str, Any]] = {
    "the answer is lost after applying": {"mode": "reset_after"},
    "reset before applying": {"mode": "reset_before"},
    "500 after applying": {"mode": "apply_then", "status": 500, "body": "<h1>Critical error</h1>"},
    "502 before applying": {"mode": "answer", "status": 502, "body": "<h1>Bad Gateway</h1>"},
    "an HTML page with 200": {"mode": "garbage"},
    "an empty body": {"mode": "empty", "status": 200},
    "a cut body": {"mode": "truncated"},
    "a gzip bomb": {"mode": "gzip_bomb", "size": 20_000_000, "status": 200},
    "bytes that are no HTTP": {"mode": "not_http"},
    "JSON of another shape": {"mode": "apply_then", "status": 201, "body": {"ok": True}},
    "JSON nested for ever": {"mode": "apply_then", "status": 201, "body": "[" * 100_000},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_untrustworthy_answer_is_unknown_then_one_coupon(bench: Bench, fault: str) -> None:
    bench.misbehave(bench.shop.create, **FAULTS[fault])
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Unknown), outcome
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1


@pytest.mark.parametrize("mode", ["apply_then", "slow_drip"])
async def test_a_slow_answer_is_unknown_within_the_time_limit(bench: Bench, mode: str) -> None:
    bench.misbehave(bench.shop.create, mode=mode, delay=20)
    started = time.monotonic()
    outcome = await bench.build(time_limit=0.5).issue_coupon(order(first_try=True))
    assert isinstance(outcome, Unknown), outcome
    assert time.monotonic() - started < 5
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lookup_without_an_answer_creates_nothing(bench: Bench, fault: str) -> None:
    bench.misbehave(bench.shop.find, times=2, **FAULTS[fault])  # a GET may be sent twice
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Unknown | Retry), outcome
    assert bench.made() == 0


async def test_a_redirect_is_blocked_and_not_followed(bench: Bench) -> None:
    bench.misbehave(bench.shop.create, mode="redirect")
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Blocked), outcome
    assert bench.made() == 0


@pytest.mark.parametrize("status", [403, 404])
async def test_a_page_that_names_no_cause_can_concern_one_coupon_alone(bench: Bench, status: int) -> None:
    """A firewall refuses one body: the queue compares it with other calls before it stops the destination."""
    page = {"body": "<html>Request blocked</html>", "headers": {"content-type": "text/html"}}
    bench.misbehave(bench.shop.create, mode="answer", status=status, **page)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Blocked), outcome
    assert not outcome.certain
    assert bench.made() == 0


async def test_a_refused_key_is_blocked_and_keeps_the_secret(bench: Bench) -> None:
    bench.simulator.config(**bench.shop.other_key)
    for outcome in (
        await bench.adapter.issue_coupon(order(first_try=True)),
        await bench.adapter.issue_coupon(order()),
        await bench.adapter.find_coupon("any"),
        await bench.adapter.retire_coupon("any"),
    ):
        assert isinstance(outcome, Blocked), outcome
        assert outcome.certain
        assert not any(secret in repr(outcome) for secret in bench.secrets)


async def test_too_many_requests_is_retry_after_what_the_shop_says(bench: Bench) -> None:
    bench.misbehave(bench.shop.create, status=429, body={"message": "slow down"}, headers={"Retry-After": "7"})
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Retry), outcome
    assert outcome.after == 7
    assert bench.made() == 0


@pytest.mark.parametrize("status", [200, 400, 401, 404, 422, 500])
async def test_a_shop_that_echoes_our_credentials(bench: Bench, status: int) -> None:
    result = " ".join(bench.secrets)
    body = {"code": "rest_error", "message": f"you said {result}", "data": {"params": {"x": result}}}
    for call in (bench.shop.create, bench.shop.find):
        bench.misbehave(call, mode="answer", status=status, body=body)
    for first_try in (True, False):
        outcome = await bench.adapter.issue_coupon(order(first_try=first_try))
        assert not isinstance(outcome, Done)
        assert not any(secret in repr(outcome) for secret in bench.secrets)


async def test_a_refusal_has_the_shops_words(bench: Bench) -> None:
    status = 422 if bench.name == "generic_http" else 400
    body = {"code": "rest_invalid_param", "message": "the code is too long", "data": {"status": status}}
    bench.misbehave(bench.shop.create, status=status, body=body)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    assert outcome.reason.facts["status"] == status
    assert "the code is too long" in str(outcome.reason.facts["response"])
