"""Reads the facts of the set-up. Calls the Platform and the store, and changes nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.checks import configuration, destinations
from platform_relay.checks.check import Check
from platform_relay.core.outcomes import reason_of
from platform_relay.core.reasons import Reason
from platform_relay.coupons import reward_rules
from platform_relay.coupons.reward_rules import OperatorRule
from platform_relay.coupons.valuation_rules import NoValue, find_value
from platform_relay.inbox.events import EventKind
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import PlatformRule
from platform_relay.setting_groups import CouponSettings
from platform_relay.settings import Settings
from platform_relay.setup.checklist import TOPICS
from platform_relay.setup.facts import (
    NEVER,
    RECENT_MESSAGES,
    InstalledWebhook,
    RuleWithoutValue,
    Seen,
    SetupFacts,
    StoredFacts,
)
from platform_relay.setup.records import read_records
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.native import CountsEntities, SetsUpWebhooks, StoreWebhook

DATABASE_SECONDS: Final = 5.0
CALL_SECONDS: Final = 20.0
"""The time limit of all calls to one destination."""
NEWEST_JOBS: Final = 1000

_RECENT: Final = text("""
SELECT source, kind, max(received_at) AS last
FROM (SELECT source, kind, received_at FROM message ORDER BY id DESC LIMIT :messages) AS newest GROUP BY source, kind
""")
_EVER: Final = text("""
SELECT EXISTS (SELECT FROM message WHERE kind = 'customers' AND body IS NOT NULL) AS customers,
       EXISTS (SELECT FROM message WHERE order_ref IS NOT NULL AND kind = 'orders') AS orders,
       EXISTS (SELECT FROM message WHERE product_ref IS NOT NULL AND kind = 'products') AS products
""")
"""Each uses a partial index, whatever the number of messages."""
_TOPIC_EVER: Final = text("""
SELECT topic FROM unnest(CAST(:topics AS text[])) AS topic
WHERE EXISTS (SELECT FROM message WHERE source = 'platform' AND kind = topic)
""")
"""The kind of a webhook of the Platform is its topic. A partial index has the webhooks by kind."""
_ACCEPTED: Final = text("""
SELECT max(finished_at) FROM (SELECT destination, state, finished_at FROM job ORDER BY id DESC LIMIT :jobs) AS newest
WHERE destination = 'platform' AND state = 'done'
""")
_CUSTOMERS: Final = text("""
SELECT count(*) FROM entity
WHERE destination = 'platform' AND key >= 'customer' AND key < 'customes' AND key LIKE 'customer:%' AND exists_remotely
""")
"""The range is that of the index in every collation; LIKE selects exactly."""
_ALERT_SENT: Final = text("SELECT max(notified_at) FROM alert")


async def collect(
    settings: Settings, engine: AsyncEngine, platform: PlatformClient, store: StoreAdapter | None
) -> SetupFacts:
    """The facts now. The database, the Platform and the store are asked at the same time. Never raises for what any of
    them does."""
    stored, of_platform, of_store = await asyncio.gather(
        _of_database(settings, engine), _of_platform(settings, platform), _of_store(settings, platform, store)
    )
    database, values, operator_rules = stored
    key, rules, currency = of_platform
    check, webhooks, store_customers = of_store
    active = None if rules is None else tuple(rule for rule in rules if rule.active and rule.kind and rule.id)
    return SetupFacts(
        now=datetime.now(UTC),
        database=database,
        platform=key,
        store=check,
        webhook_secret=configuration.check_webhook_secret(settings),
        verification=configuration.check_verification(settings),
        stored=values,
        public_url=settings.public_url is not None,
        webhooks=_with_last(webhooks, values),
        active_rules=None if active is None else len(active),
        rules=None
        if active is None or operator_rules is None
        else rules_without_value(active, operator_rules, settings.coupons, currency),
        store_customers=store_customers,
        alert_address=settings.alert_webhook_url is not None,
    )


def rules_without_value(
    rules: tuple[PlatformRule, ...],
    operator_rules: Mapping[str, OperatorRule],
    settings: CouponSettings,
    currency: str | None,
) -> tuple[RuleWithoutValue, ...]:
    """The rules whose redemptions would be held, by the same valuation as a redemption's. Pure."""
    without = []
    for rule in rules:
        points = rule.point_cost or rule.min_points
        redemption = Redemption("", None, None, rule.id, points=None if points is None else int(points))
        value = find_value(
            redemption,
            operator_rule=operator_rules.get(rule.id or ""),
            launcher_rules=rules,
            settings=settings,
            store_currency=currency,
        )
        if isinstance(value, NoValue):
            without.append(RuleWithoutValue(rule.id or "", rule.title))
    return tuple(without)


def kind_of_topic(topic: str) -> EventKind | None:
    """The kind of the events that a topic of a store leads to, such as `order.updated` or `PRODUCT_CREATED`. Pure."""
    lowered = topic.lower()
    return next((kind for kind in EventKind if kind.removesuffix("s") in lowered), None)


# ----------------------------------------------------------------------------------------------- the database


