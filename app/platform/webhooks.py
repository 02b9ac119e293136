"""Reads a webhook of the Platform: its typed values, and the message with its jobs. Pure and lenient.

No webhook is rejected: they are unsigned, their retries are not documented, and live bodies contain more than the
documentation states. An unreadable webhook is stored without jobs. Source: "Introduction to webhooks" and the pages of
the topics at developer.influence.io.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.outcomes import JobSpec
from platform_relay.inbox.messages import STORE, STORE_LOYALTY, Incoming, JobKind, customer_lane, redemption_claim_lane
from platform_relay.platform.fields import ASSUMED, Fields
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import PlatformRule, is_donation, platform_rule, reward_kind

SOURCE: Final = "platform"

POINTS_REDEEMED: Final = "points/redeemed"
POINTS_EARNED: Final = "points/earned"
CUSTOMER_UPDATED: Final = "customers/updated"
TIER_CHANGED: Final = "customers/tier_changed"
TIER_REWARD: Final = "customers/tier_entry_reward_earned"
REFERRALS: Final = ("referrals/started", "referrals/completed")
FRIEND_REWARD: Final = "friendReward"
"""The place of a referred friend's reward in the body, and the job parameter `reward` of its coupon."""
TOPICS_WITH_ID: Final = (POINTS_REDEEMED, POINTS_EARNED, TIER_REWARD, *REFERRALS)
"""Topics whose body has the event's own `id` (in customers/updated it is the customer's)."""
COUPON_TOPICS: Final = (POINTS_REDEEMED, TIER_REWARD, *REFERRALS)
LOYALTY_TOPICS: Final = (CUSTOMER_UPDATED, TIER_CHANGED, POINTS_EARNED, *REFERRALS)
"""Topics with tiers and points that a store can keep with its customer."""
ALLOWED_NETWORK: Final = "allowed"
OTHER_NETWORK: Final = "other"
"""Whether a webhook came from PLATFORM__ALLOWED_NETWORKS; the job parameter `network`."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A webhook's customer. `external_id` is the store's id. Absent fields are None."""

    id: str | None
    external_id: str | None
    email: str | None
    name: str | None
    point_balance: int | None
    tier: str | None

    @property
    def ref(self) -> str | None:
        """The Platform's name for the customer: the store's id, else the e-mail address in lower case."""
        return self.external_id or (self.email.lower() if self.email else None)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A readable webhook. Values that its topic does not have are None. Tiers are titles.

    `redemptions` are its coupons, each with its place in the body. `lacks_code`: points were redeemed without a code.
    """

    topic: str
    id: str | None
    customer: Customer | None = None
    friend: Customer | None = None
    action: str | None = None
    points: int | None = None
    old_tier: str | None = None
    new_tier: str | None = None
    redemptions: tuple[tuple[str, Redemption], ...] = ()
    lacks_code: bool = False


def parse_webhook(topic: str, raw: bytes, fields: Fields = ASSUMED) -> Webhook | None:
    """The values of a webhook of any topic; None when the body is not a JSON object."""
    try:
        body = exact_json.loads(raw)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    event_id = exact_json.text(body.get("id")) if topic in TOPICS_WITH_ID else None
    customer = _customer(body if topic == CUSTOMER_UPDATED else body.get("customer"))
    friend = _customer(body.get("friendCustomer"))
    redemptions: tuple[tuple[str, Redemption], ...] = ()
    if topic == POINTS_REDEEMED:
        redemptions = _redeemed(body, event_id, customer, fields)
    elif topic == TIER_REWARD:
        redemptions = _tier_reward(body, event_id, customer, fields)
    elif topic in REFERRALS:
        friend = friend or _customer({"email": body.get("friendEmail")})
        redemptions = _referral(body, customer, friend)
    return Webhook(
        topic,
        event_id,
        customer,
        friend,
        action=exact_json.text(body.get("action")),
        points=_points(body.get("points")),
        old_tier=exact_json.text(exact_json.member(body.get("oldTier"), "title")),
        new_tier=exact_json.text(exact_json.member(body.get("newTier"), "title")),
        redemptions=redemptions,
        lacks_code=topic == POINTS_REDEEMED
        and not redemptions
        and not is_donation(exact_json.text(body.get("rewardType"))),
    )


def webhook_message(
    topic: str,
    raw: bytes,
    message_id: str,
    fields: Fields = ASSUMED,
    *,
    network: str | None = None,
    loyalty_sync: bool = False,
) -> Incoming:
    """The message of a webhook, with one job for each coupon, and with `loyalty_sync` one that writes it to the store.

    `topic` is the header X-Webhook-Topic. (X-Webhook-Id may be that of the subscription, so it does not identify
    duplicates.) A duplicate has the same id in the body and the same values that decide about the coupon: a webhook that
    is sent again with a new point balance is a duplicate; an altered webhook is not, and is a claim of its own to the code.
    `network` (ALLOWED_NETWORK, OTHER_NETWORK; None: not checked) is stored with the jobs. A webhook from another network
    is never taken for a duplicate of the same webhook from an allowed one.
    """
    kind = exact_json.text(topic) or "unknown"
    webhook = parse_webhook(kind, raw, fields)
    key = f"{kind}:{_fingerprint(webhook, raw)}" + (":other-network" if network == OTHER_NETWORK else "")
    if webhook is None:
        return Incoming(SOURCE, kind, key, raw, (), strict=False)
    checked = {} if network is None else {"network": network}
    jobs = tuple(
        JobSpec(
            JobKind.ISSUE_COUPON,
            STORE,
            redemption_claim_lane(redemption.code, message_id),
            params={"topic": kind, "reward": place, "code": redemption.code, **checked},
            owner=customer_lane(redemption.customer_ref) if redemption.customer_ref else None,
        )
        for place, redemption in webhook.redemptions
    )
    customer_ref = webhook.customer.ref if webhook.customer else None
    if loyalty_sync and kind in LOYALTY_TOPICS and network != OTHER_NETWORK:
        lane = f"loyalty:{customer_ref or message_id}"
        jobs += (JobSpec(JobKind.SYNC_LOYALTY, STORE_LOYALTY, lane, params={"topic": kind}),)
    if webhook.lacks_code:
        # Points were redeemed without a code: the job is dead-lettered, so that an operator sees it.
        jobs = (
            JobSpec(
                JobKind.ISSUE_COUPON, STORE, f"coupon-without-code:{message_id}", params={"topic": kind, "reward": ""}
            ),
        )
    return Incoming(
        SOURCE,
        kind,
        key,
        raw,
        jobs,
        customer_ref=customer_ref,
        coupon_ref=webhook.redemptions[0][1].code if webhook.redemptions else None,
        strict=False,
    )


def redemption_of(topic: str, reward: str, raw: bytes, fields: Fields = ASSUMED) -> Redemption | None:
    """The redemption of a job of `webhook_message`, by the job's parameters; None when the body has none at that place."""
    webhook = parse_webhook(topic, raw, fields)
    return dict(webhook.redemptions).get(reward) if webhook else None


