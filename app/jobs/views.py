"""The read models of messages, jobs and destinations for the API, the CLI and the console. Pure.

Every state has a text and a next step. They are rendered here from the stored reason code and its facts.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal  # Any: rows
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from platform_relay.core.reason_texts.rendering import render
from platform_relay.core.reason_texts.text import NO_ACTION, REPEATED_SAFELY, TRIED_AGAIN
from platform_relay.core.reasons import Reason, ReasonCode, stored
from platform_relay.inbox.messages import JobKind


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


_CODE: Final = "The cause, as a stable code (docs/reason-codes.md)."
_FACTS: Final = "The values in `text`."


class AttemptView(View):
    """One attempt of a job. `status` is the destination's HTTP status, `excerpt` the start of a failure's response."""

    number: int
    started_at: datetime
    duration_ms: int | None = None
    outcome: str
    status: int | None = None
    reason_code: ReasonCode | None = Field(None, description=_CODE)
    text: str | None = Field(None, description="What happened and why; null after a success.")
    facts: dict[str, JsonValue] | None = Field(None, description=_FACTS)
    excerpt: str | None = None


class JobView(View):
    """One delivery to a `destination`, in the `lane` (the ordered queue) of its entity."""

    id: UUID
    message_id: UUID
    kind: str
    destination: str
    lane: str
    state: str
    disposition: str | None = Field(
        None, description="How the last attempt ended, while the job waits or is dead (docs/states.md)."
    )
    reason_code: ReasonCode | None = Field(None, description=_CODE)
    text: str = Field(description="What happened and why.")
    next_step: str = Field(description="What happens next, or what you can do.")
    facts: dict[str, JsonValue] | None = Field(None, description=_FACTS)
    attempt_count: int
    run_at: datetime | None = Field(
        None, description="When the next attempt starts; null if the job waits for something else."
    )
    created_at: datetime
    finished_at: datetime | None = None


class JobDetail(JobView):
    attempts: list[AttemptView] = []


MessageState = Literal[
    "stored", "waiting", "held", "running", "delivered", "needs_attention", "superseded", "skipped", "dropped"
]


class MessageView(View):
    """An event or a webhook, with its jobs."""

    id: UUID
    source: str
    kind: str
    received_at: datetime
    size: int | None = Field(
        description="The size of the body in bytes; null after the retention time, when the body is deleted."
    )
    state: MessageState
    text: str = Field(description="What the state means.")
    reason_code: ReasonCode | None = Field(
        None,
        description="Why the message requires no job, why its entity cannot be read, or that fields were left out"
        " (docs/reason-codes.md).",
    )
    reason: str | None = Field(None, description="The text of `reason_code`.")
    facts: dict[str, JsonValue] | None = Field(None, description="The values in `reason`.")
    jobs: list[JobDetail]


class Counts(View):
    """Numbers of jobs: received = delivered + waiting + held + running + unknown + dead + superseded + skipped +
    dropped."""

    received: int = 0
    delivered: int = 0
    waiting: int = 0
    held: int = Field(
        0,
        description="Redemptions that wait for a rule, a setting, a confirmation or a decision. Nothing was sent for them.",
    )
    running: int = 0
    unknown: int = Field(
        0, description="Jobs that wait, and of which an earlier attempt may have reached the destination."
    )
    dead: int = 0
    superseded: int = 0
    skipped: int = 0
    dropped: int = 0


class JobCounts(View):
    messages: int
    left_history: int = Field(
        0,
        description="Of the received jobs, those that were deleted after `HISTORY`. They are counted in their last state.",
    )
    total: Counts
    by_kind: dict[str, Counts]
    balanced: bool = Field(description="Whether the counters of the lanes equal the number of open jobs.")


class DestinationView(View):
    name: str
    state: str
    reason_code: ReasonCode | None = Field(None, description=_CODE)
    text: str | None = Field(None, description="Why the relay does not call the destination; null while it is open.")
    next_step: str | None = Field(None, description="What happens next, or what you can do.")
    facts: dict[str, JsonValue] | None = Field(None, description=_FACTS)
    since: datetime
    retry_at: datetime | None = None
    waiting: int = Field(description="The number of jobs that wait for this destination.")


# ----------------------------------------------------------------------------------------------- texts

_TEXTS: Final[Mapping[str, str]] = {
    "waiting": "The job waits for its turn.",
    "running": "The job is being sent now.",
    "done": "Delivered.",
    "skipped": "There was nothing to send.",
    "superseded": "A newer version replaced this one.",
    "dead": "The job is dead-lettered.",
    "dropped": "An operator dropped the job.",
}
"""Texts of jobs without a reason."""
_NEXT_STEPS: Final[Mapping[str | None, str]] = {
    None: "It is sent automatically.",
    "retry": TRIED_AGAIN,
    "crashed": TRIED_AGAIN,
    "shutdown": TRIED_AGAIN,
    "operator_retry": TRIED_AGAIN,
    "unknown": render(REPEATED_SAFELY, {}),
}
"""Next steps of waiting jobs, by their disposition. Otherwise the next step is that of the reason."""
_NEXT_STEPS_DEAD: Final[Mapping[str | None, str]] = {
    "exhausted": "All attempts are used up. Remove the cause, then retry the job, or drop it.",
    "crashed": "All attempts are used up. Check the worker's log and report the error, then retry the job.",
}
"""Next steps of dead jobs, by their disposition. Otherwise the next step is that of the reason."""


def job_texts(state: str, disposition: str | None, reason: Reason | None, destination: str | None) -> tuple[str, str]:
    """The text and the next step of a job. `destination` is the state of its destination; None if it is unknown."""
    text = reason.text if reason and reason.text else _TEXTS[state]
    next_step = reason.next_step if reason else NO_ACTION
    if state == "waiting" and destination not in (None, "open"):
        return (
            text,
            f"The relay does not call the destination now (it is {destination}). The job continues when it is open again.",
        )
    if state == "waiting":
        return text, _NEXT_STEPS.get(disposition, next_step)
    if state == "dead":
        return text, _NEXT_STEPS_DEAD.get(disposition, next_step)
    return text, next_step


def reason_fields(row: Mapping[Any, Any]) -> dict[str, Any]:  # Any: as a RowMapping is typed
    """`reason_code`, `text`, `next_step` and `facts` of a row; all are None if the row has no reason."""
    reason = stored(row["reason_code"], row["facts"])
    return {
        "reason_code": reason and reason.code,
        "text": reason and reason.text,
        "next_step": reason and reason.next_step,
        "facts": reason and dict(reason.facts),
    }


MESSAGE_STATES: Final[tuple[tuple[str, MessageState, str], ...]] = (
    ("dead", "needs_attention", "A job is dead-lettered. The job has the reason and the next step."),
    ("running", "running", "It is being sent now."),
    ("held", "held", "Its coupon waits for a rule, a setting, a confirmation or a decision. The job has the reason."),
    ("waiting", "waiting", "It is stored and waits to be sent. Each job has its reason."),
    ("done", "delivered", "All of its jobs were delivered."),
    ("skipped", "skipped", "There was nothing to send."),
    ("superseded", "superseded", "A newer version replaced it."),
    ("dropped", "dropped", "An operator dropped it."),
)


IS_HELD: Final = "job.state = 'waiting' AND job.kind = 'issue_coupon' AND job.disposition = 'parked'"
"""The condition of `counted_state` in SQL."""


def counted_state(state: str, kind: str, disposition: str | None) -> str:
    """The state of a job, in which a redemption that waits for something else than its turn is `held`."""
    return "held" if (state, kind, disposition) == ("waiting", JobKind.ISSUE_COUPON, "parked") else state


def message_text(job_states: Iterable[str]) -> tuple[MessageState, str]:
    """The state of a message and its text. Of its jobs' states (`counted_state`), the one that needs most attention counts."""
    states = set(job_states)
    for state, name, text in MESSAGE_STATES:
        if state in states:
            return name, text
    return "stored", "It is stored. It does not require a delivery."
