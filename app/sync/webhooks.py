"""The store's webhooks to the relay: planned, installed, removed and watched. Installing again changes only what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.outcomes import Done, Outcome, Skip, Unknown, reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import ListsEntities, SetsUpWebhooks, StoreWebhook
from platform_relay.sync.backfill import backfill
from platform_relay.sync.polling import kinds_in_order

log: Final = structlog.get_logger(__name__)

ALERT_SUBJECT: Final = "store"
"""One alert is about all topics."""
GAP: Final = timedelta(days=14)
"""How far back the lists are read. Stores switch webhooks off after days of failed deliveries, without reporting when."""

_HAS_SENT: Final = text("SELECT EXISTS (SELECT FROM message WHERE source = :source)")


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """One change in the store. `webhook` is None if the webhook is to be created."""

    action: Literal["create", "enable", "delete", "keep"]
    topic: str
    webhook: StoreWebhook | None = None


def plan(topics: Sequence[str], present: Sequence[StoreWebhook], *, remove: bool = False) -> list[WebhookChange]:
    """The changes that lead from the `present` webhooks to one for each topic, or with `remove` to none.

    A second webhook for the same topic is deleted, because it sends each event twice.
    """
    if remove:
        return [WebhookChange("delete", webhook.topic, webhook) for webhook in present]
    changes: list[WebhookChange] = []
    for topic in topics:
        webhooks = [webhook for webhook in present if webhook.topic == topic]
        if not webhooks:
            changes.append(WebhookChange("create", topic))
            continue
        best = next((webhook for webhook in webhooks if webhook.enabled), webhooks[0])
        changes.append(WebhookChange("keep" if best.enabled else "enable", topic, best))
        changes += [WebhookChange("delete", topic, webhook) for webhook in webhooks if webhook is not best]
    return changes


async def apply(store: SetsUpWebhooks, address: str, change: WebhookChange) -> Outcome:
    """Make one change in the store. A creation whose response cannot be trusted is looked up in the store's list."""
    if change.action == "create":
        created = await store.create_webhook(change.topic, address)
        if isinstance(created, Unknown):
            present = await store.list_webhooks(address)
            if isinstance(present, tuple) and any(hook.topic == change.topic and hook.enabled for hook in present):
                return Done()
        return Done() if isinstance(created, StoreWebhook) else created
    if change.action == "keep" or change.webhook is None:
        return Skip(because(ReasonCode.NOT_APPLICABLE, explanation="the webhook is installed and enabled"))
    return await (
        store.enable_webhook(change.webhook) if change.action == "enable" else store.delete_webhook(change.webhook)
    )


async def watch(
    engine: AsyncEngine, inbox: Inbox, store: SetsUpWebhooks, source: str, address: str
) -> list[str] | Outcome:
    """Restore webhooks that the store switched off or lost, raise an alert, and read missed changes from the store's lists.

    Returns the topics that were off, or the outcome if the webhooks could not be listed. The alert stays open until all
    webhooks are on. No alert is raised for a store that has not sent anything yet.
    """
    present = await store.list_webhooks(address)
    if not isinstance(present, tuple):
        return present
    off = [change for change in plan(store.webhook_topics(), present) if change.action in ("create", "enable")]
    if not off:
        async with engine.begin() as connection:
            await resolve_alert(connection, ReasonCode.STORE_WEBHOOKS_OFF, ALERT_SUBJECT)
        return []
    failures: dict[str, Reason] = {}
    for change in off:
        outcome = await apply(store, address, change)
        if not isinstance(outcome, Done | Skip):
            failures[change.topic] = reason_of(outcome)
    topics = [change.topic for change in off]
    if not failures and not await _has_sent(engine, source):
        return topics
    new = await _alert(engine, topics, failures)
    lister: object = store
    if isinstance(lister, ListsEntities) and (new or not failures):
        since = datetime.now(UTC) - GAP
        for kind in kinds_in_order(lister):
            result = await backfill(inbox, lister, source, kind, since)
            failure = result.failed and result.failed.code
            log.info("store_webhook_gap", kind=kind, seen=result.seen, new=result.new, failed=failure)
    return topics


async def _has_sent(engine: AsyncEngine, source: str) -> bool:
    async with engine.connect() as connection:
        return bool((await connection.execute(_HAS_SENT, {"source": source})).scalar())


async def _alert(engine: AsyncEngine, topics: Sequence[str], failures: Mapping[str, Reason]) -> bool:
    """Raise the alert; False if it is already open."""
    reason = because(
        ReasonCode.STORE_WEBHOOKS_OFF,
        topics=list(topics),
        failures={topic: failure.as_fact() for topic, failure in failures.items()},
        days=None if failures else GAP.days,
    )
    async with engine.begin() as connection:
        return await raise_alert(connection, reason, ALERT_SUBJECT)
