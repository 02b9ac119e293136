"""Both journeys against the real Vendure: its events in through integrations/vendure, coupons out, used in real orders."""

from __future__ import annotations

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
from platform_relay.core.outcomes import Blocked, Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind, CouponSpec, Ready, StoreCoupon, differences
from platform_relay.stores.vendure.adapter import CREATE, Vendure
from platform_relay.stores.vendure.coupons import Market, promotion_input
from tests.helpers import eventually_sync
from tests.live.carts import VendureCarts, cart_results
from tests.live.lists import MANY, SMALL, SMALL_PAGES, assert_amounts, assert_counted, assert_nothing_new, listed
from tests.live.relay import PATIENCE, STORE_KEY, Relay
from tests.live.stores import UnavailableError, install
from tests.live.vendure_shop import SECRET, SHIPPING, VendureShop, vendure

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]
SOON = datetime.now(UTC) + timedelta(days=3)
MARKET = Market("web", "EUR", frozenset({"EUR"}), "en", 2)


@pytest.fixture(scope="module")
def shop(folder: Path, relay: Relay) -> Iterator[VendureShop]:
    try:
        installed = install("vendure")
    except UnavailableError as error:
        pytest.skip(f"no Vendure here: {error}")
    report = {"RELAY_URL": relay.url, "RELAY_STORE_KEY": STORE_KEY, "RELAY_RETRY_SECONDS": "1"}
    with vendure(installed, folder / "vendure", report) as running:
        yield running


@pytest.fixture
def variables(shop: VendureShop) -> dict[str, str]:
    return {"STORE__ADAPTER": "vendure", "VENDURE__URL": shop.admin_url, "VENDURE__API_KEY": shop.api_key}


@pytest.fixture
async def adapter(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vendure]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = Vendure.from_environment(HttpClients(30))
    yield made
    await made.aclose()


def order(**fields: Any) -> CouponSpec:
    usual = {"kind": CouponKind.FIXED_AMOUNT, "value": Decimal("5.00"), "currency": "EUR", "code": secrets.token_hex(6)}
    return CouponSpec(**{**usual, **fields})


async def issued(adapter: Vendure, wanted: CouponSpec) -> str:
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


async def test_check(adapter: Vendure) -> None:
    outcome = await adapter.check()
    assert isinstance(outcome, Ready), outcome
    assert "EUR" in outcome.detail


async def test_a_login_does_as_well_and_a_wrong_one_does_not(
    shop: VendureShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDURE__URL", shop.admin_url)
    monkeypatch.setenv("VENDURE__USERNAME", "superadmin")
    for password, wanted in ((SECRET, Ready), ("a-wrong-password", Blocked)):
        monkeypatch.setenv("VENDURE__PASSWORD", password)
        adapter = Vendure.from_environment(HttpClients(30))
        assert isinstance(await adapter.check(), wanted)
        await adapter.aclose()


# ---------------------------------------------------------------------------------------------------------- coupons


async def test_kinds_in_a_cart(adapter: Vendure, shop: VendureShop) -> None:
    mug, pot = shop.mug_variant, shop.pot_variant
    free_mug = order(kind=CouponKind.FREE_PRODUCT, value=None, product_ids=(shop.mug,))
    for fields, off in (
        ({}, 500),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal("7.5")}, 263),
        ({"kind": CouponKind.FREE_SHIPPING, "value": None}, SHIPPING),
        ({"kind": CouponKind.FREE_PRODUCT, "value": None, "product_ids": (shop.mug, shop.pot)}, 1000),
        ({"kind": CouponKind.FREE_PRODUCT, "value": None, "product_ids": (shop.mug,)}, 2500),
        ({"kind": CouponKind.PERCENTAGE, "value": Decimal(50), "product_ids": (shop.mug,)}, 1250),
    ):
        code = await issued(adapter, order(**fields))
        cart = shop.cart(code, mug, pot)
        assert (cart.off, cart.shown["totalWithTax"]) == pytest.approx((off, 3500 + SHIPPING - off), abs=1), fields
    code = await issued(adapter, free_mug)
    assert shop.cart(code, mug).off == 2500
    assert shop.cart(code, mug, mug, mug).off == 2500
    assert shop.cart(code, pot).off == 0


