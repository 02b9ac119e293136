"""Texts about customers, orders and products."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.reason_texts.text import NO_ACTION, RETRY, TRIED_AGAIN, ReasonText
from platform_relay.core.reasons import ReasonCode

EVENTS: Final[Mapping[ReasonCode, ReasonText]] = {
    ReasonCode.WAITING_FOR_CUSTOMER: ReasonText(
        "The Platform does not have the order's customer yet.",
        "The order is sent as soon as the customer is delivered.",
    ),
    ReasonCode.CUSTOMER_STILL_UNKNOWN: ReasonText(
        "The customer was delivered, but the Platform does not have it yet[: {response}].", TRIED_AGAIN
    ),
    ReasonCode.EARLIER_CALL_MAY_ARRIVE: ReasonText(
        "The Platform does not know the order. The relay's database continued on another server a few seconds ago, and a call that"
        " was begun before may still arrive.",
        "No action is needed: the order is sent again within 20 seconds.",
    ),
    ReasonCode.CUSTOMER_REJECTED: ReasonText(
        "The Platform does not have the order's customer, and rejected it[: {cause}].",
        "Correct the customer in the store and send it again. " + RETRY,
    ),
    ReasonCode.NO_CUSTOMER: ReasonText(
        "The {entity} names neither a customer nor an e-mail address[, which {setting} requires][: {response}].",
        "Send it again with a customer or an e-mail address.",
    ),
    ReasonCode.ENTITY_NOT_FOUND: ReasonText(
        "{destination} has no such {entity}[: {response}].", "Check the id. " + RETRY
    ),
    ReasonCode.SHADOW: ReasonText(
        "This was received in the trial, so nothing was sent.[ A live relay would have made the call: {call}.][ A live relay would"
        " not have sent it either: {cause}.]",
        "No action needed. `relay shadow report` compares it with the Platform and the store.",
    ),
    ReasonCode.TRIAL_RUNS: ReasonText(
        "The relay is in its trial (MODE=shadow), in which it changes nothing at {destination}. The call was not made.",
        "To end the trial, remove MODE from all processes, restart them, and run `relay shadow go-live`.",
    ),
    ReasonCode.NO_BUYER: ReasonText(
        "The order names no customer and no e-mail address that identifies one, so no customer earns points for it.",
        NO_ACTION,
    ),
    ReasonCode.ENTITY_UNREADABLE: ReasonText(
        "The {entity}[ {id}] from {destination} cannot be read[: {problem}].",
        "Correct the {entity} in the store. The store then sends it again, and this job can be dropped.",
    ),
    ReasonCode.FIELDS_LEFT_OUT: ReasonText(
        "Fields that cannot be read were left out[: {fields}].[ Texts that are too long were cut: {cut}.]", NO_ACTION
    ),
    ReasonCode.GONE_FROM_STORE: ReasonText("The store no longer has this {entity}.", NO_ACTION),
    ReasonCode.NOT_APPLICABLE: ReasonText("There was nothing to send[: {explanation}].", NO_ACTION),
    ReasonCode.SIGNATURE_WRONG: ReasonText(
        "The signature of the webhook does not match its body[ and {setting}][: {problem}].",
        "No action needed if the store did not send it.[ Otherwise set {setting} to the store's signing secret.]",
    ),
}
