"""The composition root: builds the parts of a process from the settings."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, cast

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import stores
from platform_relay.access.refused_requests import RefusedRequests
from platform_relay.alerts.alerts import Alerts
from platform_relay.alerts.future_versions import FutureVersions
from platform_relay.alerts.message_reasons import MessageReasons
from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.core import tracing
from platform_relay.core.background import keep_running
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import servers_of
from platform_relay.core.database_watch import watch_servers
from platform_relay.core.http import HttpClient, HttpClients, RateLimit, WriteGuard
from platform_relay.core.metrics import Metrics
from platform_relay.core.work import Work
from platform_relay.core.work_metrics import WorkGauges
from platform_relay.coupons.issue import IssueCoupon
from platform_relay.coupons.retire import RetireCoupon
from platform_relay.coupons.return_points import ReturnPoints
from platform_relay.coupons.reward_rules import RewardRules
from platform_relay.coupons.transitions import Coupons
from platform_relay.coupons.use_reward import UseReward
from platform_relay.coupons.valuation import Valuer
from platform_relay.coupons.verification import Verifier
from platform_relay.database_setup import engine, failovers_of
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.fetch import FetchEntity
from platform_relay.forwarding.loyalty_sync import SyncLoyalty
from platform_relay.forwarding.order import ForwardOrder
from platform_relay.forwarding.product import ForwardProduct
from platform_relay.forwarding.unreadable import RejectUnreadable
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import PLATFORM, STORE, STORE_LOYALTY, JobKind
from platform_relay.inbox.stored_customers import Customers
from platform_relay.jobs.actions import OperatorActions
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.connection import platform_client
from platform_relay.queue.destination_guard import DestinationGuard, SideLimit
from platform_relay.queue.destinations import DestinationStates
from platform_relay.queue.jobs import Handler
from platform_relay.queue.loop import Loop, LoopSettings
from platform_relay.queue.notifications import Notifier
from platform_relay.queue.queue import Queue, watch_lane
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.queue.telemetry import AttemptTelemetry
from platform_relay.reconcile.compare import ComparedSystems
from platform_relay.reconcile.repairs import Repairer
from platform_relay.services import Services as Services
from platform_relay.settings import Settings
from platform_relay.stores.base import StoreAdapter
from platform_relay.stores.native import ListsEntities
from platform_relay.trial.mode import OperatingMode
from platform_relay.trial.rehearsal import Rehearsal

DESTINATIONS: Final = (PLATFORM, STORE, STORE_LOYALTY)
LOYALTY_CALLS: Final = 8
"""The loyalty sync makes at most this many calls at once, so that it never takes the store's time for coupons."""
IDLE_SECONDS: Final = 10.0
"""Between two claims of a loop without due work, unless it is woken."""
ATTEMPT_SECONDS: Final = 60.0
"""The time limit of one attempt, which may make several calls."""


@dataclass(slots=True)
class Clients:
    """The clients of the destinations, and of the chat that receives alerts. `loyalty`: the store, for the loyalty sync."""

    platform: PlatformClient
    store: StoreAdapter | None
    loyalty: StoreAdapter | None
    chat: HttpClient


