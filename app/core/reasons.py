"""Reason codes: why a job, an attempt, a coupon, a destination or an alert is as it is.

A `Reason` is a stable code and the facts that belong to it. Code branches on the code. The text for people is made from
both where it is shown, and only by `Reason.text` and `Reason.next_step`. The texts are in `platform_relay.core.reason_texts`;
docs/reason-codes.md lists every code.

Imports nothing else of the application, so that every layer can use it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from pydantic import JsonValue

from platform_relay.core.visible_text import visible


class ReasonCode(StrEnum):
    """Every reason code. The values are stored and part of the API: never change one, only add."""

    # ------------------------------------------------------------------ the call to a destination
    CONNECTION_FAILED = "connection_failed"
    CONNECTION_LOST = "connection_lost"
    TIMED_OUT = "timed_out"
    TLS_FAILED = "tls_failed"
    TLS_NOT_OFFERED = "tls_not_offered"
    TLS_REQUIRED = "tls_required"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_WRONG_HOST = "certificate_wrong_host"
    CERTIFICATE_EXPIRED = "certificate_expired"
    EGRESS_DENIED = "egress_denied"
    ADDRESS_INVALID = "address_invalid"
    WRONG_ADDRESS = "wrong_address"
    REDIRECTED = "redirected"
    KEY_REJECTED = "key_rejected"
    PERMISSION_MISSING = "permission_missing"
    FIREWALL_REFUSED = "firewall_refused"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    RESPONSE_UNREADABLE = "response_unreadable"
    RESPONSE_TOO_LARGE = "response_too_large"
    RESPONSE_MALFORMED = "response_malformed"
    FAILURE_REPORTED = "failure_reported"
    REJECTED_BY_DESTINATION = "rejected_by_destination"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    RESPONSES_CONTRADICT = "responses_contradict"
    REFUSAL_UNDECIDED = "refusal_undecided"
    ENTITY_REFUSED = "entity_refused"

    # ------------------------------------------------------------------ the configuration
    SETTING_MISSING = "setting_missing"
    SETTING_WRONG = "setting_wrong"
    NO_STORE = "no_store"
    BODY_KEY_MISSING = "body_key_missing"
    BODY_KEY_WRONG = "body_key_wrong"
    BODY_NOT_ENCRYPTED = "body_not_encrypted"
    STORE_NOT_READY = "store_not_ready"
    TRIAL_RUNS = "trial_runs"

    # ------------------------------------------------------------------ the relay's database
    DATABASE_UNREACHABLE = "database_unreachable"
    DATABASE_HOST_UNKNOWN = "database_host_unknown"
    DATABASE_NOT_ACCEPTING = "database_not_accepting"
    DATABASE_READ_ONLY = "database_read_only"
    DATABASE_FAILED_OVER = "database_failed_over"
    DATABASE_MIGRATING = "database_migrating"
    DATABASE_NOT_MIGRATED = "database_not_migrated"
    DATABASE_LOGIN_REJECTED = "database_login_rejected"
    DATABASE_NOT_FOUND = "database_not_found"
    DATABASE_PERMISSION_MISSING = "database_permission_missing"
    DATABASE_TLS_FAILED = "database_tls_failed"
    WORK_FAILING = "work_failing"
    NO_WORKER = "no_worker"

    # ------------------------------------------------------------------ the queue
    NEWER_VERSION = "newer_version"
    NEWER_VERSION_AHEAD = "newer_version_ahead"
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    LEASE_LOST = "lease_lost"
    ATTEMPTS_LOST = "attempts_lost"
    JOB_INVALID = "job_invalid"
    INTERNAL_ERROR = "internal_error"
    DATABASE_UNAVAILABLE = "database_unavailable"
    SHUTDOWN = "shutdown"
    WAITING_FOR_LANE = "waiting_for_lane"
    OPERATOR_RETRY = "operator_retry"
    OPERATOR_DROPPED = "operator_dropped"
    OPERATOR_PAUSED = "operator_paused"
    NO_HANDLER = "no_handler"
    SHADOW = "shadow"
    STORED_EVENT_UNREADABLE = "stored_event_unreadable"
    EVENT_TOO_LARGE = "event_too_large"

    # ------------------------------------------------------------------ customers, orders, products
    WAITING_FOR_CUSTOMER = "waiting_for_customer"
    CUSTOMER_STILL_UNKNOWN = "customer_still_unknown"
    EARLIER_CALL_MAY_ARRIVE = "earlier_call_may_arrive"
    CUSTOMER_REJECTED = "customer_rejected"
    NO_CUSTOMER = "no_customer"
    ENTITY_NOT_FOUND = "entity_not_found"
    NO_BUYER = "no_buyer"
    ENTITY_UNREADABLE = "entity_unreadable"
    FIELDS_LEFT_OUT = "fields_left_out"
    GONE_FROM_STORE = "gone_from_store"
    NOT_APPLICABLE = "not_applicable"
    SIGNATURE_WRONG = "signature_wrong"

    # ------------------------------------------------------------------ redemptions: value and verification
    NO_COUPON_CODE = "no_coupon_code"
    NO_VALUE = "no_value"
    VALUE_ZERO = "value_zero"
    VALUE_ABOVE_LIMIT = "value_above_limit"
    VALUE_UNCERTAIN = "value_uncertain"
    LAUNCHER_UNAVAILABLE = "launcher_unavailable"
    NOT_GENUINE = "not_genuine"
    CONFIRMATION_PENDING = "confirmation_pending"
    CONFIRMATION_UNAVAILABLE = "confirmation_unavailable"
    REWARD_LIST_INCOMPLETE = "reward_list_incomplete"
    SOURCE_NOT_ALLOWED = "source_not_allowed"
    ISSUANCE_LIMIT_REACHED = "issuance_limit_reached"
    CODE_OF_ANOTHER_REDEMPTION = "code_of_another_redemption"
    SAME_REDEMPTION = "same_redemption"
    SIMILAR_CODE = "similar_code"
    OPERATOR_DECIDED = "operator_decided"

    # ------------------------------------------------------------------ coupons in the store
    COUPON_INVALID = "coupon_invalid"
    NOT_SUPPORTED_BY_STORE = "not_supported_by_store"
    CURRENCY_MISMATCH = "currency_mismatch"
    CODE_TAKEN = "code_taken"
    COUPON_DIFFERS = "coupon_differs"
    COUPON_NOT_VISIBLE = "coupon_not_visible"
    COUPON_STATE_CHANGED = "coupon_state_changed"
    COUPON_ALREADY_FINAL = "coupon_already_final"
    COUPON_USED = "coupon_used"
    COUPON_RETIRED = "coupon_retired"
    RETIRED_TOO_LATE = "retired_too_late"
    COUPON_NOT_ISSUED = "coupon_not_issued"
    COUPON_NOT_OURS = "coupon_not_ours"
    COUPON_CLEANED_UP = "coupon_cleaned_up"
    COUPON_STILL_ACTIVE = "coupon_still_active"
    REWARD_ALREADY_USED = "reward_already_used"
    POINTS_NOT_RETURNABLE = "points_not_returnable"
    POINTS_IN_DOUBT = "points_in_doubt"
    POINTS_RETURNED = "points_returned"

    # ------------------------------------------------------------------ alerts
    DESTINATION_CLOSED = "destination_closed"
    JOBS_DEAD = "jobs_dead"
    WORK_WAITING = "work_waiting"
    COUPON_OVERDUE = "coupon_overdue"
    REDEMPTIONS_REFUSED = "redemptions_refused"
    COUPON_OVERUSED = "coupon_overused"
    COUPON_DRIFT = "coupon_drift"
    HISTORY_NOT_EXPORTED = "history_not_exported"
    RECONCILIATION_DIFFERENCES = "reconciliation_differences"
    RECONCILIATION_FAILED = "reconciliation_failed"
    RECONCILIATION_INCOMPLETE = "reconciliation_incomplete"
    LIST_INCOMPLETE = "list_incomplete"
    BACKGROUND_READ_FAILING = "background_read_failing"
    STORE_WEBHOOKS_OFF = "store_webhooks_off"
    STORE_WEBHOOKS_REFUSED = "store_webhooks_refused"
    STORE_WEBHOOKS_UNREADABLE = "store_webhooks_unreadable"
    WEBHOOKS_NOT_ACCEPTED = "webhooks_not_accepted"
    FUTURE_VERSION = "future_version"
    PLATFORM_FIELD_DIFFERS = "platform_field_differs"
    PLATFORM_RESPONSE_CHANGED = "platform_response_changed"

    # ------------------------------------------------------------------ rows written before reason codes existed
    UNSPECIFIED = "unspecified"


ALERTS: Final = frozenset(
    {
        ReasonCode.DESTINATION_CLOSED,
        ReasonCode.JOBS_DEAD,
        ReasonCode.WORK_WAITING,
        ReasonCode.WORK_FAILING,
        ReasonCode.NO_WORKER,
        ReasonCode.COUPON_OVERDUE,
        ReasonCode.REDEMPTIONS_REFUSED,
        ReasonCode.COUPON_OVERUSED,
        ReasonCode.COUPON_DRIFT,
        ReasonCode.HISTORY_NOT_EXPORTED,
        ReasonCode.ISSUANCE_LIMIT_REACHED,
        ReasonCode.POINTS_IN_DOUBT,
        ReasonCode.DATABASE_FAILED_OVER,
        ReasonCode.SETTING_MISSING,
        ReasonCode.BODY_KEY_MISSING,
        ReasonCode.BODY_NOT_ENCRYPTED,
        ReasonCode.RECONCILIATION_DIFFERENCES,
        ReasonCode.RECONCILIATION_INCOMPLETE,
        ReasonCode.BACKGROUND_READ_FAILING,
        ReasonCode.STORE_WEBHOOKS_OFF,
        ReasonCode.STORE_WEBHOOKS_REFUSED,
        ReasonCode.STORE_WEBHOOKS_UNREADABLE,
        ReasonCode.WEBHOOKS_NOT_ACCEPTED,
        ReasonCode.FUTURE_VERSION,
        ReasonCode.PLATFORM_FIELD_DIFFERS,
        ReasonCode.PLATFORM_RESPONSE_CHANGED,
    }
)
"""The codes that are raised as alerts. docs/runbook.md has a section for each."""
REFUSALS: Final = frozenset(
    {ReasonCode.NOT_GENUINE, ReasonCode.SOURCE_NOT_ALLOWED, ReasonCode.CODE_OF_ANOTHER_REDEMPTION}
)
"""The codes of redemption claims that are refused as not genuine. Their dead jobs raise no alert one by one."""
DISMISSED_BY_HAND: Final = frozenset({ReasonCode.COUPON_OVERUSED, ReasonCode.POINTS_IN_DOUBT})
"""Alerts that only an operator ends. Their subject is a coupon's code."""
ABOUT_COUPONS: Final = DISMISSED_BY_HAND | {ReasonCode.COUPON_OVERDUE, ReasonCode.COUPON_DRIFT}
"""Alerts whose subject is a coupon's code, or a job's id if the code is unknown."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason code with its facts. Make one with `because`.

    Facts are JSON values: text (a destination's own words: at most 300 characters, without secrets), numbers, lists of
    text, lists of differences as `{"field": …, "actual": …, "expected": …}`, or another reason (`as_fact`). They name no
    secret and no e-mail address.
    """

    code: ReasonCode
    facts: Mapping[str, JsonValue]

    @property
    def text(self) -> str:
        """What happened and why: one or two English sentences."""
        from platform_relay.core.reason_texts.rendering import TEXTS, render  # noqa: PLC0415  # the texts are not needed to make a reason

        return render(TEXTS[self.code].text, self.facts)

    @property
    def next_step(self) -> str:
        """What happens next, or what the operator can do."""
        from platform_relay.core.reason_texts.rendering import TEXTS, render  # noqa: PLC0415  # as above

        return render(TEXTS[self.code].next_step, self.facts)

    def as_fact(self) -> dict[str, JsonValue]:
        """The reason as a fact of another reason; it is shown as its text."""
        return {"code": self.code.value, "facts": dict(self.facts)}

    def also(self, **facts: JsonValue) -> Self:
        """The same reason with more facts; facts that are None or empty are left out."""
        return type(self)(self.code, {**self.facts, **_present(facts)})

    def without(self, fact: str) -> Self:
        """The same reason without this fact."""
        return type(self)(self.code, {name: value for name, value in self.facts.items() if name != fact})


