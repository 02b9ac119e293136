"""The composition root: Settings in, the parts of a process out. The only place that knows everything."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, cast

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from app import migrate, stores
from app.database import create_engine
from app.embedded import EmbeddedPostgres
from app.engine import queue
from app.engine.channels import Channels
from app.engine.gate import Gate
from app.engine.jobs import Handler
from app.engine.loop import Loop, LoopSettings
from app.engine.maintenance import prune_lanes
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
from app.http import HttpClients
from app.inbox import Inbox
from app.messages import PLATFORM, STORE
from app.operations import patrol
from app.operations.alerts import Alerts
from app.operations.audit_chain import log_head
from app.operations.coupons import Coupons
from app.operations.customers import Customers
from app.operations.hooks import switched_off
from app.operations.overdue import watch_deadline
from app.operations.polling import ORDER, poll
from app.operations.reconcile import Sides, reconcile_asked
from app.operations.reconciliations import prune_reconciliations
from app.operations.repairs import Tools
from app.operations.retention import prune_bodies
from app.operations.reward_rules import RewardRules
from app.platform.client import PlatformClient
from app.settings import Settings
from app.stores.base import StoreAdapter
from app.stores.native import ListsEntities, SetsUpWebhooks
from app.telemetry import Metrics, log_attempt

CHANNELS: Final = (PLATFORM, STORE)
ATTEMPT_SECONDS: Final = 60.0
"""Bounds one attempt of a job, which may be several calls."""


@dataclass(slots=True)
class Services:
    """What the web process works with. `worker_alive` is None where no worker runs in this process."""

    settings: Settings
    engine: AsyncEngine
    gates: Mapping[str, Gate]
    inbox: Inbox
    operator: Operator
    metrics: Metrics
    wake: Callable[[str], None]
    store: StoreAdapter | None = None
    worker_alive: Callable[[], bool] | None = None
    on_work: list[Callable[[str], None]] = field(default_factory=list)


@dataclass(slots=True)
class FarSides:
    """What the worker calls, besides the shop."""

    platform: PlatformClient


@asynccontextmanager
async def services(settings: Settings, database_url: str, process: str) -> AsyncIterator[Services]:
    """The parts of one process, `process` being its name in pg_stat_activity; closed at the end.

    Raises ValueError for an unknown shop, or one whose variables are missing or wrong.
    """
    engine = create_engine(database_url, application_name=f"relay {process}", pool_size=settings.database_pool)
    channels = Channels(engine)
    gates = {
        PLATFORM: Gate(PLATFORM, channels, settings.platform.rate),
        STORE: Gate(STORE, channels, settings.store.rate),
    }
    adapter = settings.store.adapter
    store = stores.build(adapter, HttpClients(settings.store.time_limit, gates[STORE])) if adapter else None
    notifier = Notifier(engine)
    metrics = Metrics(CollectorRegistry())
    listeners: list[Callable[[str], None]] = []

    def wake(channel: str) -> None:
        for listener in listeners:
            listener(channel)

    def committed(channels: frozenset[str]) -> None:
        for channel in channels:
            wake(channel)
        notifier.notify(channels)

    try:
        yield Services(
            settings=settings,
            engine=engine,
            gates=gates,
            inbox=Inbox(engine, on_commit=committed),
            operator=Operator(engine, on_work=committed),
            metrics=metrics,
            wake=wake,
            on_work=listeners,
            store=store,
        )
    finally:
        if store is not None:
            await store.aclose()
        await notifier.aclose()
        await engine.dispose()


@asynccontextmanager
async def far_sides(parts: Services) -> AsyncIterator[FarSides]:
    """The client of the Platform; closed at the end."""
    settings, key = parts.settings, parts.settings.platform.api_key
    clients = HttpClients(settings.platform.time_limit, parts.gates[PLATFORM])
    secrets = (key.get_secret_value(),) if key else ()
    http = clients.make(connections=2 * settings.slots, secrets=secrets)
    try:
        yield FarSides(PlatformClient(http, settings.platform))
    finally:
        await http.aclose()


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
    return [
        Loop(
            Queue(parts.engine, channel),
            parts.gates[channel],
            runner,
            LoopSettings(slots=settings.slots, poll=settings.poll),
            _Observer(parts.metrics),
        )
        for channel in CHANNELS
    ]


def handlers(parts: Services, far: FarSides) -> dict[str, Handler]:
    """Every kind of job and what is done about it."""
    coupons, customers, alerts = Coupons(parts.engine), Customers(parts.engine), Alerts(parts.engine)
    return {
        "relay_customer": RelayCustomer(far.platform, customers),
        "relay_order": RelayOrder(far.platform, coupons, customers, alerts),
        "relay_product": RelayProduct(far.platform),
        "use_reward": UseReward(far.platform, coupons),
        "fetch_entity": FetchEntity(parts.store, parts.settings.store.adapter or "", parts.inbox.accept),
        "issue_coupon": IssueCoupon(
            store=parts.store,
            coupons=coupons,
            rules=RewardRules(parts.engine),
            platform=far.platform,
            alerts=alerts,
            settings=parts.settings.coupons,
        ),
        "retire_coupon": RetireCoupon(parts.store, coupons),
        "award_points": AwardPoints(far.platform, coupons, alerts),
        "forward_news": ForwardNews(parts.store),
    }


@dataclass(frozen=True, slots=True)
class Tick:
    """A step that is done now and then every `every` seconds."""

    name: str
    every: float
    step: Callable[[], Awaitable[object]]


def ticks(parts: Services, far: FarSides) -> list[Tick]:
    """What the worker does beside the jobs."""
    engine, settings = parts.engine, parts.settings
    found = [
        Tick("wake_stranded", 30.0, lambda: queue.wake_stranded(engine)),
        Tick("prune_lanes", 600.0, lambda: prune_lanes(engine)),
        Tick("prune_bodies", 3600.0, lambda: prune_bodies(engine, settings.retention)),
    ]
    deadline = settings.coupons.deadline
    watch = max(1.0, min(15.0, deadline.total_seconds() / 4))
    found.append(Tick("coupon_deadline", watch, lambda: watch_deadline(engine, deadline)))
    found.append(Tick("audit_head", 3600.0, lambda: log_head(engine)))
    if parts.store is not None:
        shop = parts.store
        found.append(Tick("coupon_patrol", 3600.0, lambda: patrol.tour(engine, shop)))
    store: object = parts.store
    source = settings.store.adapter or ""
    if settings.store.poll is not None and isinstance(store, ListsEntities):
        lister = store
        found += [
            Tick(f"poll_{kind}", settings.store.poll, lambda kind=kind: poll(engine, parts.inbox, lister, source, kind))  # type: ignore[misc]
            for kind in ORDER
        ]
    if settings.store.public_url is not None and isinstance(store, SetsUpWebhooks):
        keeper = store
        address = f"{str(settings.store.public_url).rstrip('/')}/v1/store-webhooks/{source}"
        found.append(Tick("store_webhooks", 3600.0, lambda: switched_off(keeper, address)))
    if (sides := reconciled(parts, far)) is not None:
        found.append(Tick("reconcile", 5.0, lambda: reconcile_asked(engine, sides, settings.store.reconcile_at)))
        found.append(Tick("prune_reconciliations", 3600.0, lambda: prune_reconciliations(engine, settings.retention)))
    return found


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


async def migrated(database_url: str) -> None:
    """Bring the tables to this release; many processes may do so at once."""
    engine = create_engine(database_url, application_name="relay migrate", pool_size=2)
    try:
        await migrate.upgrade(engine)
    finally:
        await engine.dispose()


class _Observer:
    """One wide record and a few counters for every settled attempt."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def settled(self, settlement: Settlement) -> None:
        job, to = settlement.job, settlement.transition
        state = to.state if isinstance(to, Finish) else "waiting"
        if isinstance(to, Finish):
            self._metrics.settled(job.kind, to.state)
        if settlement.outcome is not None:
            self._metrics.attempt(job.kind, job.channel, settlement.outcome, settlement.duration_ms / 1000)
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
            detail=settlement.words or to.detail,
            delay=to.delay if isinstance(to, Again | GiveBack) else None,
        )

    def lost(self, settlement: Settlement) -> None:
        self._metrics.attempt(settlement.job.kind, settlement.job.channel, "lease_lost", 0.0)
