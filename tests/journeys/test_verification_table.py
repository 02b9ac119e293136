"""The table of verification in docs/coupons.md: every topic at every level, for each customer that a webhook can name."""

import json
import os
from pathlib import Path
from typing import Any, Final  # Any: bodies are free-form JSON

from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.core.outcomes import Wait
from platform_relay.coupons.issue import IssueCoupon
from platform_relay.coupons.verification_rules import VerificationLevel
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.webhooks import ALLOWED_NETWORK, webhook_message
from platform_relay.setting_groups import IssuanceLimitSettings
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.journeys.handler_jobs import job, store_message, store_negative_answers
from tests.journeys.test_issue_coupon import coupon, handler, put_rule

PAGE: Final = Path(__file__).parents[2] / "docs" / "coupons.md"
BEGIN: Final = "<!-- made by tests/journeys/test_verification_table.py -->\n"
END: Final = "<!-- end of the table of verification -->"
Json = dict[str, Any]
CUSTOMERS: Final[dict[str, Json | None]] = {
    "none": None,
    "an id that the Platform knows": {"externalId": "42"},
    "an id that it does not know": {"externalId": "99"},
    "only an e-mail address that it knows": {"email": "jane@example.com"},
    "only an e-mail address that it does not know": {"email": "nobody@example.com"},
    "an id that it knows with another e-mail address": {"externalId": "42", "email": "new@example.com"},
}
REWARDS: Final = {
    "`points/redeemed`": (("points/redeemed", 0),),
    "`customers/tier_entry_reward_earned`": (("customers/tier_entry_reward_earned", 0),),
    "`referrals/*`, the customer's reward": (("referrals/started", 0), ("referrals/completed", 0)),
    "`referrals/*`, the friend's reward": (("referrals/started", 1), ("referrals/completed", 1)),
}
"""The row of the table -> the topics that it is about, with the place of the reward's job."""
TYPES: Final = {
    "points/redeemed": "PointActivity",
    "customers/tier_entry_reward_earned": "CustomerLoyaltyTierEntryReward",
}
NO_LIMITS: Final = dict.fromkeys(IssuanceLimitSettings.model_fields)
LATE: Final = 400.0
"""Seconds: an age over COUPONS__CONFIRM_WITHIN."""


def webhook(topic: str, number: int, code: str, customer: Json | None) -> Json:
    """A webhook of the topic with this code and this customer in the reward that job `number` is about."""
    reward = {"id": f"w-{code}", "couponCode": code, "discountType": "amountdiscount", "discountAmount": 5}
    match topic:
        case "points/redeemed":
            points = {"points": 500, "ruleId": "rule-5-off", "rewardType": "amountdiscount"}
            return {"id": f"p-{code}", "customer": customer, "couponCode": code, **points}
        case "customers/tier_entry_reward_earned":
            return {"id": f"p-{code}", "customer": customer, "reward": {**reward, "rewardType": "amountdiscount"}}
        case _:
            other = {"id": f"o-{code}", "couponCode": f"o{code}", "discountType": "amountdiscount", "discountAmount": 5}
            mine, friend = (reward, other) if number == 0 else (other, reward)
            people = (customer, None) if number == 0 else ({"externalId": "42"}, customer)
            return {
                "id": f"p-{code}", "customer": people[0], "friendCustomer": people[1],
                "customerReward": mine, "friendReward": friend,
            }  # fmt: skip


async def state_of(issue: IssueCoupon, engine: AsyncEngine, topic: str, number: int, body: Json, code: str) -> str:
    """The coupon's state after the first attempt, and after one that is later than COUPONS__CONFIRM_WITHIN."""
    raw = json.dumps(body).encode()
    message_id = await store_message(engine, topic, raw)
    spec = webhook_message(topic, raw, str(message_id), network=ALLOWED_NETWORK).jobs[number]
    job_id = uuid7()
    for age in (0.0, LATE):
        if age:
            await store_negative_answers(engine, job_id, age)
        attempt = job("issue_coupon", raw, message_id=message_id, params=spec.params, age=age, identifier=job_id)
        outcome = await issue(attempt)
        if not isinstance(outcome, Wait):
            break
    record = await coupon(engine, code)
    if record.state == "active":
        assert record.verification is not None
        return f"active {record.verification}"
    return record.state


def cell(level: VerificationLevel, listed: str, unlisted: str) -> str:
    """The words of the table, from the coupon's state if the Platform lists the code and if it does not."""
    words = {f"active {level}": "issued", "active confirmed": "issued", "refused": "refused", "held": "held"}
    if listed == unlisted:
        return words[listed]
    assert (listed, unlisted) == ("active confirmed", "refused"), (listed, unlisted)
    return "issued if listed"


async def test_the_table_of_verification_is_what_the_code_does(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    """`WRITE_DOCS=1 pytest tests/journeys/test_verification_table.py` writes it."""
    platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com"}])
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="5", point_cost=500)
    for rule in ("tier-entry", "referral-customer", "referral-friend"):
        await put_rule(engine, rule, kind="fixed_amount", value="5")
    lines = ["| reward | the webhook names | " + " | ".join(f"`{level}`" for level in VerificationLevel) + " |"]
    lines.append("|---" * (len(VerificationLevel) + 2) + "|")
    codes = 0
    for row, topics in REWARDS.items():
        for name, customer in CUSTOMERS.items():
            cells = []
            for level in VerificationLevel:
                issue = handler(store, client, engine, require=level.value, issuance_limits=NO_LIMITS)
                words = set()
                for topic, number in topics:
                    states = []
                    for listed in (True, False):
                        codes += 1
                        code = f"c{codes:04}"
                        if listed and customer is not None:
                            holder = {"customerId": customer.get("externalId"), "email": customer.get("email")}
                            if customer.get("email") == "jane@example.com":
                                holder["customerId"] = "42"  # the account with this address
                            reward = {"code": code, "type": TYPES.get(topic, "ReferralReward"), "points": 500, **holder}
                            platform.control("list-rewards", rewards=[reward])
                        body = webhook(topic, number, code, customer)
                        states.append(await state_of(issue, engine, topic, number, body, code))
                    words.add(cell(level, *states))
                [word] = words
                cells.append(word)
            lines.append(f"| {row} | {name} | " + " | ".join(cells) + " |")
    table = "\n".join(lines) + "\n"
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}")
    assert f"{BEGIN}{table}{END}" in PAGE.read_text()
