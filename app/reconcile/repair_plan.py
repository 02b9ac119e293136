"""What a repair of differences will do: which calls it makes, and what it cannot repair and why. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from pydantic import Field

from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.views import View
from platform_relay.reconcile.differences import CAUSES, Cause

Action = Literal["read_and_send", "retry", "note", "none"]
READ: Final = "GET {entity} from the store"
SENDS: Final = {
    EventKind.CUSTOMER: "PUT customer to the Platform",
    EventKind.ORDER: "POST or PATCH order to the Platform",
    EventKind.PRODUCT: "PUT product, and PUT its variants, to the Platform",
}
"""The call that sends an entity of each kind."""
TEXTS: Final[dict[Action, str]] = {
    "read_and_send": "Each is read from the store, and what the store has then is sent, after all live events.",
    "retry": "The dead-lettered job of each is retried. If the cause was not corrected, it is rejected again.",
    "note": "The Platform has no call that deletes. Each is noted and not reported again; nothing is sent.",
    "none": "",
}
NO_LOOK_UP: Final = (
    "The store's adapter cannot read single entities. Run relay backfill: it reads the lists of the store and sends what is"
    " new."
)
NO_LONGER_DEAD: Final = (
    "The job is no longer dead-lettered: it was retried or dropped since. Nothing is sent, and it is noted."
)
JOB_GONE: Final = "The job was deleted after HISTORY. Change the entity in the store, so that it is sent again."
ADVICE: Final = (
    "These are the most calls that the repair makes. What the Platform already has is not sent again, except for stale"
    " entities. An order may also send its customer, if the Platform does not know it, and report the use of a coupon. A"
    " repair creates and retires no coupon."
)


@dataclass(frozen=True, slots=True)
class Found:
    """Open differences of one cause and kind. `job_kind` and `job_state` are those of the dead job of rejected entities; None
    if it was deleted."""

    cause: Cause
    kind: EventKind
    differences: int
    job_kind: str | None = None
    job_state: str | None = None


class RepairCall(View):
    call: str
    count: int


class RepairStep(View):
    """What the repair does with the differences of one cause and kind."""

    cause: Cause
    kind: EventKind
    differences: int
    action: Action = Field(
        description="`read_and_send`: each is read from the store and sent; `retry`: its dead job is retried; `note`: it is"
        " noted, because nothing can be sent; `none`: it cannot be repaired."
    )
    calls: list[str] = Field(description="The calls for each of them.")
    text: str = Field(description="What happens, or why it cannot be repaired.")


class RepairPreview(View):
    """What a repair would do now. It changes nothing."""

    differences: int = Field(description="Open differences that were selected.")
    repairable: int = Field(description="Those that the repair closes: it sends, retries or notes them.")
    calls: list[RepairCall] = Field(description="The most calls that are made, and how often.")
    steps: list[RepairStep]
    refusal: str | None = Field(None, description="Why no repair can be started now; null if one can.")
    advice: str = ADVICE


def step(differences: Found, *, can_fetch: bool) -> RepairStep:
    """`can_fetch`: the store's adapter can read single entities."""
    action, calls, problem = _decided(differences, can_fetch=can_fetch)
    return RepairStep(
        cause=differences.cause,
        kind=differences.kind,
        differences=differences.differences,
        action=action,
        calls=calls,
        text=problem or TEXTS[action],
    )


def preview(open_differences: Iterable[Found], refusal: str | None, *, can_fetch: bool) -> RepairPreview:
    steps = [step(item, can_fetch=can_fetch) for item in sorted(open_differences, key=_order)]
    calls: dict[str, int] = {}
    for item in steps:
        for call in item.calls:
            calls[call] = calls.get(call, 0) + item.differences
    return RepairPreview(
        differences=sum(item.differences for item in steps),
        repairable=sum(item.differences for item in steps if item.action != "none"),
        calls=[RepairCall(call=call, count=count) for call, count in calls.items()],
        steps=steps,
        refusal=refusal,
    )


def _decided(differences: Found, *, can_fetch: bool) -> tuple[Action, list[str], str | None]:
    send = SENDS[differences.kind]
    read = READ.format(entity=differences.kind.removesuffix("s"))
    match differences.cause:
        case "extra":
            return "note", [], None
        case "rejected":
            if differences.job_state is None:
                return "none", [], JOB_GONE
            if differences.job_state != "dead":
                return "note", [], NO_LONGER_DEAD
            return "retry", [read, send] if differences.job_kind == JobKind.FETCH_ENTITY else [send], None
        case "never_sent" | "lost_by_webhook" | "stale":
            return ("read_and_send", [read, send], None) if can_fetch else ("none", [], NO_LOOK_UP)
        case _:
            assert_never(differences.cause)


def _order(differences: Found) -> tuple[int, int, str]:
    return CAUSES.index(differences.cause), list(EventKind).index(differences.kind), differences.job_state or ""
