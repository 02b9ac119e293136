"""Texts of alerts about drift, reconciliations and the store's webhooks, and about work that is late or dead."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.reason_texts.text import ReasonText
from platform_relay.core.reasons import ReasonCode

ALERTS: Final[Mapping[ReasonCode, ReasonText]] = {
    ReasonCode.DESTINATION_CLOSED: ReasonText(
        "Calls to {destination} have not been possible for some minutes[: the destination is {state}].",
        "Open the console. Its page Now shows the cause.",
    ),
    ReasonCode.JOBS_DEAD: ReasonText(
        "Jobs for {destination} are dead-lettered[: {count}].",
        "Open the console's page Dead and held. Jobs with the same cause can be retried together.",
    ),
    ReasonCode.WORK_WAITING: ReasonText(
        "The oldest job for {destination} has been waiting for too long[: {minutes} minutes].",
        "Check that a worker is running, then look at the console's page Now.",
    ),
    ReasonCode.COUPON_OVERDUE: ReasonText(
        "A redemption has not become a usable coupon in time[: {explanation}][: it has been {state} for {seconds} seconds]"
        "[: its job {job} is {job_state}].[ {cause}.]",
        "Open the console's page Coupons. It shows the reason of each coupon.",
    ),
    ReasonCode.REDEMPTIONS_REFUSED: ReasonText(
        "Many redemptions were refused as not genuine[: {count} within {minutes} minutes].",
        "Open the console's page Coupons with the state refused. If they are forged, change PLATFORM__WEBHOOK_SECRET. If"
        " the Platform shows that customers redeemed them, approve them.",
    ),
    ReasonCode.COUPON_OVERUSED: ReasonText(
        "A coupon[, {code},] was used in more orders than allowed[ ({orders} orders, limit {limit})]."
        "[ The coupon is {state}.][ Orders: {order_ids}.]",
        "Check the coupon in the store, and retire it if it is shared. Then dismiss the alert.",
    ),
    ReasonCode.COUPON_DRIFT: ReasonText(
        "A coupon[, {code},] in the store was changed after it was created[: {differences}].",
        "Find out who changed it in the store. Correct it there, or retire it.",
    ),
    ReasonCode.RECONCILIATION_DIFFERENCES: ReasonText(
        "A reconciliation found differences between the store, the relay and the Platform[: {counts}].",
        "Read the newest reconciliation (GET /v1/reconciliations), then repair it.",
    ),
    ReasonCode.RECONCILIATION_FAILED: ReasonText(
        "A reconciliation could not be completed[: {problem}].", "Run relay check, then reconcile again."
    ),
    ReasonCode.RECONCILIATION_INCOMPLETE: ReasonText(
        "A reconciliation could not compare everything, so it may not have found all differences[: {failures}].",
        "Run relay check. When it succeeds, reconcile again: a complete reconciliation resolves this alert.",
    ),
    ReasonCode.LIST_INCOMPLETE: ReasonText(
        "The list of {kind} is not complete[: the store counts {count}, and the list contained {listed}]"
        "[; {unreadable} of them could not be read][: {problem}].",
        "Reconcile again. If it happens again, read docs/reconcile.md#figures.",
    ),
    ReasonCode.HISTORY_NOT_EXPORTED: ReasonText(
        "Old messages stay in the database, because they cannot be exported (HISTORY_EXPORT)[ to {folder}][: {error}].",
        "Make the folder writable for the relay, with enough space, on every worker. The relay tries again every hour. This alert"
        " is resolved when it succeeds.",
    ),
    ReasonCode.BACKGROUND_READ_FAILING: ReasonText(
        "The relay cannot read from the store in the background[: {read} fails].[ {cause}.]",
        "Run relay check and correct the cause. The relay tries again at growing intervals, at most five minutes apart. This alert"
        " is resolved when a read succeeds.",
    ),
    ReasonCode.STORE_WEBHOOKS_OFF: ReasonText(
        "The store has switched off webhooks to the relay[: {topics}].[ They are on again. The changes of the last {days} days"
        " are read from the store's lists.][ They could not be switched on: {failures}.]",
        "Check that the store can reach the relay at PUBLIC_URL. If webhooks stay off, run relay webhooks install, then"
        " relay backfill for what was missed.",
    ),
    ReasonCode.STORE_WEBHOOKS_REFUSED: ReasonText(
        "The store sends an error in its webhooks instead of the {entity}[: {response}].[ Usually, {owner} was deleted, or may not"
        " read the store's data.]",
        "[Give the relay the permissions in {page}. ]Run relay webhooks install --remove, then relay webhooks install: the user or"
        " the app of the relay's API key then owns the webhooks. Then run relay backfill for what was missed.",
    ),
    ReasonCode.STORE_WEBHOOKS_UNREADABLE: ReasonText(
        "The store sends webhooks that cannot be read[: {problem}].",
        "Check whether a plugin or a proxy changes the bodies of the store's webhooks. Then run relay backfill for what was"
        " missed.",
    ),
    ReasonCode.WEBHOOKS_NOT_ACCEPTED: ReasonText(
        "The relay refused a webhook[ of {source}][ with {size} bytes], and its sender does not show that[: {problem}].",
        "No action needed if the store or the Platform did not send it. Otherwise correct the cause: set the signing secret that"
        " the sender uses, or raise EVENT_LIMIT. Then run relay backfill for what was missed.",
    ),
    ReasonCode.FUTURE_VERSION: ReasonText(
        "The store reported a time of change that is more than a day in the future[ ({entity}, {version})]. The relay accepted"
        " the event without this time.",
        "Correct the clock of the store. Until then, its events are sent in the order in which they arrive.",
    ),
    ReasonCode.PLATFORM_FIELD_DIFFERS: ReasonText(
        "The Platform does not keep a field of customers as the relay sends it[: its responses do not contain {ignored}]"
        "[: its responses contain another value of {changed}].",
        "Run relay platform verify. If the Platform uses another name, set the entry[ {entry}] of PLATFORM__FIELDS; - leaves the"
        " field out.",
    ),
    ReasonCode.PLATFORM_RESPONSE_CHANGED: ReasonText(
        "The Platform's response to a customer has a new shape[: {problem}].",
        "Run relay platform verify. If the customer moved inside of the response, set the entry response.customer of"
        " PLATFORM__FIELDS.",
    ),
}
