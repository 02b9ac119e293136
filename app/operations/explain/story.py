"""The story of one order, customer, coupon or message, in order of time and in words that can be read out. Pure.

records ─▶ judging: the cause ─▶ tell(): headline, what happens next, what an operator can do, and the lines
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from pydantic import Field

from app.operations.explain.judging import Confidence, Judgement, judge, moment, named, worth
from app.operations.explain.records import AttemptRow, AuditRow, CouponRow, JobRow, Key, MessageRow, Records
from app.operations.views import View

_SENDERS: Final = {"store": "The shop's backend", "platform": "The Platform", "import": "An imported file"}
_FAR: Final = {"platform": "the Platform", "store": "the shop"}
_OWED: Final = {
    "relay_customer": "the Platform has to be given {what}",
    "relay_order": "the Platform has to be given {what}",
    "relay_product": "the Platform has to be given {what}",
    "fetch_entity": "the shop has to be asked for {what}",
    "use_reward": "the Platform has to be told of {what}",
    "issue_coupon": "{what} has to be made in the shop",
    "forward_news": "the shop has to be told",
}
_TRIES: Final = {
    "done": "{far} accepted it",
    "skip": "nothing needed doing: {detail}",
    "retry": "it failed: {detail}",
    "unknown": "no answer that can be trusted: {detail}",
    "reject": "{far} refused it: {detail}",
    "blocked": "{far} refused us as such: {detail}",
    "wait": "something else has to happen first: {detail}",
    "crashed": "the relay itself failed: {detail}",
    "lost": "the worker stopped in the middle",
    "interrupted": "the worker was being restarted",
}
_WITHOUT_AN_ANSWER: Final = {"reject": "it cannot be done: {detail}"}
"""What nobody was asked, nobody refused."""
_ENDS: Final = {
    "done": "That settled {what}.",
    "skipped": "Not sent: {detail}.",
    "superseded": "Not sent: {detail}.",
    "dead": "Given up: {detail}.",
    "dropped": "{detail}.",
}
_EVIDENT: Final = {"done", "dropped"}
"""Ends that an attempt, or the audit, has told already."""
SNAG: Final = 200


class Line(View):
    """One thing that happened. `message_id` and `job_id` lead to what it is about."""

    at: datetime
    says: str
    message_id: UUID | None = None
    job_id: UUID | None = None


class Finding(View):
    """One cause: of what was asked for, or of something beside it."""

    subject: str = Field(description="What it is about: `order:1001`, `customer:42`, `coupon:ab12`, `message:<id>`.")
    cause: str = Field(description="A stable id; docs/explain.md lists all of them.")
    confidence: Confidence = Field(description="`likely`: recognised by words alone.")
    says: str
    next: str = Field(description="What happens next, and when.")
    do: list[str] = Field(description="What an operator can do, the best first; empty when nothing has to be done.")
    needs_attention: bool
    status: int | None = Field(None, description="The far side's last HTTP status.")
    because: str | None = Field(None, description="The cause behind it, where there is one.")
    job_id: UUID | None = None
    message_id: UUID | None = None


class Explanation(View):
    """The answer to "why?". `cause` and the members after it are those of the first finding."""

    asked: dict[Key, str]
    found: bool
    cause: str
    confidence: Confidence
    headline: str = Field(description="The answer, to be read out.")
    next: str
    do: list[str]
    also: list[Finding] = Field(description="The same for what belongs to it, what needs somebody first.")
    story: list[Line] = Field(description="What happened, the oldest first.")
    notes: list[str] = Field(description="What makes the story incomplete, such as a body that was pruned.")
    searched: list[str] = Field(description="Where it was looked for.")
    finding: Finding


def tell(records: Records) -> Explanation:
    """The whole answer; for nothing found, what is likely."""
    findings = [_finding(each) for each in judge(records)] or [_nothing(records)]
    first, *others = findings
    return Explanation(
        asked={records.by: records.key},
        found=bool(records.messages or records.coupons),
        cause=first.cause,
        confidence=first.confidence,
        headline=first.says,
        next=first.next,
        do=first.do,
        also=others[:50],
        story=_story(records),
        notes=_notes(records),
        searched=list(records.searched),
        finding=first,
    )


def _finding(judged: Judgement) -> Finding:
    return Finding(
        subject=judged.subject,
        cause=judged.cause,
        confidence=judged.confidence,
        says=judged.says,
        next=judged.next,
        do=list(judged.do),
        needs_attention=judged.rank >= 3,  # a person's, or given up
        status=judged.status,
        because=judged.because.cause if judged.because else None,
        job_id=judged.job_id,
        message_id=judged.message_id,
    )


def _nothing(records: Records) -> Finding:
    off = any("webhook" in alert.kind for alert in records.alerts)
    cause = "webhooks_off" if off and records.by != "coupon" else "never_received"
    judged = Judgement(cause, f"{records.by}:{records.key}", {"what": f"{records.by} {records.key}"}, "likely")
    found = _finding(judged)
    if records.by == "coupon":
        steps = ["ask the Platform whether it was redeemed, and whether its webhooks lead to the relay: relay check"]
        return found.model_copy(update={"do": steps})
    if records.by == "message":
        return found.model_copy(update={"do": ["check the id: it is in the receipt that the relay answered with"]})
    return found


# ----------------------------------------------------------------------------------------------- the lines


def _story(records: Records) -> list[Line]:
    lines = [
        *(_arrived(message, records) for message in records.messages),
        *(line for job in records.jobs for line in _job(job)),
        *(line for coupon in records.coupons for line in _coupon(coupon)),
        *(_audited(entry) for entry in records.audit),
        *(
            Line(at=channel.since, says=f"{_far(channel.name)} is {channel.state} since then: {channel.reason}."[:300])
            for channel in records.channels.values()
            if channel.state != "open" and any(job.open and job.channel == channel.name for job in records.jobs)
        ),
    ]
    return sorted(lines, key=lambda line: line.at)


def _arrived(message: MessageRow, records: Records) -> Line:
    sender = _SENDERS.get(message.source, f"The shop's own webhook or list ({message.source})")
    verb = "reported" if message.kind != "ignored" else "sent news that the relay does not use"
    owed = [job for job in records.jobs if job.message_id == message.id]
    what = f"{sender} {verb} {_told(message)}".rstrip()
    if owed:
        what += "; so " + ", and ".join(dict.fromkeys(_owes(job) for job in owed))
    return Line(at=message.received_at, says=f"{what}.", message_id=message.id)


def _owes(job: JobRow) -> str:
    return _OWED.get(job.kind, f"{job.kind} is owed").format(what=named(job))


def _told(message: MessageRow) -> str:
    """What arrived, in a few words, without the person's data."""
    body = _body(message)
    if message.kind == "ignored":
        return ""
    if message.kind.endswith(":id"):
        return f"that something changed ({message.kind.removesuffix(':id')})"
    if message.order_ref:
        facts = [str(body[name]) for name in ("financialStatus", "totalPrice", "currency") if body.get(name)]
        told = f"order {message.order_ref}" + (f" ({' '.join(facts)})" if facts else "")
    elif message.product_ref:
        told = f"product {message.product_ref}"
    elif message.source == "platform":
        facts = [f"{body['points']} points"] if body.get("points") else []
        facts += [f"for coupon {message.coupon_ref}"] if message.coupon_ref else []
        return f"{message.kind}" + (f": {' '.join(facts)}" if facts else "")
    elif message.customer_ref:
        told = f"customer {message.customer_ref}"
    else:
        told = message.kind
    version = body.get("updatedAt")
    return f"{told}, in the version of {version}" if version else told


