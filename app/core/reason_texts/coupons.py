"""Texts about redemptions, and about coupons in the store."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.reason_texts.text import NO_ACTION, RETRY, TRIED_AGAIN, ReasonText
from platform_relay.core.reasons import ReasonCode

COUPONS: Final[Mapping[ReasonCode, ReasonText]] = {
    # ------------------------------------------------------------------ redemptions: value and verification
    ReasonCode.NO_COUPON_CODE: ReasonText(
        "The webhook should contain a coupon code, and has none where the relay reads it, or one that cannot be used.",
        "Check at the Platform what the customer received, and give it to them. If the body has the code under another name,"
        " correct PLATFORM__FIELDS and send the body to the relay again. Then drop the job.",
    ),
    ReasonCode.NO_VALUE: ReasonText(
        "No value is known for [rule {rule}][{what}].",
        "Add a reward rule (console, relay rules put), or set the value of this coupon. It then continues automatically.",
    ),
    ReasonCode.VALUE_ZERO: ReasonText(
        "The coupon's value would be zero[: {value}][ ({source})].",
        "Correct the rule's value. The coupon is then created automatically.",
    ),
    ReasonCode.VALUE_ABOVE_LIMIT: ReasonText(
        "The value {value} is above the limit of {limit}[ ({source})].",
        "Raise COUPONS__MAX_VALUE, add a reward rule, or set the coupon's value.",
    ),
    ReasonCode.VALUE_UNCERTAIN: ReasonText(
        "The coupon's value is not certain[: {explanation}].[ {cause}.]",
        "Add a reward rule, or set the coupon's value.[ Or name the members that hold the ids in PLATFORM__FIELDS:"
        " {members}.]",
    ),
    ReasonCode.LAUNCHER_UNAVAILABLE: ReasonText("The Platform's Launcher could not be read[: {problem}].", TRIED_AGAIN),
    ReasonCode.NOT_GENUINE: ReasonText(
        "The redemption could not be verified[: {explanation}][: {differences}][ according to {source}]."
        "[ The relay checked at the Platform for {seconds} seconds.]",
        "No coupon is created. If the Platform shows that the customer redeemed the points, approve the coupon.",
    ),
    ReasonCode.REWARD_LIST_INCOMPLETE: ReasonText(
        "The Platform's list of the customer's rewards could not be read to its end[: {problem}]. The code is not in the"
        " part that was read[ (pages: {pages})].",
        "Look at the Platform whether the customer redeemed the points, then approve or retire the coupon."
        "[ Or correct {setting}, and retry the job.]",
    ),
    ReasonCode.CONFIRMATION_PENDING: ReasonText(
        "The redemption is not verified yet[: {explanation}].", "The relay checks again at the Platform automatically."
    ),
    ReasonCode.CONFIRMATION_UNAVAILABLE: ReasonText(
        "The redemption could not be confirmed at the Platform[: {problem}].", TRIED_AGAIN
    ),
    ReasonCode.SOURCE_NOT_ALLOWED: ReasonText(
        "The webhook did not come from one of PLATFORM__ALLOWED_NETWORKS.",
        "No coupon is created. If the redemption is genuine, correct the setting and approve the coupon.",
    ),
    ReasonCode.ISSUANCE_LIMIT_REACHED: ReasonText(
        "An issuance limit was reached[: {explanation}][: with this coupon it would be {total} {measure} for {scope}"
        " within {hours} hours, and {limit} is allowed ({setting})].",
        "Check the issued coupons, then release the limit. Held coupons continue automatically.",
    ),
    ReasonCode.CODE_OF_ANOTHER_REDEMPTION: ReasonText(
        "The code {code} belongs to another redemption[ ({redemption})][ of {owner}].",
        "No coupon is created for this redemption.",
    ),
    ReasonCode.SAME_REDEMPTION: ReasonText("Message {message} already handles the same redemption.", NO_ACTION),
    ReasonCode.SIMILAR_CODE: ReasonText(
        "The code {code} differs from the issued code {other} only in upper and lower case.",
        "Some stores treat both as the same code. Find out which redemption is genuine, retire the other coupon, and approve"
        " the genuine one.",
    ),
    ReasonCode.OPERATOR_DECIDED: ReasonText(
        "It was decided[ by {by}] not to issue the coupon[: {comment}].", NO_ACTION
    ),
    # ------------------------------------------------------------------ coupons in the store
    ReasonCode.COUPON_INVALID: ReasonText(
        "Coupon {code} was not created: {problem}.", "Correct the reward or its rule. " + RETRY
    ),
    ReasonCode.NOT_SUPPORTED_BY_STORE: ReasonText(
        "Coupon {code} was not created, because {destination} cannot express [{field}][: {problem}].",
        "Change the reward at the Platform, or add a reward rule. " + RETRY,
    ),
    ReasonCode.CURRENCY_MISMATCH: ReasonText(
        "Coupon {code} is in {ordered}, but {destination} sells in {currency}.",
        "Correct the currency of the reward rule or of the store. " + RETRY,
    ),
    ReasonCode.CODE_TAKEN: ReasonText(
        "{destination} already has another coupon with the code {code}[: {differences}][: {problem}].[ {cleanup}.]",
        "No second coupon is created. Remove or rename the other coupon in the store. " + RETRY,
    ),
    ReasonCode.COUPON_DIFFERS: ReasonText(
        "The coupon {code} in the store differs from the requested one: {differences}.[ {cleanup}.]"
        "[ Removing it failed: {failure}.]",
        "It does not count as issued. Find out what changes coupons in the store. " + RETRY,
    ),
    ReasonCode.COUPON_NOT_VISIBLE: ReasonText(
        "{destination} reports that coupon {code} exists, but does not return it yet.", TRIED_AGAIN
    ),
    ReasonCode.COUPON_STATE_CHANGED: ReasonText("The coupon's state changed during the attempt.", TRIED_AGAIN),
    ReasonCode.COUPON_ALREADY_FINAL: ReasonText("The coupon is already {state}.", NO_ACTION),
    ReasonCode.COUPON_USED: ReasonText("The coupon was used[ in order {order}].", NO_ACTION),
    ReasonCode.COUPON_RETIRED: ReasonText("The coupon was retired[ by {by}][: {comment}].[ {remark}.]", NO_ACTION),
    ReasonCode.RETIRED_TOO_LATE: ReasonText(
        "The coupon was used before it was retired.", "Decide whether the customer keeps the discount."
    ),
    ReasonCode.COUPON_NOT_ISSUED: ReasonText("The coupon was never created in the store.", NO_ACTION),
    ReasonCode.COUPON_NOT_OURS: ReasonText(
        "The store's coupon[ {store_id}] with this code was not created by the relay, so it was left unchanged.",
        "Remove it in the store if it must not be usable.",
    ),
    ReasonCode.COUPON_CLEANED_UP: ReasonText("An incomplete earlier coupon {code} was removed.", TRIED_AGAIN),
    ReasonCode.COUPON_STILL_ACTIVE: ReasonText(
        "{destination} still has the coupon {code} after it was deleted[ {deletions} times].", TRIED_AGAIN
    ),
    ReasonCode.REWARD_ALREADY_USED: ReasonText("The Platform has already recorded the use of the reward.", NO_ACTION),
    ReasonCode.POINTS_NOT_RETURNABLE: ReasonText("There is no retired coupon whose points can be returned.", NO_ACTION),
    ReasonCode.POINTS_IN_DOUBT: ReasonText(
        "It is not known whether the points[ ({points})] of a coupon[, {code},] were returned[: {problem}].",
        "Check the customer's points at the Platform, then decide in the console.",
    ),
    ReasonCode.POINTS_RETURNED: ReasonText(
        "{points} points were returned[, as {by} confirmed][: {comment}].", NO_ACTION
    ),
}
