"""Redeem rules, as the Platform gives them: read leniently."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.platform.fields import Fields


class RewardKind(StrEnum):
    """The kind of coupon that a reward gives; the values are those of `stores.base.CouponKind`."""

    FIXED_AMOUNT = "fixed_amount"
    PERCENTAGE = "percentage"
    FREE_SHIPPING = "free_shipping"
    FREE_PRODUCT = "free_product"
    GIFT_CARD = "gift_card"


AMOUNTS: Final = (RewardKind.FIXED_AMOUNT, RewardKind.GIFT_CARD)
NEEDS_VALUE: Final = (*AMOUNTS, RewardKind.PERCENTAGE)

KINDS: Final = {
    "amountdiscount": RewardKind.FIXED_AMOUNT,
    "fixedamountdiscount": RewardKind.FIXED_AMOUNT,
    "percentageoff": RewardKind.PERCENTAGE,
    "freeshipping": RewardKind.FREE_SHIPPING,
    "productdiscount": RewardKind.FREE_PRODUCT,
    "giftcard": RewardKind.GIFT_CARD,
}
"""The Platform's `rewardType`. Each also exists with the prefix `subscription` or `pos`."""


def reward_kind(reward_type: str | None) -> RewardKind | None:
    """The kind of coupon of a `rewardType` (or `templateName`); None when it is unknown."""
    return KINDS.get(_normalized(reward_type))


def is_donation(reward_type: str | None) -> bool:
    """Whether the customer donated the points, which makes no coupon."""
    return _normalized(reward_type) == "pointdonation"


def _normalized(reward_type: str | None) -> str:
    word = "".join(char for char in (reward_type or "").lower() if char.isalnum())
    return word.removeprefix("subscription").removeprefix("pos")


@dataclass(frozen=True, slots=True)
class PlatformRule:
    """A redeem rule of the Platform. `has_value`: the rule has the field of the value, which may be null.

    `increments` None: unknown. `point_cost` and the limits are in points. Variants narrow down the product: where the rule
    names both, only `variant_ids` is set.
    """

    id: str | None
    kind: RewardKind | None
    value: Decimal | None
    has_value: bool
    point_cost: Decimal | None = None
    increments: bool | None = None
    min_points: Decimal | None = None
    max_points: Decimal | None = None
    minimum_spend: Decimal | None = None
    product_ids: tuple[str, ...] = ()
    variant_ids: tuple[str, ...] = ()
    unidentified: str | None = None
    """The field (`product` or `variants`) that contains an item without an id of the store; None: there is no such item."""
    active: bool = True
    title: str | None = None


def platform_rule(raw: ExactJson, fields: Fields) -> PlatformRule | None:
    """A rule from the Launcher's list, or a webhook's `redeemRule`; None when it is not a JSON object.

    Members of a wrong type are treated as absent.
    """
    if not isinstance(raw, dict):
        return None
    redeem_type = exact_json.text(raw.get("redeemType"))
    status = exact_json.text(raw.get("status"))
    variants, unidentified_variants = _ids(raw.get("variants"), fields["ruleVariant.id"])
    products, unidentified_products = _ids(None if variants else raw.get("product"), fields["rule.productId"])
    return PlatformRule(
        id=exact_json.text(raw.get("id")),
        kind=reward_kind(exact_json.text(raw.get("templateName"))),
        value=exact_json.number(raw.get("discountValue")),
        has_value="discountValue" in raw,
        point_cost=exact_json.number(raw.get("pointCost")),
        increments=None if redeem_type is None else redeem_type.lower() == fields["rule.increments"].lower(),
        min_points=exact_json.number(raw.get("minRedeemablePoints")),
        max_points=exact_json.number(raw.get("maxRedeemablePoints")),
        minimum_spend=exact_json.number(raw.get("minSpendAmount")),
        product_ids=products,
        variant_ids=variants,
        unidentified="variants" if unidentified_variants else "product" if unidentified_products else None,
        active=status is None or status.lower() == "active",
        title=exact_json.text(raw.get("customTitle")) or exact_json.text(raw.get("title")),
    )


def _ids(value: ExactJson, member: str) -> tuple[tuple[str, ...], bool]:
    """The ids in one object or in a list of objects, and whether an item has no id. Empty values (null, "", {}) are no items."""
    items = value if isinstance(value, list) else [value] if value else []
    ids = [exact_json.text(exact_json.member(item, member)) for item in items]
    return tuple(dict.fromkeys(item_id for item_id in ids if item_id)), None in ids
