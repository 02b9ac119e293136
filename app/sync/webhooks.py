"""The store's webhooks to the relay: set up, checked, removed. Idempotent: only what is missing is created."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.outcomes import Done, Outcome, Skip, reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.inbox import Inbox
from platform_relay.stores.native import Hook, ListsEntities, SetsUpWebhooks
from platform_relay.sync.backfill import backfill
from platform_relay.sync.polling import ORDER

log: Final = structlog.get_logger(__name__)

SUBJECT: Final = "shop"
"""Of the alert; there is one for all topics."""
GAP: Final = timedelta(days=14)
"""How far back the lists are read: stores switch webhooks off after days of failing deliveries, and do not report when."""

_HAS_SENT: Final = text("SELECT EXISTS (SELECT FROM message WHERE source = :source)")


@dataclass(frozen=True, slots=True)
class Step:
    """One change in the store. `hook` is None for one that is to be created."""

    act: Literal["create", "enable", "delete", "keep"]
    topic: str
    hook: Hook | None = None


def plan(wanted: Sequence[str], present: Sequence[Hook], *, remove: bool = False) -> list[Step]:
    """What leads from the webhooks that are `present` to the `wanted` topics, or to none. A second webhook of one topic
    is deleted: it would send everything twice."""
    if remove:
        return [Step("delete", hook.topic, hook) for hook in present]
    steps: list[Step] = []
    for topic in wanted:
        ours = [hook for hook in present if hook.topic == topic]
        if not ours:
            steps.append(Step("create", topic))
            continue
        best = next((hook for hook in ours if hook.enabled), ours[0])
        steps.append(Step("keep" if best.enabled else "enable", topic, best))
        steps += [Step("delete", topic, hook) for hook in ours if hook is not best]
    return steps


async def carry_out(store: SetsUpWebhooks, address: str, step: Step) -> Outcome:
    """Do one step in the store."""
    if step.act == "create":
        created = await store.create_hook(step.topic, address)
        return Done() if isinstance(created, Hook) else created
    if step.act == "keep" or step.hook is None:
        return Skip(because(ReasonCode.NOT_APPLICABLE, explanation="the webhook is as it should be"))
    return await (store.enable_hook(step.hook) if step.act == "enable" else store.delete_hook(step.hook))


async def look_after(
    engine: AsyncEngine, inbox: Inbox, store: SetsUpWebhooks, source: str, address: str
) -> list[str] | Outcome:
    """Switch on the webhooks that the store has switched off or lost, raise an alert, and read what was missed from the lists.

    Returns the topics that were off, or why the store could not be asked. The alert stays open until all webhooks are on.
    No alert is raised for a store of which nothing has been received yet.
    """
    present = await store.list_hooks(address)
    if not isinstance(present, tuple):
        return present
    off = [step for step in plan(store.wanted_topics(), present) if step.act in ("create", "enable")]
    if not off:
        async with engine.begin() as connection:
            await resolve_alert(connection, ReasonCode.STORE_WEBHOOKS_OFF, SUBJECT)
        return []
    failures: dict[str, Reason] = {}
    for step in off:
        outcome = await carry_out(store, address, step)
        if not isinstance(outcome, Done | Skip):
            failures[step.topic] = reason_of(outcome)
    if not failures and not await _has_sent(engine, source):
        return [step.topic for step in off]
    new = await _alert(engine, [step.topic for step in off], failures)
    lister: object = store
    if isinstance(lister, ListsEntities) and (new or not failures):
        since = datetime.now(UTC) - GAP
        for kind in ORDER:
            read = await backfill(inbox, lister, source, kind, since)
            log.info(
                "store_webhook_gap", kind=kind, seen=read.seen, new=read.new, failed=read.failed and read.failed.code
            )
    return [step.topic for step in off]


async def _has_sent(engine: AsyncEngine, source: str) -> bool:
    async with engine.connect() as connection:
        return bool((await connection.execute(_HAS_SENT, {"source": source})).scalar())


async def _alert(engine: AsyncEngine, topics: Sequence[str], failures: Mapping[str, Reason]) -> bool:
    """Raise the alert; false when it is open already."""
    reason = because(
        ReasonCode.STORE_WEBHOOKS_OFF,
        topics=list(topics),
        failures={topic: failure.as_fact() for topic, failure in failures.items()},
        days=None if failures else GAP.days,
    )
    async with engine.begin() as connection:
        return await raise_alert(connection, reason, SUBJECT)
