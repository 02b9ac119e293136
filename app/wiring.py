"""The composition root: Settings in, the parts of a process out. The only place that knows everything."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Final, cast

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from app import migrate, stores, tracing
from app.cells import Cell, CellsInbox, CellsOperator, Waker
from app.database import create_engine, is_unavailable
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
from app.handlers.at_home import AfterCustomer, AtHome
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
from app.operations.homes import AllCoupons, Homes, enrol
from app.operations.people.customers import Customers
from app.operations.reconcile.compare import Sides
from app.operations.reconcile.repairs import Tools
from app.platform.client import PlatformClient
from app.settings import CellSettings, FuseSettings, Settings
from app.stores.base import StoreAdapter
from app.stores.native import ListsEntities
from app.telemetry import Metrics, log_attempt

log: Final = structlog.get_logger(__name__)

CHANNELS: Final = (PLATFORM, STORE)
ATTEMPT_SECONDS: Final = 60.0
"""Bounds one attempt of a job, which may be several calls."""
ROAMING: Final = ("relay_customer", "issue_coupon", "use_reward")
"""Kinds of jobs that may come up in another cell than the one where their lane is at home."""


@dataclass(slots=True)
class Services:
    """What the web process works with. `worker_alive` is None where no worker runs in this process.

    `engine` is the first cell's, where what belongs to no entity is kept; `inbox` and `operator` are those of all cells.
    """

    settings: Settings
    engine: AsyncEngine
    gates: Mapping[str, Gate]
    inbox: Inbox
    operator: Operator
    metrics: Metrics
    cells: tuple[Cell, ...]
    store: StoreAdapter | None = None
    worker_alive: Callable[[], bool] | None = None

    @property
    def engines(self) -> tuple[AsyncEngine, ...]:
        return tuple(cell.engine for cell in self.cells)


@dataclass(slots=True)
class FarSides:
    """What a cell's worker calls, and whether it may. `chat` is for alerts."""

    cell: Cell
    gates: Mapping[str, Gate]
    platform: PlatformClient
    store: StoreAdapter | None
    chat: HttpClient


@asynccontextmanager
async def services(settings: Settings, database_url: str, process: str) -> AsyncIterator[Services]:
    """The parts of one process, `process` being its name in pg_stat_activity; closed at the end.

    Raises ValueError for an unknown shop, or one whose variables are missing or wrong.
    """
    notifiers: list[Notifier] = []
    cells = tuple(
        _cell(number, settings, where, process, notifiers)
        for number, where in enumerate(addresses(settings, database_url), 1)
    )
    first = cells[0]
    several = len(cells) > 1
    gates = _gates(settings, first, len(cells))
    store = _store(settings, gates)
    try:
        yield Services(
            settings=settings,
            engine=first.engine,
            gates=gates,
            inbox=CellsInbox([cell.inbox for cell in cells]) if several else first.inbox,
            operator=CellsOperator([cell.operator for cell in cells]) if several else first.operator,
            metrics=Metrics(CollectorRegistry()),
            cells=cells,
            store=store,
        )
    finally:
        if store is not None:
            await store.aclose()
        for cell, notifier in zip(cells, notifiers, strict=True):
            await notifier.aclose()
            await cell.engine.dispose()


def addresses(settings: Settings, database_url: str) -> tuple[CellSettings, ...]:
    """Where the cells are: CELLS, or the one database."""
    return settings.cells or (CellSettings(url=SecretStr(database_url), listen_url=settings.listen_url),)


def _cell(number: int, settings: Settings, where: CellSettings, process: str, notifiers: list[Notifier]) -> Cell:
    name = f"relay {process}"
    engine = _engine(settings, where, name, settings.database_pool)
    notifier = Notifier(engine)
    notifiers.append(notifier)
    listeners: list[Callable[[str], None]] = []

    def committed(channels: frozenset[str]) -> None:
        for channel in channels:
            for listener in listeners:
                listener(channel)
        notifier.notify(channels)

    direct = (where.listen_url or where.url).get_secret_value()
    inbox, operator = Inbox(engine, on_commit=committed), Operator(engine, on_work=committed)
    return Cell(number, direct, engine, inbox, operator, listeners)


@asynccontextmanager
async def far_sides(parts: Services, cell: Cell | None = None) -> AsyncIterator[FarSides]:
    """The clients of the far sides for one cell, the first without, and of the chat; closed at the end."""
    settings, key = parts.settings, parts.settings.platform.api_key
    first = cell is None or cell is parts.cells[0]
    cell = cell or parts.cells[0]
    gates = parts.gates if first else _gates(settings, cell, len(parts.cells))
    store = parts.store if first else _store(settings, gates)
    clients = HttpClients(settings.platform.time_limit, gates[PLATFORM], private_networks=settings.private_networks)
    secrets = (key.get_secret_value(),) if key else ()
    http = clients.make(
        settings.platform.url,
        settings.platform.launcher_url,
        ca_file=settings.platform.ca_file,
        connections=2 * settings.slots,
        secrets=secrets,
    )
    chat = HttpClient(connections=2)
    try:
        yield FarSides(cell, gates, PlatformClient(http, settings.platform), store, chat)
    finally:
        await chat.aclose()
        await http.aclose()
        if store is not None and store is not parts.store:
            await store.aclose()


