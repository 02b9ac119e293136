"""The facts of the set-up, from a real database, the Platform's and a store's simulator."""

from decimal import Decimal

import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from uuid_utils.compat import uuid7

from platform_relay.coupons.reward_rules import OperatorRule, RewardRuleDefinition
from platform_relay.inbox.events import CustomerEvent, EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import incoming
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.rules import PlatformRule, RewardKind
from platform_relay.platform.webhooks import POINTS_REDEEMED, TIER_REWARD, webhook_message
from platform_relay.setting_groups import CouponSettings, PlatformSettings, StoreSettings
from platform_relay.settings import Settings
from platform_relay.setup.checklist import checklist
from platform_relay.setup.collect import collect, kind_of_topic, rules_without_value
from platform_relay.stores.bigcommerce.events import TOPICS as BIGCOMMERCE
from platform_relay.stores.saleor.webhooks import TOPICS as SALEOR
from platform_relay.stores.shopify.events import TOPICS as SHOPIFY
from platform_relay.stores.woocommerce.adapter import WooCommerce
from platform_relay.stores.woocommerce.events import TOPICS as WOOCOMMERCE
from simulators.process import Simulator


@pytest.fixture
def settings(platform: Simulator, shop: Simulator, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {
        "URL": shop.url,
        "CONSUMER_KEY": "ck_simulator_key",
        "CONSUMER_SECRET": "cs_simulator_key",
    }.items():
        monkeypatch.setenv(f"WOOCOMMERCE__{name}", value)
    return Settings(
        _env_file=None,
        public_url=HttpUrl("https://relay.example"),
        store=StoreSettings(adapter="woocommerce"),
        platform=PlatformSettings(
            url=HttpUrl(platform.url), api_key=SecretStr("sim-platform-key"), shop_key="sim-shop",
            webhook_secret=SecretStr("webhook-secret-of-this-test"),
        ),
    )  # fmt: skip


async def test_facts_of_a_relay_that_has_begun(
    engine: AsyncEngine, settings: Settings, client: PlatformClient, store: WooCommerce
) -> None:
    inbox = Inbox(engine, on_commit=lambda _: None)
    event = CustomerEvent(id="42", email="ada@example.com")
    await inbox.accept(incoming(event, b'{"id": "42"}', message_id="1"), uuid7())
    await inbox.accept(webhook_message(POINTS_REDEEMED, b'{"id": "1", "couponCode": "C"}', "2"), uuid7())
    facts = await collect(settings, engine, client, store)
    assert facts.stored
    assert facts.stored.events[EventKind.CUSTOMER].last is not None
    assert not facts.stored.events[EventKind.ORDER].ever
    assert facts.stored.topics[POINTS_REDEEMED].last is not None
    assert not facts.stored.topics[TIER_REWARD].ever
    assert isinstance(facts.webhooks, tuple)
    assert {webhook.state for webhook in facts.webhooks} == {"missing"}
    assert facts.store_customers == 0
    assert (facts.active_rules, facts.rules) == (5, ())
    states = {item.id: item.state for item in checklist(facts)}
    assert states["platform_key"] == states["store"] == states["database"] == "ok"


async def test_messages_that_are_not_among_the_newest_are_found(
    engine: AsyncEngine, settings: Settings, client: PlatformClient, store: WooCommerce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.setup.collect.RECENT_MESSAGES", 1)
    inbox = Inbox(engine, on_commit=lambda _: None)
    await inbox.accept(
        incoming(CustomerEvent(id="42", email="ada@example.com"), b'{"id": "42"}', message_id="1"), uuid7()
    )
    await inbox.accept(webhook_message(POINTS_REDEEMED, b'{"id": "1", "couponCode": "C"}', "2"), uuid7())
    await inbox.accept(webhook_message("points/earned", b'{"id": "1"}', "3"), uuid7())
    stored = (await collect(settings, engine, client, store)).stored
    assert stored
    assert stored.events[EventKind.CUSTOMER].ever
    assert stored.events[EventKind.CUSTOMER].last is None
    assert stored.topics[POINTS_REDEEMED].ever
    assert stored.topics[POINTS_REDEEMED].last is None


async def test_nothing_is_raised_while_everything_is_away(
    settings: Settings, client: PlatformClient, store: WooCommerce, platform: Simulator, shop: Simulator
) -> None:
    platform.outage(on=True)
    shop.outage(on=True)
    nowhere = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    try:
        items = checklist(await collect(settings, nowhere, client, store))
    finally:
        await nowhere.dispose()
    states = {item.id: item.state for item in items}
    assert states["database"] == states["platform_key"] == states["store"] == "missing"


def test_rules_are_valued_as_redemptions_are() -> None:
    valued = PlatformRule("a", RewardKind.FIXED_AMOUNT, Decimal(5), has_value=True)
    empty = PlatformRule("b", RewardKind.FIXED_AMOUNT, None, has_value=True, title="Birthday")
    huge = PlatformRule("c", RewardKind.FIXED_AMOUNT, Decimal(5000), has_value=True)
    definition = RewardRuleDefinition(kind=RewardKind.FIXED_AMOUNT, value=Decimal(7))
    rules, settings = (valued, empty, huge), CouponSettings()
    assert [rule.id for rule in rules_without_value(rules, {}, settings, "EUR")] == ["b", "c"]
    mine = {"b": OperatorRule("b", 1, definition), "c": OperatorRule("c", 1, definition)}
    assert rules_without_value(rules, mine, settings, "EUR") == ()


@pytest.mark.parametrize("topic", [*BIGCOMMERCE, *SHOPIFY, *WOOCOMMERCE, *SALEOR])
def test_every_topic_of_a_store_has_a_kind(topic: str) -> None:
    assert kind_of_topic(topic) is not None
