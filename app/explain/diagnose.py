"""Diagnoses records: the cause of the state of each job and coupon. Pure.

A cause is decided by states, dispositions, reason codes, facts and statuses, never by a text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from platform_relay.core import exact_json, plain_numbers
from platform_relay.core.reason_texts.rendering import render
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.explain.causes import (
    BLOCKED,
    CAUSES,
    DEAD,
    PARKED,
    RETRIED,
    VERIFICATION_SETTINGS,
    WITHOUT_ENTITY,
    Step,
)
from platform_relay.explain.records import CouponRow, DestinationRow, JobRow, MessageRow, Records
from platform_relay.inbox.messages import JobKind
from platform_relay.queue.destinations import display_name

Confidence = Literal["certain", "likely"]
DUE_SECONDS: Final = 60.0
"""A lane that has been due for longer than this means that no worker is running."""
UNPAID: Final = ("authorized", "pending", "partially_paid", "voided", "expired")
REFUNDED: Final = ("refunded", "partially_refunded")
UNKNOWN_REASON: Final = because(ReasonCode.UNSPECIFIED, text="No reason was stored")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause with the facts of its texts. `status` is the destination's last HTTP status, `behind` the cause of this cause."""

    cause: str
    subject: str
    facts: Mapping[str, str] = field(default_factory=dict)
    confidence: Confidence = "certain"
    job_id: UUID | None = None
    message_id: UUID | None = None
    status: int | None = None
    reason: Reason | None = None
    behind: "Diagnosis | None" = None

    @property
    def rank(self) -> int:
        return CAUSES[self.cause].rank

    @property
    def text(self) -> str:
        return render(CAUSES[self.cause].text, self.facts)

    @property
    def next_step(self) -> str:
        text = render(CAUSES[self.cause].next_step, self.facts)
        when = self.facts.get("when")
        return f"{text} Next attempt: {when}." if when else text

    @property
    def steps(self) -> tuple[Step, ...]:
        own = tuple(step.filled(self.facts) for step in CAUSES[self.cause].steps)
        return own or (self.behind.steps if self.behind else ())


# ----------------------------------------------------------------------------------------------- all records


def diagnose(records: Records) -> list[Diagnosis]:
    """One diagnosis for each lane, coupon and message without jobs. The highest rank comes first; with equal ranks, the
    subject of the query.

    For an order or a coupon, the subject of the query comes first. Empty if there are no records.
    """
    diagnoses = [_of_lane(destination, lane, records) for destination, lane in _lanes(records)]
    issued = {job.params.get("code") for job in records.jobs if job.kind == JobKind.ISSUE_COUPON}
    diagnoses += [_of_coupon(coupon, None, records) for coupon in records.coupons if coupon.code not in issued]
    with_jobs = {job.message_id for job in records.jobs}
    diagnoses += [_without_jobs(message) for message in records.messages if message.id not in with_jobs]
    queried = {f"{records.by}:{records.key}", f"fetch:{records.by}s:{records.key}"}
    if records.by in ("order", "coupon"):
        return sorted(diagnoses, key=lambda diagnosis: (diagnosis.subject not in queried, -diagnosis.rank))
    return sorted(diagnoses, key=lambda diagnosis: (-diagnosis.rank, diagnosis.subject not in queried))


def _lanes(records: Records) -> list[tuple[str, str]]:
    messages = {message.id for message in records.messages}
    return list(dict.fromkeys((job.destination, job.lane) for job in records.jobs if job.message_id in messages))


def _of_lane(destination: str, lane: str, records: Records) -> Diagnosis:
    jobs = sorted(
        (job for job in records.jobs if (job.destination, job.lane) == (destination, lane)), key=lambda job: job.seq
    )
    if records.by == "message":
        jobs = [job for job in jobs if str(job.message_id) == records.key] or jobs
    newest = jobs[-1]
    code = newest.params.get("code")
    if newest.kind == JobKind.ISSUE_COUPON and code:
        coupon = next((coupon for coupon in records.coupons if coupon.code == code), None)
        if coupon is None or coupon.message_id == newest.message_id or newest.state == "skipped":
            diagnosis = _of_coupon(coupon, newest, records) if coupon else of_job(newest, records)
            return replace(diagnosis, subject=f"coupon:{code}")
    ahead = next((job for job in jobs[:-1] if job.open), None)
    if newest.state == "waiting" and ahead is not None and not newest.collapse:
        return _make(
            "behind_earlier_event", newest, records, behind=of_job(ahead, records), when=_when(ahead, records.now)
        )
    return of_job(newest, records)


def _without_jobs(message: MessageRow) -> Diagnosis:
    cause = WITHOUT_ENTITY.get(_code(message.reason)) or ("ignored" if message.kind == "ignored" else "stored_only")
    facts = _texts_of(message.reason) if message.reason else {}
    return Diagnosis(cause, f"message:{message.id}", facts, message_id=message.id, reason=message.reason)


# ----------------------------------------------------------------------------------------------- a job


