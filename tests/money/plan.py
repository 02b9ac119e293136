"""The redemptions of customers and the webhooks of forgers, all drawn from one seed. Pure."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal  # Any: bodies of webhooks are free-form JSON

Case = Literal["plain", "zero", "stale", "taken"]
CASES: Final[Mapping[Case, str]] = {"zero": "0", "stale": "5", "taken": "7", "plain": "a"}
"""What the store does with a coupon, and how its code begins."""
Json = dict[str, Any]
DEARER: Final = {"id": "rule-9-off", "title": "9 off", "pointCost": 500, "discountValue": 9}
"""Costs what `rule-5-off` costs, and gives more."""
CUPS: Final = {
    "id": "rule-cups", "title": "15 % off two cups", "pointCost": 700, "discountValue": 15, "templateName": "percentageoff",
    "product": {"externalId": "43"}, "variants": [{"externalId": "4301"}, {"externalId": "4302"}],
}  # fmt: skip
"""For two variants of a product alone."""


@dataclass(frozen=True, slots=True)
class Redemption:
    """A genuine redemption, and the coupon that the store must have, in WooCommerce's terms."""

    code: str
    case: Case
    customer: int
    rule: str
    points: int
    kind: str
    amount: Decimal
    free_shipping: bool = False
    minimum: Decimal = Decimal(0)
    items: tuple[int, ...] = ()

    @property
    def email(self) -> str:
        return f"c{self.customer}@example.com"


def redemptions(count: int, customers: int, rng: random.Random) -> list[Redemption]:
    """About every tenth redemption meets a fault of the store."""
    plan = []
    for number in range(count):
        case: Case = rng.choices(("plain", "zero", "stale", "taken"), (88, 4, 4, 4))[0]
        code = f"{CASES[case]}{number:05x}{rng.randrange(1 << 24):06x}"
        points = 100 * rng.randint(1, 20)
        kinds: tuple[tuple[str, int, str, Decimal, bool, Decimal, tuple[int, ...]], ...] = (
            ("rule-per-100", points, "fixed_cart", Decimal(points) / 100, False, Decimal(0), ()),
            ("rule-10-percent", 800, "percent", Decimal(10), False, Decimal(30), ()),
            ("rule-5-off", 500, "fixed_cart", Decimal(5), False, Decimal(0), ()),
            ("rule-cups", 700, "percent", Decimal(15), False, Decimal(0), (4301, 4302)),
            ("rule-shipping", 300, "fixed_cart", Decimal(0), True, Decimal(0), ()),
        )
        # Free shipping always has the amount 0, so a store that changes every amount to 0 is no fault there.
        plan.append(Redemption(code, case, rng.randrange(customers), *rng.choice(kinds[: 5 if case == "plain" else 4])))
    return plan


@dataclass(frozen=True, slots=True)
class Forgery:
    kind: str
    topic: str
    body: Json
    guessed_secret: bool = False


def _altered(body: Json, other: Json, fresh: str) -> dict[str, Json]:
    """Kind -> what is written over the genuine `body`. `other`: another one; `fresh`: a code that no customer has."""
    return {
        "wrong rule": {"ruleId": "rule-old", "points": 100},
        "unknown rule": {
            "ruleId": f"rule-{fresh}",
            "redeemRule": {"pointCost": body["points"], "discountValue": "19.00"},
        },
        "same cost": {"ruleId": DEARER["id"], "redeemRule": {"pointCost": 500}, "points": 500},
        "wrong cost": {
            "ruleId": "rule-per-100",
            "rewardType": "fixedamountdiscount",
            "points": 2000 if body["points"] != 2000 else 1900,
            "redeemRule": {"pointCost": 2000},
        },
        "other amount": {"redeemRule": {"id": body["ruleId"], "pointCost": body["points"], "discountValue": "500.00"}},
        "rule switched off": {
            "redeemRule": {"pointCost": body["points"], "discountValue": "5.00", "status": "inactive"}
        },
        "no minimum": {
            "redeemRule": {"pointCost": body["points"], "discountValue": "10", "minSpendAmount": "0.01"},
            "ruleId": "rule-10-percent",
            "rewardType": "percentageoff",
            "points": 800,
        },
        **{
            f"{name} variants": {
                "redeemRule": {"pointCost": 700, "discountValue": "15", "variants": variants},
                "ruleId": CUPS["id"],
                "rewardType": "percentageoff",
                "points": 700,
            }
            for name, variants in (("no", []), ("other", [{"externalId": "4303"}]))
        },
        "own customer": {"customer": other["customer"]},
        "no customer": {"customer": None},
        "own e-mail": {
            "customer": {**body["customer"], "email": f"{fresh}@evil.example"},
        },
        "own id": {"customer": {**body["customer"], "externalId": f"evil-{fresh}"}},
        "without a code": {"couponCode": None},
        "letter case": {"couponCode": str(body["couponCode"]).upper()},
        "other kind": {"rewardType": "giftcard"},
        "replay": {},
        "guessed secret": {},
    }


FORGERIES: Final = (
    *_altered({"points": 0, "ruleId": "", "customer": {}, "couponCode": ""}, {"customer": {}}, ""),
    "old id",
    "other code",
    "topic swapped",
    "referral",
)


def forgery(kind: str, genuine: Json, other: Json, rng: random.Random) -> Forgery:
    """A forger's webhook, who has seen the genuine ones (their bodies and their address). Half of those that claim the
    genuine code do so under the genuine redemption's id."""
    body, topic = copy.deepcopy(genuine), "points/redeemed"
    fresh = f"f{rng.randrange(1 << 44):011x}"
    match kind:
        case "old id":
            body |= {"couponCode": fresh}
        case "other code":
            body |= {"id": fresh, "couponCode": fresh}
        case "topic swapped":
            topic = rng.choice(("customers/tier_entry_reward_earned", "referrals/completed", "points/earned"))
            body |= {"discountAmount": "15.00", "discountType": "amountdiscount"}
        case "referral":
            topic = rng.choice(("referrals/started", "referrals/completed"))
            reward = {"discountType": "amountdiscount", "discountAmount": "15.00"}
            codes = (fresh, f"{fresh}f") if rng.random() < 0.5 else (body["couponCode"], fresh)
            body |= {
                "customerReward": {"id": fresh, "couponCode": codes[0], **reward},
                "friendReward": {"id": f"{fresh}f", "couponCode": codes[1], **reward},
                "friendEmail": "friend@example.com",
            }
        case _:
            body |= _altered(body, other, fresh)[kind]
            if kind not in ("replay", "guessed secret") and rng.random() < 0.5:
                body["id"] = fresh
    return Forgery(kind, topic, body, guessed_secret=kind == "guessed secret")
