"""What only Shopify does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores import build
from platform_relay.stores.base import CouponKind, Ready, StoreCoupon
from platform_relay.stores.shopify.api import until_affordable
from platform_relay.stores.shopify.coupons import coupon_input, parse_coupon
from tests.contract.bench import CODE, Bench, differences_of, double, order

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    bench = Bench("shopify", double("shopify"), monkeypatch)
    yield bench
    await bench.aclose()


def calls(bench: Bench, kind: str) -> int:
    return len(bench.simulator.ledger(kind=kind))


async def test_throttled_is_retry_when_the_points_will_suffice(bench: Bench) -> None:
    bench.simulator.config(throttled=1)
    outcome = await bench.adapter.find_coupon(CODE)
    assert isinstance(outcome, Retry), outcome
    assert outcome.after == 3  # (250 - 0) / 100, rounded up
    assert outcome.reason.code is ReasonCode.RATE_LIMITED
    assert outcome.reason.facts["seconds"] == 3
    assert until_affordable({"extensions": {"cost": {"requestedQueryCost": 9}}}) is None


async def test_a_missing_permission_is_named(bench: Bench) -> None:
    bench.simulator.config(scopes=["read_discounts"])
    for outcome in (await bench.adapter.check(), await bench.adapter.issue_coupon(order(first_try=True))):
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
        assert "write_discounts" in outcome.reason.text + outcome.reason.next_step
    bench.simulator.config(scopes=["write_discounts", "read_discounts"])
    ready = await bench.adapter.check()
    assert isinstance(ready, Ready)
    assert "read_orders" in ready.detail


async def test_a_stale_look_up_ends_in_one_coupon(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.config(stale_finds=2)
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Retry)
    assert outcome.reason.code is ReasonCode.COUPON_NOT_VISIBLE
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1


def by_client_credentials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOPIFY__ACCESS_TOKEN")
    bench.set("CLIENT_ID", "client-of-the-double")


async def test_a_token_is_got_once_and_renewed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    by_client_credentials(bench, monkeypatch)
    adapter = bench.build()
    await asyncio.gather(*(adapter.find_coupon(CODE) for _ in range(8)))
    assert calls(bench, "token") == 1
    bench.simulator.control("expire-tokens")
    found = await asyncio.gather(*(adapter.find_coupon(CODE) for _ in range(8)))
    assert found == [None] * 8
    assert calls(bench, "token") == 2
    bench.simulator.control("expire-tokens")
    assert isinstance(await adapter.issue_coupon(order(first_try=True)), Done)
    assert bench.made() == 1


async def test_client_credentials_that_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    by_client_credentials(bench, monkeypatch)
    bench.simulator.config(client_secret="shpss_another")
    outcome = await bench.build().check()
    assert isinstance(outcome, Blocked), outcome
    assert outcome.reason.code is ReasonCode.KEY_REJECTED
    assert outcome.reason.facts["setting"] == "SHOPIFY__CLIENT_ID"
    assert bench.secrets[1] not in repr(outcome)


async def test_a_renewed_token_is_a_secret_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    by_client_credentials(bench, monkeypatch)
    adapter = bench.build()
    assert await adapter.find_coupon(CODE) is None
    bench.misbehave(bench.shop.create, status=500, body="you said shpat_renewed_1001")
    outcome = await adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Unknown), outcome
    assert "shpat_renewed" not in repr(outcome)


def test_one_way_in_is_needed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOPIFY__ACCESS_TOKEN")
    with pytest.raises(ValueError, match="SHOPIFY__ACCESS_TOKEN, or SHOPIFY__CLIENT_ID"):
        build("shopify", HttpClients(3))


async def test_a_shopper_without_an_account(bench: Bench) -> None:
    guest = order(email="guest@example.com")
    outcome = await bench.adapter.issue_coupon(guest)
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
    assert outcome.reason.facts["field"] == "email"
    assert "guest" not in repr(outcome)
    bench.set("ONE_CUSTOMER", "issue_unrestricted")
    adapter = bench.build()
    assert isinstance(await adapter.issue_coupon(guest), Done)
    assert isinstance(await adapter.issue_coupon(guest), Done)
    assert bench.made() == 1


async def test_an_unknown_customer_is_refused_without_the_id(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(order(customer_id="8888", first_try=True))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    assert "is invalid" in str(outcome.reason.facts["response"])
    assert "8888" not in repr(outcome)


async def test_a_restriction_to_somebody_else_is_another_coupon(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(customer_id="4711")), Done)
    outcome = await bench.adapter.issue_coupon(order(email="jane@example.com"))
    assert isinstance(outcome, Reject)
    assert {"field": "customer_id", "actual": "another value", "expected": "set"} in differences_of(outcome)
    assert "9001" not in repr(outcome)


async def test_once_per_customer_can_be_expressed_twice_cannot(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order(usage_limit=None, per_customer_limit=1)), Done)
    assert isinstance(await bench.adapter.issue_coupon(order(code="other", per_customer_limit=2)), Reject)


async def test_another_currency_is_rejected(bench: Bench) -> None:
    bench.simulator.config(currency="CAD")
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert (outcome.reason.facts["ordered"], outcome.reason.facts["currency"]) == ("EUR", "CAD")
    assert bench.made() == 0


async def test_the_merchants_discount_with_many_codes_is_never_deleted(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.control("add-codes", code=CODE, further="SPRING")
    for code in (CODE, "SPRING"):
        outcome = await bench.adapter.retire_coupon(code)
        assert isinstance(outcome, Reject)
        assert outcome.reason.code is ReasonCode.COUPON_NOT_OURS
    assert len(bench.simulator.state("coupons")) == 2
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert {"field": "restrictions", "actual": "further codes", "expected": None} in differences_of(outcome)


@pytest.mark.parametrize("ids", [("x",), ("gid://shopify/Product/8",), tuple(str(n) for n in range(1, 102))])
async def test_products_of_another_shop_or_too_many(bench: Bench, ids: tuple[str, ...]) -> None:
    outcome = await bench.adapter.issue_coupon(order(product_ids=ids))
    assert isinstance(outcome, Reject)
    assert outcome.reason.facts["field"] == "product_ids"
    assert bench.simulator.ledger() == []


def test_what_is_sent() -> None:
    wanted = order(
        kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), minimum_spend=Decimal("3E+1"), usage_limit=None,
        expires_at=datetime(2027, 1, 31, 1, 2, 3, 999000, UTC), combinable=False, customer_id="4711",
    )  # fmt: skip
    assert coupon_input(wanted, NOW) == {
        "title": CODE, "code": CODE, "startsAt": "2026-11-22T00:00:00Z", "endsAt": "2027-01-31T01:02:03Z",
        "appliesOncePerCustomer": False,
        "combinesWith": {"orderDiscounts": False, "productDiscounts": False, "shippingDiscounts": False},
        "context": {"customers": {"add": ["gid://shopify/Customer/4711"]}},
        "minimumRequirement": {"subtotal": {"greaterThanOrEqualToSubtotal": "30"}},
        "customerGets": {"value": {"percentage": Decimal("0.075")}, "items": {"all": True}},
    }  # fmt: skip


@pytest.mark.parametrize(
    "node", [None, {}, {"id": "x"}, {"id": "x", "codeDiscount": {"__typename": "DiscountCodeBasic"}}]
)
def test_what_is_no_discount(node: Any) -> None:
    assert parse_coupon(node, CODE) is None


@pytest.mark.parametrize(
    ("name", "restriction"), [("products", "further products"), ("productVariants", "further variants")]
)
async def test_a_list_that_goes_on_is_a_restriction_of_its_own(bench: Bench, name: str, restriction: str) -> None:
    """Up to 100 are read; what is behind them could be anything."""
    await bench.adapter.issue_coupon(order(variant_ids=("71",)))
    (node,) = bench.simulator.state("coupons")
    read = parse_coupon(node, CODE)
    assert read is not None
    assert (read.variant_ids, read.restrictions) == (("71",), ())
    node["codeDiscount"]["customerGets"]["items"][name]["pageInfo"]["hasNextPage"] = True
    read = parse_coupon(node, CODE)
    assert read is not None
    assert read.restrictions == (restriction,)


@pytest.mark.parametrize("more", [100, 101])
async def test_no_more_are_ordered_than_are_read(bench: Bench, more: int) -> None:
    outcome = await bench.adapter.issue_coupon(order(variant_ids=tuple(str(n) for n in range(1, more + 1))))
    assert isinstance(outcome, Done if more == 100 else Reject), outcome


def test_a_buy_x_get_y_discount_is_nothing_of_ours() -> None:
    found = parse_coupon({"id": "x", "codeDiscount": {"__typename": "DiscountCodeBxgy"}}, CODE)
    assert isinstance(found, StoreCoupon)
    assert (found.kind, found.active) == (None, False)
