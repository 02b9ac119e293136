"""What a worker does beside the jobs: steps done now and then."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from platform_relay.alerts.chat import tell_alerts
from platform_relay.alerts.watch import watch_work
from platform_relay.audit.integrity import log_head
from platform_relay.checks.configuration import watch_bodies, watch_proof
from platform_relay.coupons import drift_check
from platform_relay.coupons.overdue import watch_deadline
from platform_relay.inbox.retention import prune_bodies
from platform_relay.queue.maintenance import prune_lanes
from platform_relay.queue.oldest_due import OldestWaiting
from platform_relay.queue.queue import wake_stranded
from platform_relay.reconcile.compare import reconcile_asked
from platform_relay.reconcile.runs import prune_reconciliations
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks
from platform_relay.sync.polling import ORDER, poll
from platform_relay.sync.webhooks import look_after
from platform_relay.wiring import Destinations, Services, reconciled


@dataclass(frozen=True, slots=True)
class Tick:
    """A step that is done now and then every `every` seconds."""

    name: str
    every: float
    step: Callable[[], Awaitable[object]]


def ticks(parts: Services, far: Destinations) -> list[Tick]:
    """What the worker does beside the jobs."""
    engine, settings = parts.engine, parts.settings
    found = [
        Tick("wake_stranded", 30.0, lambda: wake_stranded(engine)),
        Tick("prune_lanes", 600.0, lambda: prune_lanes(engine)),
        Tick("prune_bodies", 3600.0, lambda: prune_bodies(engine, settings.retention, datetime.now(UTC))),
    ]
    oldest = OldestWaiting()
    found.append(Tick("watch_work", 30.0, lambda: watch_work(engine, oldest)))
    if settings.alert_webhook_url is not None:
        chat = settings.alert_webhook_url.get_secret_value()
        found.append(Tick("tell_alerts", 15.0, lambda: tell_alerts(engine, far.chat, chat)))
    deadline = settings.coupons.deadline
    watch = max(1.0, min(15.0, deadline.total_seconds() / 4))
    found.append(Tick("coupon_deadline", watch, lambda: watch_deadline(engine, deadline)))
    found.append(Tick("coupon_proof", 3600.0, lambda: watch_proof(engine, settings)))
    found.append(Tick("body_keys", 60.0, lambda: watch_bodies(engine, settings)))
    found.append(Tick("audit_head", 3600.0, lambda: log_head(engine)))
    if far.store is not None:
        shop = far.store
        found.append(Tick("coupon_drift", 3600.0, lambda: drift_check.tour(engine, shop)))
    store: object = parts.store
    source = settings.store.adapter or ""
    if settings.store.poll is not None and isinstance(store, ListsEntities):
        lister = store
        found += [
            Tick(f"poll_{kind}", settings.store.poll, partial(poll, engine, parts.inbox, lister, source, kind))
            for kind in ORDER
        ]
    if settings.store.public_url is not None and isinstance(store, SetsUpWebhooks):
        keeper = store
        address = f"{str(settings.store.public_url).rstrip('/')}/v1/store-webhooks/{source}"
        found.append(Tick("store_webhooks", 3600.0, lambda: look_after(engine, parts.inbox, keeper, source, address)))
    if (sides := reconciled(parts, far)) is not None:
        at_night = settings.store.reconcile_at
        found.append(Tick("reconcile", 5.0, lambda: reconcile_asked(engine, sides, at_night)))
        found.append(Tick("prune_reconciliations", 3600.0, lambda: prune_reconciliations(engine, settings.retention)))
    return found
