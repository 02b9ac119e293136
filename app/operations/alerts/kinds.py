"""Every kind of alert: what it means and the first thing to do, without a word about anybody. Pure.

docs/runbook.md has a section for each, and is tested; the words here go to chats (ALERT_WEBHOOK_URL).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CHANNEL_CLOSED: Final = "channel_closed"
JOBS_DEAD: Final = "jobs_dead"
WORK_WAITS: Final = "work_waits"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`by_hand`: nothing ends it by itself, so a person who has looked dismisses it (its subject is a coupon's code)."""

    says: str
    first: str
    by_hand: bool = False


ALERTS: Final[Mapping[str, Meaning]] = {
    CHANNEL_CLOSED: Meaning(
        "A far side has not been called for some minutes: it is away, refuses our key, or was paused.",
        "Open the console: the page Now says which one and why.",
    ),
    JOBS_DEAD: Meaning(
        "Something was given up and needs a person. It is kept, and can be retried.",
        "Open the console's page Dead and held; one decision serves for all of one cause.",
    ),
    WORK_WAITS: Meaning(
        "The oldest work has waited for too long.",
        "Is a worker running? Then look at the console's page Now: rate, pace, failed tries.",
    ),
    "coupon_late": Meaning(
        "A redemption has become no working coupon in time: a customer gave points and waits.",
        "Open the console's page Coupons, held; the reason stands beside each.",
    ),
    "coupon_fuse": Meaning(
        "A limit of COUPONS__FUSE was reached; the coupons above it are held.",
        "Look whether they are genuine, then release the fuse on the console's page Coupons.",
    ),
    "coupon_over_used": Meaning(
        "More orders carry a coupon than it may be used for.",
        "Look at the coupon in the console and in the shop; retire it when it is shared. Then dismiss the alert.",
        by_hand=True,
    ),
    "coupon_patrol": Meaning(
        "A coupon in the shop is not as it was made: gone, changed, or still usable after it was retired.",
        "Look who changed it in the shop; retire it, or make it again.",
    ),
    "points_in_doubt": Meaning(
        "Points should be given back, and nobody knows whether they were.",
        "Look at the customer's points at the Platform, then decide in the console.",
        by_hand=True,
    ),
    "cannot_confirm": Meaning(
        "The Platform cannot be asked whether redemptions are genuine, so coupons that need it are held.",
        "Run relay check: it names the setting that is missing.",
    ),
    "body_key_missing": Meaning(
        "Bodies are encrypted under a key that BODY_KEYS does not have: what needs them is held.",
        "Run relay check: it names the key. Put it back into BODY_KEYS, after the first, and restart.",
    ),
    "reconciliation": Meaning(
        "The shop has what never arrived, or the other way round.",
        "Look at the newest reconciliation: relay reconcile lists it; one call repairs it.",
    ),
    "store_webhook_off": Meaning(
        "The shop has switched off its own webhooks: what changes there does not arrive.",
        "relay connect switches them on again; relay backfill brings what was missed.",
    ),
}
BY_HAND: Final = frozenset(kind for kind, meaning in ALERTS.items() if meaning.by_hand)


def section(kind: str) -> str:
    """The link to the runbook."""
    return f"docs/runbook.md#{kind.replace('_', '-')}"
