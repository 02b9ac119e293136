"""From records to causes: why a job, a coupon, or all that was asked for is as it is. Pure.

The structured facts come first (state, reason, what is waited for, the channel, the last answer's status). Where only
our own words tell, they are recognised by `_REJECTED` and `_HELD`; what those do not know is `likely` at best.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final, Literal
from uuid import UUID

from app.operations.explain.causes import CAUSES
from app.operations.explain.records import CouponRow, JobRow, MessageRow, Records

Confidence = Literal["certain", "likely"]
DUE_SECONDS: Final = 60.0
"""A lane that is due for longer than this and that nobody took: no worker runs."""
UNPAID: Final = ("authorized", "pending", "partially_paid", "voided", "expired")
REFUNDED: Final = ("refunded", "partially_refunded")
PATROL: Final = "coupon_patrol"
"""The alerts of `operations.patrol`."""
_FAR: Final = {"platform": "the Platform", "store": "the shop"}

_REJECTED: Final[tuple[tuple[str, str], ...]] = (
    ("already holds a coupon .* with other values", "code_taken"),
    ("coupon is not what was ordered", "coupon_differs"),
    ("belongs to (another )?redemption", "other_redemption"),
    ("the redemption was refused|^refused: ", "not_genuine"),
    ("carries no coupon code", "no_code"),
    ("needs a value above 0|worth more than 0", "amount_zero"),
    ("was not created: ", "shop_cannot"),
    ("did not take it", "customer_rejected"),
    ("names neither a customer nor an e-mail|and the webhook names none", "no_customer"),
    ("stored event cannot be read", "unreadable"),
    ("no handler for jobs", "relay_fault"),
)
_HELD: Final[tuple[tuple[str, str], ...]] = (
    ("worth more than 0", "amount_zero"),
    ("is over the limit of", "over_limit"),
    ("could not be asked", "launcher_away"),
    ("no value known for rule|names no rule", "no_rule"),
)
_SETTINGS: Final[tuple[tuple[str, str], ...]] = (
    ("STORE__ADAPTER", "no_shop"),
    ("PLATFORM__SHOP_KEY|PLATFORM__ALLOWED_NETWORKS", "cannot_confirm"),
)
_BLOCKED: Final[tuple[tuple[str, str], ...]] = (
    ("TLS|certificate", "certificate"),
    (r"HTTP 404|address|resolve", "wrong_address"),
    (r"HTTP 40[13]|\bkey\b|credential|token|permission|scope", "key_refused"),
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One cause with what its sentences need. `status`: the far side's last HTTP status. `because` is what is behind it."""

    cause: str
    subject: str
    facts: Mapping[str, str] = field(default_factory=dict)
    confidence: Confidence = "certain"
    job_id: UUID | None = None
    message_id: UUID | None = None
    status: int | None = None
    because: "Judgement | None" = None

    @property
    def rank(self) -> int:
        return CAUSES[self.cause].rank

    def _say(self, template: str) -> str:
        said = template.format_map(_Facts(self.facts))
        return said[:1].upper() + said[1:]

    @property
    def says(self) -> str:
        return self._say(CAUSES[self.cause].says)

    @property
    def next(self) -> str:
        return self._say(CAUSES[self.cause].next)

    @property
    def do(self) -> tuple[str, ...]:
        own = tuple(step.format_map(_Facts(self.facts)) for step in CAUSES[self.cause].do)
        return own or (self.because.do if self.because else ())