@asynccontextmanager
async def services(
    settings: Settings, database_url: str, process: str, *, rate_limits: bool = True
) -> AsyncIterator[Services]:
    """The parts of one process, which are closed at the end. `process` is its name in pg_stat_activity. Without
    `rate_limits`, calls to destinations do not depend on the database.

    Raises ValueError when the store adapter is unknown, or its settings are missing or wrong.
    """
    metrics = Metrics(CollectorRegistry())
    work = Work(metrics.work_failed)
    WorkGauges(metrics.registry, work)
    failovers = failovers_of(settings, database_url)
    pool = engine(
        settings,
        database_url,
        f"relay {process}",
        settings.database_pool_size,
        metrics.connection_discarded,
        failovers,
    )
    watch = asyncio.create_task(keep_running("watch_servers", partial(watch_servers, servers_of(pool))))
    notifier = Notifier(pool)
    listeners: list[Callable[[str], None]] = []

    def committed(destinations: frozenset[str]) -> None:
        for destination in destinations:
            for listener in listeners:
                listener(destination)
        notifier.notify(destinations)

    guards = _guards(settings, pool) if rate_limits else {}
    mode = OperatingMode(pool, settings.mode, offline=not rate_limits)
    store = _store(settings, guards.get(STORE), mode)
    refused = RefusedRequests(pool, metrics.refused_request_dropped) if settings.refused_requests else None
    compute, worker_compute, import_compute = ComputeProcess(), ComputeProcess(), ComputeProcess()
    try:
        yield Services(
            settings=settings,
            mode=mode,
            failovers=failovers,
            engine=pool,
            guards=guards,
            inbox=Inbox(
                pool,
                on_commit=committed,
                on_future_version=FutureVersions(pool, metrics),
                on_reason=MessageReasons(pool, metrics),
                work=work.accept,
            ),
            work=work,
            actions=OperatorActions(pool, on_work=committed),
            metrics=metrics,
            compute=compute,
            worker_compute=worker_compute,
            import_compute=import_compute,
            listen_url=settings.database_listen_url.get_secret_value()
            if settings.database_listen_url
            else database_url,
            on_work=listeners,
            store=store,
            refused_requests=refused,
            platform=partial(platform_client, settings, guards.get(PLATFORM), mode),
        )
    finally:
        if refused is not None:
            await refused.aclose()
        if store is not None:
            await store.aclose()
        await compute.aclose()
        await worker_compute.aclose()
        await import_compute.aclose()
        await notifier.aclose()
        await pool.dispose()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


@asynccontextmanager
async def clients(parts: Services) -> AsyncIterator[Clients]:
    """The clients of the destinations and of the chat, which are closed at the end."""
    settings = parts.settings
    loyalty = _store(settings, _loyalty_limit(parts.guards), parts.mode) if parts.store is not None else None
    try:
        async with chat_client() as chat, platform_client(settings, parts.guards.get(PLATFORM), parts.mode) as platform:
            yield Clients(platform, parts.store, loyalty, chat)
    finally:
        if loyalty is not None:
            await loyalty.aclose()


@asynccontextmanager
async def chat_client() -> AsyncIterator[HttpClient]:
    """The client of the chat that receives alerts."""
    chat = HttpClient(destination="the chat", connections=2)
    try:
        yield chat
    finally:
        await chat.aclose()


def _guards(settings: Settings, pool: AsyncEngine) -> Mapping[str, DestinationGuard]:
    destinations = DestinationStates(pool)
    rates = {PLATFORM: settings.platform.rate_limit, STORE: settings.store.rate_limit, STORE_LOYALTY: None}
    return {name: DestinationGuard(name, destinations, rate) for name, rate in rates.items()}


def _store(settings: Settings, limit: RateLimit | None, guard: WriteGuard) -> StoreAdapter | None:
    adapter = settings.store.adapter
    if not adapter:
        return None
    networks = settings.private_networks
    clients = HttpClients(settings.store.timeout, limit, private_networks=networks, write_guard=guard)
    return stores.build(adapter, clients)


def _loyalty_limit(guards: Mapping[str, DestinationGuard]) -> RateLimit | None:
    own, main = guards.get(STORE_LOYALTY), guards.get(STORE)
    return SideLimit(own, main) if own and main else None