def _gates(settings: Settings, cell: Cell, cells: int) -> Mapping[str, Gate]:
    """Of both channels in one cell; the cells share a rate evenly."""
    channels = Channels(cell.engine)
    rates = {PLATFORM: settings.platform.rate, STORE: settings.store.rate}
    return {name: Gate(name, channels, rate and rate / cells) for name, rate in rates.items()}


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
    others = [each.operator for each in parts.cells if each is not far.cell]
    observer = _Observer(parts.metrics, Waker(others) if others else None)
    return [
        Loop(
            Queue(far.cell.engine, channel),
            far.gates[channel],
            runner,
            LoopSettings(slots=settings.slots, poll=settings.poll),
            observer,
        )
        for channel in CHANNELS
    ]


def handlers(parts: Services, far: FarSides) -> dict[str, Handler]:
    """Every kind of job and what is done about it, in the cell of `far`."""
    engine, several = far.cell.engine, len(parts.cells) > 1
    coupons, customers, alerts = Coupons(engine), Customers(engine), Alerts(engine)
    found: dict[str, Handler] = {
        "relay_customer": RelayCustomer(far.platform, customers),
        "relay_order": RelayOrder(far.platform, AllCoupons(parts.engines) if several else coupons, customers, alerts),
        "relay_product": RelayProduct(far.platform),
        "use_reward": UseReward(far.platform, coupons),
        "fetch_entity": FetchEntity(far.store, parts.settings.store.adapter or "", parts.inbox.accept),
        "issue_coupon": IssueCoupon(
            store=far.store,
            coupons=coupons,
            rules=RewardRules(parts.engine, engine),
            platform=far.platform,
            alerts=alerts,
            settings=parts.settings.coupons.model_copy(
                update={"fuse": shared_fuse(parts.settings.coupons.fuse, len(parts.cells))}
            ),
        ),
        "retire_coupon": RetireCoupon(far.store, coupons),
        "award_points": AwardPoints(far.platform, coupons, alerts),
        "forward_news": ForwardNews(far.store),
    }
    if several:
        homes, inboxes = Homes(parts.engines, far.cell.number), {cell.number: cell.inbox for cell in parts.cells}
        found |= {kind: AtHome(found[kind], far.cell.number, homes, inboxes) for kind in ROAMING}
        found["relay_order"] = AfterCustomer(found["relay_order"], homes)
    return {kind: tracing.traced(handler) for kind, handler in found.items()}


def shared_fuse(fuse: FuseSettings, cells: int) -> FuseSettings:
    """A cell's share of what all may issue. A customer's coupons are in one cell, and those limits stay as they are."""
    if cells == 1:
        return fuse
    return fuse.model_copy(
        update={
            "hour_count": fuse.hour_count and max(1, fuse.hour_count // cells),
            "day_count": fuse.day_count and max(1, fuse.day_count // cells),
            "hour_value": fuse.hour_value and _part(fuse.hour_value, cells),
            "day_value": fuse.day_value and _part(fuse.day_value, cells),
        }
    )


def _part(value: Decimal, cells: int) -> Decimal:
    return (value / cells).quantize(Decimal("0.01"), ROUND_DOWN)


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
    return Tools(parts.engines, parts.inbox, parts.operator, parts.store, parts.settings.store.adapter or "")


def retry_policy(settings: Settings) -> RetryPolicy:
    retry = settings.retry
    return RetryPolicy(retry.first, retry.factor, retry.longest, retry.jitter, retry.window)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The database's URL: DATABASE_URL, the first of CELLS, or the embedded server, which runs as long as somebody uses
    it."""
    if settings.cells:
        yield settings.cells[0].url.get_secret_value()
        return
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres.start(settings.data_dir / "postgres")
    try:
        yield server.url
    finally:
        server.stop()


async def migrated(settings: Settings, database_url: str, *, all_cells: bool = False) -> None:
    """Bring the tables to this release, in every cell; many processes may do so at once. A cell that is away is left
    out, unless it is the only one or `all_cells` are meant. Raises WrongCellError."""
    where = addresses(settings, database_url)
    for number, cell in enumerate(where, 1):
        url = cell.url.get_secret_value()
        engine = create_engine(url, application_name="relay migrate", pool_size=2, schema=cell.tables)
        try:
            await migrate.upgrade(engine, cell.tables)
            await enrol(engine, number, len(where))
        except Exception as error:
            if all_cells or len(where) == 1 or not is_unavailable(error):
                raise
            log.warning("cell_away", cell=number, error=type(error).__name__)
        finally:
            await engine.dispose()


def home_engine(settings: Settings, database_url: str, name: str) -> AsyncEngine:
    """A small engine on the first cell, for one command."""
    first = addresses(settings, database_url)[0]
    return _engine(settings, first, name, 2)


def _engine(settings: Settings, where: CellSettings, name: str, pool_size: int) -> AsyncEngine:
    url = where.url.get_secret_value()
    return create_engine(url, application_name=name, pool_size=pool_size, schema=where.tables, body_keys=settings.ring)


class _Observer:
    """One wide record and a few counters for every settled attempt."""

    def __init__(self, metrics: Metrics, waker: Waker | None) -> None:
        self._metrics = metrics
        self._waker = waker

    def settled(self, settlement: Settlement) -> None:
        job, to = settlement.job, settlement.transition
        state = to.state if isinstance(to, Finish) else "waiting"
        if isinstance(to, Finish):
            self._metrics.settled(job.kind, to.state)
            if self._waker is not None and job.kind == "relay_customer" and not job.known:
                self._waker.delivered(job.lane)
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
            # An answer's own words may name people; they stand in the books, for whoever may read them.
            detail=settlement.words or to.detail if settlement.evidence.status is None else None,
            delay=to.delay if isinstance(to, Again | GiveBack) else None,
        )

    def lost(self, settlement: Settlement) -> None:
        self._metrics.attempt(settlement.job.kind, settlement.job.channel, "lease_lost", 0.0)
