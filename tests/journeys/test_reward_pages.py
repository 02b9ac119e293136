"""A redemption is confirmed on whatever page of the Platform's list its code is."""

from typing import Any  # Any: bodies are free-form JSON

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Done, Reject, Wait
from platform_relay.core.reasons import ReasonCode
from platform_relay.platform.client import PlatformClient
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.journeys.handler_jobs import client_of, store_message
from tests.journeys.test_issue_coupon import CODE, REDEEMED, coupon, give, handler

JANE = {"customerId": "42", "email": "jane@example.com", "points": 100_000}


@pytest.fixture
def platform(platform: Simulator) -> Simulator:
    """Lists one reward on each page."""
    platform.control("customers", customers=[JANE])
    platform.config(rewards_page_size=1)
    return platform


def list_rewards(platform: Simulator, page: int, after: int = 0) -> None:
    """The redemption's code is on this page; `after` is the number of pages behind it."""
    codes = [*(f"other{number}" for number in range(1, page)), CODE, *(f"later{number}" for number in range(after))]
    rewards = [{"code": code, "customerId": "42", "points": 500} for code in codes]
    platform.control("list-rewards", rewards=rewards)


def pages_read(platform: Simulator) -> int:
    return len(platform.ledger(kind="launcher.rewards"))


@pytest.mark.parametrize("page", [1, 50, 51, 120, 200])
async def test_reading_ends_with_the_page_that_has_the_code(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine, page: int
) -> None:
    list_rewards(platform, page, after=3)
    assert isinstance(await give(handler(store, client, engine, require="confirmed"), engine), Done)
    assert (await coupon(engine)).verification == "confirmed"
    assert pages_read(platform) == page


async def test_beyond_the_last_page_the_redemption_is_held_and_not_asked_for_again(
    platform: Simulator, shop: Simulator, store: WooCommerce, http: HttpClient, engine: AsyncEngine
) -> None:
    list_rewards(platform, 6)
    client = client_of(http, platform.url, shop_key="sim-shop", reward_pages=5)
    issue = handler(store, client, engine, require="confirmed")
    message = await store_message(engine, "points/redeemed")
    waits = await give(issue, engine, message_id=message)
    assert isinstance(waits, Wait)
    assert pages_read(platform) == 5
    ended = await give(issue, engine, message_id=message, unlisted_for=400)
    assert isinstance(ended, Reject), "the relay does not ask forever"
    assert ended.reason == waits.reason
    assert ended.reason.code is ReasonCode.REWARD_LIST_INCOMPLETE
    facts = {"problem": "it has more pages", "pages": 5, "setting": "PLATFORM__REWARD_PAGES"}
    assert ended.reason.facts == facts
    assert "PLATFORM__REWARD_PAGES" in ended.reason.next_step
    row = await coupon(engine)
    assert (row.state, row.reason, row.verification) == ("held", ended.reason, None), "it is not refused"
    forged: dict[str, Any] = {**REDEEMED, "id": "evil", "customer": {"externalId": "99"}}
    await give(issue, engine, forged)
    await give(issue, engine, forged, unlisted_for=400)
    row = await coupon(engine)
    assert (row.state, row.redemption_id) == ("held", "p-1"), "a forged claim does not hide it"
    larger = client_of(http, platform.url, shop_key="sim-shop", reward_pages=6)
    again = handler(store, larger, engine, require="confirmed")
    assert isinstance(await give(again, engine, message_id=message), Done)
    assert len(shop.state("coupons", CODE)) == 1


@pytest.mark.parametrize(
    ("next_page", "pages", "problem", "setting"),
    [
        ("same", 2, "it names the same next page again", "PLATFORM__FIELDS"),
        ("fresh", 8, "it has more pages", "PLATFORM__REWARD_PAGES"),
        ("object", 1, "its next page cannot be named", "PLATFORM__FIELDS"),
        ("long", 1, "its next page cannot be named", "PLATFORM__FIELDS"),
    ],
)
async def test_a_list_of_equal_pages_has_an_end(
    platform: Simulator,
    store: WooCommerce,
    http: HttpClient,
    engine: AsyncEngine,
    next_page: str,
    pages: int,
    problem: str,
    setting: str,
) -> None:
    list_rewards(platform, 3)
    platform.config(rewards_next=next_page)
    client = client_of(http, platform.url, shop_key="sim-shop", reward_pages=8)
    waits = await give(handler(store, client, engine, require="confirmed"), engine)
    assert isinstance(waits, Wait)
    assert waits.reason.facts == {"problem": problem, "pages": pages, "setting": setting}
    assert pages_read(platform) == pages


async def test_a_code_that_moves_between_two_pages_is_found_by_the_next_read(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    list_rewards(platform, 2, after=2)
    platform.config(rewards_moved=1)
    issue = handler(store, client, engine, require="confirmed")
    message = await store_message(engine, "points/redeemed")
    waits = await give(issue, engine, message_id=message)
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.CONFIRMATION_PENDING
    assert isinstance(await give(issue, engine, message_id=message, age=2), Done)


async def test_a_list_that_takes_too_long_has_an_end(
    platform: Simulator,
    store: WooCommerce,
    client: PlatformClient,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that reaches its time limit would be tried again and again."""
    monkeypatch.setattr("platform_relay.platform.client.LONGEST_READ", -1.0)
    list_rewards(platform, 3)
    waits = await give(handler(store, client, engine, require="confirmed"), engine)
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.REWARD_LIST_INCOMPLETE
    assert pages_read(platform) == 1
