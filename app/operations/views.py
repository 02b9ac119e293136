"""How the books are shown: to programs as these models, to people in words. Pure.

Every state comes with what it means (`says`) and what to do about it (`next`).
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class AttemptView(View):
    """One try of a job. `status` is the far side's HTTP status, `excerpt` the start of its answer."""

    number: int
    started_at: datetime
    duration_ms: int | None = None
    outcome: str
    status: int | None = None
    detail: str | None = None
    excerpt: str | None = None


class JobView(View):
    """One effect that is owed at one far side (`channel`), in the ordered queue (`lane`) of its entity."""

    id: UUID
    message_id: UUID
    kind: str
    channel: str
    lane: str
    state: str
    reason: str | None = None
    detail: str | None = None
    says: str = Field(description="The state in words.")
    next: str = Field(description="What happens next, or what to do.")
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
    says: str = Field(description="The state in words.")
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
    unknown: int = Field(0, description="Waiting, while an earlier attempt may have reached the far side.")
    dead: int = 0
    superseded: int = 0
    skipped: int = 0
    dropped: int = 0


class Books(View):
    messages: int
    total: Counts
    by_kind: dict[str, Counts]
    balanced: bool = Field(description="The lanes' own counters agree with the jobs.")


class ChannelView(View):
    name: str
    state: str
    reason: str | None = None
    since: datetime
    retry_at: datetime | None = None
    waiting: int = Field(description="Jobs that are owed there.")


class CouponView(View):
    """One redemption's coupon. `value` is a decimal string in `currency`, or per cent, by `kind`."""

    code: str
    state: str
    reason: str | None = None
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
    shopper: str | None = Field(None, description="The name in the webhook, while its body is kept.")
    orders: dict[str, str] | None = Field(None, description="Orders that carried it: id -> financial status.")
    ruling: dict[str, JsonValue] | None = Field(None, description="What an operator decided, who and why.")
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


# ----------------------------------------------------------------------------------------------- words

_PLAIN: Final = {
    "running": ("Being sent now.", "Nothing to do; look again in a moment."),
    "done": ("Delivered: the far side has it.", "Nothing to do."),
    "skipped": ("Not sent: the far side already holds the same.", "Nothing to do."),
    "superseded": ("Not sent: a newer version of the same entity took its place.", "Nothing to do."),
    "dropped": ("Dropped by an operator; it will not be sent.", "Nothing to do."),
}
_WAITING: Final = {
    "unknown": ("The last attempt may have arrived: no trustworthy answer came.", "The far side is asked first{when}."),
    "retry": ("The last attempt failed.", "It is tried again by itself{when}."),
    "crashed": ("The last attempt crashed inside the relay.", "It is tried again by itself{when}."),
}
_DEAD: Final = {
    "rejected": "Correct what the far side complains about (see `detail` and `tries`), then retry the job, or drop it.",
    "exhausted": "Find out why the far side failed for so long (see `tries`), then retry the job, or drop it.",
    "crashed": "This is a fault of the relay: report it with the job's id; retry the job after an update.",
    "expired": "It waited longer than the retention time; send the event again from the store, or drop the job.",
}


def words(
    state: str, reason: str | None, run_at: datetime | None, waits_for: str | None, channel: str | None
) -> tuple[str, str]:
    """What a job's state means, and what comes next. `channel` is the state of its channel, None while unknown."""
    if state in _PLAIN:
        return _PLAIN[state]
    if state == "dead":
        return "Given up: it is kept, with the far side's last answer.", _DEAD.get(reason or "", _DEAD["exhausted"])
    if channel not in (None, "open"):
        return f"Waits: its channel is {channel}.", "/v1/channels tells the reason; it goes on when the channel opens."
    if waits_for is not None:
        return f"Waits for {waits_for}.", "Nothing to do when that is on its way; otherwise see `detail`."
    when = f" at {run_at.isoformat(timespec='seconds')}" if run_at else ""
    says, following = _WAITING.get(reason or "", ("Waits for its turn.", "Nothing to do."))
    return says, following.format(when=when)


_MESSAGE_STATES: Final[tuple[tuple[str, MessageState, str], ...]] = (
    ("dead", "needs_attention", "A job was given up; see its `next`."),
    ("running", "running", "It is being sent now."),
    ("waiting", "waiting", "It is stored and waits to be sent; each job says for what."),
    ("done", "delivered", "Everything it owed was delivered."),
    ("skipped", "skipped", "Nothing had to be sent: the far side already holds the same."),
    ("superseded", "superseded", "Nothing had to be sent: a newer version took its place."),
    ("dropped", "dropped", "An operator dropped it."),
)


def message_words(job_states: Iterable[str]) -> tuple[MessageState, str]:
    """A message's state and what it means, from its jobs' states: the one that most needs a look counts."""
    states = set(job_states)
    for state, name, says in _MESSAGE_STATES:
        if state in states:
            return name, says
    return "stored", "It is stored; nothing has to be sent because of it."
