"""Every cause that explain can name: an id for programs, a rank, and texts for people. Pure.

Where a reason code decides, the text and the next step are those of the code (platform_relay.core.reason_texts)
unless the cause has
its own. The templates are those of `platform_relay.core.reason_texts`. Facts: `{what}` is what was asked for ("order
1001"), `{destination}`
the system that is called, `{reason}` and `{reason_next}` the rendered reason, `{code}` the coupon's code.
docs/explain.md lists all causes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Self

from platform_relay.core.reason_texts import render
from platform_relay.core.reasons import ReasonCode


class Rank(IntEnum):
    """How much attention a cause needs. Of several causes, the highest rank comes first."""

    FINE = 0
    FOR_INFORMATION = 1
    BY_ITSELF = 2
    NEEDS_A_PERSON = 3
    GIVEN_UP = 4


@dataclass(frozen=True, slots=True)
class Step:
    """Something that an operator can do. `api` is the call that does it, `command` the command of the CLI."""

    text: str
    api: str | None = None
    command: str | None = None

    def filled(self, facts: Mapping[str, str]) -> Self:
        """The step with the facts in its templates."""
        return replace(self, text=render(self.text, facts), api=self.api and render(self.api, facts))


@dataclass(frozen=True, slots=True)
class Cause:
    """`text`: what happened and why. `next_step`: what happens next. `steps`: what an operator can do, the best first."""

    rank: Rank
    text: str = "{what}: {reason}."
    next_step: str = "{reason_next}."
    steps: tuple[Step, ...] = ()


FINE, INFORMATION, BY_ITSELF, PERSON, GIVEN_UP = Rank
_NOTHING: Final = "No action needed."
_AUTOMATIC: Final = "The relay tries again automatically."
_ASKS_FIRST: Final = "The relay first asks {destination} whether the request arrived, then continues."
_PAUSED: Final = "It continues automatically when calls are possible again. No attempts are used up."
_NOT_AGAIN: Final = "It is not tried again automatically."
_RETRY: Final = Step("Retry the job.", "POST /v1/jobs/{job}/retry")
_DROP: Final = Step("Drop the job if it is not needed.", "POST /v1/jobs/{job}/drop")
_RESUME: Final = Step("Resume calls to {destination} at once.", "POST /v1/destinations/{destination_key}/resume")
_RULE: Final = Step("Add a reward rule.", "PUT /v1/reward-rules/RULE-ID", "relay rules put RULE-ID")
_COUPON: Final = Step("Look at the coupon.", "GET /v1/coupons/{code}")
_RETIRE: Final = Step("Make the coupon unusable.", "POST /v1/coupons/{code}/retire")
_CHECK: Final = Step(
    "Run the check, correct the setting that it names, and restart the workers.", command="relay check"
)
_BACKFILL: Final = Step("Send the event again from the store, or read it from the store.", command="relay backfill")
_REPORT: Final = Step("Report the error with the id of the job, {job}.")
_ASK_PLATFORM: Final = Step("Ask the Platform whether the customer redeemed the points.")
_WHO_CHANGED_IT: Final = Step("Find out who changes coupons in the store.")

CAUSES: Final[Mapping[str, Cause]] = {
    # ------------------------------------------------------------------------------------------- done
    "delivered": Cause(FINE, "{destination} has {what}.", _NOTHING),
    "unchanged": Cause(FINE),
    "sent_twice": Cause(
        FINE, "The store sent {what} twice with the same content. {destination} received it once.", _NOTHING
    ),
    "newer_version": Cause(FINE),
    "coupon_active": Cause(
        FINE, "Coupon {code} is in the store and can be used: {worth}.", "The customer can use the coupon."
    ),
    "coupon_used": Cause(FINE),
    "stored_only": Cause(FINE, "The message was stored. It does not require a delivery.", _NOTHING),
    # ------------------------------------------------------------------------------------------- as it should be
    "not_paid": Cause(
        INFORMATION,
        "{destination} has {what} and gives no points yet, because the store reports it as {status}.",
        "The customer gets the points when the store reports the order as paid.",
        (Step("Check in the store whether the order was paid."),),
    ),
    "refunded": Cause(
        INFORMATION,
        "{destination} has {what}. The store reports it as {status}, so its points may have been taken back.",
        _NOTHING,
    ),
    "total_zero": Cause(INFORMATION, "{destination} has {what}. Its total is 0, which earns no points.", _NOTHING),
    "ignored": Cause(INFORMATION, "The store sent an event that the relay does not use. It was stored.", _NOTHING),
    "gone_from_shop": Cause(INFORMATION),
    "dropped": Cause(INFORMATION, steps=(_BACKFILL,)),
    "coupon_retired": Cause(INFORMATION, steps=(_COUPON,)),
    "coupon_given_back": Cause(INFORMATION, steps=(_COUPON,)),
    # ------------------------------------------------------------------------------------------- waits, continues alone
    "being_sent": Cause(BY_ITSELF, "{what} is being sent to {destination} now.", "Look again in a moment."),
    "in_turn": Cause(BY_ITSELF, "{what} is stored and waits for its turn.", "It is sent automatically."),
    "backfill_turn": Cause(
        BY_ITSELF, "{what} came with an import, which is sent after all live events.", "It is sent automatically."
    ),
    "earlier_first": Cause(
        BY_ITSELF, "An earlier event of {what} must be sent first, and it waits: {behind}.", _AUTOMATIC
    ),
    "retried_by_operator": Cause(BY_ITSELF),
    "outage": Cause(BY_ITSELF, next_step=_PAUSED, steps=(_RESUME,)),
    "failing": Cause(BY_ITSELF, next_step=_AUTOMATIC),
    "unreachable": Cause(BY_ITSELF),
    "throttled": Cause(BY_ITSELF),
    "no_answer": Cause(BY_ITSELF, next_step=_ASKS_FIRST),
    "odd_answer": Cause(
        BY_ITSELF,
        next_step=_ASKS_FIRST,
        steps=(Step("Check whether a proxy or a maintenance page is in front of {destination}."),),
    ),
    "worker_lost": Cause(
        BY_ITSELF, "The worker that was sending {what} stopped.", "Another worker takes over within seconds."
    ),
    "worker_restarted": Cause(BY_ITSELF),
    "relay_fault_retrying": Cause(BY_ITSELF, next_step=_AUTOMATIC, steps=(_REPORT,)),
    "waiting_for_customer": Cause(
        BY_ITSELF,
        "{what} waits until {destination} has its customer[: {behind}].",
        "It continues automatically as soon as the customer was delivered.",
    ),
    "customer_still_unknown": Cause(BY_ITSELF),
    "not_visible_yet": Cause(BY_ITSELF),
    "confirming": Cause(BY_ITSELF),
    "launcher_away": Cause(BY_ITSELF),
    # ------------------------------------------------------------------------------------------- waits for a person
    "destination_paused": Cause(PERSON, steps=(_RESUME,)),
    "key_refused": Cause(PERSON, steps=(_CHECK, _RESUME)),
    "wrong_address": Cause(PERSON, steps=(_CHECK, _RESUME)),
    "certificate": Cause(PERSON, steps=(Step("Have the certificate of {destination} renewed."), _RESUME)),
    "destination_blocked": Cause(PERSON, next_step=_PAUSED, steps=(_CHECK, _RESUME)),
    "no_worker": Cause(
        PERSON,
        "{what} has been due for {due}, and no worker has taken it. Probably no worker is running.",
        "It is sent as soon as a worker runs.",
        (Step("Start a worker.", command="relay worker"),),
    ),
    "no_rule": Cause(PERSON, steps=(_RULE, _COUPON)),
    "rule_unclear": Cause(PERSON, steps=(_RULE, _COUPON)),
    "amount_zero": Cause(PERSON, steps=(_RULE,)),
    "over_limit": Cause(PERSON, steps=(_RULE, _COUPON)),
    "fuse": Cause(
        PERSON, steps=(Step("Check the issued coupons, then release the limit.", "POST /v1/issuance-limits/release"),)
    ),
    "no_shop": Cause(PERSON, steps=(_CHECK,)),
    "cannot_confirm": Cause(PERSON, steps=(_CHECK, _COUPON)),
    "setting_missing": Cause(PERSON, steps=(_CHECK,)),
    "coupon_changed": Cause(PERSON, steps=(_WHO_CHANGED_IT, _RETIRE)),
    "coupon_held": Cause(
        PERSON,
        "Coupon {code} is held[: {reason}].",
        "An operator has to decide.",
        (_COUPON, _RETRY),
    ),
    # ------------------------------------------------------------------------------------------- dead-lettered
    "rejected": Cause(
        GIVEN_UP,
        next_step=_NOT_AGAIN + " A corrected event from the store is sent as usual.",
        steps=(Step("Correct the cause in the store."), _RETRY, _DROP),
    ),
    "customer_rejected": Cause(GIVEN_UP, steps=(_RETRY,)),
    "no_customer": Cause(
        GIVEN_UP,
        next_step=_NOT_AGAIN,
        steps=(Step("Let the store send it again with a customer or an e-mail address."),),
    ),
    "gave_up": Cause(
        GIVEN_UP,
        "{what} was tried until the end of RETRY__WINDOW. The last failure: {reason}.",
        _NOT_AGAIN,
        (_RETRY, Step("Retry all jobs that have the same cause.", "POST /v1/jobs/retry"), _DROP),
    ),
    "expired": Cause(GIVEN_UP, steps=(_BACKFILL,)),
    "relay_fault": Cause(GIVEN_UP, next_step=_NOT_AGAIN, steps=(_REPORT, _RETRY)),
    "unreadable": Cause(GIVEN_UP, steps=(_BACKFILL,)),
    "code_taken": Cause(GIVEN_UP, steps=(_RETRY,)),
    "coupon_differs": Cause(GIVEN_UP, steps=(_WHO_CHANGED_IT, _RETRY)),
    "other_redemption": Cause(GIVEN_UP, steps=(_COUPON,)),
    "not_genuine": Cause(GIVEN_UP, steps=(_ASK_PLATFORM, _COUPON)),
    "no_code": Cause(GIVEN_UP, steps=(_ASK_PLATFORM,)),
    "shop_cannot": Cause(
        GIVEN_UP,
        steps=(Step("Change the reward at the Platform."), _RULE, _RETRY),
    ),
    "shop_rejected": Cause(
        GIVEN_UP, next_step=_NOT_AGAIN, steps=(Step("Correct the cause in the store."), _RETRY, _DROP)
    ),
    # ------------------------------------------------------------------------------------------- nothing there
    "never_received": Cause(
        PERSON,
        "The relay never received anything about {what}.",
        "Nothing happens automatically, except that the nightly reconciliation looks for what is missing.",
        (
            Step("Read it from the store.", command="relay backfill"),
            Step("See what else is missing.", "POST /v1/reconciliations", "relay reconcile"),
        ),
    ),
    "webhooks_off": Cause(
        PERSON,
        "The relay received nothing about {what}, and the store has switched off its webhooks to the relay.",
        "Nothing happens automatically, except that the nightly reconciliation looks for what is missing.",
        (
            Step("Switch the webhooks on.", command="relay connect"),
            Step("Read from the store what was missed.", command="relay backfill"),
        ),
    ),
}

_SETTING: Final = {
    ReasonCode.SETTING_MISSING: "setting_missing",
    ReasonCode.SETTING_WRONG: "setting_missing",
    ReasonCode.BODY_KEY_MISSING: "setting_missing",
    ReasonCode.BODY_KEY_WRONG: "setting_missing",
    ReasonCode.NO_STORE: "no_shop",
}
BLOCKED: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.KEY_REJECTED: "key_refused",
    ReasonCode.PERMISSION_MISSING: "key_refused",
    ReasonCode.WRONG_ADDRESS: "wrong_address",
    ReasonCode.ADDRESS_INVALID: "wrong_address",
    ReasonCode.REDIRECTED: "wrong_address",
    ReasonCode.EGRESS_DENIED: "wrong_address",
    ReasonCode.TLS_FAILED: "certificate",
    **_SETTING,
}
"""The causes of a blocked destination, by its reason code. Else: destination_blocked."""
RETRIED: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.CONNECTION_FAILED: "unreachable",
    ReasonCode.RATE_LIMITED: "throttled",
    ReasonCode.CONNECTION_LOST: "no_answer",
    ReasonCode.TIMED_OUT: "no_answer",
    ReasonCode.RESPONSE_UNREADABLE: "odd_answer",
    ReasonCode.RESPONSE_TOO_LARGE: "odd_answer",
    ReasonCode.CUSTOMER_STILL_UNKNOWN: "customer_still_unknown",
    ReasonCode.COUPON_NOT_VISIBLE: "not_visible_yet",
    ReasonCode.LAUNCHER_UNAVAILABLE: "launcher_away",
    ReasonCode.CONFIRMATION_PENDING: "confirming",
    ReasonCode.CONFIRMATION_UNAVAILABLE: "confirming",
    ReasonCode.INTERNAL_ERROR: "relay_fault_retrying",
}
"""The causes of a job that is retried, by its reason code. Else: failing."""
PARKED: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.NO_VALUE: "no_rule",
    ReasonCode.VALUE_UNCERTAIN: "rule_unclear",
    ReasonCode.VALUE_ZERO: "amount_zero",
    ReasonCode.VALUE_ABOVE_LIMIT: "over_limit",
    ReasonCode.LAUNCHER_UNAVAILABLE: "launcher_away",
    ReasonCode.CONFIRMATION_PENDING: "confirming",
    ReasonCode.CONFIRMATION_UNAVAILABLE: "confirming",
    ReasonCode.ISSUANCE_LIMIT_REACHED: "fuse",
    ReasonCode.WAITING_FOR_CUSTOMER: "waiting_for_customer",
    **_SETTING,
}
"""The causes of a parked job or a held coupon, by its reason code. Else: coupon_held, or in_turn."""
TO_CONFIRM: Final = frozenset({"PLATFORM__SHOP_KEY", "PLATFORM__API_KEY", "PLATFORM__ALLOWED_NETWORKS"})
"""Settings without which redemptions cannot be verified: a parked coupon that lacks one has the cause cannot_confirm."""
DEAD: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.CODE_TAKEN: "code_taken",
    ReasonCode.COUPON_DIFFERS: "coupon_differs",
    ReasonCode.CODE_OF_ANOTHER_REDEMPTION: "other_redemption",
    ReasonCode.SIMILAR_CODE: "other_redemption",
    ReasonCode.NOT_GENUINE: "not_genuine",
    ReasonCode.SOURCE_NOT_ALLOWED: "not_genuine",
    ReasonCode.NO_COUPON_CODE: "no_code",
    ReasonCode.VALUE_ZERO: "amount_zero",
    ReasonCode.COUPON_INVALID: "shop_cannot",
    ReasonCode.NOT_SUPPORTED_BY_STORE: "shop_cannot",
    ReasonCode.CURRENCY_MISMATCH: "shop_cannot",
    ReasonCode.CUSTOMER_REJECTED: "customer_rejected",
    ReasonCode.NO_CUSTOMER: "no_customer",
    ReasonCode.STORED_EVENT_UNREADABLE: "unreadable",
    ReasonCode.NO_HANDLER: "relay_fault",
    ReasonCode.INTERNAL_ERROR: "relay_fault",
    ReasonCode.EXPIRED: "expired",
}
"""The causes of a job that was rejected for good, by its reason code. Else: rejected, or shop_rejected."""
