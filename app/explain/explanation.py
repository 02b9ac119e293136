"""Builds the explanation from records: the causes, what happens next, the steps for an operator, and the timeline. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from pydantic import Field, JsonValue

from platform_relay.core import exact_json
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.explain.causes import WITHOUT_ENTITY, Rank, Step
from platform_relay.explain.diagnose import Confidence, Diagnosis, destination_name, diagnose, moment, named, worth
from platform_relay.explain.records import AttemptRow, AuditRow, CouponRow, JobRow, Key, MessageRow, Records
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.views import View

_SENDERS: Final = {"store": "The store's backend", "platform": "The Platform", "import": "An imported file"}
_REQUIRED: Final[Mapping[str, str]] = {
    JobKind.FORWARD_CUSTOMER: "{what} must be sent to the Platform",
    JobKind.FORWARD_ORDER: "{what} must be sent to the Platform",
    JobKind.FORWARD_PRODUCT: "{what} must be sent to the Platform",
    JobKind.FETCH_ENTITY: "{what} must be read from the store",
    JobKind.USE_REWARD: "{what} must be reported to the Platform",
    JobKind.ISSUE_COUPON: "{what} must be created in the store",
    JobKind.SYNC_LOYALTY: "the customer's data in the store must be updated",
}
_ATTEMPTS: Final = {
    "done": "{destination} accepted it",
    "lost": "the worker stopped during the attempt",
    "interrupted": "the worker was stopped during the attempt",
}
"""The result of an attempt without a reason."""
_ENDS: Final = {"skipped": "not sent", "superseded": "not sent", "dead": "dead-lettered"}
"""The end of a job, if neither its last attempt nor the audit log has it."""


class TimelineEntry(View):
    """Something that happened. `message_id` and `job_id` refer to what it is about."""

    at: datetime
    text: str
    message_id: UUID | None = None
    job_id: UUID | None = None


class Finding(View):
    """One cause, of the subject of the query or of something related to it."""

    subject: str = Field(description="What it is about: `order:1001`, `customer:42`, `coupon:ab12`, `message:<id>`.")
    cause: str = Field(description="A stable id; docs/explain.md lists all of them.")
    confidence: Confidence = Field(description="`likely`: no reason code decides it.")
    text: str = Field(description="What happened and why.")
    next_step: str = Field(description="What happens next, and when.")
    steps: list[Step] = Field(description="What an operator can do, the best first; empty when no action is needed.")
    needs_attention: bool
    reason_code: ReasonCode | None = Field(None, description="The stored reason; docs/reason-codes.md lists all codes.")
    facts: Mapping[str, JsonValue] = Field({}, description="The facts of the reason.")
    status: int | None = Field(None, description="The destination's last HTTP status.")
    caused_by: str | None = Field(None, description="The cause behind this one, where there is one.")
    job_id: UUID | None = None
    message_id: UUID | None = None


class Explanation(View):
    """Why an order, customer, coupon or message is as it is. `cause` and the members after it are those of `finding`."""

    query: dict[Key, str]
    matched: bool = Field(description="Whether the relay has anything about it.")
    cause: str
    confidence: Confidence
    text: str = Field(description="What happened and why.")
    next_step: str
    steps: list[Step]
    related: list[Finding] = Field(description="The causes of what belongs to it, the highest rank first.")
    timeline: list[TimelineEntry] = Field(description="What happened, the oldest first.")
    notes: list[str] = Field(description="What makes the explanation incomplete, such as a deleted body.")
    searched: list[str] = Field(description="What was searched for.")
    finding: Finding


def build_explanation(records: Records) -> Explanation:
    """The explanation of the records. If there are none, it names the likely cause."""
    findings = [_finding(diagnosis) for diagnosis in diagnose(records)] or [_nothing_received(records)]
    first, *others = findings
    return Explanation(
        query={records.by: records.key},
        matched=bool(records.messages or records.coupons or records.delivered),
        cause=first.cause,
        confidence=first.confidence,
        text=first.text,
        next_step=first.next_step,
        steps=first.steps,
        related=others[:50],
        timeline=_timeline(records),
        notes=_notes(records),
        searched=list(records.searched),
        finding=first,
    )


def _finding(diagnosis: Diagnosis) -> Finding:
    return Finding(
        subject=diagnosis.subject,
        cause=diagnosis.cause,
        confidence=diagnosis.confidence,
        text=diagnosis.text,
        next_step=diagnosis.next_step,
        steps=list(diagnosis.steps),
        needs_attention=diagnosis.rank >= Rank.NEEDS_OPERATOR,
        reason_code=diagnosis.reason.code if diagnosis.reason else None,
        facts=diagnosis.reason.facts if diagnosis.reason else {},
        status=diagnosis.status,
        caused_by=diagnosis.behind.cause if diagnosis.behind else None,
        job_id=diagnosis.job_id,
        message_id=diagnosis.message_id,
    )


_STEP_IF_NOTHING_RECEIVED: Final[Mapping[Key, Step]] = {
    "coupon": Step(
        "Check at the Platform whether the code was redeemed, and that its webhooks are sent to the relay.",
        command="relay check",
    ),
    "message": Step("Check the id. It is in the receipt that the relay returned."),
}


def _nothing_received(records: Records) -> Finding:
    if records.left is not None:
        left = {"id": records.key, "received": f"{records.left:%Y-%m-%d %H:%M}"}
        return _finding(Diagnosis("older_than_history", f"{records.by}:{records.key}", left, "likely"))
    known = {"what": f"{records.by} {records.key}"}
    if records.delivered:
        return _finding(Diagnosis("older_than_history", f"{records.by}:{records.key}", known))
    diagnosis = Diagnosis("never_received", f"{records.by}:{records.key}", known, "likely")
    alerts = [alert.reason for alert in records.alerts] if records.by != "coupon" else []
    if any(reason.code is ReasonCode.STORE_WEBHOOKS_OFF for reason in alerts):
        diagnosis = replace(diagnosis, cause="store_webhooks_off")
    if reason := next((reason for reason in alerts if reason.code in WITHOUT_ENTITY), None):
        texts = {"reason": reason.text, "reason_next": reason.next_step}
        diagnosis = replace(diagnosis, cause=WITHOUT_ENTITY[reason.code], facts=known | texts, reason=reason)
    finding = _finding(diagnosis)
    step = _STEP_IF_NOTHING_RECEIVED.get(records.by)
    return finding.model_copy(update={"steps": [step]}) if step else finding


# ----------------------------------------------------------------------------------------------- the timeline


def _timeline(records: Records) -> list[TimelineEntry]:
    entries = [
        *(_received(message, records) for message in records.messages),
        *(entry for job in records.jobs for entry in _job(job)),
        *(entry for coupon in records.coupons for entry in _coupon(coupon)),
        *(_audited(entry) for entry in records.audit),
        *(
            TimelineEntry(
                at=destination.since,
                text=f"Calls to {destination_name(destination.name)} are {destination.state} since then{_why(destination.reason)}",
            )
            for destination in records.destinations.values()
            if destination.state != "open"
            and any(job.open and job.destination == destination.name for job in records.jobs)
        ),
    ]
    return sorted(entries, key=lambda entry: entry.at)


def _received(message: MessageRow, records: Records) -> TimelineEntry:
    sender = _SENDERS.get(message.source, f"The store's own webhook or list ({message.source})")
    if message.kind == "ignored":
        text = f"{sender} sent an event that the relay does not use{_because(message.reason)}"
    elif message.kind.endswith("unreadable"):
        text = f"{sender} sent {_content(message)}, which cannot be read{_because(message.reason)}"
    else:
        text = f"{sender} reported {_content(message)}{_because(message.reason)}"
    jobs = [job for job in records.jobs if job.message_id == message.id]
    if jobs:
        text += "; so " + ", and ".join(dict.fromkeys(_required(job) for job in jobs))
    return TimelineEntry(at=message.received_at, text=f"{text}.", message_id=message.id)


def _because(reason: Reason | None) -> str:
    return f" ({reason.text.rstrip('.')})" if reason else ""


def _required(job: JobRow) -> str:
    return _REQUIRED.get(job.kind, f"{job.kind} must be done").format(what=named(job))


def _content(message: MessageRow) -> str:
    """The content of a message in a few words, without personal data."""
    body = _body(message)
    if message.kind == "unreadable":
        return "a webhook"
    if message.kind.endswith(":id"):
        return f"a change of {message.kind.removesuffix(':id')}"
    if message.order_ref:
        facts = [str(body[name]) for name in ("financialStatus", "totalPrice", "currency") if body.get(name)]
        content = f"order {message.order_ref}" + (f" ({' '.join(facts)})" if facts else "")
    elif message.product_ref:
        content = f"product {message.product_ref}"
    elif message.source == "platform":
        facts = [f"{body['points']} points"] if body.get("points") else []
        facts += [f"for coupon {message.coupon_ref}"] if message.coupon_ref else []
        return f"{message.kind}" + (f": {' '.join(facts)}" if facts else "")
    elif message.customer_ref:
        content = f"customer {message.customer_ref}"
    else:
        content = message.kind
    version = body.get("updatedAt")
    return f"{content}, in the version of {version}" if version else content


def _body(message: MessageRow) -> dict[str, object]:
    try:
        body = exact_json.loads(message.body or b"{}")
    except ValueError:
        return {}
    return dict(body) if isinstance(body, dict) else {}


def _job(job: JobRow) -> Iterator[TimelineEntry]:
    for (outcome, status, reason), group in groupby(
        job.attempts, key=lambda attempt: (attempt.outcome, attempt.status, attempt.reason)
    ):
        yield _same_attempts(job, outcome, status, reason, list(group))
    last = job.attempts[-1] if job.attempts else None
    if job.finished_at is None or job.state not in _ENDS or (last and last.outcome == "skip"):
        return
    same = last and last.reason and job.reason and last.reason.code is job.reason.code
    text = f"{_capital(named(job))}: {_ENDS[job.state]}{_why(None if same else job.reason)}"
    yield TimelineEntry(at=job.finished_at, text=text, message_id=job.message_id, job_id=job.id)


def _same_attempts(
    job: JobRow, outcome: str, status: int | None, reason: Reason | None, attempts: Sequence[AttemptRow]
) -> TimelineEntry:
    code = f" (HTTP {status})" if status is not None else ""
    result = _ATTEMPTS.get(outcome, outcome).format(destination=destination_name(job.destination)) + f"{code}."
    result = reason.text if reason else result
    first, last = attempts[0], attempts[-1]
    if outcome == "wait":
        which = (
            "a call that does not count as an attempt" if first is last else f"{len(attempts)} calls that do not count"
        )
    else:
        which = f"attempt {first.number}" if first is last else f"attempts {first.number} to {last.number}"
    until = "" if len(attempts) == 1 else f", the last at {moment(last.started_at)}"
    text = f"{_capital(named(job))}, {which}{until}: {result}"
    return TimelineEntry(at=first.started_at, text=text, message_id=job.message_id, job_id=job.id)


def _coupon(coupon: CouponRow) -> Iterator[TimelineEntry]:
    points = f" for {coupon.points} points" if coupon.points else ""
    text = f"The customer redeemed a reward{points} and received the code {coupon.code}."
    yield TimelineEntry(at=coupon.created_at, text=text, message_id=coupon.message_id)
    if coupon.active_at is not None:
        source = f" Its value comes from {coupon.value_source}." if coupon.value_source else ""
        email = " The customer's e-mail address at the Platform was not the webhook's." if coupon.email_changed else ""
        text = f"Coupon {coupon.code} was created, and it was read back as requested ({worth(coupon)}).{source}{email}"
        yield TimelineEntry(at=coupon.active_at, text=text, message_id=coupon.message_id)
    if coupon.state not in ("pending", "active"):
        text = f"Coupon {coupon.code} is {coupon.state.replace('_', ' ')}{_why(coupon.reason)}"
        yield TimelineEntry(at=coupon.updated_at, text=text, message_id=coupon.message_id)


def _audited(entry: AuditRow) -> TimelineEntry:
    why = f": {entry.why}" if entry.why else ""
    return TimelineEntry(at=entry.at, text=f"Audit log: {entry.action} on {entry.subject}, by {entry.actor}{why}.")


def _why(reason: Reason | None) -> str:
    """The end of a sentence, with the reason's text."""
    return f": {reason.text}" if reason else "."