def _body(message: MessageRow) -> dict[str, object]:
    try:
        body = json.loads(message.body or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _job(job: JobRow) -> Iterator[Line]:
    far, what = _FAR.get(job.channel, job.channel), named(job)
    for (outcome, status, detail), group in groupby(
        job.attempts, key=lambda attempt: (attempt.outcome, attempt.status, attempt.detail)
    ):
        yield _tries(job, outcome, status, detail, list(group))
    if job.finished_at is not None and (job.state not in _EVIDENT or not (job.attempts or job.state == "dropped")):
        says = _ENDS.get(job.state, f"It became {job.state}.").format(
            what=what, far=far, detail=(job.detail or job.reason or "").rstrip(".")
        )
        yield _line(job, job.finished_at, f"{_capital(what)}: {says[:1].lower()}{says[1:]}")


def _tries(job: JobRow, outcome: str, status: int | None, detail: str | None, tries: Sequence[AttemptRow]) -> Line:
    far = _FAR.get(job.channel, job.channel)
    words = _TRIES if status is not None else _TRIES | _WITHOUT_AN_ANSWER
    came = words.get(outcome, outcome).format(far=far, detail=(detail or "").rstrip(".")[:SNAG])
    code = f" (HTTP {status})" if status is not None and f"HTTP {status}" not in came else ""
    first, last = tries[0], tries[-1]
    which = f"try {first.number}" if len(tries) == 1 else f"tries {first.number} to {last.number}"
    until = "" if len(tries) == 1 else f", the last at {moment(last.started_at)}"
    return _line(job, first.started_at, f"{_capital(named(job))}, {which}{until}: {came}{code}.")


def _coupon(coupon: CouponRow) -> Iterator[Line]:
    yield Line(
        at=coupon.created_at,
        says=f"Coupon {coupon.code} was promised to the shopper"
        + (f" for {coupon.points} points." if coupon.points else "."),
        message_id=coupon.message_id,
    )
    if coupon.active_at is not None:
        because = f"; its value comes from {coupon.value_source}" if coupon.value_source else ""
        says = f"Coupon {coupon.code} was read back from the shop and found right ({worth(coupon)}){because}."
        yield Line(at=coupon.active_at, says=says, message_id=coupon.message_id)
    if coupon.state not in ("pending", "active"):
        why = f": {coupon.reason.rstrip('.')}" if coupon.reason else ""
        says = f"Coupon {coupon.code} is {coupon.state.replace('_', ' ')}{why}."
        yield Line(at=coupon.updated_at, says=says, message_id=coupon.message_id)


def _audited(entry: AuditRow) -> Line:
    why = f": {entry.why}" if entry.why else ""
    return Line(at=entry.at, says=f"{_capital(entry.actor)} did {entry.action} on {entry.subject}{why}.")


def _line(job: JobRow, at: datetime, says: str) -> Line:
    return Line(at=at, says=says, message_id=job.message_id, job_id=job.id)


def _notes(records: Records) -> list[str]:
    notes = []
    if any(message.pruned for message in records.messages):
        notes.append(
            "Bodies older than RETENTION were pruned, or a person was erased: what they said is not known any more."
        )
    if records.more:
        notes.append(f"Only the newest {len(records.messages)} messages are told; ask for one order to see older ones.")
    return notes


def _far(channel: str) -> str:
    return f"The channel to {_FAR.get(channel, channel)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_text(told: Explanation) -> str:
    """For a terminal: the answer first, then the story."""
    [(by, key)] = told.asked.items()
    lines = [f"{by} {key}", "", f"  {told.headline}", f"  {told.next}"]
    lines += [f"  - {step}" for step in told.do]
    if told.also:
        lines += ["", "Also:", *(f"  {each.says}" for each in told.also[:10])]
    if told.story:
        lines += ["", "What happened:", *(f"  {moment(line.at)}  {line.says}" for line in told.story)]
    lines += [f"\nNote: {note}" for note in told.notes]
    if not told.found:
        lines += ["", "Searched:", *(f"  - {place}" for place in told.searched)]
    lines += ["", f"cause: {told.cause} ({told.confidence})"]
    return "\n".join(lines)