def of_job(job: JobRow, records: Records) -> Diagnosis:
    """Why the job is in its state."""
    match job.state:
        case "waiting":
            return _of_waiting(job, records)
        case "running":
            lost = job.lease_until is not None and job.lease_until < records.now
            return _make("worker_lost" if lost else "being_sent", job, records)
        case "dead":
            return _of_dead(job, records)
        case "superseded":
            is_ahead = _code(job.reason) is ReasonCode.NEWER_VERSION_AHEAD
            return _make("newer_version_ahead" if is_ahead else "newer_version", job, records)
        case "dropped":
            return _make("dropped", job, records)
        case _:
            return _of_finished(job, records)


SKIPPED: Final = {
    ReasonCode.GONE_FROM_STORE: "gone_from_store",
    ReasonCode.NO_BUYER: "no_buyer",
    ReasonCode.SHADOW: "shadow",
}


def _of_finished(job: JobRow, records: Records) -> Diagnosis:
    if job.state == "skipped" and (cause := SKIPPED.get(_code(job.reason))):
        return _make(cause, job, records)
    message = next((message for message in records.messages if message.id == job.message_id), None)
    if job.kind == JobKind.FORWARD_ORDER and message is not None and (order := _status_and_total(message)):
        status, total = order
        if status in UNPAID:
            return _make("not_paid", job, records, status=status)
        if status in REFUNDED:
            return _make("refunded", job, records, status=status)
        if total == 0:
            return _make("total_zero", job, records)
    if job.state == "skipped":
        return _make("duplicate" if message and _is_repeated(message, job, records) else "unchanged", job, records)
    return _make("delivered", job, records)


def _is_repeated(message: MessageRow, job: JobRow, records: Records) -> bool:
    """Whether the same bytes were received before, for the same lane."""
    if message.body_digest is None:  # its dedupe key was erased, or is older than DEDUPE
        return False
    earlier = {other.message_id for other in records.jobs if other.lane == job.lane and other.seq < job.seq}
    return any(other.id in earlier and other.body_digest == message.body_digest for other in records.messages)


def _status_and_total(message: MessageRow) -> tuple[str, Decimal | None] | None:
    """The payment status and total of an order's event."""
    try:
        body = exact_json.loads(message.body or b"")
        total = plain_numbers.amount(exact_json.member(body, "totalPrice"))
    except ValueError:
        return None
    return str(exact_json.member(body, "financialStatus")), total


_BY_END: Final = {"exhausted": "exhausted", "expired": "expired", "crashed": "internal_error"}


def _of_dead(job: JobRow, records: Records) -> Diagnosis:
    code = _code(job.reason)
    cause = _BY_END.get(job.disposition or "") or DEAD.get(code)
    if cause is not None:
        return _make(cause, job, records)
    known = code is not ReasonCode.UNSPECIFIED or _last_status(job) is not None
    cause = "rejected_by_store" if job.kind == JobKind.ISSUE_COUPON else "rejected"
    return _make(cause, job, records, confidence="certain" if known else "likely")


_BY_DISPOSITION: Final = {
    "crashed": "internal_error_retrying",
    "shutdown": "worker_restarted",
    "operator_retry": "retried_by_operator",
}


def _of_waiting(job: JobRow, records: Records) -> Diagnosis:
    destination = records.destinations.get(job.destination)
    if destination is not None and destination.state != "open":
        return _of_closed(job, destination, records)
    if job.waits_for is not None:
        return _of_parked(job, job.waits_for, records)
    if job.disposition in ("retry", "unknown"):
        return _of_retried(job, records)
    cause = _BY_DISPOSITION.get(job.disposition or "")
    return _make(cause, job, records) if cause else _of_unblocked(job, records)