def because(code: ReasonCode, /, **facts: JsonValue) -> Reason:
    """A reason with these facts; facts that are None or empty are left out."""
    return Reason(code, _present(facts))


def columns(reason: Reason | None) -> dict[str, str | None]:
    """The columns `reason_code` and `facts` (JSON text) of a row with this reason, as parameters of a statement."""
    if reason is None:
        return {"reason_code": None, "facts": None}
    return {"reason_code": reason.code, "facts": json.dumps(dict(reason.facts), ensure_ascii=False)}


def stored(code: str | None, facts: Mapping[str, JsonValue] | None) -> Reason | None:
    """The reason of a row; None where it has none. A code that this release does not know becomes UNSPECIFIED."""
    if code is None:
        return None
    known = code if code in _CODES else ReasonCode.UNSPECIFIED
    return Reason(ReasonCode(known), dict(facts or {}))


_CODES = frozenset(ReasonCode)
FOREIGN: Final = frozenset({"response", "problem", "error", "hint"})
"""The facts that hold words of a destination. Other facts, such as ids, are stored as they are and made visible when shown."""


def _present(facts: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {
        name: visible(value) if name in FOREIGN and isinstance(value, str) else _storable(value)
        for name, value in facts.items()
        if value is not None and value not in ("", [], {})
    }


def _storable(fact: JsonValue) -> JsonValue:
    """The fact as PostgreSQL stores JSON. A destination's words may hold NULs and halves of surrogate pairs, and a job
    that cannot be settled would stop its destination."""
    match fact:
        case str():
            return fact.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
        case Decimal():
            return str(fact)  # type: ignore[unreachable]  # a number of a destination's JSON (core.exact_json)
        case float() if not math.isfinite(fact):
            return str(fact)
        case list():
            return [_storable(item) for item in fact]
        case dict():
            return {name: _storable(value) for name, value in fact.items()}
        case _:
            return fact