def loops(parts: Services, clients: Clients) -> list[Loop]:
    """One loop per destination."""
    settings = parts.settings
    by_kind = handlers(parts, clients)
    rehearsal = Rehearsal(
        engine=parts.engine,
        mode=parts.mode,
        fields=clients.platform.fields,
        fetch=by_kind[JobKind.FETCH_ENTITY],
        valuer=Valuer(RewardRules(parts.engine), clients.platform, settings.coupons),
        verifier=Verifier(parts.engine, clients.platform, settings.coupons),
        settings=settings.coupons,
        compute=parts.worker_compute,
    )
    runner = Runner(
        by_kind,
        retry_policy(settings),
        time_limit=ATTEMPT_SECONDS,
        longest_wait=settings.retention.total_seconds(),
        random=random.random,
        rehearse=rehearsal,
    )
    observer = AttemptTelemetry(parts.metrics)
    return [
        Loop(
            Queue(parts.engine, destination),
            parts.guards[destination],
            runner,
            LoopSettings(
                concurrency=min(settings.concurrency, LOYALTY_CALLS)
                if destination == STORE_LOYALTY
                else settings.concurrency,
                poll_interval=settings.poll_interval,
                idle_interval=max(settings.poll_interval, IDLE_SECONDS),
            ),
            observer,
            parts.work,
        )
        for destination in DESTINATIONS
    ]


def handlers(parts: Services, clients: Clients) -> dict[str, Handler]:
    """The handler of each kind of job."""
    coupons, customers, alerts = Coupons(parts.engine), Customers(parts.engine), Alerts(parts.engine)
    drift = PlatformDrift(parts.engine, clients.platform.fields)

    def maybe_sent(created_at: datetime | None) -> bool:
        return parts.mode.sent_by_another(created_at) or parts.failovers.may_have_sent(created_at)

    by_kind: dict[JobKind, Handler] = {
        JobKind.FORWARD_CUSTOMER: RejectUnreadable(
            ForwardCustomer(clients.platform, customers, parts.worker_compute, drift)
        ),
        JobKind.FORWARD_ORDER: RejectUnreadable(
            ForwardOrder(
                clients.platform,
                coupons,
                customers,
                alerts,
                parts.worker_compute,
                maybe_sent,
                parts.failovers.may_still_arrive,
            )
        ),
        JobKind.FORWARD_PRODUCT: RejectUnreadable(ForwardProduct(clients.platform, parts.worker_compute)),
        JobKind.USE_REWARD: UseReward(clients.platform, coupons),
        JobKind.FETCH_ENTITY: FetchEntity(
            clients.store,
            parts.settings.store.adapter or "",
            parts.inbox.accept,
            partial(watch_lane, parts.engine, PLATFORM),
        ),
        JobKind.ISSUE_COUPON: IssueCoupon(
            engine=parts.engine,
            store=clients.store,
            coupons=coupons,
            rules=RewardRules(parts.engine),
            platform=clients.platform,
            alerts=alerts,
            settings=parts.settings.coupons,
        ),
        JobKind.RETIRE_COUPON: RetireCoupon(clients.store, coupons),
        JobKind.RETURN_POINTS: ReturnPoints(clients.platform, coupons, alerts),
        JobKind.SYNC_LOYALTY: SyncLoyalty(clients.loyalty),
    }
    return {kind: tracing.traced(handler) for kind, handler in by_kind.items()}


def compared_systems(parts: Services, clients: Clients) -> ComparedSystems | None:
    """What a reconciliation compares; None when the store's adapter cannot list its data."""
    settings, store = parts.settings, cast("object", parts.store)
    if not isinstance(store, ListsEntities):
        return None
    source = settings.store.adapter or ""
    platform = clients.platform if settings.platform.api_key else None
    return ComparedSystems(store, source, platform, store_webhooks_url(settings))


def store_webhooks_url(settings: Settings) -> str | None:
    """The URL to which the store sends its webhooks; None without PUBLIC_URL."""
    public = settings.public_url
    return f"{str(public).rstrip('/')}/v1/store-webhooks/{settings.store.adapter or ''}" if public else None


def repairer(parts: Services) -> Repairer:
    """Repairs the differences that a reconciliation found."""
    source = parts.settings.store.adapter or ""
    return Repairer(parts.engine, parts.inbox, parts.actions, parts.store, source, parts.mode)


def retry_policy(settings: Settings) -> RetryPolicy:
    retry = settings.retry
    return RetryPolicy(retry.initial_delay, retry.multiplier, retry.max_delay, retry.jitter, retry.window)
