"""What shoppers redeem, and what forgers send: everything drawn from one seed. Pure."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal  # Any: bodies of webhooks are free-form JSON

Case = Literal["plain", "zero", "stale", "taken"]
CASES: Final[Mapping[Case, str]] = {"zero": "0", "stale": "5", "taken": "7", "plain": "a"}
"""What the shop does with a coupon, and how its code begins."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Redemption:
    """A genuine one; `kind` and `amount` are what the shop has to hold, in WooCommerce's words."""

    code: str
    case: Case
    customer: int
    rule: str
    points: int
    kind: str
    amount: Decimal
    free_shipping: bool = False


def redemptions(count: int, customers: int, dice: random.Random) -> list[Redemption]:
    """Every tenth or so meets one of the shop's own faults."""
    made = []
    for number in range(count):
        case: Case = dice.choices(("plain", "zero", "stale", "taken"), (88, 4, 4, 4))[0]
        code = f"{CASES[case]}{number:05x}{dice.randrange(1 << 24):06x}"
        customer = dice.randrange(customers)
        match dice.randrange(4):
            case 0:
                points = 100 * dice.randint(1, 20)
                made.append(
                    Redemption(code, case, customer, "rule-per-100", points, "fixed_cart", Decimal(points) / 100)
                )
            case 1:
                made.append(Redemption(code, case, customer, "rule-10-percent", 800, "percent", Decimal(10)))
            case 2 if case == "plain":
                made.append(Redemption(code, case, customer, "rule-shipping", 300, "fixed_cart", Decimal(0), True))
            case _:
                made.append(Redemption(code, case, customer, "rule-5-off", 500, "fixed_cart", Decimal(5)))
    return made


FORGERIES: Final = (
    "wrong rule",
    "unknown rule",
    "wrong cost",
    "own customer",
    "old id",
    "other amount",
    "other code",
    "stolen code",
    "guessed door",
    "topic swapped",
    "referral",
    "replay",
)


@dataclass(frozen=True, slots=True)
class Forgery:
    kind: str
    topic: str
    body: Json
    guessed_door: bool = False


def forgery(  # noqa: C901  # one case per trick
    kind: str, genuine: Json, other: Json, dice: random.Random
) -> Forgery:
    """A forger's webhook, who has seen the genuine ones (their bodies, and their door)."""
    body, topic = copy.deepcopy(genuine), "points/redeemed"
    fresh = f"f{dice.randrange(1 << 44):011x}"
    match kind:
        case "wrong rule":
            body |= {"id": fresh, "couponCode": fresh, "ruleId": "rule-old", "points": 100}
        case "unknown rule":
            body |= {"id": fresh, "couponCode": fresh, "ruleId": f"rule-{fresh}"}
            body["redeemRule"] = {"pointCost": body["points"], "discountValue": "19.00"}
        case "wrong cost":
            body |= {"points": 2000, "redeemRule": {"pointCost": 2000}}
            if body["ruleId"] != "rule-per-100":
                body |= {"ruleId": "rule-per-100", "rewardType": "fixedamountdiscount"}
        case "own customer":
            body |= {"id": fresh, "couponCode": fresh, "customer": other["customer"]}
        case "old id":
            body |= {"couponCode": fresh}
        case "other amount":
            body["redeemRule"] = {"id": body["ruleId"], "pointCost": body["points"], "discountValue": "500.00"}
        case "other code":
            body |= {"id": fresh, "couponCode": fresh}
        case "stolen code":
            body |= {"id": fresh, "customer": other["customer"]}
        case "topic swapped":
            topic = dice.choice(("customers/tier_entry_reward_earned", "referrals/completed", "points/earned"))
            body |= {"discountAmount": "15.00", "discountType": "amountdiscount"}
        case "referral":
            topic = "referrals/completed"
            reward = {"discountType": "amountdiscount", "discountAmount": "15.00"}
            body |= {
                "customerReward": {"id": fresh, "couponCode": fresh, **reward},
                "friendReward": {"id": f"{fresh}f", "couponCode": f"{fresh}f", **reward},
                "friendEmail": "friend@example.com",
            }
        case _:
            pass
    return Forgery(kind, topic, body, guessed_door=kind == "guessed door")
