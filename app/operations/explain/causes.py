"""Why something is as it is: every cause that the relay can name, in words for people and as an id for programs. Pure.

`{what}` is the thing asked for ("order 1001"), `{far}` the far side, `{answer}` its last answer or our own reason,
`{when}` the time of the next try, `{waits}` what has to happen first. docs/explain.md lists them and is tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Rank(IntEnum):
    """How much a cause needs somebody: of several, the highest is told first."""

    FINE = 0
    FOR_INFORMATION = 1
    BY_ITSELF = 2
    NEEDS_A_PERSON = 3
    GIVEN_UP = 4


@dataclass(frozen=True, slots=True)
class Cause:
    """`says` what happened, `next` what happens now, `do` what an operator can do, the best first."""

    rank: Rank
    says: str
    next: str
    do: tuple[str, ...] = ()


FINE, INFORMATION, BY_ITSELF, PERSON, GIVEN_UP = Rank
_NOTHING: Final = "Nothing has to be done."
_BY_ITSELF: Final = "It is tried again by itself{when}."
_RETRY: Final = "retry the job: POST /v1/jobs/{job}/retry"
_DROP: Final = "or give it up for good: POST /v1/jobs/{job}/drop"
_RESUME: Final = "try at once: POST /v1/channels/{channel}/resume"
_CHANNEL: Final = "It goes on by itself when the channel opens; nothing is lost and no attempts are used up."
_RULE: Final = "say what the rule is worth: relay rules put RULE-ID …, or PUT /v1/reward-rules/RULE-ID"
_COUPON: Final = "look at the coupon: GET /v1/coupons/{code}"

CAUSES: Final[Mapping[str, Cause]] = {
    # ------------------------------------------------------------------------------------------- well
    "delivered": Cause(FINE, "{far} has {what}.", _NOTHING),
    "unchanged": Cause(FINE, "{far} already had {what} exactly like this, so it was not sent again.", _NOTHING),
    "sent_twice": Cause(FINE, "The shop sent {what} twice with the same content; {far} got it once.", _NOTHING),
    "newer_version": Cause(FINE, "A newer version of {what} took the place of this one: {answer}.", _NOTHING),
    "coupon_active": Cause(FINE, "Coupon {code} is in the shop and works: {answer}.", "The shopper can use it."),
    "coupon_used": Cause(FINE, "Coupon {code} was used: {answer}.", _NOTHING),
    "stored_only": Cause(FINE, "It was stored, and nothing had to be sent because of it.", _NOTHING),
    # ------------------------------------------------------------------------------------------- as it should be
    "not_paid": Cause(
        INFORMATION,
        "{far} has {what}, and gives no points for it yet: the shop reports it as {status}.",
        "Points follow when the shop reports it as paid.",
        ("look in the shop whether it was paid",),
    ),
    "refunded": Cause(
        INFORMATION, "{far} has {what}; the shop reports it as {status}, so its points may be taken back.", _NOTHING
    ),
    "total_zero": Cause(INFORMATION, "{far} has {what}; its total is 0, which earns no points.", _NOTHING),
    "ignored": Cause(INFORMATION, "The shop sent news that the relay has no use for; it was kept.", _NOTHING),
    "gone_from_shop": Cause(
        INFORMATION, "The shop reported {what}, and when it was asked for it the shop had it no more.", _NOTHING
    ),
    "dropped": Cause(
        INFORMATION,
        "It was given up: {answer}.",
        "It will not be sent.",
        ("send it again from the shop, or read it in: relay backfill",),
    ),
    "coupon_retired": Cause(INFORMATION, "Coupon {code} was made unusable: {answer}.", _NOTHING, (_COUPON,)),
    "coupon_given_back": Cause(
        INFORMATION, "Coupon {code} was made unusable and its points were given back: {answer}.", _NOTHING, (_COUPON,)
    ),
    # ------------------------------------------------------------------------------------------- waits, by itself
    "being_sent": Cause(BY_ITSELF, "{what} is being sent to {far} right now.", "Look again in a moment."),
    "in_turn": Cause(BY_ITSELF, "{what} is stored and waits for its turn.", "It is sent by itself{when}."),
    "backfill_turn": Cause(
        BY_ITSELF, "{what} came with an import, which goes after everything live.", "It is sent by itself{when}."
    ),
    "earlier_first": Cause(
        BY_ITSELF, "An earlier report of {what} has to be sent first, and that one waits: {answer}.", _BY_ITSELF
    ),
    "retried_by_operator": Cause(BY_ITSELF, "An operator had it tried again.", "It is sent by itself{when}."),
    "outage": Cause(BY_ITSELF, "{far} is failing for everybody at the moment: {answer}.", _CHANNEL, (_RESUME,)),
    "failing": Cause(BY_ITSELF, "{far} failed when it was given {what}: {answer}.", _BY_ITSELF),
    "unreachable": Cause(BY_ITSELF, "{far} could not be reached: {answer}.", _BY_ITSELF),
    "throttled": Cause(BY_ITSELF, "{far} asked us to slow down: {answer}.", _BY_ITSELF),
    "no_answer": Cause(
        BY_ITSELF,
        "{what} was sent to {far}, and no answer came that says whether it arrived: {answer}.",
        "{far} is asked first what it has{when}.",
    ),
    "odd_answer": Cause(
        BY_ITSELF,
        "{far} answered with something that is no answer: {answer}.",
        "{far} is asked first what it has{when}.",
        ("see whether a proxy or a maintenance page stands before {far}",),
    ),
    "worker_lost": Cause(
        BY_ITSELF, "The worker that was sending {what} stopped in the middle.", "Another one takes over within seconds."
    ),
    "worker_restarted": Cause(BY_ITSELF, "It was given back when a worker was restarted.", _BY_ITSELF),
    "relay_fault_retrying": Cause(
        BY_ITSELF, "The relay itself failed: {answer}.", _BY_ITSELF, ("report it with the job's id: {job}",)
    ),
    "waiting_for_customer": Cause(
        BY_ITSELF,
        "{what} waits for its customer, who has to be at {far} first: {waits}.",
        "It goes on by itself as soon as the customer is there.",
    ),
    "customer_still_unknown": Cause(
        BY_ITSELF, "{far} was given the customer and still does not know it for {what}: {answer}.", _BY_ITSELF
    ),
    "not_visible_yet": Cause(
        BY_ITSELF, "The shop said that it made coupon {code} and does not show it yet.", _BY_ITSELF
    ),
    "confirming": Cause(
        BY_ITSELF, "The Platform is asked whether this redemption is genuine: {answer}.", "It is asked again{when}."
    ),
    "launcher_away": Cause(BY_ITSELF, "The Platform's Launcher could not be asked: {answer}.", _BY_ITSELF),
    # ------------------------------------------------------------------------------------------- waits, for a person
    "channel_paused": Cause(
        PERSON,
        "Calls to {far} are paused: {answer}.",
        "It goes on when an operator resumes the channel.",
        ("resume: POST /v1/channels/{channel}/resume",),
    ),
    "key_refused": Cause(
        PERSON,
        "{far} refuses our key: {answer}.",
        _CHANNEL,
        ("set the right key (relay check tells which) and restart the workers", _RESUME),
    ),
    "wrong_address": Cause(
        PERSON,
        "There is no {far} at the configured address: {answer}.",
        _CHANNEL,
        ("correct the address (relay check tells which) and restart the workers", _RESUME),
    ),
    "certificate": Cause(
        PERSON,
        "The certificate of {far} is not valid: {answer}.",
        _CHANNEL,
        ("have the certificate of {far} renewed", _RESUME),
    ),
    "channel_blocked": Cause(
        PERSON, "{far} refuses us as such: {answer}.", _CHANNEL, ("run relay check, and correct what it names", _RESUME)
    ),
    "no_worker": Cause(
        PERSON,
        "{what} has been due for {due} and nobody took it: no worker seems to be running.",
        "It is sent as soon as a worker runs.",
        ("start one: relay worker, or relay serve",),
    ),
    "no_rule": Cause(
        PERSON,
        "Coupon {code} is held: {answer}.",
        "It goes on by itself as soon as its value is known.",
        (_RULE,),
    ),
    "rule_unclear": Cause(
        PERSON, "Coupon {code} is held, since its value is not certain: {answer}.", "It goes on with a rule.", (_RULE,)
    ),
    "amount_zero": Cause(
        PERSON,
        "Coupon {code} is not made, because it would be worth nothing: {answer}.",
        "It goes on by itself when a rule gives it a value.",
        (_RULE,),
    ),
    "over_limit": Cause(
        PERSON,
        "Coupon {code} is held, because it would be worth too much: {answer}.",
        "It goes on by itself when a rule or COUPONS__MAX_VALUE allows it.",
        (_RULE, _COUPON),
    ),
    "fuse": Cause(
        PERSON,
        "Coupon {code} is held by the fuse: {answer}.",
        "It goes on when an operator releases the fuse.",
        ("look at what was issued, then: POST /v1/coupons/fuse/release",),
    ),
    "no_shop": Cause(
        PERSON, "No shop is configured to make coupons in.", "It goes on with the setting.", ("set STORE__ADAPTER",)
    ),
    "cannot_confirm": Cause(
        PERSON,
        "Coupon {code} has to be confirmed, and a setting for that is missing: {answer}.",
        "It goes on with the setting, or when a person approves the coupon.",
        ("set what is missing and restart the workers", _COUPON),
    ),
    "setting_missing": Cause(
        PERSON, "A setting is missing: {answer}.", "It goes on with the setting.", ("run relay check",)
    ),
    "coupon_changed": Cause(
        PERSON,
        "Coupon {code} was issued as it should be, and the shop has changed it since: {answer}.",
        "Nothing happens by itself; the patrol looks again every hour.",
        ("find out who changes coupons in the shop", "make it unusable: POST /v1/coupons/{code}/retire"),
    ),
    "coupon_held": Cause(PERSON, "Coupon {code} is held: {answer}.", "A person has to look.", (_COUPON, _RETRY)),
    # ------------------------------------------------------------------------------------------- given up
    "rejected": Cause(
        GIVEN_UP,
        "{far} refused {what}: {answer}.",
        "It is not tried again by itself; a corrected report from the shop is sent as usual.",
        ("correct what {far} complains about in the shop, or:", _RETRY, _DROP),
    ),
    "customer_rejected": Cause(
        GIVEN_UP,
        "{far} does not know the customer of {what} and did not take that customer: {answer}.",
        "It is not tried again by itself.",
        ("correct the customer in the shop and let it be sent, then:", _RETRY),
    ),
    "no_customer": Cause(
        GIVEN_UP,
        "{what} cannot be credited to anybody: {answer}.",
        "It is not tried again by itself.",
        ("have the shop report it with a customer or an e-mail address",),
    ),
    "gave_up": Cause(
        GIVEN_UP,
        "{far} failed for as long as we try: {answer}.",
        "It is not tried again by itself.",
        (_RETRY, "or all of them: POST /v1/jobs/retry", _DROP),
    ),
    "expired": Cause(
        GIVEN_UP,
        "It waited longer than bodies are kept: {answer}.",
        "It is not sent any more.",
        ("send it again from the shop, or read it in: relay backfill",),
    ),
    "relay_fault": Cause(
        GIVEN_UP,
        "The relay itself failed for good: {answer}.",
        "It is not tried again by itself.",
        ("report it with the job's id: {job}", _RETRY),
    ),
    "unreadable": Cause(
        GIVEN_UP,
        "What the shop once sent cannot be read any more: {answer}.",
        "It is not tried again by itself.",
        ("send it again from the shop, or read it in: relay backfill",),
    ),
    "code_taken": Cause(
        GIVEN_UP,
        "The shop already holds another coupon with the code {code}: {answer}.",
        "No second one is made.",
        ("remove or rename the other coupon in the shop, then:", _RETRY),
    ),
    "coupon_differs": Cause(
        GIVEN_UP,
        "Coupon {code} in the shop was not what was ordered when it was read back: {answer}.",
        "It does not count as issued.",
        ("find out who changes coupons in the shop, then:", _RETRY),
    ),
    "other_redemption": Cause(
        GIVEN_UP, "The code {code} was already promised to somebody else: {answer}.", "Nothing is made.", (_COUPON,)
    ),
    "not_genuine": Cause(
        GIVEN_UP,
        "The redemption of {code} could not be proven genuine: {answer}.",
        "No coupon is made for it.",
        ("ask the Platform whether the shopper redeemed it", _COUPON),
    ),
    "no_code": Cause(
        GIVEN_UP,
        "The Platform reported a redemption without a coupon code: {answer}.",
        "No coupon can be made.",
        ("ask the Platform what was redeemed",),
    ),
    "shop_cannot": Cause(
        GIVEN_UP,
        "The shop has no coupon of that sort: {answer}.",
        "It is not tried again by itself.",
        ("change the reward at the Platform, or put a rule of your own", _RETRY),
    ),
    "shop_rejected": Cause(
        GIVEN_UP,
        "The shop refused coupon {code}: {answer}.",
        "It is not tried again by itself.",
        ("correct what the shop complains about, then:", _RETRY, _DROP),
    ),
    # ------------------------------------------------------------------------------------------- nothing there
    "never_received": Cause(
        PERSON,
        "Nothing about {what} ever reached the relay.",
        "Nothing happens by itself, except that the nightly reconciliation looks for what is missing.",
        ("read it in from the shop: relay backfill", "see what else is missing: relay reconcile"),
    ),
    "webhooks_off": Cause(
        PERSON,
        "Nothing about {what} reached the relay, and the shop's own webhooks were found switched off.",
        "Nothing happens by itself, except that the nightly reconciliation looks for what is missing.",
        ("switch them on: relay connect", "read in what was missed: relay backfill"),
    ),
}
