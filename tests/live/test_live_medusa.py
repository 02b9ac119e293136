"""Both journeys against the real Medusa: its events in through integrations/medusa, coupons out, used in real carts."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind, CouponSpec, Ready, StoreCoupon, differences
from platform_relay.stores.medusa.adapter import Medusa
from platform_relay.stores.native import Page
from tests.helpers import eventually_sync
from tests.live.medusa_shop import SHIPPING, MedusaShop, medusa
from tests.live.postgres import Databases, plain
from tests.live.relay import PATIENCE, STORE_KEY, Relay
from tests.live.stores import UnavailableError, install, step

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]
SOON = datetime.now(UTC) + timedelta(days=3)


@pytest.fixture(scope="module")
def shop(folder: Path, databases: Databases, relay: Relay) -> Iterator[MedusaShop]:
    try:
        installed = install("medusa")
    except UnavailableError as error:
        pytest.skip(f"no Medusa here: {error}")
    report = {"RELAY_URL": relay.url, "RELAY_STORE_KEY": STORE_KEY, "RELAY_RETRY_SECONDS": "1"}
    with medusa(installed, folder / "medusa", plain(databases.fresh("medusa")), report) as running:
        yield running


@pytest.fixture
def variables(shop: MedusaShop) -> dict[str, str]:
    return {"STORE__ADAPTER": "medusa", "MEDUSA__URL": shop.url, "MEDUSA__API_KEY": shop.api_key}


@pytest.fixture
async def adapter(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Medusa]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = Medusa.from_environment(HttpClients(30))
    yield made
    await made.aclose()


def order(**fields: Any) -> CouponSpec:
    usual = {"kind": CouponKind.FIXED_AMOUNT, "value": Decimal("5.00"), "currency": "EUR", "code": secrets.token_hex(6)}
    return CouponSpec(**{**usual, **fields})


async def issued(adapter: Medusa, wanted: CouponSpec) -> str:
    """Issue, find, issue again: one coupon as ordered; its code."""
    first = await adapter.issue_coupon(wanted)
    assert isinstance(first, Done), first
    found = await adapter.find_coupon(wanted.code)
    assert isinstance(found, StoreCoupon), found
    assert differences(wanted, found) == ()
    again = await adapter.issue_coupon(replace(wanted, first_try=True))
    assert isinstance(again, Done), again
    assert again.result == first.result
    return wanted.code


async def test_check(adapter: Medusa) -> None:
    outcome = await adapter.check()
    assert isinstance(outcome, Ready), outcome
    assert "EUR" in outcome.detail


# ---------------------------------------------------------------------------------------------------------- coupons


async def test_kinds_in_a_cart(adapter: Medusa, shop: MedusaShop) -> None:
    mug, pot = shop.mug_variant, shop.pot_variant
    for fields, off in (
        ({}, 5),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal("7.5")}, 35 * 0.075),
        ({"kind": CouponKind.FREE_SHIPPING, "value": None}, SHIPPING),
        ({"kind": CouponKind.FREE_PRODUCT, "value": None, "product_ids": (shop.mug, shop.pot)}, 10),
        ({"kind": CouponKind.FREE_PRODUCT, "value": None, "product_ids": (shop.mug,)}, 25),
        ({"value": Decimal(15), "product_ids": (shop.pot,)}, 10),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal(50), "product_ids": (shop.mug,)}, 12.5),
    ):
        code = await issued(adapter, order(**fields))
        cart = shop.cart(code, mug, pot)
        assert (cart["discount_total"], cart["total"]) == pytest.approx((off, 35 + SHIPPING - off)), fields
    code = await issued(adapter, order(kind=CouponKind.FREE_PRODUCT, value=None, product_ids=(shop.mug,)))
    assert shop.cart(code, mug, mug)["discount_total"] == 25


async def test_a_coupon_for_a_variant_is_for_no_other_of_its_product(adapter: Medusa, shop: MedusaShop) -> None:
    medium, large = shop.cups
    for fields, off in (
        ({}, 5),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal(50)}, 5),
        ({"kind": CouponKind.FREE_PRODUCT, "value": None}, 10),
    ):
        code = await issued(adapter, order(**fields, variant_ids=(large,)))
        assert shop.cart(code, medium)["discount_total"] == 0, fields
        assert shop.cart(code, medium, large, shop.mug_variant)["discount_total"] == off, fields
    either = await issued(adapter, order(kind=CouponKind.PERCENTAGE, value=Decimal(50), variant_ids=(medium, large)))
    assert shop.cart(either, medium, large, shop.mug_variant)["discount_total"] == 10


async def test_conditions_in_a_cart(adapter: Medusa, shop: MedusaShop) -> None:
    jane = shop.register(f"Jane-{secrets.token_hex(4)}@Example.com")
    mug, pot = shop.mug_variant, shop.pot_variant
    least = await issued(adapter, order(minimum_spend=Decimal("30.00")))
    assert shop.cart(least, mug)["discount_total"] == 0
    assert shop.cart(least, mug, pot)["discount_total"] == 5
    by_address = await issued(adapter, order(email=jane.email))
    assert shop.cart(by_address, mug)["discount_total"] == 0
    assert shop.cart(by_address, mug, email=jane.email)["discount_total"] == 5
    assert shop.cart(by_address, mug, email=jane.email.lower())["discount_total"] == 5
    by_id = await issued(adapter, order(customer_id=jane.id, email=jane.email))
    assert shop.cart(by_id, mug, email=jane.email)["discount_total"] == 0
    assert shop.cart(by_id, mug, customer=jane)["discount_total"] == 5
    later = await issued(adapter, order(starts_at=SOON, expires_at=SOON + timedelta(days=1)))
    assert shop.cart(later, mug)["discount_total"] == 0
    running = await issued(adapter, order(starts_at=SOON - timedelta(days=9), expires_at=SOON))
    assert shop.cart(running, mug)["discount_total"] == 5


async def test_limits_in_orders(adapter: Medusa, shop: MedusaShop) -> None:
    mug = shop.mug_variant
    once = await issued(adapter, order(usage_limit=1))
    assert shop.buy(shop.cart(once, mug))["discount_total"] == 5
    assert shop.cart(once, mug, email="another@example.com")["discount_total"] == 0
    found = await adapter.find_coupon(once)
    assert isinstance(found, StoreCoupon)
    assert found.used == 1
    each = await issued(adapter, order(usage_limit=None, per_customer_limit=1))
    assert shop.buy(shop.cart(each, mug))["discount_total"] == 5
    assert shop.buy(shop.cart(each, mug))["discount_total"] == 0
    assert shop.cart(each, mug, email="another@example.com")["discount_total"] == 5


async def test_another_coupon_of_the_code(adapter: Medusa, shop: MedusaShop) -> None:
    wanted = order()
    await issued(adapter, wanted)
    for first_try in (True, False):
        outcome = await adapter.issue_coupon(replace(wanted, value=Decimal(7), first_try=first_try))
        assert isinstance(outcome, Reject), outcome
        assert outcome.reason.code is ReasonCode.CODE_TAKEN
        assert outcome.reason.facts["differences"] == [{"field": "value", "actual": "5.00", "expected": "7"}]


async def test_a_retired_coupon_is_worth_nothing_and_its_code_is_free(adapter: Medusa, shop: MedusaShop) -> None:
    wanted = order(expires_at=SOON, per_customer_limit=1)
    code = await issued(adapter, wanted)
    for _ in range(2):
        assert isinstance(await adapter.retire_coupon(code), Done)
        assert await adapter.find_coupon(code) is None
    assert await issued(adapter, wanted) == code
    assert shop.cart(code, shop.mug_variant)["discount_total"] == 5


async def test_what_a_deletion_by_hand_leaves_behind_is_cleared(adapter: Medusa, shop: MedusaShop) -> None:
    wanted = order(expires_at=SOON)
    await issued(adapter, wanted)
    (row,) = shop.admin.get("/admin/promotions", "promotions", code=wanted.code)
    assert shop.admin.http.delete(f"/admin/promotions/{row['id']}").is_success
    assert isinstance(await adapter.issue_coupon(wanted), Retry)
    await issued(adapter, wanted)


# ---------------------------------------------------------------------------------------------------------- journeys


def test_the_subscriber_is_well_typed(shop: MedusaShop, folder: Path) -> None:
    step(("node", "node_modules/typescript/bin/tsc", "--project", "."), folder / "medusa", {})


def test_events_come_in_also_those_from_while_the_relay_was_away(
    shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    jane = shop.register(f"jane-{secrets.token_hex(4)}@example.com")
    shop.admin.post(f"/admin/products/{shop.mug}", "product", title="Blue mug")
    with relay.running(variables):
        (came, *_) = eventually_sync(lambda: relay.delivered("customer.put", f"customer:{jane.id}"), PATIENCE)
        assert came["email"] == jane.email
        (product, *_) = eventually_sync(lambda: relay.delivered("product.put", f"product:{shop.mug}"), PATIENCE)
        assert product["title"] == "Blue mug"
        shop.admin.post(f"/admin/customers/{jane.id}", "customer", first_name="Janet")

        def renamed() -> bool:
            return "Janet" in str(relay.delivered("customer.put", f"customer:{jane.id}")[-1])

        assert eventually_sync(renamed, PATIENCE)


def test_points_become_a_coupon_that_is_used_in_an_order(
    shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    with relay.running(variables):
        jane = shop.register(f"jane-{secrets.token_hex(4)}@example.com")
        assert eventually_sync(lambda: relay.delivered("customer.put", f"customer:{jane.id}"), PATIENCE)
        code = relay.redeem(jane.id)
        assert eventually_sync(lambda: shop.admin.get("/admin/promotions", "promotions", code=code), PATIENCE)
        cart = shop.cart(code, shop.mug_variant, customer=jane)
        assert cart["discount_total"] == 5
        bought = shop.buy(cart, jane)
        report = eventually_sync(lambda: relay.delivered("order.post", f"order:{bought['id']}"), PATIENCE)[0]
        assert (report["customerId"], report["financialStatus"], report["currency"]) == (jane.id, "authorized", "EUR")
        assert Decimal(report["totalPrice"]) == Decimal("24.90")
        assert [(each["code"], Decimal(each["amount"])) for each in report["discountCodes"]] == [(code, Decimal(5))]
        assert eventually_sync(lambda: relay.delivered("reward.use", f"coupon:{code}"), PATIENCE)
        shop.capture(bought["id"])

        def paid() -> bool:
            updates = relay.delivered("order.patch", f"order:{bought['id']}")
            return any(update["financialStatus"] == "paid" for update in updates)

        assert eventually_sync(paid, PATIENCE)


def test_a_guest_goes_by_address(shop: MedusaShop, relay: Relay, variables: dict[str, str]) -> None:
    email = f"guest-{secrets.token_hex(4)}@example.com"
    bought = shop.buy(shop.cart(None, shop.mug_variant, email=email))
    with relay.running(variables):
        report = eventually_sync(lambda: relay.delivered("order.post", f"order:{bought['id']}"), PATIENCE)[0]
        assert report["email"] == email
        assert not str(report.get("customerId")).startswith("cus_")


async def test_lists_say_the_same(adapter: Medusa, shop: MedusaShop) -> None:
    jane = shop.register(f"jane-{secrets.token_hex(4)}@example.com")
    code = await issued(adapter, order())
    bought = shop.buy(shop.cart(code, shop.mug_variant, customer=jane), jane)
    began = datetime.now(UTC)
    shop.capture(bought["id"])
    customers = await listed(adapter, EventKind.CUSTOMER, None)
    assert jane.id in customers
    assert not any(event.email == "guest@example.com" for event in customers.values())
    assert {shop.mug, shop.pot} <= set(await listed(adapter, EventKind.PRODUCT, None))
    changed = await listed(adapter, EventKind.ORDER, began)  # the capture, which leaves the order's own time as it was
    assert changed[bought["id"]].financialStatus == "paid"
    assert [used.code for used in changed[bought["id"]].discountCodes] == [code]


async def listed(adapter: Medusa, kind: EventKind, since: datetime | None) -> dict[str, Any]:
    """The events of a list by id, the last of each."""
    found: dict[str, Any] = {}
    cursor: str | None = None
    while True:
        page = await adapter.list_entities(kind, since, cursor)
        assert isinstance(page, Page), page
        found |= {native.event.id: native.event for native in page.events}
        cursor = page.next
        if cursor is None:
            return found
