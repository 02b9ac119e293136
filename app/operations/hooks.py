"""The webhooks that the shop sends us: set up, looked after, taken down. Idempotent: only what is missing is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from app.outcomes import Done, Outcome, Skip
from app.stores.native import Hook, SetsUpWebhooks

log: Final = structlog.get_logger(__name__)


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


async def switched_off(store: SetsUpWebhooks, address: str) -> list[str] | Outcome:
    """Topics whose webhook the shop has switched off or lost; each is switched on again where that is permitted."""
    present = await store.list_hooks(address)
    if not isinstance(present, tuple):
        return present
    topics = []
    for step in plan(store.wanted_topics(), present):
        if step.act in ("create", "enable"):
            outcome = await carry_out(store, address, step)
            mended = isinstance(outcome, Done | Skip)
            log.error("store_webhook_off", topic=step.topic, mended=mended, why=getattr(outcome, "why", None))
            topics.append(step.topic)
    return topics
