"""The Platform's webhook -> typed values, and the message with the coupons that it owes. Pure and lenient.

Nothing is refused: webhooks are unsigned, their retries are not published, and live bodies hold more than the pages
say. What cannot be read is stored all the same and owes nothing. Source: "Introduction to webhooks" and the topics'
own pages at developer.influence.io.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from platform_relay.core.outcomes import JobSpec
from platform_relay.inbox.messages import STORE, Incoming, redemption_claim_lane
from platform_relay.platform import exact
from platform_relay.platform.exact import ExactJson
from platform_relay.platform.fields import ASSUMED, Fields
from platform_relay.platform.rewards import Redemption
from platform_relay.platform.rules import PlatformRule, is_donation, platform_rule, reward_kind

SOURCE: Final = "platform"
ISSUE_COUPON: Final = "issue_coupon"

POINTS_REDEEMED: Final = "points/redeemed"
POINTS_EARNED: Final = "points/earned"
CUSTOMER_UPDATED: Final = "customers/updated"
TIER_CHANGED: Final = "customers/tier_changed"
TIER_REWARD: Final = "customers/tier_entry_reward_earned"
REFERRALS: Final = ("referrals/started", "referrals/completed")
HAVE_ID: Final = (POINTS_REDEEMED, POINTS_EARNED, TIER_REWARD, *REFERRALS)
"""Topics whose body's `id` is the event's own (in customers/updated it is the customer's)."""
COUPON_TOPICS: Final = (POINTS_REDEEMED, TIER_REWARD, *REFERRALS)
FORWARD_NEWS: Final = "sync_loyalty"
NEWS: Final = (CUSTOMER_UPDATED, TIER_CHANGED, POINTS_EARNED, *REFERRALS)
"""Topics that tell something a store may use besides coupons."""


@dataclass(frozen=True, slots=True)
class Customer:
    """The webhooks' customer; `external_id` is the store's id. Absent fields are None."""

    id: str | None
    external_id: str | None
    email: str | None
    name: str | None
    point_balance: int | None
    tier: str | None

    @property
    def ref(self) -> str | None:
        """What the Platform knows the person by: the store's id, else the e-mail in lower case."""
        return self.external_id or (self.email.lower() if self.email else None)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A readable webhook: what its topic has, the rest None. Tiers are titles.

    `redemptions` are the coupons, each with its place in the body. `lacks_code`: points were spent and no code came.
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


def parse(topic: str, raw: bytes, fields: Fields = ASSUMED) -> Webhook | None:
    """The values of a webhook of any topic, known or not; None when the body is not a JSON object."""
    try:
        body = exact.loads(raw)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    own_id = exact.text(body.get("id")) if topic in HAVE_ID else None
    customer = _customer(body if topic == CUSTOMER_UPDATED else body.get("customer"))
    friend = _customer(body.get("friendCustomer"))
    redemptions: tuple[tuple[str, Redemption], ...] = ()
    if topic == POINTS_REDEEMED:
        redemptions = _redeemed(body, own_id, customer, fields)
    elif topic == TIER_REWARD:
        redemptions = _tier_reward(body, own_id, customer, fields)
    elif topic in REFERRALS:
        friend = friend or _customer({"email": body.get("friendEmail")})
        redemptions = _referral(body, customer, friend)
    return Webhook(
        topic,
        own_id,
        customer,
        friend,
        action=exact.text(body.get("action")),
        points=_points(body.get("points")),
        old_tier=exact.text(exact.member(body.get("oldTier"), "title")),
        new_tier=exact.text(exact.member(body.get("newTier"), "title")),
        redemptions=redemptions,
        lacks_code=topic == POINTS_REDEEMED and not redemptions and not is_donation(exact.text(body.get("rewardType"))),
    )


def incoming(
    topic: str,
    webhook_id: str | None,  # noqa: ARG001  # may be the subscription's, the same for all: tells no duplicates apart
    raw: bytes,
    message_id: str,
    fields: Fields = ASSUMED,
    *,
    origin: str | None = None,
    news: bool = False,
) -> Incoming:
    """The message of a webhook, with one job for each coupon, and with `news` one that forwards it. Never refuses.

    `topic` and `webhook_id` are the headers X-Webhook-Topic and X-Webhook-Id. A duplicate is known by the body's own
    id together with everything that decides about the coupon: a re-sent webhook with a new point balance is one, a
    webhook with anything altered is not, and is a claim of its own to the code. `origin` (`here`, `elsewhere`, None: not
    looked at) is kept with the jobs; what came from elsewhere never stands in the way of the same webhook from the right
    place.
    """
    kind = exact.text(topic) or "unknown"
    webhook = parse(kind, raw, fields)
    key = f"{kind}:{_fingerprint(webhook, raw)}" + (":elsewhere" if origin == "elsewhere" else "")
    if webhook is None:
        return Incoming(SOURCE, kind, key, raw, (), strict=False)
    came = {} if origin is None else {"origin": origin}
    jobs = tuple(
        JobSpec(
            ISSUE_COUPON,
            STORE,
            redemption_claim_lane(redemption.code, message_id),
            params={"topic": kind, "reward": place, "code": redemption.code, **came},
        )
        for place, redemption in webhook.redemptions
    )
    if news and kind in NEWS and origin != "elsewhere":
        person = webhook.customer.ref if webhook.customer else None
        jobs += (JobSpec(FORWARD_NEWS, STORE, f"news:{person or message_id}", params={"topic": kind}),)
    if webhook.lacks_code:
        # Points were spent and no code came: the job ends dead, where somebody sees it.
        jobs = (
            JobSpec(ISSUE_COUPON, STORE, f"coupon-without-code:{message_id}", params={"topic": kind, "reward": ""}),
        )
    return Incoming(
        SOURCE,
        kind,
        key,
        raw,
        jobs,
        customer_ref=webhook.customer.ref if webhook.customer else None,
        coupon_ref=webhook.redemptions[0][1].code if webhook.redemptions else None,
        strict=False,
    )


def redemption_of(topic: str, reward: str, raw: bytes, fields: Fields = ASSUMED) -> Redemption | None:
    """The coupon that a job of `incoming` is about, by its params; None when the body has none at that place."""
    webhook = parse(topic, raw, fields)
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
        id=exact.text(raw.get("id")),
        external_id=exact.text(raw.get("externalId")),
        email=_email(raw.get("email")),
        name=exact.text(raw.get("name")),
        point_balance=_whole(raw.get("pointBalance")),
        tier=exact.text(exact.member(tier, "title")),
    )


