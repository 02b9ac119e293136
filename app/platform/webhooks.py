"""Reads a webhook of the Platform: its typed values, and the message with its jobs. Pure and lenient.

No webhook is rejected: they are unsigned, their retries are not documented, and live bodies contain more than the
documentation states. A webhook that should carry a coupon, and has no code where the relay reads it, gets a job that ends dead,
so that an operator sees it. Any other unreadable webhook is stored without jobs. Source: "Introduction to webhooks" and the pages
of the topics at developer.influence.io.
"""

import hashlib
from collections.abc import Iterator
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

    `redemptions` are its coupons, each with its place in the body. `lacks_code`: it should carry a coupon, or another one, and the
    code is not where the relay reads it, or is not usable.
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
    """The values of a webhook of any topic, in upper or lower case; None when the body is not a JSON object."""
    topic = topic.lower()
    try:
        body = exact_json.webhook_json(raw)
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
        lacks_code=_lacks_code(topic, body, redemptions, fields),
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
    A webhook whose code could not be read is no duplicate once the table of fields has been corrected.
    `network` (ALLOWED_NETWORK, OTHER_NETWORK; None: not checked) is stored with the jobs. A webhook from another network
    is never taken for a duplicate of the same webhook from an allowed one.
    """
    kind = (exact_json.text(topic) or "unknown").lower()
    webhook = parse_webhook(kind, raw, fields)
    key = f"{kind}:{_fingerprint(webhook, raw)}" + (":other-network" if network == OTHER_NETWORK else "")
    if webhook is not None and webhook.lacks_code:
        key += ":without-code"
    checked = {} if network is None else {"network": network}
    # The job is dead-lettered, so that an operator sees it.
    params = {"topic": kind, "reward": "", **checked}
    without_code = (JobSpec(JobKind.ISSUE_COUPON, STORE, f"coupon-without-code:{message_id}", params=params),)
    if webhook is None:
        return Incoming(SOURCE, kind, key, raw, without_code if kind in COUPON_TOPICS else (), strict=False)
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
        jobs += without_code
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
    """A coupon code. One with a replacement character is not the code that the customer has."""
    code = exact_json.text(raw, 100)
    return code if code and " " not in code and "\N{REPLACEMENT CHARACTER}" not in code and code.isprintable() else None


def _lacks_code(
    topic: str, body: dict[str, ExactJson], redemptions: tuple[tuple[str, Redemption], ...], fields: Fields
) -> bool:
    """See `Webhook.lacks_code`. Redeemed points and tier rewards have a coupon. A referral can have none yet: it lacks a code if
    the body shows one that was not read."""
    if topic == POINTS_REDEEMED:
        return not redemptions and not is_donation(exact_json.text(body.get("rewardType")))
    if topic == TIER_REWARD:
        return not redemptions and not is_donation(_tier_reward_type(body, fields))
    codes = {redemption.code for _, redemption in redemptions}
    return topic in REFERRALS and any(exact_json.text(code) not in codes for code in _shown_codes(body))


def _shown_codes(body: dict[str, ExactJson]) -> Iterator[ExactJson]:
    """Every value of a member `couponCode` in a referral, except those of donations, and of the customers, whose other coupons a
    body may contain."""
    stack: list[ExactJson] = [value for name, value in body.items() if name not in ("customer", "friendCustomer")]
    if body.get("couponCode"):
        yield body["couponCode"]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, dict):
            if value.get("couponCode") and not is_donation(_referral_type(value)):
                yield value["couponCode"]
            stack.extend(value.values())


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
    reward = _reward_in(body, fields)
    return _with_value(
        "tierReward",
        _code(reward.get(fields["tierReward.code"])),
        exact_json.text(reward.get(fields["tierReward.id"])) or event_id,
        _tier_reward_type(body, fields),
        exact_json.text(reward.get("ruleId")) or exact_json.text(body.get("ruleId")) or "tier-entry",
        reward.get(fields["tierReward.amount"]),
        customer,
    )


def _reward_in(body: dict[str, ExactJson], fields: Fields) -> dict[str, ExactJson]:
    nested = body.get(fields["tierReward.object"])
    return nested if isinstance(nested, dict) else body


def _tier_reward_type(body: dict[str, ExactJson], fields: Fields) -> str | None:
    reward = _reward_in(body, fields)
    names = fields["tierReward.type"], fields["tierReward.otherType"]
    return exact_json.text(reward.get(names[0])) or exact_json.text(reward.get(names[1]))


def _referral_type(reward: dict[str, ExactJson]) -> str | None:
    return exact_json.text(reward.get("discountType")) or exact_json.text(reward.get("rewardType"))


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
            code, reward_id = _code(reward.get("couponCode")), exact_json.text(reward.get("id"))
            amount, kind = reward.get("discountAmount"), _referral_type(reward)
            redemptions += _with_value(place, code, reward_id, kind, rule_id, amount, owner)
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
