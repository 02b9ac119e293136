"""Judges from the shop's own ledger: what it holds for each redemption, and what it holds that nobody redeemed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any  # Any: what a simulator's ledger holds

from tests.money.plan import Redemption

REASONS: Mapping[str, tuple[str, ...]] = {
    "zero": ("is not what was ordered", "another coupon than"),
    "taken": ("already holds a coupon",),
}
"""Words of the reason with which a redemption may be held, by the fault it met. The others may not be held."""


@dataclass
class Tally:
    """Counts as `make money` prints them; `words` tell each finding."""

    redemptions: int = 0
    active: int = 0
    held: int = 0
    extra: int = 0
    wrong_value: int = 0
    silent: int = 0
    forged: int = 0
    minted_from_forged: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.extra or self.wrong_value or self.silent or self.minted_from_forged or self.words)


def judge(
    plan: Sequence[Redemption],
    taken: frozenset[str],
    coupons: Iterable[Mapping[str, Any]],
    created: Iterable[Mapping[str, Any]],
    ours: Mapping[str, Mapping[str, Any]],
) -> Tally:
    """`coupons`: what the shop holds now; `created`: its ledger's creations; `ours`: what the service says, by code.
    `taken`: codes that the shop held before, with other values."""
    tally = Tally(redemptions=len(plan))
    held_there: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for coupon in coupons:
        if coupon["status"] != "trash":
            held_there[coupon["code"]].append(coupon)
    genuine = {redemption.code for redemption in plan}
    for entry in created:
        code = str(entry["body"]["code"])
        if code not in genuine:
            tally.minted_from_forged += 1
            tally.words.append(f"{code}: made, and nobody redeemed it")
    for code, rows in held_there.items():
        if len(rows) > 1 or (code not in genuine and code not in taken):
            tally.extra += 1
            tally.words.append(f"{code}: the shop holds {len(rows)} of it")
    for redemption in plan:
        _one(tally, redemption, held_there.get(redemption.code, []), ours.get(redemption.code, {}), taken)
    return tally


def _one(
    tally: Tally,
    redemption: Redemption,
    there: Sequence[Mapping[str, Any]],
    ours: Mapping[str, Any],
    taken: frozenset[str],
) -> None:
    code, state, reason = redemption.code, ours.get("state"), str(ours.get("reason") or "")
    if there and code not in taken:
        if state != "active":
            tally.silent += 1
            tally.words.append(f"{code}: usable in the shop, and here it is {state}: {reason}")
            return
        tally.active += 1
        shown = there[0]
        right = (redemption.kind, redemption.amount, redemption.free_shipping)
        if (shown["discount_type"], Decimal(shown["amount"]), shown["free_shipping"]) != right:
            tally.wrong_value += 1
            tally.words.append(f"{code}: {shown['discount_type']} {shown['amount']} instead of {right}")
        return
    if state == "held" and any(words in reason for words in REASONS.get(redemption.case, ())):
        tally.held += 1
        return
    tally.silent += 1
    tally.words.append(f"{code} ({redemption.case}): not in the shop, here {state}: {reason}")