async def _of_database(
    settings: Settings, engine: AsyncEngine
) -> tuple[Check, StoredFacts | None, Mapping[str, OperatorRule] | None]:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            check = await configuration.check_database(engine)
    except TimeoutError:
        problem = f"it did not answer within {DATABASE_SECONDS:g} seconds"
        return Check("database", False, problem, "check its load, and try again"), None, None
    if not check.ok:
        return check, None, None
    try:
        async with asyncio.timeout(CALL_SECONDS), engine.connect() as connection:
            values = await _stored(connection, settings.store.adapter)
            rules = {
                rule.id: OperatorRule(rule.id, rule.version, rule.definition)
                for rule in await reward_rules.listing(connection)
                if rule.definition is not None
            }
    except (SQLAlchemyError, OSError, TimeoutError):
        return check, None, None
    return check, values, rules


async def _stored(connection: AsyncConnection, adapter: str | None) -> StoredFacts:
    recent = (await connection.execute(_RECENT, {"messages": RECENT_MESSAGES})).mappings().all()
    ever = (await connection.execute(_EVER)).mappings().one()
    topics = set((await connection.execute(_TOPIC_EVER, {"topics": list(TOPICS)})).scalars())
    records = await read_records(connection)
    return StoredFacts(
        events={kind: _seen(recent, str(kind), ever=bool(ever[kind])) for kind in EventKind},
        topics={topic: _seen(recent, topic, ever=topic in topics, source="platform") for topic in TOPICS},
        accepted_at=(await connection.execute(_ACCEPTED, {"jobs": NEWEST_JOBS})).scalar(),
        customers=int((await connection.execute(_CUSTOMERS)).scalar() or 0),
        from_store={kind: _seen(recent, str(kind), ever=False, source=adapter or "") for kind in EventKind},
        last_alert_sent=(await connection.execute(_ALERT_SENT)).scalar(),
        test_coupon=records.test_coupon,
        test_alert=records.test_alert,
        backup=records.backup,
    )


def _seen(recent: Sequence[RowMapping], kind: str, *, ever: bool, source: str | None = None) -> Seen:
    of_kind = [row["last"] for row in recent if row["kind"] == kind and source in (None, row["source"])]
    return Seen(True, max(of_kind, default=None)) if ever or of_kind else NEVER


# ----------------------------------------------------------------------------------------------- the destinations


async def _of_platform(
    settings: Settings, platform: PlatformClient
) -> tuple[Check, tuple[PlatformRule, ...] | None, str | None]:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            check = await destinations.check_platform(settings, platform)
            if not platform.has_launcher:
                return check, None, None
            rules, currency = await platform.redeem_rules(), await platform.store_currency()
    except TimeoutError:
        return _late("platform", "PLATFORM__URL"), None, None
    return check, rules if isinstance(rules, tuple) else None, currency if isinstance(currency, str) else None


async def _of_store(
    settings: Settings, platform: PlatformClient, store: StoreAdapter | None
) -> tuple[Check, tuple[StoreWebhook | str, ...] | Reason | None, int | None]:
    """The check; the installed webhooks, and the topics that are missing; and the number of customers."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            check = await first_store_check(settings, platform, store)
            if store is None or not check.ok:
                return check, None, None
            return check, await _webhooks(settings, store), await _count_customers(store)
    except TimeoutError:
        return _late("store", "the store's address"), None, None


async def first_store_check(settings: Settings, platform: PlatformClient, store: StoreAdapter | None) -> Check:
    """Whether the store itself is ready, without its currencies and lists."""
    async with aclosing(destinations.check_store(settings, platform, store)) as checks:
        return await anext(checks)


def _late(name: str, setting: str) -> Check:
    return Check(name, False, f"it did not answer within {CALL_SECONDS:g} seconds", f"check {setting}, and try again")


async def _webhooks(settings: Settings, store: object) -> tuple[StoreWebhook | str, ...] | Reason | None:
    if not isinstance(store, SetsUpWebhooks):
        return None
    if settings.public_url is None:
        return ()
    address = f"{str(settings.public_url).rstrip('/')}/v1/store-webhooks/{settings.store.adapter or ''}"
    present = await store.list_webhooks(address)
    if not isinstance(present, tuple):
        return reason_of(present)
    return tuple(_best(topic, present) for topic in store.webhook_topics())


def _best(topic: str, present: tuple[StoreWebhook, ...]) -> StoreWebhook | str:
    """An enabled webhook for the topic, else a disabled one, else the topic's name."""
    of_topic = sorted((webhook for webhook in present if webhook.topic == topic), key=lambda one: not one.enabled)
    return of_topic[0] if of_topic else topic


def _with_last(
    webhooks: tuple[StoreWebhook | str, ...] | Reason | None, stored: StoredFacts | None
) -> tuple[InstalledWebhook, ...] | Reason | None:
    if webhooks is None or isinstance(webhooks, Reason):
        return webhooks
    return tuple(_installed(webhook, stored) for webhook in webhooks)


def _installed(webhook: StoreWebhook | str, stored: StoredFacts | None) -> InstalledWebhook:
    topic = webhook if isinstance(webhook, str) else webhook.topic
    kind = kind_of_topic(topic)
    last = stored.from_store[kind] if stored and kind else None
    if isinstance(webhook, str):
        return InstalledWebhook(topic, "missing", last)
    return InstalledWebhook(topic, "on" if webhook.enabled else "off", last)


async def _count_customers(store: object) -> int | None:
    if not isinstance(store, CountsEntities):
        return None
    count = await store.count(EventKind.CUSTOMER)
    return count if isinstance(count, int) else None