def _notes(records: Records) -> list[str]:
    notes = []
    if any(message.pruned for message in records.messages):
        notes.append(
            "The content of some messages is unknown, because their bodies were deleted (RETENTION or an erasure)."
        )
    if records.more:
        notes.append(
            f"Only the newest {len(records.messages)} messages are shown. To see older ones, explain a single order."
        )
    return notes


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def as_text(explanation: Explanation) -> str:
    """The explanation as text for a terminal."""
    [(by, key)] = explanation.query.items()
    lines = [f"{by} {key}", "", f"  {explanation.text}", f"  {explanation.next_step}"]
    lines += [f"  - {_step_text(step)}" for step in explanation.steps]
    if explanation.related:
        lines += ["", "Related:", *(f"  {finding.text}" for finding in explanation.related[:10])]
    if explanation.timeline:
        lines += ["", "What happened:", *(f"  {moment(entry.at)}  {entry.text}" for entry in explanation.timeline)]
    lines += [f"\nNote: {note}" for note in explanation.notes]
    if not explanation.matched:
        lines += ["", "Searched for:", *(f"  - {place}" for place in explanation.searched)]
    lines += ["", f"cause: {explanation.cause} ({explanation.confidence})"]
    return "\n".join(lines)


def _step_text(step: Step) -> str:
    how = step.command or step.api
    return f"{step.text} ({how})" if how else step.text
