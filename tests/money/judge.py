"""Judges from the store's own ledger: what it holds for each redemption, and what it holds that nobody redeemed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any  # Any: what a simulator's ledger holds

from platform_relay.core.reasons import ReasonCode
from tests.money.plan import Redemption

REASONS: Mapping[str, ReasonCode] = {"zero": ReasonCode.COUPON_DIFFERS, "taken": ReasonCode.CODE_TAKEN}
"""The reason code with which a redemption may be held, by the fault it met. The others may not be held."""
Row = Mapping[str, Any]


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
        counted = self.extra or self.wrong_value or self.silent or self.minted_from_forged or self.words
        return not counted and self.active + self.held == self.redemptions

    def counts(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if name != "words"}


def judge(plan: Sequence[Redemption], coupons: Iterable[Row], created: Iterable[Row], ours: Mapping[str, Row]) -> Tally:
    """`coupons`: what the store holds now; `created`: its ledger's creations; `ours`: what the service says, by code."""
    tally = Tally(redemptions=len(plan))
    genuine = {redemption.code: redemption for redemption in plan}
    made = Counter[str]()
    for entry in created:
        _created(tally, genuine, entry["body"], made)
    there: dict[str, list[Row]] = defaultdict(list)
    for coupon in coupons:
        if coupon["status"] != "trash":
            there[coupon["code"]].append(coupon)
    for code, rows in there.items():
        if len(rows) > 1 or code not in genuine:
            tally.extra += 1
            tally.words.append(f"{code}: the store holds {len(rows)} of it")
    for redemption in plan:
        _one(tally, redemption, there.get(redemption.code, []), ours.get(redemption.code, {}))
    return tally


def _created(tally: Tally, genuine: Mapping[str, Redemption], body: Row, made: Counter[str]) -> None:
    """Nothing but what was redeemed may ever have been asked for, not even for a moment.

    A coupon that comes out as 0 is taken away at once, and made once more by whoever follows a process that was killed
    just then. The store refuses a code that it still holds, so they never stand beside each other.
    """
    code = str(body["code"])
    made[code] += 1
    redemption = genuine.get(code)
    if redemption is None or (redemption.case == "taken" and made[code] > 1):
        tally.minted_from_forged += 1
        tally.words.append(f"{code}: made, and nobody redeemed it")
    elif made[code] > 1 and redemption.case != "zero":
        tally.extra += 1
        tally.words.append(f"{code}: made {made[code]} times")
    elif redemption.case != "taken" and (wrong := _wrong(redemption, body)):
        tally.minted_from_forged += 1
        tally.words.append(f"{code}: ordered with {wrong}")


def _wrong(redemption: Redemption, row: Row) -> str:
    """What is not as redeemed, in words."""
    expected: tuple[object, ...] = (
        redemption.kind,
        redemption.amount,
        redemption.free_shipping,
        redemption.minimum,
        [redemption.email],
        1,
        list(redemption.items),
    )
    found: tuple[object, ...] = (
        row["discount_type"],
        Decimal(row.get("amount") or 0),
        bool(row.get("free_shipping")),
        Decimal(row.get("minimum_amount") or 0),
        row.get("email_restrictions"),
        row.get("usage_limit"),
        row.get("product_ids"),
    )
    return "" if found == expected else f"{found} instead of {expected}"


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


def _may_be_held(redemption: Redemption, ours: Row) -> bool:
    """Whether the reason is the fault that it met: a coupon worth 0, or a code that the store had before."""
    if ours.get("reason_code") != REASONS.get(redemption.case):
        return False
    differences: Sequence[Row] = (ours.get("facts") or {}).get("differences", ())
    zero = any(different["actual"] == "0.00" for different in differences)
    return redemption.case != "zero" or zero
