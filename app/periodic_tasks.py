"""The tasks that a worker runs at regular intervals, beside the jobs."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access.refused_requests import prune_refused_requests
from platform_relay.alerts.audit_head import send_newest_hash
from platform_relay.alerts.chat import send_alerts, send_alerts_without_worker
from platform_relay.alerts.history_export import end_history
from platform_relay.alerts.watch import watch_queue
from platform_relay.audit import known_head
from platform_relay.audit.integrity import note_newest_hash
from platform_relay.checks.configuration import watch_bodies, watch_plain_bodies, watch_verification
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import reason_of
from platform_relay.core.reasons import Reason
from platform_relay.coupons import drift_check
from platform_relay.coupons.overdue import watch_deadline
from platform_relay.coupons.unlisted import RECHECK_INTERVAL, check_refused
from platform_relay.history.forget import forget_duplicates
from platform_relay.history.leave import History
from platform_relay.imports.leftovers import LeftImports
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.retention import prune_bodies
from platform_relay.queue.maintenance import prune_lanes
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.queue.queue import wake_stranded
from platform_relay.reconcile.compare import run_requested
from platform_relay.reconcile.runs import prune_reconciliations
from platform_relay.setup.test_coupon import CouponTests
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks
from platform_relay.sync import webhooks
from platform_relay.sync.background_reads import POLL, BackgroundReads, NotRead
from platform_relay.sync.polling import kinds_in_order, poll
from platform_relay.wiring import Clients, Services, compared_systems, store_webhooks_url

SEND_INTERVAL: Final = 15.0
"""Seconds between two looks for alerts that have not been sent to the chat."""


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A task that runs at the worker's start and then every `every` seconds."""

    name: str
    every: float
    run_once: Callable[[], Awaitable[object]]


def periodic_tasks(parts: Services, clients: Clients) -> list[PeriodicTask]:
    """All periodic tasks of a worker with these settings and this store."""
    engine, settings = parts.engine, parts.settings
    head_file = known_head.file_of(settings.data_dir, engine, settings.database_schema)
    oldest, deadline, confirm_within = OldestWaiting(), settings.coupons.deadline, settings.coupons.confirm_within
    history = History(engine, settings.history, settings.history_export)
    deadline_interval = max(1.0, min(15.0, deadline.total_seconds() / 4))
    imports = LeftImports(engine, parts.inbox, parts.import_compute, parts.store, settings.store.adapter or "")
    tasks = [
        PeriodicTask("wake_stranded", 30.0, lambda: wake_stranded(engine)),
        PeriodicTask("prune_lanes", 600.0, lambda: prune_lanes(engine)),
        PeriodicTask("prune_bodies", 3600.0, lambda: prune_bodies(engine, settings.retention, datetime.now(UTC))),
        PeriodicTask("history", 3600.0, lambda: end_history(engine, history, datetime.now(UTC))),
        PeriodicTask(
            "forget_duplicates", 3600.0, lambda: forget_duplicates(engine, settings.dedupe, datetime.now(UTC))
        ),
        PeriodicTask("prune_refused_requests", 3600.0, lambda: prune_refused_requests(engine)),
        PeriodicTask("prune_uploads", 3600.0, imports.prune_uploads),
        PeriodicTask("resume_imports", 5.0, imports.resume),
        PeriodicTask("watch_queue", 30.0, lambda: watch_queue(engine, oldest)),
        PeriodicTask("watch_deadline", deadline_interval, lambda: watch_deadline(engine, deadline, confirm_within)),
        PeriodicTask("check_refused", RECHECK_INTERVAL, lambda: check_refused(engine)),
        PeriodicTask("watch_verification", 3600.0, lambda: watch_verification(engine, settings)),
        PeriodicTask("watch_bodies", 60.0, lambda: watch_bodies(engine, settings)),
        PeriodicTask("watch_plain_bodies", 3600.0, lambda: watch_plain_bodies(engine)),
        PeriodicTask("note_newest_audit_hash", 3600.0, lambda: note_newest_hash(engine, head_file)),
    ]
    if settings.alert_webhook_url is not None:
        chat_url = settings.alert_webhook_url.get_secret_value()
        tasks.append(PeriodicTask("send_alerts", SEND_INTERVAL, lambda: send_alerts(engine, clients.chat, chat_url)))
        send_head = partial(send_newest_hash, engine, head_file, clients.chat, chat_url)
        tasks.append(PeriodicTask("send_newest_audit_hash", 86_400.0, send_head))
    return [*tasks, *_store_tasks(parts, clients)]


def web_tasks(parts: Services, chat: HttpClient) -> list[PeriodicTask]:
    """All periodic tasks of a process without a worker."""
    if (url := parts.settings.alert_webhook_url) is None:
        return []
    send = partial(send_alerts_without_worker, parts.engine, chat, url.get_secret_value())
    return [PeriodicTask("send_alerts", SEND_INTERVAL, send)]


def _store_tasks(parts: Services, clients: Clients) -> Iterator[PeriodicTask]:
    """The tasks that need a store, or certain abilities of its adapter."""
    engine, settings, inbox = parts.engine, parts.settings, parts.inbox
    reads = BackgroundReads(engine, parts.metrics)
    if (adapter := clients.store) is not None:

        async def check_drift() -> Reason | None:
            return (await drift_check.check_drift(engine, adapter)).stopped

        tests = CouponTests(engine, adapter, settings.store.adapter or "")
        yield PeriodicTask("remove_test_coupon", 30.0, tests.remove_left_over)
        yield PeriodicTask("check_drift", 3600.0, partial(reads.run, "drift_check", check_drift))
    store: object = parts.store
    source = settings.store.adapter or ""
    if settings.store.poll_interval is not None and isinstance(store, ListsEntities):
        for kind in kinds_in_order(store):
            read = partial(_poll, engine, inbox, store, source, kind)
            yield PeriodicTask(f"poll_{kind}", settings.store.poll_interval, partial(reads.run, f"{POLL}{kind}", read))
    if (url := store_webhooks_url(settings)) is not None and isinstance(store, SetsUpWebhooks):
        watch = partial(_watch, engine, inbox, store, source, url)
        yield PeriodicTask("watch_webhooks", 3600.0, partial(reads.run, "webhooks", watch))
    if (systems := compared_systems(parts, clients)) is not None:
        time_of_day = settings.store.reconcile_at
        yield PeriodicTask("reconcile", 5.0, lambda: run_requested(engine, systems, time_of_day, reads))
        yield PeriodicTask("prune_reconciliations", 3600.0, lambda: prune_reconciliations(engine, settings.retention))


async def _poll(
    engine: AsyncEngine, inbox: Inbox, store: ListsEntities, source: str, kind: EventKind
) -> Reason | NotRead | None:
    """Why the poll failed; None if it did not."""
    result = await poll(engine, inbox, store, source, kind)
    return NotRead() if result is None else result.failed


async def _watch(engine: AsyncEngine, inbox: Inbox, store: SetsUpWebhooks, source: str, url: str) -> Reason | None:
    """Why the webhooks could not be listed."""
    result = await webhooks.watch(engine, inbox, store, source, url)
    return None if isinstance(result, list) else reason_of(result)
