"""The tasks that a worker runs at regular intervals, beside the jobs."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from platform_relay.alerts.chat import send_alerts
from platform_relay.alerts.watch import watch_queue
from platform_relay.audit.integrity import log_newest_hash
from platform_relay.checks.configuration import watch_bodies, watch_verification
from platform_relay.coupons import drift_check
from platform_relay.coupons.overdue import watch_deadline
from platform_relay.coupons.unlisted import RECHECK_INTERVAL, check_refused
from platform_relay.inbox.retention import prune_bodies
from platform_relay.queue.maintenance import prune_lanes
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.queue.queue import wake_stranded
from platform_relay.reconcile.compare import run_requested
from platform_relay.reconcile.runs import prune_reconciliations
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks
from platform_relay.sync import webhooks
from platform_relay.sync.polling import KINDS_IN_ORDER, poll
from platform_relay.wiring import Clients, Services, compared_systems, store_webhooks_url


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A task that runs at the worker's start and then every `every` seconds."""

    name: str
    every: float
    run_once: Callable[[], Awaitable[object]]


def periodic_tasks(parts: Services, clients: Clients) -> list[PeriodicTask]:
    """All periodic tasks of a worker with these settings and this store."""
    engine, settings = parts.engine, parts.settings
    oldest, deadline, confirm_within = OldestWaiting(), settings.coupons.deadline, settings.coupons.confirm_within
    deadline_interval = max(1.0, min(15.0, deadline.total_seconds() / 4))
    tasks = [
        PeriodicTask("wake_stranded", 30.0, lambda: wake_stranded(engine)),
        PeriodicTask("prune_lanes", 600.0, lambda: prune_lanes(engine)),
        PeriodicTask("prune_bodies", 3600.0, lambda: prune_bodies(engine, settings.retention, datetime.now(UTC))),
        PeriodicTask("watch_queue", 30.0, lambda: watch_queue(engine, oldest)),
        PeriodicTask("watch_deadline", deadline_interval, lambda: watch_deadline(engine, deadline, confirm_within)),
        PeriodicTask("check_refused", RECHECK_INTERVAL, lambda: check_refused(engine)),
        PeriodicTask("watch_verification", 3600.0, lambda: watch_verification(engine, settings)),
        PeriodicTask("watch_bodies", 60.0, lambda: watch_bodies(engine, settings)),
        PeriodicTask("log_newest_audit_hash", 3600.0, lambda: log_newest_hash(engine)),
    ]
    if settings.alert_webhook_url is not None:
        chat_url = settings.alert_webhook_url.get_secret_value()
        tasks.append(PeriodicTask("send_alerts", 15.0, lambda: send_alerts(engine, clients.chat, chat_url)))
    return [*tasks, *_store_tasks(parts, clients)]


def _store_tasks(parts: Services, clients: Clients) -> Iterator[PeriodicTask]:
    """The tasks that need a store, or certain abilities of its adapter."""
    engine, settings, inbox = parts.engine, parts.settings, parts.inbox
    if (adapter := clients.store) is not None:
        yield PeriodicTask("check_drift", 3600.0, lambda: drift_check.check_drift(engine, adapter))
    store: object = parts.store
    source = settings.store.adapter or ""
    if settings.store.poll_interval is not None and isinstance(store, ListsEntities):
        for kind in KINDS_IN_ORDER:
            run_once = partial(poll, engine, inbox, store, source, kind)
            yield PeriodicTask(f"poll_{kind}", settings.store.poll_interval, run_once)
    if (url := store_webhooks_url(settings)) is not None and isinstance(store, SetsUpWebhooks):
        yield PeriodicTask("watch_webhooks", 3600.0, partial(webhooks.watch, engine, inbox, store, source, url))
    if (systems := compared_systems(parts, clients)) is not None:
        time_of_day = settings.store.reconcile_at
        yield PeriodicTask("reconcile", 5.0, lambda: run_requested(engine, systems, time_of_day))
        yield PeriodicTask("prune_reconciliations", 3600.0, lambda: prune_reconciliations(engine, settings.retention))