def _email(raw: ExactJson) -> str | None:
    email = exact.text(raw, 320)
    return email if email and "@" in email and " " not in email else None


def _whole(raw: ExactJson) -> int | None:
    found = exact.number(raw)
    return int(found) if found is not None and found == int(found) else None


def _points(raw: ExactJson) -> int | None:
    """The sign of redeemed points is not published, so it is dropped."""
    found = _whole(raw)
    return None if found is None else abs(found)


def _code(raw: ExactJson) -> str | None:
    code = exact.text(raw, 100)
    return code if code and " " not in code and code.isprintable() else None


def _redeemed(
    body: dict[str, ExactJson], own_id: str | None, customer: Customer | None, fields: Fields
) -> tuple[tuple[str, Redemption], ...]:
    reward_type = exact.text(body.get("rewardType"))
    code = _code(body.get("couponCode"))
    if code is None or is_donation(reward_type):
        return ()
    embedded = platform_rule(body.get("redeemRule"), fields)
    return (
        (
            "redeemed",
            Redemption(
                code,
                own_id,
                reward_type,
                rule_id=exact.text(body.get("ruleId")) or (embedded.id if embedded else None),
                points=_points(body.get("points")),
                customer_id=customer.external_id if customer else None,
                email=customer.email if customer else None,
                embedded=embedded,
            ),
        ),
    )


def _tier_reward(
    body: dict[str, ExactJson], own_id: str | None, customer: Customer | None, fields: Fields
) -> tuple[tuple[str, Redemption], ...]:
    nested = body.get(fields["tierReward.object"])
    reward = nested if isinstance(nested, dict) else body
    reward_type = exact.text(reward.get(fields["tierReward.type"])) or exact.text(
        reward.get(fields["tierReward.otherType"])
    )
    return _with_value(
        "tierReward",
        _code(reward.get(fields["tierReward.code"])),
        exact.text(reward.get(fields["tierReward.id"])) or own_id,
        reward_type,
        exact.text(reward.get("ruleId")) or exact.text(body.get("ruleId")) or "tier-entry",
        reward.get(fields["tierReward.amount"]),
        customer,
    )


def _referral(
    body: dict[str, ExactJson], customer: Customer | None, friend: Customer | None
) -> tuple[tuple[str, Redemption], ...]:
    found: tuple[tuple[str, Redemption], ...] = ()
    for place, rule_id, person in (
        ("customerReward", "referral-customer", customer),
        ("friendReward", "referral-friend", friend),
    ):
        reward = body.get(place)
        if isinstance(reward, dict):
            kind = exact.text(reward.get("discountType")) or exact.text(reward.get("rewardType"))
            code, reward_id = _code(reward.get("couponCode")), exact.text(reward.get("id"))
            found += _with_value(place, code, reward_id, kind, rule_id, reward.get("discountAmount"), person)
    return found


def _with_value(
    place: str,
    code: str | None,
    reward_id: str | None,
    reward_type: str | None,
    rule_id: str,
    amount: ExactJson,
    person: Customer | None,
) -> tuple[tuple[str, Redemption], ...]:
    """A reward whose value stands in the body itself."""
    if code is None or is_donation(reward_type):
        return ()
    told = PlatformRule(None, reward_kind(reward_type), exact.number(amount), tells_value=True)
    redemption = Redemption(
        code,
        reward_id,
        reward_type,
        rule_id,
        customer_id=person.external_id if person else None,
        email=person.email if person else None,
        embedded=told,
    )
    return ((place, redemption),)
