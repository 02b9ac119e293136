"""The operator's reward rules: what the Platform's redeem rules are worth. Every change is a version; none is lost.

The functions work on the caller's connection, so that a change, its audit line and the wake-up of what waits for it
(`platform.rewards.rule_key`) can share a commit. `RewardRules` is the reading half, for the handlers.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import advisory_lock
from platform_relay.core.models import RewardRule
from platform_relay.platform.rules import OperatorRule, RewardRuleDefinition

_ADD: Final = text("""
INSERT INTO reward_rule (id, version, definition, created_at, created_by)
SELECT :id, coalesce(max(version), 0) + 1, CAST(:definition AS jsonb), now(), :actor FROM reward_rule WHERE id = :id
ON CONFLICT DO NOTHING
RETURNING version
""")
_LOCK: Final = advisory_lock("'reward_rule:' || :id")
_NEWEST: Final = (
    select(RewardRule.__table__).order_by(RewardRule.id, RewardRule.version.desc()).ext(distinct_on(RewardRule.id))
)


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of a rule, with who made it and when. `definition` None: deleted with this version."""

    id: str
    version: int
    definition: RewardRuleDefinition | None
    created_at: datetime
    created_by: str


async def put(connection: AsyncConnection, rule_id: str, definition: RewardRuleDefinition, actor: str) -> int:
    """Make `definition` the newest version; gives its number, from 1. What it leaves at its default is left out: the
    release before refuses a field that it does not know."""
    return await _add(connection, rule_id, definition.model_dump_json(exclude_defaults=True), actor)


async def delete(connection: AsyncConnection, rule_id: str, actor: str) -> int | None:
    """End the rule with a version of its own; gives its number, None when there is no such rule (any more)."""
    await connection.execute(_LOCK, {"id": rule_id})
    if await get(connection, rule_id) is None:
        return None
    return await _add(connection, rule_id, None, actor)


async def get(connection: AsyncConnection, rule_id: str) -> RuleVersion | None:
    """The newest version; None when there is none, or the rule was deleted."""
    row = (await connection.execute(_NEWEST.where(RewardRule.id == rule_id))).mappings().one_or_none()
    return _version(row) if row is not None and row["definition"] is not None else None


async def listing(connection: AsyncConnection) -> list[RuleVersion]:
    """The newest version of every rule that is not deleted, by id."""
    rows = await connection.execute(_NEWEST)
    return [_version(row) for row in rows.mappings() if row["definition"] is not None]


async def history(connection: AsyncConnection, rule_id: str) -> list[RuleVersion]:
    """Every version, newest first."""
    statement = select(RewardRule.__table__).where(RewardRule.id == rule_id).order_by(RewardRule.version.desc())
    return [_version(row) for row in (await connection.execute(statement)).mappings()]


class RewardRules:
    """What the handlers read."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def current(self, rule_id: str) -> OperatorRule | None:
        """The newest version of a rule; None when there is none."""
        async with self._engine.connect() as connection:
            found = await get(connection, rule_id)
        return OperatorRule(rule_id, found.version, found.definition) if found and found.definition else None

    async def versions(self, rule_id: str, moment: datetime) -> tuple[OperatorRule | None, OperatorRule | None]:
        """A rule as it was at `moment`, and as it is now; None where there was or is none."""
        newest = _NEWEST.where(RewardRule.id == rule_id)
        async with self._engine.connect() as connection:
            then = (await connection.execute(newest.where(RewardRule.created_at <= moment))).mappings().one_or_none()
            now = (await connection.execute(newest)).mappings().one_or_none()
        return _rule(then), _rule(now)


def _rule(row: RowMapping | None) -> OperatorRule | None:
    found = None if row is None else _version(row)
    return OperatorRule(found.id, found.version, found.definition) if found and found.definition else None


async def _add(connection: AsyncConnection, rule_id: str, definition: str | None, actor: str) -> int:
    await connection.execute(_LOCK, {"id": rule_id})
    parameters = {"id": rule_id, "definition": definition, "actor": actor}
    return int((await connection.execute(_ADD, parameters)).scalar_one())


def _version(row: RowMapping) -> RuleVersion:
    told = row["definition"]
    definition = None if told is None else RewardRuleDefinition.model_validate(told)
    return RuleVersion(row["id"], row["version"], definition, row["created_at"], row["created_by"])
