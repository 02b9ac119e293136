"""The webhooks that the shop sends us: set up, looked after, taken down. Idempotent: only what is missing is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.inbox import Inbox
from app.operations.alerts.raised import raise_alert, resolve_alert
from app.operations.imports.backfill import backfill
from app.operations.polling import ORDER
from app.outcomes import Done, Outcome, Skip
from app.stores.native import Hook, ListsEntities, SetsUpWebhooks

log: Final = structlog.get_logger(__name__)

WEBHOOK_OFF: Final = "store_webhook_off"
"""The kind of the alert; there is one for all topics."""
SUBJECT: Final = "shop"
GAP: Final = timedelta(days=14)
"""How far back the lists are read: shops give up after days of failing deliveries, and do not say since when."""

_HEARD: Final = text("SELECT EXISTS (SELECT FROM message WHERE source = :source)")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do at the shop. `hook` is None for one that is to be made."""

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
    """Do one step at the shop."""
    if step.act == "keep" or (step.act != "create" and step.hook is None):
        return Skip("is as it should be")
    if step.act == "create":
        made = await store.create_hook(step.topic, address)
        return Done() if isinstance(made, Hook) else made
    if step.hook is None:
        return Skip("is as it should be")
    return await (store.enable_hook(step.hook) if step.act == "enable" else store.delete_hook(step.hook))


async def look_after(
    engine: AsyncEngine, inbox: Inbox, store: SetsUpWebhooks, source: str, address: str
) -> list[str] | Outcome:
    """Switch on what the shop has switched off or lost, tell people, and read from the lists what was missed meanwhile.

    The topics that were off; or why the shop could not be asked. The alert stays open until all are found on. A shop of
    which nothing has come yet is set up without a word.
    """
    present = await store.list_hooks(address)
    if not isinstance(present, tuple):
        return present
    off = [step for step in plan(store.wanted_topics(), present) if step.act in ("create", "enable")]
    if not off:
        async with engine.begin() as connection:
            await resolve_alert(connection, WEBHOOK_OFF, SUBJECT)
        return []
    why: dict[str, str] = {}
    for step in off:
        outcome = await carry_out(store, address, step)
        if not isinstance(outcome, Done | Skip):
            why[step.topic] = str(getattr(outcome, "why", outcome))
    if not why and not await _heard_of(engine, source):
        return [step.topic for step in off]
    new = await _tell(engine, [step.topic for step in off], why)
    lister: object = store
    if isinstance(lister, ListsEntities) and (new or not why):
        since = datetime.now(UTC) - GAP
        for kind in ORDER:
            read = await backfill(inbox, lister, source, kind, since)
            log.info("store_webhook_gap", kind=kind, seen=read.seen, new=read.new, failed=read.failed)
    return [step.topic for step in off]


async def _heard_of(engine: AsyncEngine, source: str) -> bool:
    async with engine.connect() as connection:
        return bool((await connection.execute(_HEARD, {"source": source})).scalar())


async def _tell(engine: AsyncEngine, topics: Sequence[str], why: Mapping[str, str]) -> bool:
    """Raise the alert; false when it is open already."""
    detail = f"the shop's own webhooks were switched off or gone: {', '.join(topics)}"
    if why:
        detail += f"; they could not be switched on: {'; '.join(f'{topic}: {told}' for topic, told in why.items())}"
        first = "relay connect says in words what is missing; until then STORE__POLL=60 reads the shop's lists"
    else:
        detail += f"; they are on again, and what changed in the last {GAP.days} days is read from the shop's lists"
        first = "find out why the shop gave up: was the relay reachable at STORE__PUBLIC_URL?"
    async with engine.begin() as connection:
        return await raise_alert(connection, WEBHOOK_OFF, SUBJECT, detail, first)
