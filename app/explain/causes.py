"""Every cause that explain can name: an id for programs, a rank, and texts for people. Pure.

If a reason code decides, the text and the next step are those of the code (`platform_relay.core.reason_texts`), unless the
cause has its own. The templates follow the same rules as there. Facts: `{what}` is the subject ("order 1001"),
`{destination}` the system that is called, `{reason}` and `{reason_next}` the rendered reason, `{code}` the coupon's code.
docs/explain.md lists all causes.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Self
from urllib.parse import quote

from platform_relay.core.reason_texts.rendering import render
from platform_relay.core.reason_texts.text import NO_ACTION, REPEATED_SAFELY, TRIED_AGAIN
from platform_relay.core.reasons import ReasonCode


class Rank(IntEnum):
    """How much attention a cause needs. Of several causes, the highest rank comes first."""

    FINE = 0
    FOR_INFORMATION = 1
    AUTOMATIC = 2
    NEEDS_OPERATOR = 3
    DEAD = 4


@dataclass(frozen=True, slots=True)
class Step:
    """Something that an operator can do, with the `api` call or the `command` that does it."""

    text: str
    api: str | None = None
    command: str | None = None

    def filled(self, facts: Mapping[str, str]) -> Self:
        """The step with rendered templates, and with the reward rule of the facts instead of RULE-ID, if it is known."""
        rule = facts.get("rule")
        api = self.api and render(self.api, facts).replace("RULE-ID", quote(rule, safe="") if rule else "RULE-ID")
        command = self.command and self.command.replace("RULE-ID", shlex.quote(rule) if rule else "RULE-ID")
        return replace(self, text=render(self.text, facts), api=api, command=command)


@dataclass(frozen=True, slots=True)
class Cause:
    """`text`: what happened and why. `next_step`: what happens next. `steps`: what an operator can do, the best first."""

    rank: Rank
    text: str = "{what}: {reason}."
    next_step: str = "{reason_next}."
    steps: tuple[Step, ...] = ()


FINE, INFORMATION, AUTOMATIC, OPERATOR, DEAD_LETTERED = Rank
_PAUSED: Final = "It continues automatically when calls are possible again. No attempts are used up."
_NOT_RETRIED: Final = "It is not retried automatically."
_RETRY: Final = Step("Retry the job.", "POST /v1/jobs/{job}/retry")
_DROP: Final = Step("Drop the job if it is not needed.", "POST /v1/jobs/{job}/drop")
_AS_NEWEST: Final = Step(
    "Send this version as the newest.", "POST /v1/jobs/{job}/send-as-newest", "relay jobs send-as-newest JOB-ID"
)
_REPAIR: Final = Step(
    "Read everything from the store and send what differs.", "POST /v1/reconciliations", "relay reconcile --repair"
)
_RESUME: Final = Step("Resume calls to {destination} at once.", "POST /v1/destinations/{destination_key}/resume")
_RULE: Final = Step(
    "Add a reward rule.",
    "PUT /v1/reward-rules/RULE-ID",
    """relay rules put RULE-ID '{"kind": "fixed_amount", "value": "5.00"}'""",
)
_COUPON: Final = Step("Read the coupon.", "GET /v1/coupons/{code}")
_RETIRE: Final = Step("Retire the coupon.", "POST /v1/coupons/{code}/retire")
_NOTHING: Final = "[The relay has received nothing about {what}. ]"
_WEBHOOKS_AGAIN: Final = Step(
    "Create the webhooks again, with the user of the relay's API key.",
    command="relay webhooks install --remove, then relay webhooks install",
)
_CHECK: Final = Step("Run the check, correct the setting that it names, and restart the relay.", command="relay check")
_BACKFILL: Final = Step("Send the event again from the store, or read it from the store.", command="relay backfill")
_REPORT: Final = Step("Report the error with the id of the job, {job}.")
_ASK_PLATFORM: Final = Step("Check at the Platform whether the customer redeemed the points.")
_WHO_CHANGED_IT: Final = Step("Find out who changes coupons in the store.")

CAUSES: Final[Mapping[str, Cause]] = {
    # ------------------------------------------------------------------------------------------- done
    "delivered": Cause(FINE, "{destination} has {what}.", NO_ACTION),
    "unchanged": Cause(FINE),
    "duplicate": Cause(
        FINE, "The store sent {what} twice with the same content. {destination} received it once.", NO_ACTION
    ),
    "newer_version": Cause(FINE),
    "coupon_active": Cause(
        FINE, "Coupon {code} is in the store and can be used: {worth}.", "The customer can use the coupon."
    ),
    "coupon_used": Cause(FINE),
    "older_than_history": Cause(
        FINE,
        "[The Platform has {what}. The messages about it were deleted after HISTORY.] [The id {id} is from {received} UTC."
        " Messages of that time were deleted after HISTORY.]",
        "No action needed. If HISTORY_EXPORT was set, they are in the exported files.",
    ),
    "stored_only": Cause(FINE, "The message was stored. It does not require a delivery.", NO_ACTION),
    # ------------------------------------------------------------------------------------------- expected
    "not_paid": Cause(
        INFORMATION,
        "{destination} has {what}, but gives no points yet, because its payment status is {status}.",
        "The customer gets the points as soon as the store reports the order as paid.",
        (Step("Check in the store whether the order was paid."),),
    ),
    "refunded": Cause(
        INFORMATION,
        "{destination} has {what}. Its payment status is {status}, so its points may have been taken back.",
        NO_ACTION,
    ),
    "total_zero": Cause(INFORMATION, "{destination} has {what}. Its total is 0, so it earns no points.", NO_ACTION),
    "ignored": Cause(
        INFORMATION, "The store sent an event that the relay does not use[: {reason}]. It was stored.", NO_ACTION
    ),
    "no_buyer": Cause(INFORMATION),
    "shadow": Cause(INFORMATION),
    "gone_from_store": Cause(INFORMATION),
    "dropped": Cause(INFORMATION, steps=(_BACKFILL,)),
    "coupon_retired": Cause(INFORMATION, steps=(_COUPON,)),
    "coupon_points_returned": Cause(INFORMATION, steps=(_COUPON,)),
    # ------------------------------------------------------------------------------------------- continues automatically
    "being_sent": Cause(AUTOMATIC, "{what} is being sent to {destination} now.", "Look again in a moment."),
    "waiting_for_turn": Cause(AUTOMATIC, "{what} is stored and waits for its turn.", "It is sent automatically."),
    "waiting_for_live_events": Cause(
        AUTOMATIC,
        "{what} came from an import or a backfill, which are sent after all live events.",
        "It is sent automatically.",
    ),
    "behind_earlier_event": Cause(
        AUTOMATIC, "An earlier event of {what} must be sent first, and it is waiting: {behind}.", TRIED_AGAIN
    ),
    "retried_by_operator": Cause(AUTOMATIC),
    "outage": Cause(AUTOMATIC, next_step=_PAUSED, steps=(_RESUME,)),
    "failing": Cause(AUTOMATIC, next_step=TRIED_AGAIN),
    "unreachable": Cause(AUTOMATIC),
    "rate_limited": Cause(AUTOMATIC),
    "refusal_undecided": Cause(AUTOMATIC),
    "entity_refused": Cause(AUTOMATIC),
    "no_response": Cause(AUTOMATIC, next_step=REPEATED_SAFELY),
    "unreadable_response": Cause(
        AUTOMATIC,
        next_step=REPEATED_SAFELY,
        steps=(Step("Check whether a proxy or a maintenance page is in front of {destination}."),),
    ),
    "worker_lost": Cause(
        AUTOMATIC,
        "The worker that was sending {what} stopped during the attempt.",
        "Another worker takes over within seconds.",
    ),
    "worker_restarted": Cause(AUTOMATIC),
    "internal_error_retrying": Cause(AUTOMATIC, next_step=TRIED_AGAIN, steps=(_REPORT,)),
    "waiting_for_customer": Cause(
        AUTOMATIC,
        "{what} waits until {destination} has its customer[: {behind}].",
        "It continues automatically as soon as the customer is delivered.",
    ),
    "customer_still_unknown": Cause(AUTOMATIC),
    "coupon_not_visible": Cause(AUTOMATIC),
    "confirmation_pending": Cause(AUTOMATIC),
    "launcher_unavailable": Cause(AUTOMATIC),
    # ------------------------------------------------------------------------------------------- needs an operator
    "destination_paused": Cause(OPERATOR, steps=(_RESUME,)),
    "key_rejected": Cause(OPERATOR, steps=(_CHECK, _RESUME)),
    "wrong_address": Cause(OPERATOR, steps=(_CHECK, _RESUME)),
    "certificate_rejected": Cause(OPERATOR, steps=(_CHECK, _RESUME)),
    "destination_blocked": Cause(OPERATOR, next_step=_PAUSED, steps=(_CHECK, _RESUME)),
    "no_worker": Cause(
        OPERATOR,
        "{what} has been due for {due}, but no worker has claimed it. Probably no worker is running.",
        "It is sent as soon as a worker is running.",
        (Step("Start a worker.", command="relay worker"),),
    ),
    "no_reward_rule": Cause(OPERATOR, steps=(_RULE, _COUPON)),
    "value_uncertain": Cause(OPERATOR, steps=(_RULE, _COUPON)),
    "value_zero": Cause(OPERATOR, steps=(_RULE,)),
    "value_above_limit": Cause(OPERATOR, steps=(_RULE, _COUPON)),
    "issuance_limit": Cause(
        OPERATOR, steps=(Step("Check the issued coupons, then release the limit.", "POST /v1/issuance-limits/release"),)
    ),
    "no_store": Cause(OPERATOR, steps=(_CHECK,)),
    "reward_list_incomplete": Cause(OPERATOR, steps=(_ASK_PLATFORM, _COUPON)),
    "cannot_confirm": Cause(OPERATOR, steps=(_CHECK, _COUPON)),
    "setting_missing": Cause(OPERATOR, steps=(_CHECK,)),
    "coupon_changed": Cause(OPERATOR, steps=(_WHO_CHANGED_IT, _RETIRE)),
    "newer_version_ahead": Cause(OPERATOR, steps=(_AS_NEWEST, _REPAIR)),
    "coupon_held": Cause(
        OPERATOR,
        "Coupon {code} is held[: {reason}].",
        "An operator has to decide.",
        (_COUPON, _RETRY),
    ),
    # ------------------------------------------------------------------------------------------- dead-lettered
    "rejected": Cause(
        DEAD_LETTERED,
        next_step=_NOT_RETRIED + " A corrected event from the store is sent as usual.",
        steps=(Step("Correct the cause in the store."), _RETRY, _DROP),
    ),
    "customer_rejected": Cause(DEAD_LETTERED, steps=(_RETRY,)),
    "no_customer": Cause(
        DEAD_LETTERED,
        next_step=_NOT_RETRIED,
        steps=(Step("Send it again from the store, with a customer or an e-mail address."),),
    ),
    "exhausted": Cause(
        DEAD_LETTERED,
        "{what} was retried until the end of RETRY__WINDOW. The last failure: {reason}.",
        _NOT_RETRIED,
        (_RETRY, Step("Retry all jobs with the same cause.", "POST /v1/jobs/retry"), _DROP),
    ),
    "expired": Cause(DEAD_LETTERED, steps=(_BACKFILL,)),
    "internal_error": Cause(DEAD_LETTERED, next_step=_NOT_RETRIED, steps=(_REPORT, _RETRY)),
    "unreadable_event": Cause(DEAD_LETTERED, steps=(_BACKFILL,)),
    "unreadable_entity": Cause(
        DEAD_LETTERED,
        "{reason}.",
        steps=(Step("Correct the cause in the store, and save it there."), _BACKFILL, _DROP),
    ),
    "code_taken": Cause(DEAD_LETTERED, steps=(_RETRY,)),
    "coupon_differs": Cause(DEAD_LETTERED, steps=(_WHO_CHANGED_IT, _RETRY)),
    "code_of_another_redemption": Cause(DEAD_LETTERED, steps=(_COUPON,)),
    "not_genuine": Cause(DEAD_LETTERED, steps=(_ASK_PLATFORM, _COUPON)),
    "no_coupon_code": Cause(DEAD_LETTERED, steps=(_ASK_PLATFORM,)),
    "not_supported_by_store": Cause(
        DEAD_LETTERED,
        steps=(Step("Change the reward at the Platform."), _RULE, _RETRY),
    ),
    "rejected_by_store": Cause(
        DEAD_LETTERED, next_step=_NOT_RETRIED, steps=(Step("Correct the cause in the store."), _RETRY, _DROP)
    ),
    # ------------------------------------------------------------------------------------------- webhooks without an entity
    "webhooks_refused": Cause(OPERATOR, _NOTHING + "{reason}.", steps=(_WEBHOOKS_AGAIN, _BACKFILL)),
    "webhooks_unreadable": Cause(OPERATOR, _NOTHING + "{reason}.", steps=(_BACKFILL,)),
    "webhooks_not_accepted": Cause(OPERATOR, _NOTHING + "{reason}.", steps=(_BACKFILL,)),
    # ------------------------------------------------------------------------------------------- nothing found
    "never_received": Cause(
        OPERATOR,
        "The relay has never received anything about {what}.",
        "The nightly reconciliation finds and reports missing events. Nothing else happens automatically.",
        (
            Step("Read it from the store.", command="relay backfill"),
            Step("Check what else is missing.", "POST /v1/reconciliations", "relay reconcile"),
        ),
    ),
    "store_webhooks_off": Cause(
        OPERATOR,
        "The relay has received nothing about {what}, and the store has switched off its webhooks to the relay.",
        "The nightly reconciliation finds and reports missing events. Nothing else happens automatically.",
        (
            Step("Switch the webhooks on.", command="relay webhooks install"),
            Step("Read the missed events from the store.", command="relay backfill"),
        ),
    ),
}

_SETTING: Final = {
    ReasonCode.SETTING_MISSING: "setting_missing",
    ReasonCode.SETTING_WRONG: "setting_missing",
    ReasonCode.BODY_KEY_MISSING: "setting_missing",
    ReasonCode.BODY_KEY_WRONG: "setting_missing",
    ReasonCode.BODY_NOT_ENCRYPTED: "setting_missing",
    ReasonCode.NO_STORE: "no_store",
}
BLOCKED: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.KEY_REJECTED: "key_rejected",
    ReasonCode.PERMISSION_MISSING: "key_rejected",
    ReasonCode.WRONG_ADDRESS: "wrong_address",
    ReasonCode.ADDRESS_INVALID: "wrong_address",
    ReasonCode.REDIRECTED: "wrong_address",
    ReasonCode.EGRESS_DENIED: "wrong_address",
    ReasonCode.TLS_NOT_OFFERED: "wrong_address",
    ReasonCode.TLS_REQUIRED: "wrong_address",
    ReasonCode.TLS_FAILED: "certificate_rejected",
    ReasonCode.CERTIFICATE_UNTRUSTED: "certificate_rejected",
    ReasonCode.CERTIFICATE_WRONG_HOST: "certificate_rejected",
    ReasonCode.CERTIFICATE_EXPIRED: "certificate_rejected",
    **_SETTING,
}
"""The cause of a blocked destination by its reason code. Any other: destination_blocked."""
RETRIED: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.CONNECTION_FAILED: "unreachable",
    ReasonCode.RATE_LIMITED: "rate_limited",
    ReasonCode.CONNECTION_LOST: "no_response",
    ReasonCode.TIMED_OUT: "no_response",
    ReasonCode.RESPONSE_UNREADABLE: "unreadable_response",
    ReasonCode.RESPONSE_TOO_LARGE: "unreadable_response",
    ReasonCode.ENTITY_REFUSED: "entity_refused",
    ReasonCode.RESPONSE_MALFORMED: "unreadable_response",
    ReasonCode.FAILURE_REPORTED: "unreadable_response",
    ReasonCode.CUSTOMER_STILL_UNKNOWN: "customer_still_unknown",
    ReasonCode.COUPON_NOT_VISIBLE: "coupon_not_visible",
    ReasonCode.LAUNCHER_UNAVAILABLE: "launcher_unavailable",
    ReasonCode.CONFIRMATION_PENDING: "confirmation_pending",
    ReasonCode.CONFIRMATION_UNAVAILABLE: "confirmation_pending",
    ReasonCode.INTERNAL_ERROR: "internal_error_retrying",
}
"""The cause of a retried job by its reason code. Any other: failing."""
PARKED: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.NO_VALUE: "no_reward_rule",
    ReasonCode.VALUE_UNCERTAIN: "value_uncertain",
    ReasonCode.VALUE_ZERO: "value_zero",
    ReasonCode.VALUE_ABOVE_LIMIT: "value_above_limit",
    ReasonCode.LAUNCHER_UNAVAILABLE: "launcher_unavailable",
    ReasonCode.CONFIRMATION_PENDING: "confirmation_pending",
    ReasonCode.CONFIRMATION_UNAVAILABLE: "confirmation_pending",
    ReasonCode.REWARD_LIST_INCOMPLETE: "reward_list_incomplete",
    ReasonCode.ISSUANCE_LIMIT_REACHED: "issuance_limit",
    ReasonCode.WAITING_FOR_CUSTOMER: "waiting_for_customer",
    ReasonCode.REFUSAL_UNDECIDED: "refusal_undecided",
    **_SETTING,
}
"""The cause of a parked job or held coupon by its reason code. Any other: coupon_held, or waiting_for_turn."""
VERIFICATION_SETTINGS: Final = frozenset({"PLATFORM__SHOP_KEY", "PLATFORM__API_KEY", "PLATFORM__ALLOWED_NETWORKS"})
"""Settings without which redemptions cannot be verified. A coupon that is parked because of one has the cause cannot_confirm."""
WITHOUT_ENTITY: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.STORE_WEBHOOKS_REFUSED: "webhooks_refused",
    ReasonCode.STORE_WEBHOOKS_UNREADABLE: "webhooks_unreadable",
    ReasonCode.WEBHOOKS_NOT_ACCEPTED: "webhooks_not_accepted",
}
"""The cause of a message without an entity, and of an open alert if nothing was received about an entity."""
DEAD: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.CODE_TAKEN: "code_taken",
    ReasonCode.COUPON_DIFFERS: "coupon_differs",
    ReasonCode.CODE_OF_ANOTHER_REDEMPTION: "code_of_another_redemption",
    ReasonCode.SIMILAR_CODE: "code_of_another_redemption",
    ReasonCode.NOT_GENUINE: "not_genuine",
    ReasonCode.SOURCE_NOT_ALLOWED: "not_genuine",
    ReasonCode.REWARD_LIST_INCOMPLETE: "reward_list_incomplete",
    ReasonCode.NO_COUPON_CODE: "no_coupon_code",
    ReasonCode.VALUE_ZERO: "value_zero",
    ReasonCode.COUPON_INVALID: "not_supported_by_store",
    ReasonCode.NOT_SUPPORTED_BY_STORE: "not_supported_by_store",
    ReasonCode.CURRENCY_MISMATCH: "not_supported_by_store",
    ReasonCode.CUSTOMER_REJECTED: "customer_rejected",
    ReasonCode.NO_CUSTOMER: "no_customer",
    ReasonCode.STORED_EVENT_UNREADABLE: "unreadable_event",
    ReasonCode.ENTITY_UNREADABLE: "unreadable_entity",
    ReasonCode.NO_HANDLER: "internal_error",
    ReasonCode.INTERNAL_ERROR: "internal_error",
    ReasonCode.EXPIRED: "expired",
}
"""The cause of a rejected job by its reason code. Any other: rejected, or rejected_by_store."""