def _fingerprint(webhook: Webhook | None, raw: bytes) -> str:
    if webhook is None or webhook.id is None:
        return hashlib.sha256(raw).hexdigest()
    customer = webhook.customer.external_id if webhook.customer else None
    significant = (webhook.id, customer, webhook.points, webhook.redemptions)
    return f"{webhook.id}:{hashlib.sha256(repr(significant).encode()).hexdigest()}"


# ----------------------------------------------------------------------------------------------- the bodies


def _customer(raw: ExactJson) -> Customer | None:
    if not isinstance(raw, dict):
        return None
    tier = raw.get("currentLoyaltyTier")
    return Customer(
        id=exact_json.text(raw.get("id")),
        external_id=exact_json.text(raw.get("externalId")),
        email=exact_json.email(raw.get("email")),
        name=exact_json.text(raw.get("name")),
        point_balance=_integer(raw.get("pointBalance")),
        tier=exact_json.text(exact_json.member(tier, "title")),
    )


def _integer(raw: ExactJson) -> int | None:
    number = exact_json.number(raw)
    return int(number) if number is not None and number == int(number) else None


def _points(raw: ExactJson) -> int | None:
    """The sign of redeemed points is not documented, so it is dropped."""
    points = _integer(raw)
    return None if points is None else abs(points)


def _code(raw: ExactJson) -> str | None:
    code = exact_json.text(raw, 100)
    return code if code and " " not in code and code.isprintable() else None


def _redeemed(
    body: dict[str, ExactJson], event_id: str | None, customer: Customer | None, fields: Fields
) -> tuple[tuple[str, Redemption], ...]:
    reward_type = exact_json.text(body.get("rewardType"))
    code = _code(body.get("couponCode"))
    if code is None or is_donation(reward_type):
        return ()
    embedded = platform_rule(body.get("redeemRule"), fields)
    return (
        (
            "redeemed",
            Redemption(
                code,
                event_id,
                reward_type,
                rule_id=exact_json.text(body.get("ruleId")) or (embedded.id if embedded else None),
                points=_points(body.get("points")),
                customer_id=customer.external_id if customer else None,
                email=customer.email if customer else None,
                embedded=embedded,
            ),
        ),
    )


def _tier_reward(
    body: dict[str, ExactJson], event_id: str | None, customer: Customer | None, fields: Fields
) -> tuple[tuple[str, Redemption], ...]:
    nested = body.get(fields["tierReward.object"])
    reward = nested if isinstance(nested, dict) else body
    reward_type = exact_json.text(reward.get(fields["tierReward.type"])) or exact_json.text(
        reward.get(fields["tierReward.otherType"])
    )
    return _with_value(
        "tierReward",
        _code(reward.get(fields["tierReward.code"])),
        exact_json.text(reward.get(fields["tierReward.id"])) or event_id,
        reward_type,
        exact_json.text(reward.get("ruleId")) or exact_json.text(body.get("ruleId")) or "tier-entry",
        reward.get(fields["tierReward.amount"]),
        customer,
    )


def _referral(
    body: dict[str, ExactJson], customer: Customer | None, friend: Customer | None
) -> tuple[tuple[str, Redemption], ...]:
    redemptions: tuple[tuple[str, Redemption], ...] = ()
    for place, rule_id, owner in (
        ("customerReward", "referral-customer", customer),
        (FRIEND_REWARD, "referral-friend", friend),
    ):
        reward = body.get(place)
        if isinstance(reward, dict):
            kind = exact_json.text(reward.get("discountType")) or exact_json.text(reward.get("rewardType"))
            code, reward_id = _code(reward.get("couponCode")), exact_json.text(reward.get("id"))
            redemptions += _with_value(place, code, reward_id, kind, rule_id, reward.get("discountAmount"), owner)
    return redemptions


def _with_value(
    place: str,
    code: str | None,
    reward_id: str | None,
    reward_type: str | None,
    rule_id: str,
    amount: ExactJson,
    owner: Customer | None,
) -> tuple[tuple[str, Redemption], ...]:
    """A reward whose value is in the body itself."""
    if code is None or is_donation(reward_type):
        return ()
    embedded = PlatformRule(None, reward_kind(reward_type), exact_json.number(amount), has_value=True)
    redemption = Redemption(
        code,
        reward_id,
        reward_type,
        rule_id,
        customer_id=owner.external_id if owner else None,
        email=owner.email if owner else None,
        embedded=embedded,
    )
    return ((place, redemption),)