async def test_the_kit_finds_every_discount_in_a_cart(
    shop: VendureShop, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    results = await cart_results(Vendure, VendureCarts(shop))
    assert [(name, result.problem) for name, result in results.items() if result.result != "pass"] == []


async def test_no_amount_is_taken_off_other_products(adapter: Vendure, shop: VendureShop) -> None:
    """Vendure has no action for it: such a promotion, made by hand, takes the amount off the whole order."""
    for items in ({"product_ids": (shop.pot,)}, {"variant_ids": (shop.pot_variant,)}):
        outcome = await adapter.issue_coupon(order(**items))
        assert isinstance(outcome, Reject), outcome
        assert outcome.reason.facts["field"] == next(iter(items))
    by_hand = order(value=Decimal(20))
    condition = {"code": "contains_products", "arguments": [
        {"name": "minimum", "value": "1"}, {"name": "productVariantIds", "value": f'["{shop.pot_variant}"]'}]}  # fmt: skip
    promotion: dict[str, Any] = promotion_input(by_hand, MARKET, ())
    shop.admin(CREATE, input={**promotion, "conditions": [condition]})
    assert shop.cart(by_hand.code, shop.pot_variant, shop.mug_variant).off == 2000
    found = await adapter.find_coupon(by_hand.code)
    assert isinstance(found, StoreCoupon)
    assert found.restrictions


async def test_an_amount_is_refused_where_it_would_count_in_every_currency(
    shop: VendureShop, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    half = {"kind": CouponKind.PERCENTAGE, "value": Decimal(50)}
    shop.sell_in("EUR", "USD")
    try:
        several = Vendure.from_environment(HttpClients(30))
        for fields in ({}, {**half, "minimum_spend": Decimal(30)}):
            outcome = await several.issue_coupon(order(**fields))
            assert isinstance(outcome, Reject), outcome
            assert outcome.reason.facts["field"] == "currency"
        assert isinstance(await several.issue_coupon(order(**half)), Done)
        await several.aclose()
    finally:
        shop.sell_in("EUR")
    one = Vendure.from_environment(HttpClients(30))
    for refused in (order(currency="PLN"), order(**half, currency="PLN", minimum_spend=Decimal(30))):
        outcome = await one.issue_coupon(refused)
        assert isinstance(outcome, Reject), outcome
        assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
    await one.aclose()


async def test_a_code_may_be_entered_in_any_case(adapter: Vendure, shop: VendureShop) -> None:
    code = await issued(adapter, order(code=f"ab{secrets.token_hex(5)}"))
    assert shop.cart(code, shop.mug_variant).off == 500
    assert shop.cart(code.upper(), shop.mug_variant).off == 500
    found = await adapter.find_coupon(code)
    assert isinstance(found, StoreCoupon)
    assert found.any_case


async def test_a_coupon_for_a_variant_is_for_no_other_of_its_product(adapter: Vendure, shop: VendureShop) -> None:
    medium, large = shop.cups
    half: dict[str, Any] = {"kind": CouponKind.PERCENTAGE, "value": Decimal(50)}
    for fields, off in (
        (half, 500),
        ({"kind": CouponKind.FREE_SHIPPING, "value": None}, SHIPPING),
        ({"kind": CouponKind.FREE_PRODUCT, "value": None}, 1000),
    ):
        code = await issued(adapter, order(**fields, variant_ids=(large,)))
        assert shop.cart(code, medium).off == 0, fields
        assert shop.cart(code, medium, large, shop.mug_variant).off == off, fields
    for items in ({"variant_ids": (medium, large)}, {"product_ids": (shop.cup,)}):
        code = await issued(adapter, order(**half, **items))
        assert shop.cart(code, medium, large, shop.mug_variant).off == 1000, items


async def test_conditions_in_a_cart(adapter: Vendure, shop: VendureShop) -> None:
    mug, pot = shop.mug_variant, shop.pot_variant
    least = await issued(adapter, order(minimum_spend=Decimal("30.00")))
    assert shop.cart(least, mug).off == 0
    assert shop.cart(least, mug, pot).off == 500
    half_a_pot = order(kind=CouponKind.PERCENTAGE, value=Decimal(50), product_ids=(shop.pot,))
    assert shop.cart(await issued(adapter, half_a_pot), mug).off == 0
    later = await issued(adapter, order(starts_at=SOON, expires_at=SOON + timedelta(days=1)))
    assert shop.cart(later, mug).off == 0
    running = await issued(adapter, order(starts_at=SOON - timedelta(days=9), expires_at=SOON))
    assert shop.cart(running, mug).off == 500
    refused = await adapter.issue_coupon(order(email="jane@example.com"))
    assert isinstance(refused, Reject), refused


async def test_limits_in_orders(adapter: Vendure, shop: VendureShop) -> None:
    mug = shop.mug_variant
    once = await issued(adapter, order(usage_limit=1))
    assert shop.cart(once, mug).buy()["discounts"]
    assert shop.cart(once, mug, email="another@example.com").shown["errorCode"] == "COUPON_CODE_LIMIT_ERROR"
    each = await issued(adapter, order(usage_limit=None, per_customer_limit=1))
    assert shop.cart(each, mug).buy()["discounts"]
    assert shop.cart(each, mug).shown["errorCode"] == "COUPON_CODE_LIMIT_ERROR"
    assert shop.cart(each, mug, email="another@example.com").off == 500


async def test_duplicates_add_up_and_are_retired(adapter: Vendure, shop: VendureShop) -> None:
    wanted = order(reference="r-1")
    code = await issued(adapter, wanted)
    for _ in range(2):
        shop.admin(CREATE, input=promotion_input(wanted, MARKET, ()))
    assert shop.cart(code, shop.mug_variant).off == 1500
    found = await adapter.find_coupon(code)
    assert isinstance(found, StoreCoupon)
    assert found.reference == "r-1"
    assert "duplicate" in " ".join(str(each.actual) for each in differences(wanted, found))
    oldest = shop.promotions(code)[0]["id"]
    assert await adapter.issue_coupon(wanted) == Done({"store_id": oldest})
    assert [row["id"] for row in shop.promotions(code)] == [oldest]
    assert shop.cart(code, shop.mug_variant).off == 500


async def test_another_coupon_of_the_code_in_any_spelling(adapter: Vendure, shop: VendureShop) -> None:
    wanted = order()
    theirs = replace(wanted, code=wanted.code.upper(), value=Decimal(7))
    shop.admin(CREATE, input=promotion_input(theirs, MARKET, ()))
    outcome = await adapter.issue_coupon(wanted)
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert outcome.reason.facts["differences"] == [{"field": "value", "actual": "7.00", "expected": "5.00"}]
    assert shop.promotions(wanted.code) == []


async def test_a_retired_coupon_is_worth_nothing_and_its_code_is_free(adapter: Vendure, shop: VendureShop) -> None:
    wanted = order()
    code = await issued(adapter, wanted)
    for _ in range(2):
        assert isinstance(await adapter.retire_coupon(code), Done)
        assert await adapter.find_coupon(code) is None
    assert shop.cart(code, shop.mug_variant).shown["errorCode"] == "COUPON_CODE_INVALID_ERROR"
    assert await issued(adapter, wanted) == code
    assert shop.cart(code, shop.mug_variant).off == 500


# ---------------------------------------------------------------------------------------------------------- journeys


def test_events_come_in_also_those_from_while_the_relay_was_away(
    shop: VendureShop, relay: Relay, variables: dict[str, str]
) -> None:
    jane = shop.register(f"jane-{secrets.token_hex(4)}@example.com")
    shop.retitle(shop.mug, "Blue mug")
    with relay.running(variables):
        (came, *_) = eventually_sync(lambda: relay.delivered("customer.put", f"customer:{jane}"), PATIENCE)
        assert came["email"].startswith("jane-")
        assert eventually_sync(partial(relay.shows_title, shop.mug, "Blue mug"), PATIENCE)
        shop.rename(jane, "Janet")

        def renamed() -> bool:
            return "Janet" in str(relay.delivered("customer.put", f"customer:{jane}")[-1])

        assert eventually_sync(renamed, PATIENCE)


def test_points_become_a_coupon_that_is_used_in_an_order(
    shop: VendureShop, relay: Relay, variables: dict[str, str]
) -> None:
    with relay.running(variables):
        email = f"jane-{secrets.token_hex(4)}@example.com"
        jane = shop.register(email)
        assert eventually_sync(lambda: relay.delivered("customer.put", f"customer:{jane}"), PATIENCE)
        code = relay.redeem(jane)
        assert eventually_sync(lambda: shop.promotions(code), PATIENCE)
        cart = shop.cart(code, shop.mug_variant, email=email, account=True)
        assert cart.off == 500
        bought = cart.buy()
        report = eventually_sync(lambda: relay.delivered("order.post", f"order:{bought['id']}"), PATIENCE)[0]
        assert (report["customerId"], report["financialStatus"], report["currency"]) == (jane, "authorized", "EUR")
        assert Decimal(report["totalPrice"]) == Decimal("24.90")
        assert [(each["code"], Decimal(each["amount"])) for each in report["discountCodes"]] == [(code, Decimal(5))]
        assert eventually_sync(lambda: relay.delivered("reward.use", f"coupon:{code}"), PATIENCE)
        shop.settle(bought["id"])

        def paid() -> bool:
            updates = relay.delivered("order.patch", f"order:{bought['id']}")
            return any(update["financialStatus"] == "paid" for update in updates)

        assert eventually_sync(paid, PATIENCE)


def test_a_guest_goes_by_address_and_a_cart_not_at_all(
    shop: VendureShop, relay: Relay, variables: dict[str, str]
) -> None:
    email = f"guest-{secrets.token_hex(4)}@example.com"
    left = shop.cart(None, shop.mug_variant, email=email).shown
    bought = shop.cart(None, shop.mug_variant, email=email).buy()
    with relay.running(variables):
        report = eventually_sync(lambda: relay.delivered("order.post", f"order:{bought['id']}"), PATIENCE)[0]
        assert report["email"] == email
        assert report.get("customerId") in (None, email)
        assert relay.delivered("order.post", f"order:{left['id']}") == []


async def test_lists_say_the_same(adapter: Vendure, shop: VendureShop) -> None:
    email = f"jane-{secrets.token_hex(4)}@example.com"
    jane = shop.register(email)
    code = await issued(adapter, order())
    bought = shop.cart(code, shop.mug_variant, email=email, account=True).buy()
    shop.settle(bought["id"])
    customers = await listed(adapter, EventKind.CUSTOMER)
    assert customers[jane].email == email
    assert not any(event.email == "guest@example.com" for event in customers.values())
    assert {shop.mug, shop.pot} <= set(await listed(adapter, EventKind.PRODUCT))
    seen = (await listed(adapter, EventKind.ORDER))[bought["id"]]
    assert (seen.customerId, seen.financialStatus, seen.totalPrice) == (jane, "paid", Decimal("24.90"))
    assert [(used.code, used.amount) for used in seen.discountCodes] == [(code, Decimal("5.00"))]


# ------------------------------------------------------------------------------------------- lists and changes of one time


async def test_no_product_of_one_time_is_missed_while_the_list_changes(adapter: Vendure, shop: VendureShop) -> None:
    """Products of one time, of which some are edited and deleted between small pages. Vendure counts as many as it lists."""
    before = list(await listed(adapter, EventKind.PRODUCT))
    made = shop.add(f"many-{secrets.token_hex(4)}", 2 * MANY)
    assert len(shop.times(made)) < len(made) // SMALL, "too few products have the same time"
    between = (
        lambda: shop.retitle(shop.cup, "Edited cup"),  # listed already
        lambda: shop.retitle(made[-1], "Edited at the end"),
        lambda: shop.remove(made[:3]),  # listed already: what follows moves up
        lambda: shop.remove(made[-3:-1]),
        lambda: shop.add(f"more-{secrets.token_hex(4)}", 2),
    )
    found = await listed(adapter, EventKind.PRODUCT, cursor=SMALL_PAGES, between=between)
    remaining = {*before, *made[3:-3], made[-1]}
    assert remaining - set(found) == set()
    assert found[made[-1]].title == "Edited at the end"
    await assert_counted(adapter, EventKind.PRODUCT)
    await assert_counted(adapter, EventKind.ORDER)
    began = datetime.now(UTC)
    shop.retitle(made[5], "Edited later")
    assert made[5] in await listed(adapter, EventKind.PRODUCT, began, cursor=SMALL_PAGES)


async def test_orders_are_listed_in_small_pages(adapter: Vendure, shop: VendureShop) -> None:
    """Carts are no orders; guests' orders are."""
    shop.cart(None, shop.pot_variant)
    bought = [shop.cart(None, shop.pot_variant).buy()["id"] for _ in range(SMALL + 1)]
    found = await listed(adapter, EventKind.ORDER, cursor=SMALL_PAGES)
    assert set(bought) <= set(found)
    assert set(found) == set(await listed(adapter, EventKind.ORDER))
    await assert_counted(adapter, EventKind.ORDER)


def test_a_poll_brings_every_state_of_one_time_and_then_nothing_new(
    shop: VendureShop, relay: Relay, variables: dict[str, str]
) -> None:
    product, _ = shop.new_product(f"Bowl {secrets.token_hex(4)}", "M")

    with relay.running(variables):
        for name in ("Round bowl", "Square bowl", "Round bowl"):
            shop.execute("UPDATE product_translation SET name = ? WHERE baseId = ?", name, product)
            relay.poll(variables)
            assert eventually_sync(partial(relay.shows_title, product, name), PATIENCE)
        assert_nothing_new(relay.poll(variables))
        assert relay.shows_title(product, "Round bowl")


def test_the_plugin_sends_every_state_of_one_time(shop: VendureShop, relay: Relay, variables: dict[str, str]) -> None:
    """A product's time is the latest of it and its variants. Here it is a variant's: a change of the title does not move it."""
    product, (variant,) = shop.new_product(f"Bowl {secrets.token_hex(4)}", "M")
    later = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    shop.execute("UPDATE product_variant SET updatedAt = ? WHERE id = ?", later, variant)

    with relay.running(variables):
        for name in ("Round bowl", "Square bowl", "Round bowl"):
            shop.retitle(product, name)
            assert eventually_sync(partial(relay.shows_title, product, name), PATIENCE)


def test_a_deleted_variant_is_deleted_at_the_platform(
    shop: VendureShop, relay: Relay, variables: dict[str, str]
) -> None:
    """The newest time of change disappears with the variant."""
    product, (medium, large) = shop.new_product(f"Bowl {secrets.token_hex(4)}", "M", "L")
    earlier = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    shop.execute("UPDATE product SET updatedAt = ? WHERE id = ?", earlier, product)
    shop.execute("UPDATE product_variant SET updatedAt = ? WHERE id = ?", earlier, medium)

    with relay.running(variables):
        relay.poll(variables)
        assert eventually_sync(partial(relay.shows_variants, product, medium, large), PATIENCE)
        shop.remove_variant(large)
        assert eventually_sync(partial(relay.shows_variants, product, medium), PATIENCE)


# --------------------------------------------------------------------------------------------------------------- amounts


async def test_amounts_are_gross_whether_prices_include_tax_or_not(
    adapter: Vendure, shop: VendureShop, relay: Relay, variables: dict[str, str]
) -> None:
    """docs/stores.md, "Amounts", of a real order of two units with a coupon; the plugin sends the same as the list."""
    lamp = shop.lamp_variant

    def buy(code: str) -> str:
        order_id: str = shop.cart(code, lamp, lamp).buy()["id"]
        return order_id

    code = await issued(adapter, order())
    with_tax = buy(code)
    code = await issued(adapter, order())
    half = await issued(adapter, order(kind=CouponKind.PERCENTAGE, value=Decimal("12.5")))
    with shop.prices_without_tax():
        without_tax, percentage = buy(code), buy(half)
    orders = await listed(adapter, EventKind.ORDER)
    assert_amounts(orders[with_tax], price="20.00", saved="5.00", shipping="4.90")
    assert_amounts(orders[without_tax], price="23.80", saved="5.95", shipping="4.90")
    assert_amounts(orders[percentage], price="23.80", saved="5.95", shipping="4.90")
    with relay.running(variables):
        for order_id in (with_tax, without_tax, percentage):
            report = eventually_sync(partial(relay.delivered, "order.post", f"order:{order_id}"), PATIENCE)[0]
            event = orders[order_id]
            assert Decimal(report["totalPrice"]) == event.totalPrice
            assert [Decimal(used["amount"]) for used in report["discountCodes"]] == [event.discountCodes[0].amount]
