"""Judges from the store's ledger: its coupon for each redemption, and coupons that no customer redeemed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final  # Any: what a simulator's ledger holds

from platform_relay.core.reasons import ReasonCode
from tests.money.plan import Redemption

REASONS: Mapping[str, ReasonCode] = {"zero": ReasonCode.COUPON_DIFFERS, "taken": ReasonCode.CODE_TAKEN}
"""The reason code with which a redemption may be held, by the fault of the store. Others must not be held."""
WAITS_FOR_A_RULE: Final = (ReasonCode.NO_VALUE, ReasonCode.VALUE_UNCERTAIN)
"""The reason codes with which a forged code may be held: the Platform may list it later, but nobody knows its value."""
Row = Mapping[str, Any]


@dataclass
class Tally:
    """The counts that `make money` prints. `words` describe each finding."""

    redemptions: int = 0
    active: int = 0
    held: int = 0
    extra: int = 0
    wrong_value: int = 0
    silent: int = 0
    forged: int = 0
    refused: int = 0
    held_from_forged: int = 0
    minted_from_forged: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        counted = (
            self.extra
            or self.wrong_value
            or self.silent
            or self.held_from_forged
            or self.minted_from_forged
            or self.words
        )
        return not counted and self.active + self.held == self.redemptions

    def counts(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if name != "words"}


def judge(plan: Sequence[Redemption], coupons: Iterable[Row], created: Iterable[Row], ours: Mapping[str, Row]) -> Tally:
    """`coupons`: what the store holds now; `created`: its ledger's creations; `ours`: the relay's coupons, by code."""
    tally = Tally(redemptions=len(plan))
    genuine = {redemption.code: redemption for redemption in plan}
    created_count = Counter[str]()
    for entry in created:
        _created(tally, genuine, entry["body"], created_count)
    there: dict[str, list[Row]] = defaultdict(list)
    for coupon in coupons:
        if coupon["status"] != "trash":
            there[coupon["code"]].append(coupon)
    for code, rows in there.items():
        if len(rows) > 1 or code not in genuine:
            tally.extra += 1
            tally.words.append(f"{code}: the store has {len(rows)} of it")
    for code in ours.keys() - genuine.keys():
        _forged(tally, code, ours[code])
    for redemption in plan:
        _one(tally, redemption, there.get(redemption.code, []), ours.get(redemption.code, {}))
    return tally


def _created(tally: Tally, genuine: Mapping[str, Redemption], body: Row, created_count: Counter[str]) -> None:
    """The relay may only ever create what was redeemed, not even something else for a moment.

    A coupon that the store creates with the value 0 is retired at once. If the process is killed just then, its successor
    creates it once more. The store rejects a code that it still has, so both never exist at the same time.
    """
    code = str(body["code"])
    created_count[code] += 1
    redemption = genuine.get(code)
    if redemption is None or (redemption.case == "taken" and created_count[code] > 1):
        tally.minted_from_forged += 1
        tally.words.append(f"{code}: created, and no customer redeemed it")
    elif created_count[code] > 1 and redemption.case != "zero":
        tally.extra += 1
        tally.words.append(f"{code}: created {created_count[code]} times")
    elif redemption.case != "taken" and (wrong := _wrong(redemption, body)):
        tally.minted_from_forged += 1
        tally.words.append(f"{code}: ordered with {wrong}")


def _wrong(redemption: Redemption, row: Row) -> str:
    """How the coupon differs from the redemption; empty if it does not."""
    expected: tuple[object, ...] = (
        redemption.kind,
        redemption.amount,
        redemption.free_shipping,
        redemption.minimum,
        [redemption.email],
        1,
        list(redemption.items),
    )
    actual: tuple[object, ...] = (
        row["discount_type"],
        Decimal(row.get("amount") or 0),
        bool(row.get("free_shipping")),
        Decimal(row.get("minimum_amount") or 0),
        row.get("email_restrictions"),
        row.get("usage_limit"),
        row.get("product_ids"),
    )
    return "" if actual == expected else f"{actual} instead of {expected}"


def _one(tally: Tally, redemption: Redemption, there: Sequence[Row], ours: Row) -> None:
    code, state, reason = redemption.code, ours.get("state"), ours.get("text")
    if there and redemption.case != "taken":
        if state != "active":
            tally.silent += 1
            tally.words.append(f"{code}: usable in the store, and here it is {state}: {reason}")
            return
        tally.active += 1
        if wrong := _wrong(redemption, there[0]):
            tally.wrong_value += 1
            tally.words.append(f"{code}: {wrong}")
        return
    if state == "held" and _may_be_held(redemption, ours):
        tally.held += 1
        return
    tally.silent += 1
    tally.words.append(f"{code} ({redemption.case}): not in the store, here {state}: {reason}")


def _forged(tally: Tally, code: str, ours: Row) -> None:
    """A code that no customer redeemed is refused, and is not among those that an operator has to decide."""
    if ours["state"] == "refused":
        tally.refused += 1
    elif ours["state"] != "held" or ours["reason_code"] not in WAITS_FOR_A_RULE:
        tally.held_from_forged += 1
        tally.words.append(f"{code}: no customer redeemed it, and here it is {ours['state']}: {ours['text']}")


def _may_be_held(redemption: Redemption, ours: Row) -> bool:
    """Whether the reason is the fault of the store: a coupon of value 0, or a code that the store already had."""
    if ours.get("reason_code") != REASONS.get(redemption.case):
        return False
    differences: Sequence[Row] = (ours.get("facts") or {}).get("differences", ())
    zero = any(different["actual"] == "0.00" for different in differences)
    return redemption.case != "zero" or zero