def _of_retried(job: JobRow, records: Records) -> Diagnosis:
    code, status = _code(job.reason), _last_status(job)
    if (cause := RETRIED.get(code)) is not None:
        return _make(cause, job, records)
    if job.disposition == "unknown":
        return _make("unreadable_response" if (status or 0) // 100 == 2 else "no_response", job, records)
    known = code is not ReasonCode.UNSPECIFIED or status is not None
    return _make("failing", job, records, confidence="certain" if known else "likely")


def _of_unblocked(job: JobRow, records: Records) -> Diagnosis:
    due = (records.now - job.run_at).total_seconds() if job.run_at is not None and not job.leased else 0.0
    if job.priority == 1:
        return _make("waiting_for_live_events", job, records)
    if due > DUE_SECONDS:
        return _make("no_worker", job, records, due=_duration(timedelta(seconds=due)))
    return _make("waiting_for_turn", job, records)


def _of_closed(job: JobRow, destination: DestinationRow, records: Records) -> Diagnosis:
    cause = {"paused": "destination_paused", "tripped": "outage"}.get(destination.state)
    cause = cause or BLOCKED.get(_code(destination.reason), "destination_blocked")
    when = moment(destination.retry_at) if destination.retry_at and destination.retry_at > records.now else ""
    return _make(cause, job, records, reason=destination.reason or UNKNOWN_REASON, when=when)


def _of_parked(job: JobRow, waits_for: str, records: Records) -> Diagnosis:
    if _code(job.reason) in (ReasonCode.WAITING_FOR_LANE, ReasonCode.WAITING_FOR_CUSTOMER):
        first = next((other for other in records.jobs if other.lane == waits_for and other.open), None)
        return _make("waiting_for_customer", job, records, behind=of_job(first, records) if first else None)
    if (cause := _cause_of_hold(job.reason)) is not None:
        return _make(cause, job, records)
    return _make(
        "coupon_held" if job.kind == JobKind.ISSUE_COUPON else "waiting_for_turn", job, records, confidence="likely"
    )


def _cause_of_hold(reason: Reason | None) -> str | None:
    if reason is not None and reason.facts.get("setting") in VERIFICATION_SETTINGS:
        return "cannot_confirm"
    return PARKED.get(_code(reason))


# ----------------------------------------------------------------------------------------------- a coupon


def _of_coupon(coupon: CouponRow, job: JobRow | None, records: Records) -> Diagnosis:
    ended = {"used": "coupon_used", "retired": "coupon_retired", "points_returned": "coupon_points_returned"}
    cause, reason = ended.get(coupon.state), coupon.reason
    if coupon.state == "active":
        alerts = (alert.reason for alert in records.alerts if alert.subject == coupon.code)
        drift = next((reason for reason in alerts if reason.code is ReasonCode.COUPON_DRIFT), None)
        cause, reason = ("coupon_changed", drift) if drift else ("coupon_active", reason)
    elif coupon.state == "refused" and job is None:
        cause = "not_genuine"
    if cause is None and job is not None:
        return of_job(job, records)
    facts = {"code": coupon.code, "what": f"coupon {coupon.code}", "destination": "the store", "worth": worth(coupon)}
    return Diagnosis(
        cause or _cause_of_hold(reason) or "coupon_held",
        f"coupon:{coupon.code}",
        facts | _texts_of(reason or UNKNOWN_REASON),
        job_id=job.id if job else None,
        message_id=coupon.message_id,
        reason=reason,
    )


def worth(coupon: CouponRow) -> str:
    """The kind and value, such as "fixed amount, 5.00 EUR"."""
    kind = (coupon.kind or "of unknown value").replace("_", " ")
    if coupon.value is None:
        return kind
    unit = "per cent" if coupon.kind == "percentage" else coupon.currency or ""
    return f"{kind}, {coupon.value:f} {unit}".rstrip()


# ----------------------------------------------------------------------------------------------- the texts' facts


def _make(
    cause: str,
    job: JobRow,
    records: Records,
    *,
    confidence: Confidence = "certain",
    reason: Reason | None = None,
    behind: Diagnosis | None = None,
    **facts: str,
) -> Diagnosis:
    reason = reason or job.reason or (job.attempts[-1].reason if job.attempts else None)
    known = {
        "what": named(job),
        "destination": destination_name(job.destination),
        "destination_key": job.destination,
        "job": str(job.id),
        "code": job.params.get("code", ""),
        "when": _when(job, records.now),
        **_texts_of(reason or UNKNOWN_REASON),
        **({"behind": behind.text} if behind else {}),
        **facts,
    }
    subject = f"reward:{known['code']}" if job.kind == JobKind.USE_REWARD else job.lane
    return Diagnosis(
        cause, subject, known, confidence, job.id, job.message_id, _last_status(job), reason=reason, behind=behind
    )


def _texts_of(reason: Reason) -> dict[str, str]:
    rule = reason.facts.get("rule")
    return {"reason": reason.text, "reason_next": reason.next_step} | ({"rule": rule} if isinstance(rule, str) else {})


def _code(reason: Reason | None) -> ReasonCode:
    return ReasonCode.UNSPECIFIED if reason is None else reason.code


def destination_name(destination: str) -> str:
    """The display name of a destination."""
    return display_name(destination)


def named(job: JobRow) -> str:
    """The display name of a job's subject, such as "order 1001"."""
    kind, _, key = job.lane.partition(":")
    if job.kind == JobKind.USE_REWARD:
        return f"the use of coupon {key}"
    if kind == "fetch":
        entity, _, key = key.partition(":")
        kind = entity.removesuffix("s")
    if kind == "coupon-without-code":
        return "the redemption"
    return f"{kind} {job.params.get('code', key) if kind == 'coupon' else key}"


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _when(job: JobRow, now: datetime) -> str:
    """The time of the next attempt; empty if it is unknown or in the past."""
    later = job.run_at is not None and job.run_at > now and job.waits_for is None and not job.leased
    return moment(job.run_at) if later and job.run_at else ""


def _duration(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _last_status(job: JobRow) -> int | None:
    return next((attempt.status for attempt in reversed(job.attempts) if attempt.status is not None), None)
