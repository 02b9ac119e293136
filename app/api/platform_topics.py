"""The `webhooks` section of the OpenAPI document: the topics of the Platform.

They are from the Platform's published contract (docs/platform.md), with invented examples. The endpoint accepts unknown topics too.
"""

from typing import Any, Final  # OpenAPI documents are free-form JSON

from platform_relay.api.examples import ID

_CUSTOMER: Final = {
    "id": "5f0c1d4e-6a1b-4c58-9a2e-0d6a4e3a9b11",
    "externalId": "42",
    "email": "ada@example.com",
    "name": "Ada Example",
    "pointBalance": 350,
    "createdAt": "2026-01-05T09:00:00Z",
    "updatedAt": "2026-05-11T16:20:00Z",
}


def _reward(code: str, status: str) -> dict[str, str]:
    return {
        "id": f"reward-{code}",
        "couponCode": code,
        "couponCodeStatus": status,
        "discountType": "fixedamountdiscount",
        "discountAmount": "10.00",
    }


_REFERRAL: Final = {
    "id": "7c2b6a52-3a9d-4f7f-8b0a-2f9b6f1f2a10",
    "customer": _CUSTOMER,
    "friendEmail": "grace@example.com",
    "customerReward": _reward("a1b2c3d4e5f6", "active"),
    "friendReward": _reward("f6e5d4c3b2a1", "active"),
}
_POINTS: Final = {
    "id": "0a4f6f0e-7f0d-4e59-b0b3-3d1b8d3f4c77",
    "customer": _CUSTOMER,
    "action": "Purchase",
    "points": 120,
    "type": "earn",
    "ruleId": "rule-earn-1",
}
_TIER: Final = {"id": "tier-gold", "title": "Gold", "threshold": 1000}

_TOPICS: Final[dict[str, tuple[str, str, object]]] = {
    "customers/updated": ("A customer changed", "The relay stores it; no coupon is created.", _CUSTOMER),
    "customers/tier_changed": (
        "A customer reached another tier",
        "The relay stores it; no coupon is created. `oldTier` can be null.",
        {"customer": _CUSTOMER, "oldTier": None, "newTier": _TIER},
    ),
    "customers/tier_entry_reward_earned": (
        "A customer earned the entry reward of a tier",
        "The relay creates the coupon of the reward in the store, with the exact code.",
        {"id": "entry-1", "customer": _CUSTOMER, "reward": _reward("0f1e2d3c4b5a", "active")},
    ),
    "points/earned": ("A customer earned points", "The relay stores it; no coupon is created.", _POINTS),
    "points/redeemed": (
        "A customer redeemed points",
        "When the value is known, the relay creates the coupon in the store, with the exact code. Until then, the coupon is held.",
        {**_POINTS, "points": -500, "type": "redeem", "couponCode": "0123456789ab", "rewardType": "percentageoff"},
    ),
    "referrals/started": (
        "A customer referred a friend",
        "The relay creates the friend's coupon, and the customer's if the webhook contains one.",
        _REFERRAL,
    ),
    "referrals/completed": (
        "A referred friend placed an order",
        "The relay creates the coupon of each reward, once.",
        _REFERRAL,
    ),
}


def webhook_operations() -> dict[str, Any]:  # OpenAPI's free-form JSON
    """The path item of each topic."""
    return {
        topic: {
            "post": {
                "operationId": "platform_" + topic.replace("/", "_"),
                "tags": ["Webhooks"],
                "summary": summary,
                "description": f"{description} Endpoint: `POST /v1/webhooks/platform/{{webhook_secret}}`.",
                "parameters": [
                    _header("X-Webhook-Topic", {"type": "string", "const": topic}, "The topic."),
                    _header(
                        "X-Webhook-Id",
                        {"type": "string"},
                        "This can be the id of the subscription instead of the delivery.",
                    ),
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
                },
                "responses": {
                    "200": {
                        "description": "The webhook is stored. A repeated webhook gets the same response.",
                        "content": {"application/json": {"example": {"id": ID, "status": "accepted"}}},
                    }
                },
            }
        }
        for topic, (summary, description, example) in _TOPICS.items()
    }


def _header(name: str, schema: dict[str, str], description: str) -> dict[str, Any]:  # OpenAPI's free-form JSON
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}
