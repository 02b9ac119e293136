"""What a redeem rule says: as the Platform tells it (leniently read), and as the operator defines it (strictly)."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from platform_relay.inbox.messages import Id, Money, Text
from platform_relay.platform import exact
from platform_relay.platform.exact import ExactJson
from platform_relay.platform.fields import Fields


class RewardKind(StrEnum):
    """What a reward gives; the words are those of `stores.base.CouponKind`."""

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
"""The Platform's `rewardType`; each exists with `subscription` and `pos` before it too."""


def reward_kind(reward_type: str | None) -> RewardKind | None:
    """The kind of coupon of a `rewardType` (or `templateName`); None when it is not one we know."""
    return KINDS.get(_word(reward_type))


def is_donation(reward_type: str | None) -> bool:
    """Points given away: no coupon."""
    return _word(reward_type) == "pointdonation"


def _word(reward_type: str | None) -> str:
    word = "".join(char for char in (reward_type or "").lower() if char.isalnum())
    return word.removeprefix("subscription").removeprefix("pos")


@dataclass(frozen=True, slots=True)
class PlatformRule:
    """A redeem rule as the Platform tells it. `tells_value`: it has the field, though it may be null.

    `increments` None: not told. `point_cost` and the limits are in points. Variants narrow the product: where the rule
    names both, `variant_ids` alone are told.
    """

    id: str | None
    kind: RewardKind | None
    value: Decimal | None
    tells_value: bool
    point_cost: Decimal | None = None
    increments: bool | None = None
    min_points: Decimal | None = None
    max_points: Decimal | None = None
    minimum_spend: Decimal | None = None
    product_ids: tuple[str, ...] = ()
    variant_ids: tuple[str, ...] = ()
    unnamed: str | None = None
    """The field (`product`, `variants`) with something in it that has no id of the store; None: all is understood."""
    active: bool = True
    title: str | None = None


def platform_rule(raw: ExactJson, fields: Fields) -> PlatformRule | None:
    """A rule of the Launcher's list, or a webhook's `redeemRule`; None when it is no object.

    Members of a wrong type are as absent.
    """
    if not isinstance(raw, dict):
        return None
    redeem_type = exact.text(raw.get("redeemType"))
    status = exact.text(raw.get("status"))
    variants, strange_variants = _ids(raw.get("variants"), fields["ruleVariant.id"])
    products, strange_products = _ids(None if variants else raw.get("product"), fields["rule.productId"])
    return PlatformRule(
        id=exact.text(raw.get("id")),
        kind=reward_kind(exact.text(raw.get("templateName"))),
        value=exact.number(raw.get("discountValue")),
        tells_value="discountValue" in raw,
        point_cost=exact.number(raw.get("pointCost")),
        increments=None if redeem_type is None else redeem_type.lower() == fields["rule.increments"].lower(),
        min_points=exact.number(raw.get("minRedeemablePoints")),
        max_points=exact.number(raw.get("maxRedeemablePoints")),
        minimum_spend=exact.number(raw.get("minSpendAmount")),
        product_ids=products,
        variant_ids=variants,
        unnamed="variants" if strange_variants else "product" if strange_products else None,
        active=status is None or status.lower() == "active",
        title=exact.text(raw.get("customTitle")) or exact.text(raw.get("title")),
    )


def _ids(told: ExactJson, member: str) -> tuple[tuple[str, ...], bool]:
    """The ids in one object or a list of them, and whether there was anything else. Nothing (null, "", {}) is none."""
    rows = told if isinstance(told, list) else [told] if told else []
    read = [exact.text(exact.member(row, member)) for row in rows]
    return tuple(dict.fromkeys(each for each in read if each)), None in read


class RewardRuleDefinition(BaseModel):
    """What a redeem rule is worth by the operator's word. `value` is an amount of `currency`, or a percentage.

    With `increments` the value is `points * value / point_cost`, for `min_points` to `max_points`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: RewardKind = Field(description="What the coupon gives.")
    value: Money | None = Field(None, description="Amount or percentage; left out for free shipping and free products.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = Field(
        None, description="ISO 4217; only needed as a check, since a coupon is in the store's currency."
    )
    increments: bool = Field(False, description="The value grows with the points that were redeemed.")
    point_cost: Annotated[int, Field(ge=1)] | None = Field(None, description="Increments: points that `value` costs.")
    min_points: Annotated[int, Field(ge=0)] | None = Field(None, description="Fewest points of one redemption.")
    max_points: Annotated[int, Field(ge=1)] | None = Field(None, description="Most points of one redemption.")
    product_ids: Annotated[tuple[Id, ...], Field(fail_fast=True)] = Field(
        (), description="The store's products that the coupon is for; empty: all."
    )
    variant_ids: Annotated[tuple[Id, ...], Field(fail_fast=True)] = Field(
        (), description="The store's variants that the coupon is for, in place of `product_ids`; empty: all."
    )
    minimum_spend: Money | None = Field(None, description="The order's value from which the coupon counts.")
    expires_after: timedelta | None = Field(
        None, description="How long the coupon is valid, e.g. `P90D`; empty: COUPONS__EXPIRES_AFTER."
    )
    title: Text | None = None
    active: bool = Field(True, description="False: redemptions by this rule are held.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.kind in NEEDS_VALUE and (self.value is None or self.value <= 0):
            raise ValueError(f"value: a {self.kind} coupon needs a value above 0")
        if self.kind not in NEEDS_VALUE and (self.value is not None or self.increments):
            raise ValueError(f"value: a {self.kind} coupon has none, and no increments")
        if self.kind is RewardKind.PERCENTAGE and self.value is not None and self.value > 100:
            raise ValueError("value: a percentage is at most 100")
        if self.kind is RewardKind.FREE_PRODUCT and not (self.product_ids or self.variant_ids):
            raise ValueError("product_ids: a free product has to be named, or its variants (variant_ids)")
        if self.product_ids and self.variant_ids:
            raise ValueError("variant_ids: variants are of their products already; leave product_ids out")
        if self.increments and self.point_cost is None:
            raise ValueError("point_cost: increments need the points that `value` costs")
        if self.min_points is not None and self.max_points is not None and self.min_points > self.max_points:
            raise ValueError("min_points: is above max_points")
        if self.minimum_spend is not None and self.minimum_spend < 0:
            raise ValueError("minimum_spend: is below 0")
        if self.expires_after is not None and self.expires_after <= timedelta(0):
            raise ValueError("expires_after: has to be above 0")
        return self


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """A version of the operator's rule for one of the Platform's rules."""

    id: str
    version: int
    definition: RewardRuleDefinition
