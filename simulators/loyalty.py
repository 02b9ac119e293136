"""The loyalty half of the Platform: redeem rules, rewards, the Launcher's public answers, and the webhooks."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .call import Call, Json, RefusalError, Response, json_response

if TYPE_CHECKING:
    from .platform import Platform
    from .program import Control


def _rule(identifier: str, title: str, cost: int, value: float | None, kind: str, **more: object) -> Json:
    return {
        "id": identifier, "title": title, "customTitle": None, "pointCost": cost, "discountValue": value,
        "templateName": kind, "redeemType": "fixed", "minRedeemablePoints": None, "maxRedeemablePoints": None,
        "minSpendAmount": None, "status": "active", "product": None, "variants": None, **more,
    }  # fmt: skip


DEFAULT_RULES = [
    _rule("rule-5-off", "5 off", 500, 5, "amountdiscount"),
    _rule("rule-10-percent", "10 % off", 800, 10, "percentageoff", status="ACTIVE", minSpendAmount=30),
    _rule("rule-per-100", "1 off per 100 points", 100, 1, "fixedamountdiscount", redeemType="increments",
          minRedeemablePoints=100, maxRedeemablePoints=2000),
    _rule("rule-shipping", "Free shipping", 300, None, "freeshipping"),
    _rule("rule-mug", "A mug", 1000, 100, "productdiscount", product={"externalId": "43", "title": "Mug"}),
    _rule("rule-old", "An old rule", 100, 50, "amountdiscount", status="inactive"),
]  # fmt: skip
"""The redeem rules after a reset; `templateName` is also the rewardType of what is redeemed by them."""


class Loyalty:
    """Rewards by coupon code, rules by id, pending referrals, and what is sent about them."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.controls: dict[str, Control] = {
            "redeem": self._redeem,
            "tier-reward": self._tier_reward,
            "referral": self._referral,
            "send-webhook": self._send_webhook,
            "list-rewards": self._list_rewards,
            "rules": self._set_rules,
            "customers": self._seed_customers,
            "forget-customers": self._forget_customers,
        }
        self.reset()

    def reset(self) -> None:
        """No rewards, no referrals, the default rules."""
        self.rewards: dict[str, Json] = {}
        self.rules: dict[str, Json] = {rule["id"]: copy.deepcopy(rule) for rule in DEFAULT_RULES}
        self.pending: list[Json] = []

    # -- the store saw a coupon used -------------------------------------------------------------------------------

    async def use(self, call: Call) -> Response:
        """POST /v1/rewards/{code}/use."""
        reward = self.rewards.get(call.argument)
        if reward is None:
            return json_response(404, {"message": "Reward not found"})
        if reward.get("usedAt"):
            call.duplicate()
            mode = self.platform.config.second_reward_use
            if mode == "not_found":
                return json_response(404, {"message": "Reward not found"})
            if mode == "conflict":
                return json_response(409, {"message": "Reward already used"})
        reward["usedAt"] = _now_text()
        call.applied()
        return json_response(200, {"reward": self._public(reward)})

    # -- the Launcher ---------------------------------------------------------------------------------------------

    def identify(self, call: Call) -> None:
        """Route a Launcher call."""
        handlers = {
            "/launcher/v1/shop": ("launcher.shop", self._launcher_shop),
            "/launcher/v1/shop/rules/redeem": ("launcher.rules", self._launcher_rules),
            "/launcher/v1/customer/all-rewards": ("launcher.rewards", self._all_rewards),
        }
        if call.method == "GET" and call.path in handlers:
            call.kind, call.handler = handlers[call.path]

    def _check_shop(self, call: Call) -> None:
        shop = call.query.get("shop")
        if not shop:
            raise RefusalError(json_response(400, {"error": "ShopRequired"}))
        if shop != self.platform.config.shop_key:
            raise RefusalError(json_response(404, {"error": "ShopNotFound"}))

    async def _launcher_shop(self, call: Call) -> Response:
        self._check_shop(call)
        config = self.platform.config
        return json_response(200, {"id": config.shop_key, "storeCurrency": config.store_currency})

    async def _launcher_rules(self, call: Call) -> Response:
        self._check_shop(call)
        return json_response(200, {"rules": list(self.rules.values())})

    async def _all_rewards(self, call: Call) -> Response:
        self._check_shop(call)
        query, config = call.query, self.platform.config
        customer_id, email = query.get("customer_id", ""), query.get("customer_email", "")
        if not customer_id and not email:
            return json_response(400, {"error": "CustomerRequired"})
        signed = f"{config.shop_key}{email.lower()}{customer_id}".encode()
        expected = hmac.new(config.api_key.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, query.get("digest", "")):
            return json_response(401, {"error": "DigestMismatch"})
        now = time.monotonic()
        held = [
            self._public(reward)
            for reward in self.rewards.values()
            if reward["_listed_at"] <= now and _is_holder(reward, customer_id, email)
        ]
        if config.rewards_next != "offset":
            tokens: Json = {"same": "again", "fresh": secrets.token_hex(8), "object": {"page": 2}, "long": "x" * 5000}
            token = tokens[config.rewards_next]
            return json_response(200, {"items": held[: config.rewards_page_size], "nextToken": token})
        start = int(query.get("nextToken") or 0)
        if start and config.rewards_moved:
            start, config.rewards_moved = start + config.rewards_moved, 0
        end = start + config.rewards_page_size
        return json_response(200, {"items": held[start:end], "nextToken": str(end) if end < len(held) else ""})

    @staticmethod
    def _public(reward: Json) -> Json:
        return {name: value for name, value in reward.items() if not name.startswith("_")}

    # -- making things happen -------------------------------------------------------------------------------------

    def _grant(self, kind: str, holder: Json, given: Json, points: int, reward_type: str, title: str) -> Json:
        """A new reward; listed for its holder unless `listed` is false (a forgery)."""
        config = self.platform.config
        code = str(given.get("code") or config.code_prefix + secrets.token_hex(6))
        now = _now_text()
        reward = {
            "id": str(uuid.uuid4()), "customerId": holder.get("id"), "couponCode": code, "title": title,
            "pointsSpent": points, "type": kind, "rewardType": reward_type, "createdAt": now, "updatedAt": now,
            "_external_id": str(holder.get("externalId") or ""), "_email": str(holder.get("email") or "").lower(),
            "_listed_at": time.monotonic() + config.rewards_delay,
        }  # fmt: skip
        if given.get("listed", True):
            self.rewards[code] = reward
        return reward

    def _customer(self, given: Json) -> Json:
        customer = self.platform.customer_of(given.get("customerId"), given.get("email"))
        if customer is None:
            raise RefusalError(
                json_response(404, {"message": "Customer not found; PUT it or POST /_sim/customers first"})
            )
        return customer

    def _check_address(self, given: Json) -> None:
        """Refuse before anything is spent or granted when the webhook could not be sent."""
        if given.get("deliver", True) and not (given.get("url") or self.platform.config.webhook_url):
            text = "no webhook_url is set: POST /_sim/config {webhook_url}, or say deliver: false"
            raise RefusalError(json_response(409, {"message": text}))

    async def _redeem(self, given: Json) -> Json:
        self._check_address(given)
        customer = self._customer(given)
        rule = self.rules.get(str(given.get("ruleId", "")))
        if rule is None:
            raise RefusalError(
                json_response(404, {"message": f"no rule {given.get('ruleId')!r}; have {sorted(self.rules)}"})
            )
        points = int(given["points"] if "points" in given else rule["pointCost"])
        if customer["pointBalance"] < points and not given.get("allow_overdraft"):
            text = f"{points} points needed, {customer['pointBalance']} there; set allow_overdraft to redeem anyway"
            raise RefusalError(json_response(409, {"message": text}))
        reward_type = str(given.get("rewardType", rule["templateName"]))
        reward = self._grant("PointActivity", customer, given, points, reward_type, rule["title"])
        self.platform.award(customer, -points, f"redeem {rule['id']}")
        shown = -points if self.platform.config.negative_redeem_points else points
        body = {
            "id": reward["id"], "customer": webhook_customer(customer), "action": rule["title"], "points": shown,
            "type": "REDEEM", "ruleId": rule["id"], "couponCode": reward["couponCode"], "rewardType": reward_type,
        }  # fmt: skip
        embed = given.get("embed_rule", "cost")
        if embed in (True, "full"):
            body["redeemRule"] = dict(rule)
        elif embed == "cost":
            body["redeemRule"] = {"pointCost": rule["pointCost"]}
        return await self._publish("points/redeemed", body, given, code=reward["couponCode"])

    async def _tier_reward(self, given: Json) -> Json:
        self._check_address(given)
        customer = self._customer(given)
        reward_type = str(given.get("rewardType", "amountdiscount"))
        reward = self._grant("CustomerLoyaltyTierEntryReward", customer, given, 0, reward_type, "Tier entry")
        item = {
            "id": reward["id"], "couponCode": reward["couponCode"], "rewardType": reward_type,
            "discountAmount": given.get("discountAmount", 5),
        }  # fmt: skip
        body: Json = {"id": str(uuid.uuid4()), "customer": webhook_customer(customer)}
        body.update({"reward": item} if given.get("nested", True) else {**item, "id": reward["id"]})
        topic = "customers/tier_entry_reward_earned"
        return await self._publish(topic, body, given, code=reward["couponCode"])

    async def _referral(self, given: Json) -> Json:
        """A referral starts, or completes at once: two coupons, one for each side."""
        self._check_address(given)
        event = str(given.get("event", "started"))
        if event not in ("started", "completed"):
            raise ValueError(f"event must be started or completed, not {event!r}")
        customer = self._customer(given)
        friend_email = str(given.get("friendEmail", ""))
        friend = self.platform.customer_of(given.get("friendCustomerId"), friend_email) or {"email": friend_email}
        codes = given.get("codes") or [None, None]
        if len(codes) != 2:
            raise ValueError("codes must be [the customer's, the friend's]")
        value = given.get("discountAmount", 5)
        discount = str(given.get("discountType", "amountdiscount"))
        rewards = []
        for holder, code in zip((customer, friend), codes, strict=True):
            reward = self._grant("ReferralReward", holder, {**given, "code": code}, 0, discount, "Referral")
            rewards.append({
                "id": reward["id"], "couponCode": reward["couponCode"], "couponCodeStatus": "active",
                "discountType": discount, "discountAmount": value,
            })  # fmt: skip
        body = {
            "id": str(uuid.uuid4()), "customer": webhook_customer(customer),
            "friendCustomer": webhook_customer(friend) if "id" in friend else None, "friendEmail": friend_email,
            "customerReward": rewards[0], "friendReward": rewards[1],
        }  # fmt: skip
        if event == "started":
            self.pending.append(body)
        return await self._publish(f"referrals/{event}", body, given, codes=[r["couponCode"] for r in rewards])

    def order_paid(self, order: Json) -> None:
        """Complete the pending referrals whose friend's e-mail or coupon this paid order carries."""
        if not self.pending or not self.platform.config.webhook_url:
            return
        email = str(order.get("email") or "").lower()
        codes = {str(item.get("code")) for item in order.get("discountCodes") or []}
        for body in list(self.pending):
            if body["friendEmail"].lower() == email or body["friendReward"]["couponCode"] in codes:
                self.pending.remove(body)
                self.platform.deliveries.start(self._publish("referrals/completed", body, {}))

    # -- webhooks -------------------------------------------------------------------------------------------------

    async def _publish(self, topic: str, body: Json, given: Json, **more: object) -> Json:
        """POST the webhook `times` times (default 1; `deliver: false`: not at all). Waits unless `wait` is false."""
        raw = json.dumps(body, separators=(",", ":")).encode()
        sent: list[Json] = []
        if given.get("deliver", True):
            sent = await self._deliver(topic, raw, given)
        return {**more, "topic": topic, "body": body, "deliveries": sent}

    async def _send_webhook(self, given: Json) -> Json:
        raw = str(given["raw"]).encode() if "raw" in given else json.dumps(given.get("body", {})).encode()
        return {"deliveries": await self._deliver(str(given["topic"]), raw, given)}

    async def _deliver(self, topic: str, raw: bytes, given: Json) -> list[Json]:
        config = self.platform.config
        self._check_address(given)
        url = str(given.get("url") or config.webhook_url)
        webhook_id = str(given.get("webhook_id") or config.webhook_id or uuid.uuid4())
        headers = {
            "content-type": "application/json", "x-webhook-topic": topic, "x-webhook-id": webhook_id,
            **config.webhook_headers, **given.get("headers", {}),
        }  # fmt: skip
        attempts = int(given.get("attempts", config.webhook_attempts))
        sends = [
            self.platform.deliveries.send(
                topic, url, raw, headers, attempts, config.webhook_backoff, config.webhook_timeout
            )
            for _ in range(int(given.get("times", 1)))
        ]
        if not given.get("wait", True):
            for send in sends:
                self.platform.deliveries.start(send)
            return []
        return [(await send).as_json() for send in sends]

    async def _list_rewards(self, given: Json) -> Json:
        """Put rewards into all-rewards as they are: `{"rewards": [{"code", "customerId" or "email", "type", …}]}`."""
        for item in given.get("rewards", []):
            holder = {"externalId": item.get("customerId"), "email": item.get("email")}
            kind, points = str(item.get("type", "PointActivity")), int(item.get("points", 0))
            self._grant(kind, holder, item, points, str(item.get("rewardType", "amountdiscount")), "")
        return {"rewards": len(self.rewards)}

    async def _set_rules(self, given: Json) -> Json:
        if given.get("replace"):
            self.rules.clear()
        for rule in given.get("rules", []):
            base = self.rules.get(rule["id"]) or _rule(rule["id"], rule["id"], 100, None, "amountdiscount")
            self.rules[rule["id"]] = {**base, **rule}
        for identifier in given.get("remove", []):
            self.rules.pop(identifier, None)
        return {"rules": list(self.rules.values())}

    async def _seed_customers(self, given: Json) -> Json:
        """Put customers there without a call in the ledger: `{"customers": [{"customerId", "email", "points", …}]}`."""
        for item in given.get("customers", []):
            customer = {
                "id": str(uuid.uuid4()), "externalId": str(item["customerId"]), "createdAt": _now_text(),
                "updatedAt": _now_text(), "pointBalance": int(item.get("points", 0)),
                **{k: v for k, v in item.items() if k not in ("customerId", "points")},
            }  # fmt: skip
            self.platform.customers[customer["externalId"]] = customer
            if customer.get("email"):
                self.platform.by_email[str(customer["email"]).lower()] = customer
        return {"customers": len(self.platform.customers)}

    async def _forget_customers(self, given: Json) -> Json:
        """As if somebody had deleted them at the Platform: `{"customers": [ids]}`."""
        for identifier in given.get("customers", []):
            customer = self.platform.customers.pop(str(identifier), None)
            if customer is not None:
                self.platform.by_email.pop(str(customer.get("email", "")).lower(), None)
        return {"customers": len(self.platform.customers)}


def _is_holder(reward: Json, customer_id: str, email: str) -> bool:
    if customer_id:
        return bool(reward["_external_id"] == customer_id)
    return bool(reward["_email"] == email.lower())


def webhook_customer(customer: Json) -> Json:
    """The customer in the webhooks' shape, which is not the REST one; unset fields are absent."""
    shape: Json = {
        name: customer[name]
        for name in ("id", "externalId", "email", "name", "birthdayMonth", "birthdayDay", "pointBalance", "createdAt",
                     "updatedAt")
        if name in customer
    }  # fmt: skip
    shape["referralUrl"] = f"https://shop.example.com/?ref={customer.get('externalId', '')}"
    return shape


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
