"""What only the merchant's own endpoint does."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.core.outcomes import Blocked, Done, Reject, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import StoreCoupon
from platform_relay.stores.generic_http import coupon_body, parse_coupon
from tests.contract.bench import Bench, differences_of, order

pytestmark = pytest.mark.parametrize("bench", ["generic_http"], indirect=True)


async def test_every_call_is_signed_and_says_what_it_is(bench: Bench) -> None:
    bench.simulator.config(record_headers=True)
    await bench.adapter.issue_coupon(order(title="Dankeschön"))
    await bench.adapter.retire_coupon(order().code)
    entries = bench.simulator.ledger()  # the simulator verifies the signatures
    assert [entry["status"] for entry in entries] == [404, 201, 200]
    assert [entry["body"]["type"] for entry in entries] == ["coupon.lookup", "coupon.issue", "coupon.retire"]
    assert len({dict(entry["headers"])["webhook-id"] for entry in entries}) == 3


async def test_a_404_that_does_not_say_none_such_is_a_wrong_address(bench: Bench) -> None:
    bench.misbehave(bench.shop.find, status=404, body={"message": "Not Found"})
    assert isinstance(await bench.adapter.find_coupon("any"), Blocked)
    bench.misbehave(bench.shop.create, status=404, body="<h1>Not Found</h1>")
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Blocked)


async def test_a_retired_code_is_not_issued_again(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    await bench.adapter.retire_coupon(order().code)
    for first_try in (True, False):
        outcome = await bench.adapter.issue_coupon(order(first_try=first_try))
        assert isinstance(outcome, Reject)
        assert outcome.reason.code is ReasonCode.CODE_TAKEN
        assert differences_of(outcome) == [{"field": "active", "actual": "false", "expected": "true"}]


async def test_an_endpoint_that_says_retired_and_active(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    body = {"coupon": {"code": order().code}, "state": "active"}
    bench.misbehave(("POST", "/relay/coupons/retire"), status=200, body=body)
    outcome = await bench.adapter.retire_coupon(order().code)
    assert isinstance(outcome, Unknown)
    assert outcome.reason.code is ReasonCode.COUPON_STILL_ACTIVE


async def test_the_shops_own_id_and_count(bench: Bench) -> None:
    shown = {"coupon": {**coupon_body(order()), "id": "gift-77", "used": 1}, "state": "active"}
    bench.misbehave(bench.shop.create, status=201, body=shown)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Done), outcome
    assert outcome.result == {"store_id": "gift-77"}
    bench.misbehave(bench.shop.find, status=200, body=shown)
    found = await bench.adapter.find_coupon(order().code)
    assert isinstance(found, StoreCoupon)
    assert found.used == 1


def test_what_is_sent(bench: Bench) -> None:
    sent = coupon_body(order(value=Decimal("1E+1"), expires_at=datetime(2031, 1, 2, 3, 4, 5, 678, UTC)))
    assert (sent["value"], sent["expires_at"], sent["email"]) == ("10", "2031-01-02T03:04:05Z", None)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"code": "x", "value": "much"},
        {"code": "x", "value": "NaN"},
        {"code": "x", "expires_at": "2031-01-02T03:04:05"},
        {"code": "x", "usage_limit": "1"},
        {"code": "x", "usage_limit": True},
    ],
)
def test_what_is_no_coupon(bench: Bench, row: dict[str, Any]) -> None:
    assert parse_coupon(row, active=True) is None


@pytest.mark.parametrize(
    "secret",
    ["whsec_", "whsec_" + "=" * 32, "whsec_c2hvcnQ=", "not-base64-not-base64-not-base64-not-base64!", "x" * 60],
)
def test_a_secret_that_is_none_is_refused(bench: Bench, secret: str) -> None:
    bench.set("SECRET", secret)
    with pytest.raises(ValueError, match="openssl rand"):
        bench.build()
