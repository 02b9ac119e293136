"""Both journeys against the real Medusa: its events in through integrations/medusa, coupons out, used in real carts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind, CouponSpec, Ready, StoreCoupon, differences
from platform_relay.stores.medusa.adapter import Medusa
from tests.helpers import eventually_sync
from tests.live.carts import MedusaCarts, cart_results
from tests.live.lists import MANY, SMALL, SMALL_PAGES, assert_amounts, assert_counted, assert_nothing_new, listed
from tests.live.medusa_shop import SHIPPING, MedusaShop, Place, medusa
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
        ({"value": Decimal(35), "product_ids": (shop.pot, shop.mug)}, 35),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal(50), "product_ids": (shop.mug,)}, 12.5),
    ):
        code = await issued(adapter, order(**fields))
        cart = shop.cart(code, mug, pot)
        assert (cart["discount_total"], cart["total"]) == pytest.approx((off, 35 + SHIPPING - off)), fields
    code = await issued(adapter, order(kind=CouponKind.FREE_PRODUCT, value=None, product_ids=(shop.mug,)))
    assert shop.cart(code, mug, mug)["discount_total"] == 25


async def test_the_kit_finds_every_discount_in_a_cart(
    shop: MedusaShop, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    results = await cart_results(Medusa, MedusaCarts(shop))
    assert [(name, result.problem) for name, result in results.items() if result.result != "pass"] == []


async def test_an_amount_counts_in_its_own_currency_only(adapter: Medusa, shop: MedusaShop) -> None:
    """Also the minimum spend of a percentage, and of free shipping."""
    mug, pot = shop.mug_variant, shop.pot_variant
    for fields in (
        {},
        {"kind": CouponKind.PERCENTAGE, "value": Decimal(10), "minimum_spend": Decimal(30)},
        {"kind": CouponKind.FREE_SHIPPING, "value": None, "minimum_spend": Decimal(30)},
    ):
        code = await issued(adapter, order(**fields))
        assert shop.cart(code, mug, pot)["discount_total"] > 0, fields
        assert shop.dollar_cart(code, mug, pot)["discount_total"] == 0, fields
    for refused in (
        order(currency="PLN"),
        order(kind=CouponKind.PERCENTAGE, currency="PLN", minimum_spend=Decimal(30)),
    ):
        outcome = await adapter.issue_coupon(refused)
        assert isinstance(outcome, Reject), outcome
        assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH


async def test_a_code_counts_in_its_own_spelling_only(adapter: Medusa, shop: MedusaShop) -> None:
    code = await issued(adapter, order(code=f"ab{secrets.token_hex(5)}"))
    assert shop.entered(code.upper(), shop.mug_variant) is None
    entered = shop.entered(code, shop.mug_variant)
    assert entered is not None
    assert entered["discount_total"] == 5


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


async def test_an_amount_saves_the_customer_as_much_whatever_the_tax(adapter: Medusa, shop: MedusaShop) -> None:
    """Also off certain items, and never more than they cost with tax."""
    mug, pot = shop.mug_variant, shop.pot_variant
    for place, currency, pot_with_tax in ((shop.france, "EUR", 12), (shop.britain, "GBP", 10)):
        off_pot = {"product_ids": (shop.pot,)}
        for fields, off in (({}, 5), (off_pot, 5), ({**off_pot, "value": Decimal(50)}, pot_with_tax)):
            code = await issued(adapter, order(currency=currency, **fields))
            cart = shop.cart(code, mug, pot, place=place)
            assert cart["discount_total"] == pytest.approx(off), (place, fields)
            assert cart["total"] == pytest.approx(shop.cart(None, mug, pot, place=place)["total"] - off), (
                place,
                fields,
            )


async def test_a_minimum_spend_is_with_tax_and_before_discounts(adapter: Medusa, shop: MedusaShop) -> None:
    """The coupon does not count against itself: it stays in the cart when the cart changes."""
    mug = shop.mug_variant
    for place, currency, least in ((shop.france, "EUR", "30.00"), (shop.britain, "GBP", "25.00")):
        exact = await issued(adapter, order(currency=currency, minimum_spend=Decimal(least)))
        above = await issued(adapter, order(currency=currency, minimum_spend=Decimal(least) + Decimal("0.01")))
        assert shop.cart(above, mug, place=place)["discount_total"] == 0, place
        cart = shop.cart(exact, mug, place=place)
        assert cart["discount_total"] == pytest.approx(5), place
        changed = shop.store.post(f"/store/carts/{cart['id']}", "cart", email="other@example.com")
        assert changed["discount_total"] == pytest.approx(5), place


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
        assert eventually_sync(partial(relay.shows_title, shop.mug, "Blue mug"), PATIENCE)
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


def test_tier_and_points_are_in_the_metadata_of_the_customer(
    shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    """A customer who is not in the store stops neither the loyalty sync of others nor coupons."""
    jane = shop.register(f"jane-{secrets.token_hex(4)}@example.com")
    shop.admin.post(f"/admin/customers/{jane.id}", "customer", metadata={"shoe_size": "39"})
    with relay.running({**variables, "STORE__LOYALTY_SYNC": "true"}):
        relay.report_loyalty("cus_unknown", "Gold", 7)
        for tier, points in (("Silver", 120), ("Gold", 500)):
            relay.report_loyalty(jane.id, tier, points)
            expected = {"shoe_size": "39", "platform_relay_tier": tier, "platform_relay_points": str(points)}

            def metadata(expected: dict[str, str] = expected) -> bool:
                stored: dict[str, str] = shop.admin.get(f"/admin/customers/{jane.id}", "customer", fields="metadata")[
                    "metadata"
                ]
                return bool(expected.items() <= stored.items())

            assert eventually_sync(metadata, PATIENCE)
        code = relay.redeem(jane.id)
        assert eventually_sync(lambda: shop.admin.get("/admin/promotions", "promotions", code=code), PATIENCE)


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


# ------------------------------------------------------------------------------------------- lists and changes of one time


async def test_no_product_of_one_time_is_missed_while_the_list_changes(adapter: Medusa, shop: MedusaShop) -> None:
    """Products of one time, of which some are edited and deleted between small pages. Medusa counts as many as it lists."""
    before = list(await listed(adapter, EventKind.PRODUCT))
    made = sorted(shop.add(f"Many {secrets.token_hex(4)}", 2 * MANY))
    await asyncio.to_thread(shop.execute, "UPDATE product SET updated_at = date_trunc('hour', now())")
    between = (
        lambda: shop.retitle(shop.cup, "Edited cup"),  # listed already
        lambda: shop.retitle(made[-1], "Edited at the end"),
        lambda: shop.remove(made[:3]),  # listed already: what follows moves up
        lambda: shop.remove(made[-3:-1]),
        lambda: shop.add(f"More {secrets.token_hex(4)}", 2),
    )
    found = await listed(adapter, EventKind.PRODUCT, cursor=f"products {SMALL_PAGES}", between=between)
    remaining = {*before, *made[3:-3], made[-1]}
    assert remaining - set(found) == set()
    assert found[made[-1]].title == "Edited at the end"
    for kind in EventKind:
        await assert_counted(adapter, kind)
    began = datetime.now(UTC)
    shop.retitle(made[5], "Edited later")
    changed = await listed(adapter, EventKind.PRODUCT, began, cursor=f"products {SMALL_PAGES}")
    assert set(changed) == {made[5]}
    assert await adapter.count(EventKind.PRODUCT, began) == 1


async def test_orders_are_listed_in_small_pages(adapter: Medusa, shop: MedusaShop) -> None:
    """Also those whose payments have changed."""
    began = datetime.now(UTC)
    bought = [shop.buy(shop.cart(None, shop.pot_variant))["id"] for _ in range(SMALL + 1)]
    paid = bought[0]
    captured = datetime.now(UTC)
    shop.capture(paid)
    assert set(bought) <= set(await listed(adapter, EventKind.ORDER, cursor=f"orders {SMALL_PAGES}"))
    assert set(bought) <= set(await listed(adapter, EventKind.ORDER, began, cursor=f"orders {SMALL_PAGES}"))
    assert paid in await listed(adapter, EventKind.ORDER, captured, cursor=f"payments {SMALL_PAGES}")


def test_a_poll_brings_every_state_of_one_time_and_then_nothing_new(
    shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    shop.register(f"jane-{secrets.token_hex(4)}@example.com")
    shop.buy(shop.cart(None, shop.mug_variant))
    product, _ = shop.new_product(f"Bowl {secrets.token_hex(4)}", "M")
    with relay.running(variables):
        for name in ("Round bowl", "Square bowl", "Round bowl"):
            shop.execute("UPDATE product SET title = $1 WHERE id = $2", name, product)
            relay.poll(variables)
            assert eventually_sync(partial(relay.shows_title, product, name), PATIENCE)
        assert_nothing_new(relay.poll(variables))
        assert relay.shows_title(product, "Round bowl")


def test_the_subscriber_sends_every_state_of_one_time(
    shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    """A product's time is the latest of it and its variants. Here it is a variant's: a change of the title does not move it."""
    product, (variant,) = shop.new_product(f"Bowl {secrets.token_hex(4)}", "M")
    shop.execute("UPDATE product_variant SET updated_at = now() + interval '1 hour' WHERE id = $1", variant)
    with relay.running(variables):
        for name in ("Round bowl", "Square bowl", "Round bowl"):
            shop.retitle(product, name)
            assert eventually_sync(partial(relay.shows_title, product, name), PATIENCE)


def test_a_deleted_variant_is_deleted_at_the_platform(
    shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    """The newest time of change disappears with the variant."""
    product, (medium, large) = shop.new_product(f"Bowl {secrets.token_hex(4)}", "M", "L")
    with relay.running(variables):
        assert eventually_sync(partial(relay.shows_variants, product, medium, large), PATIENCE)
        path = f"/admin/products/{product}/variants/{large}"
        shop.admin.post(path, "product", title="Large")
        assert eventually_sync(lambda: "Large" in str(relay.delivered("variants.post", f"product:{product}")), PATIENCE)
        shop.remove_variant(product, large)
        assert eventually_sync(partial(relay.shows_variants, product, medium), PATIENCE)


# --------------------------------------------------------------------------------------------------------------- amounts


async def test_amounts_are_gross_whether_prices_include_tax_or_not(
    adapter: Medusa, shop: MedusaShop, relay: Relay, variables: dict[str, str]
) -> None:
    """docs/stores.md, "Amounts", of a real order of two units with a coupon; the subscriber sends the same as the list."""
    mug = shop.mug_variant
    half = order(kind=CouponKind.PERCENTAGE, value=Decimal("12.5"))

    async def bought(coupon: CouponSpec, place: Place) -> str:
        order_id: str = shop.buy(shop.cart(await issued(adapter, coupon), mug, mug, place=place))["id"]
        return order_id

    without_tax = await bought(order(), shop.france)
    percentage = await bought(half, shop.france)
    with_tax = await bought(order(currency="GBP"), shop.britain)
    percentage_with_tax = await bought(replace(half, code=secrets.token_hex(6), currency="GBP"), shop.britain)
    orders = await listed(adapter, EventKind.ORDER)
    assert_amounts(orders[without_tax], price="30.00", saved="5.00", shipping="5.88")
    assert_amounts(orders[percentage], price="30.00", saved="7.50", shipping="5.88")
    assert_amounts(orders[with_tax], price="25.00", saved="5.00", shipping="4.90")
    assert_amounts(orders[percentage_with_tax], price="25.00", saved="6.25", shipping="4.90")
    with relay.running(variables):
        for order_id in (without_tax, percentage, with_tax, percentage_with_tax):
            report = eventually_sync(partial(relay.delivered, "order.post", f"order:{order_id}"), PATIENCE)[0]
            event = orders[order_id]
            assert Decimal(report["totalPrice"]) == event.totalPrice
            assert [Decimal(used["amount"]) for used in report["discountCodes"]] == [event.discountCodes[0].amount]
