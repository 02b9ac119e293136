"""What the API, the CLI and the console show of messages, jobs, destinations and coupons. Pure.

Every state comes with a text and a next step. They are rendered here, last, from the stored reason code and its facts.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal  # Any: rows
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from platform_relay.core.reasons import Reason, ReasonCode, stored


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


_CODE: Final = "Why, as a stable code (docs/reason-codes.md)."
_FACTS: Final = "What `text` is made from."


class AttemptView(View):
    """One try of a job. `status` is the destination's HTTP status, `excerpt` the start of its response."""

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
    """One effect at one destination (`destination`), in the ordered queue (`lane`) of its entity."""

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
    next_step: str = Field(description="What happens next, or what to do.")
    facts: dict[str, JsonValue] | None = Field(None, description=_FACTS)
    attempts: int
    run_at: datetime | None = Field(None, description="When it is tried next, while it waits for its time.")
    created_at: datetime
    finished_at: datetime | None = None


class JobDetail(JobView):
    tries: list[AttemptView] = []


MessageState = Literal[
    "stored", "waiting", "running", "delivered", "needs_attention", "superseded", "skipped", "dropped"
]


class MessageView(View):
    """What arrived, and everything that became of it."""

    id: UUID
    source: str
    kind: str
    received_at: datetime
    size: int | None = Field(description="Bytes of the body; null when the body was pruned.")
    state: MessageState
    text: str = Field(description="What the state means.")
    jobs: list[JobDetail]


class JobPage(View):
    items: list[JobView]
    next_cursor: UUID | None = Field(None, description="Pass it as `cursor` for the next page; null on the last one.")


class Counts(View):
    """received = delivered + waiting + running + unknown + dead + superseded + skipped + dropped, of jobs."""

    received: int = 0
    delivered: int = 0
    waiting: int = 0
    running: int = 0
    unknown: int = Field(0, description="Waiting, while an earlier attempt may have reached the destination.")
    dead: int = 0
    superseded: int = 0
    skipped: int = 0
    dropped: int = 0


class JobCounts(View):
    messages: int
    total: Counts
    by_kind: dict[str, Counts]
    balanced: bool = Field(description="The lanes' own counters agree with the jobs.")


class DestinationView(View):
    name: str
    state: str
    reason_code: ReasonCode | None = Field(None, description=_CODE)
    text: str | None = Field(None, description="Why calls are not possible; null while the destination is open.")
    next_step: str | None = Field(None, description="What happens next, or what to do.")
    facts: dict[str, JsonValue] | None = Field(None, description=_FACTS)
    since: datetime
    retry_at: datetime | None = None
    waiting: int = Field(description="Jobs that are owed there.")


class CouponView(View):
    """One redemption's coupon. `value` is a decimal string in `currency`, or per cent, by `kind`."""

    code: str
    state: str
    reason_code: ReasonCode | None = Field(None, description="Why it is in its state (docs/reason-codes.md).")
    text: str | None = Field(None, description="What happened and why.")
    next_step: str | None = Field(None, description="What happens next, or what to do.")
    facts: dict[str, JsonValue] | None = Field(None, description=_FACTS)
    kind: str | None = None
    value: Decimal | None = None
    currency: str | None = None
    value_source: str | None = None
    rule_id: str | None = None
    rule_version: int | None = None
    rule_edited: bool = Field(False, description="The rule was edited after the redemption; the one of then counts.")
    proof: str | None = Field(
        None, description="door, source, known, confirmed, or operator; `none`: found not genuine."
    )
    points: int | None = None
    customer: str | None = Field(None, description="The name in the webhook, while its body is kept.")
    orders: dict[str, str] | None = Field(None, description="Orders that carried it: id -> financial status.")
    decision: dict[str, JsonValue] | None = Field(None, description="What an operator decided, who and why.")
    redemption_id: str | None = None
    store_id: str | None = None
    message_id: UUID
    received_at: datetime
    created_at: datetime
    updated_at: datetime
    active_at: datetime | None = None


class CouponPage(View):
    items: list[CouponView]
    next_cursor: str | None = Field(None, description="Pass it as `cursor` for the next page; null on the last one.")


# ----------------------------------------------------------------------------------------------- texts

_NOTHING: Final = "No action needed."
_AUTOMATIC: Final = "The relay tries again automatically."
_TEXTS: Final[Mapping[str, str]] = {
    "waiting": "The job waits for its turn.",
    "running": "The job is being sent now.",
    "done": "Delivered.",
    "skipped": "There was nothing to send.",
    "superseded": "A newer version replaced this one.",
    "dead": "The job is dead-lettered.",
    "dropped": "An operator dropped the job.",
}
"""Of jobs without a reason."""
_NEXT_STEPS: Final[Mapping[str | None, str]] = {
    None: "It is sent automatically.",
    "retry": _AUTOMATIC,
    "crashed": _AUTOMATIC,
    "shutdown": _AUTOMATIC,
    "operator_retry": _AUTOMATIC,
    "unknown": "The relay first asks the destination whether the request arrived, then continues.",
}
"""Of waiting jobs, by their disposition. Of others the reason has it."""
_STOPPED: Final[Mapping[str | None, str]] = {
    "exhausted": "All attempts are used up. Remove the cause, then retry the job, or drop it.",
    "crashed": "All attempts are used up. Look at the worker's log and report the error, then retry the job.",
}
"""Of dead jobs, by their disposition. Of others the reason has it."""


def job_texts(state: str, disposition: str | None, reason: Reason | None, destination: str | None) -> tuple[str, str]:
    """The text and the next step of a job. `destination` is the state of its destination, None while unknown."""
    text = reason.text if reason and reason.text else _TEXTS[state]
    following = reason.next_step if reason else _NOTHING
    if state == "waiting" and destination not in (None, "open"):
        return text, f"Calls to the destination are {destination}; the job continues when they are possible again."
    if state == "waiting":
        return text, _NEXT_STEPS.get(disposition, following)
    if state == "dead":
        return text, _STOPPED.get(disposition, following)
    return text, following


def reason_fields(row: Mapping[Any, Any]) -> dict[str, Any]:  # Any: as a RowMapping is typed
    """`reason_code`, `text`, `next_step` and `facts` of a row; all None where it has no reason."""
    reason = stored(row["reason_code"], row["facts"])
    return {
        "reason_code": reason and reason.code,
        "text": reason and reason.text,
        "next_step": reason and reason.next_step,
        "facts": reason and dict(reason.facts),
    }


_MESSAGE_STATES: Final[tuple[tuple[str, MessageState, str], ...]] = (
    ("dead", "needs_attention", "A job is dead-lettered; its next step is with the job."),
    ("running", "running", "It is being sent now."),
    ("waiting", "waiting", "It is stored and waits to be sent; the reason is with each job."),
    ("done", "delivered", "All of its jobs were delivered."),
    ("skipped", "skipped", "There was nothing to send."),
    ("superseded", "superseded", "There was nothing to send: a newer version replaced it."),
    ("dropped", "dropped", "An operator dropped it."),
)


def message_text(job_states: Iterable[str]) -> tuple[MessageState, str]:
    """A message's state and what it means, from its jobs' states: the one that most needs a look counts."""
    states = set(job_states)
    for state, name, meaning in _MESSAGE_STATES:
        if state in states:
            return name, meaning
    return "stored", "It is stored; nothing has to be sent because of it."
