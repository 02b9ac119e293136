"""The operator's reward rules: what a redeem rule of the Platform is worth.

Every change adds a version, and no version is ever removed. `RewardRules` reads rules for handlers. `RewardRuleActions`
changes them for the API, the console and the CLI, writes the audit and wakes the redemptions that wait for the rule. The
functions work on the caller's connection.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy import RowMapping, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.database import advisory_lock
from platform_relay.core.field_rules import CURRENCY
from platform_relay.core.models import RewardRule
from platform_relay.core.plain_numbers import PLAIN
from platform_relay.inbox.events import Id, Money, Text
from platform_relay.jobs.actions import OperatorActions
from platform_relay.platform.rules import NEEDS_VALUE, RewardKind

_ADD: Final = text("""
INSERT INTO reward_rule (id, version, definition, created_at, created_by)
SELECT :id, coalesce(max(version), 0) + 1, CAST(:definition AS jsonb), now(), :actor FROM reward_rule WHERE id = :id
ON CONFLICT DO NOTHING
RETURNING id, version, definition, created_at, created_by
""")
_LOCK: Final = advisory_lock("'reward_rule:' || :id")
_NEWEST: Final = (
    select(RewardRule.__table__).order_by(RewardRule.id, RewardRule.version.desc()).ext(distinct_on(RewardRule.id))
)


class RewardRuleDefinition(BaseModel):
    """The operator's definition of what a redeem rule is worth. `value` is an amount of `currency`, or a percentage.

    With `increments` the value is `points * value / point_cost`, for `min_points` to `max_points`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: RewardKind = Field(description="The kind of coupon.")
    value: Money | None = Field(
        None, description="Amount or percentage. Leave it out for free shipping and free products."
    )
    currency: Annotated[str, StringConstraints(pattern=CURRENCY)] | None = Field(
        None, description="ISO 4217. Optional check: redemptions are held when the store has another currency."
    )
    increments: bool = Field(False, description="Whether the value grows with the redeemed points.")
    point_cost: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        None, description="With `increments`: the number of points that `value` costs."
    )
    min_points: Annotated[int, Field(ge=0), PLAIN] | None = Field(
        None, description="With `increments`: the minimum number of points of one redemption."
    )
    max_points: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        None, description="With `increments`: the maximum number of points of one redemption."
    )
    product_ids: Annotated[tuple[Id, ...], Field(fail_fast=True)] = Field(
        (), description="The store's ids of the products that the coupon is valid for. Empty: all products."
    )
    variant_ids: Annotated[tuple[Id, ...], Field(fail_fast=True)] = Field(
        (),
        description="The store's ids of the variants that the coupon is valid for, instead of `product_ids`. Empty: all.",
    )
    minimum_spend: Money | None = Field(None, description="The minimum value of an order that uses the coupon.")
    expires_after: timedelta | None = Field(
        None, description="How long the coupon is valid, e.g. `P90D`. Empty: COUPONS__EXPIRES_AFTER."
    )
    title: Text | None = None
    active: bool = Field(True, description="False: redemptions of this rule are held.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in NEEDS_VALUE and (self.value is None or self.value <= 0):
            raise ValueError(f"value: a {self.kind} coupon needs a value above 0")
        if self.kind not in NEEDS_VALUE and (self.value is not None or self.increments):
            raise ValueError(f"value: a {self.kind} coupon has no value and no increments")
        if self.kind is RewardKind.PERCENTAGE and self.value is not None and self.value > 100:
            raise ValueError("value: a percentage is at most 100")
        if self.kind is RewardKind.FREE_PRODUCT and not (self.product_ids or self.variant_ids):
            raise ValueError("product_ids: name the free product here, or its variants in variant_ids")
        if self.product_ids and self.variant_ids:
            raise ValueError("variant_ids: give either variant_ids or product_ids, since a variant names its product")
        if self.increments and self.point_cost is None:
            raise ValueError("point_cost: with increments, give the number of points that `value` costs")
        if self.min_points is not None and self.max_points is not None and self.min_points > self.max_points:
            raise ValueError("min_points: is above max_points")
        if self.minimum_spend is not None and self.minimum_spend < 0:
            raise ValueError("minimum_spend: is below 0")
        if self.expires_after is not None and self.expires_after <= timedelta(0):
            raise ValueError("expires_after: must be above 0")
        return self


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """A version of the operator's rule for one of the Platform's rules."""

    id: str
    version: int
    definition: RewardRuleDefinition


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of a rule, and who created it and when. `definition` None: this version deleted the rule."""

    id: str
    version: int
    definition: RewardRuleDefinition | None
    created_at: datetime
    created_by: str


def rule_key(rule_id: str | None) -> str:
    """The key (`Wait.key`) that a redemption waits for until a rule gives it a value."""
    return f"reward-rule:{rule_id or 'none'}"


async def put(connection: AsyncConnection, rule_id: str, definition: RewardRuleDefinition, actor: str) -> RuleVersion:
    """Store `definition` as the newest version. Fields that have their default are left out, because the release before
    rejects fields that it does not know."""
    return await _add(connection, rule_id, definition.model_dump_json(exclude_defaults=True), actor)


async def delete(connection: AsyncConnection, rule_id: str, actor: str) -> RuleVersion | None:
    """Add a version that deletes the rule; None when there is no such rule."""
    await connection.execute(_LOCK, {"id": rule_id})
    if await get(connection, rule_id) is None:
        return None
    return await _add(connection, rule_id, None, actor)


async def get(connection: AsyncConnection, rule_id: str) -> RuleVersion | None:
    """The newest version; None when there is none, or the rule was deleted."""
    row = (await connection.execute(_NEWEST.where(RewardRule.id == rule_id))).mappings().one_or_none()
    return _version(row) if row is not None and row["definition"] is not None else None


async def listing(
    connection: AsyncConnection, *, after: str | None = None, limit: int | None = None
) -> list[RuleVersion]:
    """The newest version of every rule that is not deleted, by id: at most `limit` rules whose id comes after `after`."""
    newest = _NEWEST.where(RewardRule.id > after) if after is not None else _NEWEST
    rules = newest.subquery()
    present = select(rules).where(rules.c.definition.is_not(None)).order_by(rules.c.id).limit(limit)
    return [_version(row) for row in (await connection.execute(present)).mappings()]


async def history(connection: AsyncConnection, rule_id: str) -> list[RuleVersion]:
    """Every version, newest first."""
    statement = select(RewardRule.__table__).where(RewardRule.id == rule_id).order_by(RewardRule.version.desc())
    return [_version(row) for row in (await connection.execute(statement)).mappings()]


class RewardRules:
    """Reads rules for the handlers."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def versions(self, rule_id: str, moment: datetime) -> tuple[OperatorRule | None, OperatorRule | None]:
        """The rule at `moment`, and the rule now. None where there is no rule."""
        newest = _NEWEST.where(RewardRule.id == rule_id)
        async with self._engine.connect() as connection:
            then = (await connection.execute(newest.where(RewardRule.created_at <= moment))).mappings().one_or_none()
            now = (await connection.execute(newest)).mappings().one_or_none()
        return _operator_rule(then), _operator_rule(now)


class RewardRuleActions:
    """What an operator can do to rules. Every action writes to the audit."""

    def __init__(self, engine: AsyncEngine, actions: OperatorActions) -> None:
        self._engine = engine
        self._actions = actions

    async def put(self, rule_id: str, definition: RewardRuleDefinition, by: str) -> tuple[RuleVersion, int]:
        """Store a new version; returns it, and how many waiting redemptions continue."""
        async with self._engine.begin() as connection:
            rule = await put(connection, rule_id, definition, by)
            await audit(connection, by, "reward_rule.put", rule_id, {"version": rule.version})
        return rule, await self._actions.wake([rule_key(rule_id)])

    async def delete(self, rule_id: str, by: str) -> bool:
        """Delete a rule; its versions are kept. False when there is no such rule."""
        async with self._engine.begin() as connection:
            rule = await delete(connection, rule_id, by)
            if rule is not None:
                await audit(connection, by, "reward_rule.delete", rule_id, {"version": rule.version})
        return rule is not None


async def _add(connection: AsyncConnection, rule_id: str, definition: str | None, actor: str) -> RuleVersion:
    await connection.execute(_LOCK, {"id": rule_id})
    parameters = {"id": rule_id, "definition": definition, "actor": actor}
    return _version((await connection.execute(_ADD, parameters)).mappings().one())


def _version(row: RowMapping) -> RuleVersion:
    stored = row["definition"]
    definition = None if stored is None else RewardRuleDefinition.model_validate(stored)
    return RuleVersion(row["id"], row["version"], definition, row["created_at"], row["created_by"])


def _operator_rule(row: RowMapping | None) -> OperatorRule | None:
    rule = None if row is None else _version(row)
    return OperatorRule(rule.id, rule.version, rule.definition) if rule and rule.definition else None
