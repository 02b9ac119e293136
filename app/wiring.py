"""The composition root: Settings in, the parts of a process out. The only place that knows everything."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from app import migrate, stores, tracing
from app.database import create_engine
from app.embedded import EmbeddedPostgres
from app.engine.channels import Channels
from app.engine.gate import Gate
from app.engine.jobs import Handler
from app.engine.loop import Loop, LoopSettings
from app.engine.operator import Operator
from app.engine.queue import Queue, Settlement
from app.engine.retry import RetryPolicy
from app.engine.runner import Runner
from app.engine.signals import Notifier
from app.engine.states import Again, Finish, GiveBack
from app.handlers.award_points import AwardPoints
from app.handlers.fetch_entity import FetchEntity
from app.handlers.forward_news import ForwardNews
from app.handlers.issue_coupon import IssueCoupon
from app.handlers.relay_customer import RelayCustomer
from app.handlers.relay_order import RelayOrder
from app.handlers.relay_product import RelayProduct
from app.handlers.retire_coupon import RetireCoupon
from app.handlers.use_reward import UseReward
from app.http import HttpClient, HttpClients
from app.inbox import Inbox
from app.messages import PLATFORM, STORE
from app.operations.alerts.raised import Alerts
from app.operations.coupons.reward_rules import RewardRules
from app.operations.coupons.transitions import Coupons
from app.operations.people.customers import Customers
from app.operations.reconcile.compare import Sides
from app.operations.reconcile.repairs import Tools
from app.platform.answers import THE_PLATFORM
from app.platform.client import PlatformClient
from app.settings import Settings
from app.stores.base import StoreAdapter
from app.stores.native import ListsEntities
from app.telemetry import Metrics, log_attempt

log: Final = structlog.get_logger(__name__)

CHANNELS: Final = (PLATFORM, STORE)
ATTEMPT_SECONDS: Final = 60.0
"""Bounds one attempt of a job, which may be several calls."""


@dataclass(slots=True)
class Services:
    """What the web process works with. `worker_alive` is None where no worker runs in this process.

    `listen_url` is a direct address of the database. `on_work` are called with a channel that got work in this process.
    """

    settings: Settings
    engine: AsyncEngine
    gates: Mapping[str, Gate]
    inbox: Inbox
    operator: Operator
    metrics: Metrics
    listen_url: str
    on_work: list[Callable[[str], None]]
    store: StoreAdapter | None = None
    worker_alive: Callable[[], bool] | None = None


@dataclass(slots=True)
class FarSides:
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

    def committed(channels: frozenset[str]) -> None:
        for channel in channels:
            for listener in listeners:
                listener(channel)
        notifier.notify(channels)

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
async def far_sides(parts: Services) -> AsyncIterator[FarSides]:
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
        yield FarSides(PlatformClient(http, settings.platform), parts.store, chat)
    finally:
        await chat.aclose()
        await http.aclose()


def _gates(settings: Settings, pool: AsyncEngine) -> Mapping[str, Gate]:
    channels = Channels(pool)
    rates = {PLATFORM: settings.platform.rate, STORE: settings.store.rate}
    return {name: Gate(name, channels, rate) for name, rate in rates.items()}


def _store(settings: Settings, gates: Mapping[str, Gate]) -> StoreAdapter | None:
    adapter = settings.store.adapter
    if not adapter:
        return None
    return stores.build(
        adapter, HttpClients(settings.store.time_limit, gates[STORE], private_networks=settings.private_networks)
    )


def loops(parts: Services, far: FarSides) -> list[Loop]:
    """One loop per channel."""
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
            Queue(parts.engine, channel),
            parts.gates[channel],
            runner,
            LoopSettings(slots=settings.slots, poll=settings.poll),
            observer,
        )
        for channel in CHANNELS
    ]


def handlers(parts: Services, far: FarSides) -> dict[str, Handler]:
    """Every kind of job and what is done about it."""
    coupons, customers, alerts = Coupons(parts.engine), Customers(parts.engine), Alerts(parts.engine)
    found: dict[str, Handler] = {
        "relay_customer": RelayCustomer(far.platform, customers),
        "relay_order": RelayOrder(far.platform, coupons, customers, alerts),
        "relay_product": RelayProduct(far.platform),
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
        "award_points": AwardPoints(far.platform, coupons, alerts),
        "forward_news": ForwardNews(far.store),
    }
    return {kind: tracing.traced(handler) for kind, handler in found.items()}


def reconciled(parts: Services, far: FarSides) -> Sides | None:
    """What is compared with what; None where the shop has no lists."""
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
            self._metrics.attempt(job.kind, job.channel, settlement.outcome, settlement.duration_ms / 1000, code)
        log_attempt(
            job.id,
            job.message_id,
            kind=job.kind,
            channel=job.channel,
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
        self._metrics.attempt(settlement.job.kind, settlement.job.channel, "lease_lost", 0.0)
