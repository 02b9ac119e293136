"""The composition root: Settings in, the parts of a process out. The only place that knows everything."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import stores
from platform_relay.alerts.alerts import Alerts
from platform_relay.core import migrate, tracing
from platform_relay.core.database import create_engine
from platform_relay.core.embedded import EmbeddedPostgres
from platform_relay.core.http import HttpClient, HttpClients
from platform_relay.core.telemetry import Metrics, log_attempt
from platform_relay.coupons.issue import IssueCoupon
from platform_relay.coupons.retire import RetireCoupon
from platform_relay.coupons.return_points import ReturnPoints
from platform_relay.coupons.reward_rules import RewardRules
from platform_relay.coupons.transitions import Coupons
from platform_relay.coupons.use_reward import UseReward
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.fetch import FetchEntity
from platform_relay.forwarding.loyalty_sync import SyncLoyalty
from platform_relay.forwarding.order import ForwardOrder
from platform_relay.forwarding.product import ForwardProduct
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import PLATFORM, STORE
from platform_relay.inbox.stored_customers import Customers
from platform_relay.jobs.actions import Operator
from platform_relay.platform.answers import THE_PLATFORM
from platform_relay.platform.client import PlatformClient
from platform_relay.queue.circuit_breaker import DestinationGuard
from platform_relay.queue.destinations import DestinationStates
from platform_relay.queue.jobs import Handler
from platform_relay.queue.loop import Loop, LoopSettings
from platform_relay.queue.notifications import Notifier
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.queue.states import Again, Finish, GiveBack
from platform_relay.reconcile.compare import Sides
from platform_relay.reconcile.repairs import Tools
from platform_relay.settings import Settings
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.native import ListsEntities

log: Final = structlog.get_logger(__name__)

DESTINATIONS: Final = (PLATFORM, STORE)
ATTEMPT_SECONDS: Final = 60.0
"""Bounds one attempt of a job, which may be several calls."""


@dataclass(slots=True)
class Services:
    """What the web process works with. `worker_alive` is None where no worker runs in this process.

    `listen_url` is a direct address of the database. `on_work` are called with a destination that got work in this process.
    """

    settings: Settings
    engine: AsyncEngine
    gates: Mapping[str, DestinationGuard]
    inbox: Inbox
    operator: Operator
    metrics: Metrics
    listen_url: str
    on_work: list[Callable[[str], None]]
    store: StoreAdapter | None = None
    worker_alive: Callable[[], bool] | None = None


@dataclass(slots=True)
class Destinations:
    """What the worker calls. `chat` is for alerts."""

    platform: PlatformClient
    store: StoreAdapter | None
    chat: HttpClient


@asynccontextmanager
async def services(settings: Settings, database_url: str, process: str) -> AsyncIterator[Services]:
    """The parts of one process, `process` being its name in pg_stat_activity; closed at the end.

    Raises ValueError for an unknown shop, or one whose variables are missing or wrong.
    """
    pool = engine(settings, database_url, f"relay {process}", settings.database_pool)
    notifier = Notifier(pool)
    listeners: list[Callable[[str], None]] = []

    def committed(destinations: frozenset[str]) -> None:
        for destination in destinations:
            for listener in listeners:
                listener(destination)
        notifier.notify(destinations)

    gates = _gates(settings, pool)
    store = _store(settings, gates)
    try:
        yield Services(
            settings=settings,
            engine=pool,
            gates=gates,
            inbox=Inbox(pool, on_commit=committed),
            operator=Operator(pool, on_work=committed),
            metrics=Metrics(CollectorRegistry()),
            listen_url=settings.listen_url.get_secret_value() if settings.listen_url else database_url,
            on_work=listeners,
            store=store,
        )
    finally:
        if store is not None:
            await store.aclose()
        await notifier.aclose()
        await pool.dispose()


@asynccontextmanager
async def destinations(parts: Services) -> AsyncIterator[Destinations]:
    """The clients of the destinations and of the chat; closed at the end."""
    settings, key = parts.settings, parts.settings.platform.api_key
    clients = HttpClients(
        settings.platform.time_limit, parts.gates[PLATFORM], private_networks=settings.private_networks
    )
    secrets = (key.get_secret_value(),) if key else ()
    http = clients.make(
        settings.platform.url,
        settings.platform.launcher_url,
        destination=THE_PLATFORM,
        ca_file=settings.platform.ca_file,
        connections=2 * settings.slots,
        secrets=secrets,
    )
    chat = HttpClient(destination="the chat", connections=2)
    try:
        yield Destinations(PlatformClient(http, settings.platform), parts.store, chat)
    finally:
        await chat.aclose()
        await http.aclose()


def _gates(settings: Settings, pool: AsyncEngine) -> Mapping[str, DestinationGuard]:
    destinations = DestinationStates(pool)
    rates = {PLATFORM: settings.platform.rate, STORE: settings.store.rate}
    return {name: DestinationGuard(name, destinations, rate) for name, rate in rates.items()}


def _store(settings: Settings, gates: Mapping[str, DestinationGuard]) -> StoreAdapter | None:
    adapter = settings.store.adapter
    if not adapter:
        return None
    return stores.build(
        adapter, HttpClients(settings.store.time_limit, gates[STORE], private_networks=settings.private_networks)
    )


def loops(parts: Services, far: Destinations) -> list[Loop]:
    """One loop per destination."""
    settings = parts.settings
    runner = Runner(
        handlers(parts, far),
        retry_policy(settings),
        time_limit=ATTEMPT_SECONDS,
        longest_wait=settings.retention.total_seconds(),
        dice=random.random,
    )
    observer = _Observer(parts.metrics)
    return [
        Loop(
            Queue(parts.engine, destination),
            parts.gates[destination],
            runner,
            LoopSettings(slots=settings.slots, poll=settings.poll),
            observer,
        )
        for destination in DESTINATIONS
    ]


def handlers(parts: Services, far: Destinations) -> dict[str, Handler]:
    """Every kind of job and what is done about it."""
    coupons, customers, alerts = Coupons(parts.engine), Customers(parts.engine), Alerts(parts.engine)
    found: dict[str, Handler] = {
        "forward_customer": ForwardCustomer(far.platform, customers),
        "forward_order": ForwardOrder(far.platform, coupons, customers, alerts),
        "forward_product": ForwardProduct(far.platform),
        "use_reward": UseReward(far.platform, coupons),
        "fetch_entity": FetchEntity(far.store, parts.settings.store.adapter or "", parts.inbox.accept),
        "issue_coupon": IssueCoupon(
            store=far.store,
            coupons=coupons,
            rules=RewardRules(parts.engine),
            platform=far.platform,
            alerts=alerts,
            settings=parts.settings.coupons,
        ),
        "retire_coupon": RetireCoupon(far.store, coupons),
        "return_points": ReturnPoints(far.platform, coupons, alerts),
        "sync_loyalty": SyncLoyalty(far.store),
    }
    return {kind: tracing.traced(handler) for kind, handler in found.items()}


def reconciled(parts: Services, far: Destinations) -> Sides | None:
    """What is compared with what; None where the store has no lists."""
    settings, store = parts.settings, cast("object", parts.store)
    if not isinstance(store, ListsEntities):
        return None
    source = settings.store.adapter or ""
    public = settings.store.public_url
    address = f"{str(public).rstrip('/')}/v1/store-webhooks/{source}" if public else None
    return Sides(store, source, far.platform if settings.platform.api_key else None, address)


def repair_tools(parts: Services) -> Tools:
    return Tools(parts.engine, parts.inbox, parts.operator, parts.store, parts.settings.store.adapter or "")


def retry_policy(settings: Settings) -> RetryPolicy:
    retry = settings.retry
    return RetryPolicy(retry.first, retry.factor, retry.longest, retry.jitter, retry.window)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The database's URL: DATABASE_URL, or the embedded server, which runs as long as somebody uses it."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres.start(settings.data_dir / "postgres")
    try:
        yield server.url
    finally:
        server.stop()


async def migrated(settings: Settings, database_url: str) -> None:
    """Bring the tables in DATABASE_SCHEMA to this release; many processes may do so at once."""
    pool = engine(settings, database_url, "relay migrate", 2)
    try:
        await migrate.upgrade(pool)
    finally:
        await pool.dispose()


def engine(settings: Settings, database_url: str, name: str, pool_size: int) -> AsyncEngine:
    """An engine on the database, `name` being its name in pg_stat_activity."""
    return create_engine(
        database_url,
        application_name=name,
        pool_size=pool_size,
        schema=settings.database_schema,
        body_keys=settings.ring,
    )


LOGGED: Final = frozenset(
    {
        "attempts",
        "days",
        "destination",
        "entity",
        "error",
        "field",
        "kind",
        "limit",
        "request",
        "rule",
        "seconds",
        "setting",
        "status",
    }
)
"""Facts that go into logs. Others may hold the words of a destination or an operator, or name a person or a coupon."""


class _Observer:
    """One wide record and a few counters for every settled attempt."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def settled(self, settlement: Settlement) -> None:
        job, to = settlement.job, settlement.transition
        state = to.state if isinstance(to, Finish) else "waiting"
        reason = settlement.reason or to.reason
        if isinstance(to, Finish):
            self._metrics.settled(job.kind, to.state)
        if settlement.outcome is not None:
            code = settlement.reason.code if settlement.reason else None
            self._metrics.attempt(job.kind, job.destination, settlement.outcome, settlement.duration_ms / 1000, code)
        log_attempt(
            job.id,
            job.message_id,
            kind=job.kind,
            destination=job.destination,
            attempt=job.attempt,
            claim=job.claim,
            outcome=settlement.outcome or "not tried",
            state=state,
            milliseconds=settlement.duration_ms,
            status=settlement.evidence.status,
            reason_code=reason.code if reason else None,
            facts={name: fact for name, fact in reason.facts.items() if name in LOGGED} if reason else None,
            delay=to.delay if isinstance(to, Again | GiveBack) else None,
        )

    def lost(self, settlement: Settlement) -> None:
        self._metrics.attempt(settlement.job.kind, settlement.job.destination, "lease_lost", 0.0)