class _Facts(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return {"answer": "no reason was kept"}.get(name, "")


# ----------------------------------------------------------------------------------------------- all of it


def judge(records: Records) -> list[Judgement]:
    """One judgement for each thing that the records are about, what needs somebody first; the asked one leads its rank.

    Empty when nothing was found.
    """
    judged = [_judge_lane(channel, lane, records) for channel, lane in _subjects(records)]
    issued = {job.params.get("code") for job in records.jobs if job.kind == "issue_coupon"}
    judged += [_judge_coupon(each, None, records) for each in records.coupons if each.code not in issued]
    owing = {job.message_id for job in records.jobs}
    judged += [_owes_nothing(message) for message in records.messages if message.id not in owing]
    asked = {f"{records.by}:{records.key}", f"fetch:{records.by}s:{records.key}"}
    if records.by in ("order", "coupon"):  # what else is known about it stands behind what was asked for
        return sorted(judged, key=lambda each: (each.subject not in asked, -each.rank))
    return sorted(judged, key=lambda each: (-each.rank, each.subject not in asked))


def _subjects(records: Records) -> list[tuple[str, str]]:
    wanted = {message.id for message in records.messages}
    return list(dict.fromkeys((job.channel, job.lane) for job in records.jobs if job.message_id in wanted))


def _judge_lane(channel: str, lane: str, records: Records) -> Judgement:
    jobs = sorted((job for job in records.jobs if (job.channel, job.lane) == (channel, lane)), key=lambda job: job.seq)
    if records.by == "message":
        jobs = [job for job in jobs if str(job.message_id) == records.key] or jobs
    newest = jobs[-1]
    code = newest.params.get("code")
    if newest.kind == "issue_coupon" and code:
        coupon = next((each for each in records.coupons if each.code == code), None)
        if coupon is None or coupon.message_id == newest.message_id or newest.state == "skipped":
            judged = _judge_coupon(coupon, newest, records) if coupon else judge_job(newest, records)
            return replace(judged, subject=f"coupon:{code}")
    judgement = judge_job(newest, records)
    ahead = next((job for job in jobs[:-1] if job.open), None)
    if newest.state == "waiting" and ahead is not None and not newest.collapse:
        behind = judge_job(ahead, records)
        return _make("earlier_first", newest, answer=behind.says.rstrip("."), because=behind, when=_when(ahead))
    return judgement


def _owes_nothing(message: MessageRow) -> Judgement:
    cause = "ignored" if message.kind == "ignored" else "stored_only"
    return Judgement(cause, f"message:{message.id}", {"what": "it"}, message_id=message.id)


# ----------------------------------------------------------------------------------------------- a job


def judge_job(job: JobRow, records: Records) -> Judgement:
    """Why the job is in its state."""
    if job.state == "waiting":
        return _waiting(job, records)
    if job.state == "running":
        lost = job.run_at is not None and job.run_at < records.now
        return _make("worker_lost" if lost else "being_sent", job)
    if job.state == "dead":
        return _dead(job)
    if job.state == "superseded":
        return _make("newer_version", job)
    if job.state == "dropped":
        return _make("dropped", job)
    return _well(job, records)


def _well(job: JobRow, records: Records) -> Judgement:
    if job.state == "skipped" and "gone from the shop" in (job.detail or ""):
        return _make("gone_from_shop", job)
    message = next((each for each in records.messages if each.id == job.message_id), None)
    if job.kind == "relay_order" and message is not None and (told := _order_told(message)):
        status, total = told
        if status in UNPAID:
            return _make("not_paid", job, status=status)
        if status in REFUNDED:
            return _make("refunded", job, status=status)
        if total == 0:
            return _make("total_zero", job)
    if job.state == "skipped":
        return _make("sent_twice" if message and _twin(message, job, records) else "unchanged", job)
    return _make("delivered", job)


def _twin(message: MessageRow, job: JobRow, records: Records) -> bool:
    """Whether the same bytes came before, for the same lane."""
    lane = {other.message_id for other in records.jobs if other.lane == job.lane and other.seq < job.seq}
    return any(other.id in lane and other.body_hash == message.body_hash for other in records.messages)


def _order_told(message: MessageRow) -> tuple[str, Decimal | None] | None:
    try:
        body = json.loads(message.body or b"")
        total = Decimal(str(body.get("totalPrice")))
    except (ValueError, AttributeError, InvalidOperation):
        return None
    return str(body.get("financialStatus")), total


def _dead(job: JobRow) -> Judgement:
    if job.reason == "exhausted":
        return _make("gave_up", job)
    if job.reason == "expired":
        return _make("expired", job)
    if job.reason == "crashed":
        return _make("relay_fault", job)
    found = _recognised(_REJECTED, job.detail)
    if found is not None:
        return _make(found, job)
    likely: Confidence = "certain" if _last_status(job) is not None else "likely"
    return _make("shop_rejected" if job.kind == "issue_coupon" else "rejected", job, confidence=likely)


_BY_REASON: Final[Mapping[str | None, str]] = {
    "crashed": "relay_fault_retrying",
    "shutdown": "worker_restarted",
    "operator_retry": "retried_by_operator",
}


def _waiting(job: JobRow, records: Records) -> Judgement:
    channel = records.channels.get(job.channel)
    if channel is not None and channel.state != "open":
        return _closed(job, channel.state, channel.reason, channel.retry_at)
    if job.waits_for is not None:
        return _parked(job, job.waits_for, records)
    if job.reason == "retry":
        return _again(job)
    if job.reason == "unknown":
        return _make("odd_answer" if (_last_status(job) or 0) // 100 == 2 else "no_answer", job)
    known = _BY_REASON.get(job.reason)
    return _make(known, job) if known else _in_turn(job, records.now)


def _again(job: JobRow) -> Judgement:
    status, detail = _last_status(job), job.detail or ""
    if status == 429:
        return _make("throttled", job)
    if "does not show it yet" in detail:
        return _make("not_visible_yet", job)
    if "the customer was put, and" in detail:
        return _make("customer_still_unknown", job)
    if re.search("could not connect|hung up", detail):
        return _make("unreachable", job)
    return _make("failing", job, confidence="certain" if status is not None else "likely")


def _in_turn(job: JobRow, now: datetime) -> Judgement:
    due = (now - job.run_at).total_seconds() if job.run_at is not None and not job.leased else 0.0
    if job.priority == 1:
        return _make("backfill_turn", job)
    if due > DUE_SECONDS:
        return _make("no_worker", job, due=_lasting(timedelta(seconds=due)))
    return _make("in_turn", job)


def _closed(job: JobRow, state: str, reason: str | None, retry_at: datetime | None) -> Judgement:
    when = f" at {moment(retry_at)}" if retry_at else ""
    if state == "paused":
        return _make("channel_paused", job, answer=reason, when=when)
    if state == "tripped":
        return _make("outage", job, answer=reason, when=when)
    return _make(_recognised(_BLOCKED, reason) or "channel_blocked", job, answer=reason, when=when)


_BY_KEY: Final[Mapping[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    "reward-rule": ("rule_unclear", _HELD),
    "coupon-fuse": ("fuse", ()),
    "confirm": ("confirming", ()),
    "launcher": ("launcher_away", ()),
    "settings": ("setting_missing", _SETTINGS),
}
"""What a parked job waits for -> its cause, unless words tell a finer one."""


def _parked(job: JobRow, waits_for: str, records: Records) -> Judgement:
    name = waits_for.partition(":")[0]
    if name == "customer":
        owed = [other for other in records.jobs if other.lane == waits_for and other.open]
        behind = judge_job(owed[0], records) if owed else None
        waits = behind.says.rstrip(".") if behind else "that is owed"
        return _make("waiting_for_customer", job, waits=waits, because=behind)
    if name in _BY_KEY:
        usual, words = _BY_KEY[name]
        return _make(_recognised(words, job.detail) or usual, job)
    return _make("coupon_held" if job.kind == "issue_coupon" else "in_turn", job, confidence="likely")


# ----------------------------------------------------------------------------------------------- a coupon


def _judge_coupon(coupon: CouponRow, job: JobRow | None, records: Records) -> Judgement:
    code, told = coupon.code, coupon.reason
    alert = next((each for each in records.alerts if each.subject == code), None)
    ended = {"used": "coupon_used", "retired": "coupon_retired", "given_back": "coupon_given_back"}
    cause: str | None = ended.get(coupon.state)
    if coupon.state == "active" and alert is not None and alert.kind == PATROL:
        cause, told = "coupon_changed", alert.detail
    elif coupon.state == "active":
        cause, told = "coupon_active", worth(coupon)
    elif coupon.state == "refused":
        cause = "not_genuine"
    if cause is not None or job is None:
        facts = {"code": code, "what": f"coupon {code}", "far": "the shop", **({"answer": told} if told else {})}
        job_id = job.id if job else None
        return Judgement(cause or "coupon_held", f"coupon:{code}", facts, job_id=job_id, message_id=coupon.message_id)
    return judge_job(job, records)


def worth(coupon: CouponRow) -> str:
    """ "5.00 EUR", "10 per cent", or the kind alone."""
    kind = (coupon.kind or "of unknown value").replace("_", " ")
    if coupon.value is None:
        return kind
    unit = "per cent" if coupon.kind == "percentage" else coupon.currency or ""
    return f"{kind}, {coupon.value:f} {unit}".rstrip()


# ----------------------------------------------------------------------------------------------- words


def _make(
    cause: str,
    job: JobRow,
    *,
    confidence: Confidence = "certain",
    because: Judgement | None = None,
    answer: str | None = None,
    **facts: str,
) -> Judgement:
    told = answer or job.detail or (job.attempts[-1].detail if job.attempts else None)
    known = {
        "what": named(job),
        "far": _FAR.get(job.channel, job.channel),
        "channel": job.channel,
        "job": str(job.id),
        "code": job.params.get("code", ""),
        "when": _when(job),
        **({"answer": told.rstrip(".")} if told else {}),
        **facts,
    }
    subject = f"reward:{known['code']}" if job.kind == "use_reward" else job.lane
    return Judgement(cause, subject, known, confidence, job.id, job.message_id, _last_status(job), because)


def named(job: JobRow) -> str:
    """What a job is about, for people: "order 1001"."""
    kind, _, key = job.lane.partition(":")
    if job.kind == "use_reward":
        return f"the use of coupon {key}"
    if kind == "fetch":
        entity, _, key = key.partition(":")
        kind = entity.removesuffix("s")
    if kind == "coupon-without-code":
        return "the redemption"
    return f"{kind} {job.params.get('code', key) if kind == 'coupon' else key}"


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _when(job: JobRow) -> str:
    return f" at {moment(job.run_at)}" if job.run_at is not None and job.waits_for is None and not job.leased else ""


def _lasting(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _last_status(job: JobRow) -> int | None:
    return next((attempt.status for attempt in reversed(job.attempts) if attempt.status is not None), None)


def _recognised(table: Iterable[tuple[str, str]], told: str | None) -> str | None:
    return next((cause for pattern, cause in table if told and re.search(pattern, told)), None)
