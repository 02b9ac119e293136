"""Entities of the store that cannot be read. Each is a job in the lane of its entity, which ends dead with the reason.

The store's entity is translated when its webhook or its row in a list arrives. The job's params hold the facts of the reason.
"""

from typing import Final, cast

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.outcomes import Outcome, Reject
from platform_relay.core.reasons import Reason, ReasonCode, columns
from platform_relay.queue.jobs import Handler, Job

UNREADABLE: Final = "unreadable"
"""The param of the jobs, the kind of messages without an entity, and the end of the kind of messages with one."""


def unreadable_params(reason: Reason) -> dict[str, str]:
    """The params of the job of an entity that cannot be read. `reason` has the code ENTITY_UNREADABLE."""
    return {UNREADABLE: str(columns(reason)["facts"])}


class RejectUnreadable:
    """Rejects the jobs of entities that cannot be read, without a call. `forward` handles all others."""

    def __init__(self, forward: Handler) -> None:
        self._forward = forward

    async def __call__(self, job: Job) -> Outcome:
        facts = job.params.get(UNREADABLE)
        if facts is None:
            return await self._forward(job)
        return Reject(
            Reason(ReasonCode.ENTITY_UNREADABLE, _known(facts) or {"destination": "the store", "entity": "entity"})
        )


def _known(facts: str) -> dict[str, JsonValue] | None:
    """The facts of the param; None if an erasure replaced them."""
    try:
        return cast("dict[str, JsonValue]", exact_json.loads(facts.encode()))
    except ValueError:
        return None
