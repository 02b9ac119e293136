"""A customer who changed the e-mail address still gets the coupon, and a coupon for one customer is for the current address."""

from datetime import timedelta
from typing import Any  # Any: bodies are free-form JSON

import pytest
from pydantic import HttpUrl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Done, Reject, Wait
from platform_relay.core.reasons import ReasonCode
from platform_relay.explain.collect import explain
from platform_relay.platform.client import PlatformClient
from platform_relay.setting_groups import PlatformSettings
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.journeys.handler_jobs import client_of, store_message
from tests.journeys.test_issue_coupon import CODE, coupon, give, handler, put_rule

OLD, NEW = "jane@example.com", "jane.doe@example.com"


@pytest.fixture
def body(platform: Simulator) -> dict[str, Any]:
    """A redemption that the Platform lists. After it, the customer changed the e-mail address."""
    address(platform, OLD)
    redeemed = platform.control("redeem", customerId="42", ruleId="rule-5-off", code=CODE, deliver=False)["body"]
    address(platform, NEW)
    assert redeemed["customer"]["email"] == OLD
    return dict(redeemed)


def address(platform: Simulator, email: str) -> None:
    platform.control("customers", customers=[{"customerId": "42", "email": email, "points": 5000}])


def restrictions(shop: Simulator) -> list[list[str]]:
    return [made["email_restrictions"] for made in shop.state("coupons", CODE)]


@pytest.mark.parametrize("restricted", [True, False])
async def test_a_listed_redemption_is_confirmed_whatever_the_address(
    shop: Simulator,
    store: WooCommerce,
    client: PlatformClient,
    engine: AsyncEngine,
    body: dict[str, Any],
    restricted: bool,
) -> None:
    issue = handler(store, client, engine, require="confirmed", restrict_to_customer=restricted)
    assert isinstance(await give(issue, engine, body), Done)
    assert restrictions(shop) == [[NEW] if restricted else []]
    row = await coupon(engine)
    assert (row.state, row.verification, row.email_changed) == ("active", "confirmed", True)
    async with engine.connect() as connection:
        explanation = await explain(connection, "coupon", CODE, timedelta(days=400))
        stored = (await connection.execute(text("SELECT CAST(coupon AS text) FROM coupon"))).scalar_one()
    assert any("e-mail address at the Platform was not" in entry.text for entry in explanation.timeline)
    assert "@" not in stored, "no address is stored with the coupon"


async def test_an_unchanged_address_is_no_change(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine, body: Any
) -> None:
    address(platform, OLD.upper())
    issue = handler(store, client, engine, require="confirmed", restrict_to_customer=True)
    assert isinstance(await give(issue, engine, body), Done)
    assert not (await coupon(engine)).email_changed
    assert restrictions(shop) == [[OLD]]


@pytest.mark.parametrize(("first", "then"), [(OLD, NEW), (NEW, OLD)])
async def test_the_address_of_an_issued_coupon_stays_at_later_attempts(
    platform: Simulator,
    shop: Simulator,
    store: WooCommerce,
    client: PlatformClient,
    engine: AsyncEngine,
    body: Any,
    first: str,
    then: str,
) -> None:
    """The response to the creation is lost, and the customer changes the address before the next attempt."""
    issue = handler(store, client, engine, require="confirmed", restrict_to_customer=True)
    address(platform, first)
    shop.script(path="/wp-json/wc/v3/coupons", method="POST", mode="apply_then", status=500, times=1)
    message = await store_message(engine, "points/redeemed")
    assert not isinstance(await give(issue, engine, body, message_id=message), Done)
    changed = (await coupon(engine)).email_changed
    assert changed is (first == NEW)
    if not changed:
        address(platform, then)
    assert isinstance(await give(issue, engine, body, message_id=message, attempt=2, uncertain=True), Done)
    assert restrictions(shop) == [[first]]
    assert (await coupon(engine)).email_changed is changed


async def test_an_approved_coupon_is_for_the_current_address(
    shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine, body: dict[str, Any]
) -> None:
    issue = handler(store, client, engine, require="confirmed", restrict_to_customer=True)
    unknown_rule = {**body, "ruleId": "rule-new"}
    message = await store_message(engine, "points/redeemed")
    assert not isinstance(await give(issue, engine, unknown_rule, message_id=message), Done)
    async with engine.begin() as connection:
        await connection.execute(text("""UPDATE coupon SET decision = '{"by": "ada", "why": "w", "approve": true}'"""))
    await put_rule(engine, "rule-new", kind="fixed_amount", value="7")
    assert isinstance(await give(issue, engine, unknown_rule, message_id=message), Done)
    assert restrictions(shop) == [[NEW]]
    assert (await coupon(engine)).verification == "operator"


async def test_at_known_another_address_needs_the_list(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine, body: dict[str, Any]
) -> None:
    """An id can be guessed. Without the store key there is no list, and with it the code must be on it."""
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="5", currency="EUR")
    http = HttpClient(time_limit=2.0)
    without_key = handler(store, client_of(http, platform.url), engine, require="known")
    outcome = await give(without_key, engine, body)
    assert isinstance(outcome, Wait)
    assert outcome.reason.code is ReasonCode.CONFIRMATION_PENDING
    assert "@" not in repr(outcome.reason.facts)
    refused = await give(without_key, engine, body, unlisted_for=400)
    assert isinstance(refused, Reject)
    with_key = handler(store, client, engine, require="known")
    assert isinstance(await give(with_key, engine, {**body, "couponCode": "bb22", "id": "p-2"}), Wait)
    assert isinstance(await give(with_key, engine, body), Done)
    assert (await coupon(engine)).verification == "confirmed"
    await http.aclose()


async def test_without_an_api_key_an_approved_coupon_is_for_the_webhooks_address(
    platform: Simulator, shop: Simulator, store: WooCommerce, engine: AsyncEngine, body: dict[str, Any]
) -> None:
    http = HttpClient(time_limit=2.0)
    settings = PlatformSettings(url=HttpUrl(platform.url), launcher_url=HttpUrl(platform.url), api_key=None)
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="5", currency="EUR")
    issue = handler(store, PlatformClient(http, settings), engine, require="known", restrict_to_customer=True)
    message = await store_message(engine, "points/redeemed")
    assert isinstance(await give(issue, engine, body, message_id=message), Wait)
    async with engine.begin() as connection:
        await connection.execute(text("""UPDATE coupon SET decision = '{"by": "ada", "why": "w", "approve": true}'"""))
    assert isinstance(await give(issue, engine, body, message_id=message), Done)
    assert restrictions(shop) == [[OLD]]
    await http.aclose()
