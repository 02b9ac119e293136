"""The operator's rules: versions, deletion, two writers at once."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.coupons import reward_rules
from platform_relay.coupons.reward_rules import RewardRuleDefinition, RewardRules

FIVE = RewardRuleDefinition.model_validate({"kind": "fixed_amount", "value": "5.00", "expires_after": "P90D"})
SIX = RewardRuleDefinition.model_validate({"kind": "fixed_amount", "value": "6.00"})


async def test_every_change_is_a_version_and_the_newest_counts(engine: AsyncEngine) -> None:
    rules = RewardRules(engine)
    async with engine.begin() as connection:
        assert await reward_rules.get(connection, "r1") is None
        assert (await reward_rules.put(connection, "r1", FIVE, "ann")).version == 1
        assert (await reward_rules.put(connection, "r1", SIX, "bob")).version == 2
        assert (await reward_rules.put(connection, "r2", FIVE, "ann")).version == 1
    _, current = await rules.versions("r1", datetime.now(UTC))
    assert current is not None
    assert (current.version, current.definition) == (2, SIX)
    async with engine.begin() as connection:
        assert [(rule.id, rule.version) for rule in await reward_rules.listing(connection)] == [("r1", 2), ("r2", 1)]
        deleted = await reward_rules.delete(connection, "r1", "ann")
        assert deleted is not None
        assert (deleted.version, deleted.definition) == (3, None)
        assert await reward_rules.delete(connection, "r1", "ann") is None
        assert await reward_rules.delete(connection, "never", "ann") is None
        assert [rule.id for rule in await reward_rules.listing(connection)] == ["r2"]
        versions = await reward_rules.history(connection, "r1")
    assert [(rule.version, rule.created_by, rule.definition) for rule in versions] == [
        (3, "ann", None),
        (2, "bob", SIX),
        (1, "ann", FIVE),
    ]
    assert (await rules.versions("r1", datetime.now(UTC)))[1] is None
    async with engine.begin() as connection:
        assert (await reward_rules.put(connection, "r1", FIVE, "ann")).version == 4


async def test_a_rule_is_stored_without_what_the_release_before_does_not_know(engine: AsyncEngine) -> None:
    """It refuses fields that it does not know, and reads every rule for a while: only what says something is written."""
    of_one = SIX.model_copy(update={"variant_ids": ("43-red",), "active": False})
    async with engine.begin() as connection:
        for rule_id, definition in (("r1", FIVE), ("r2", of_one)):
            await reward_rules.put(connection, rule_id, definition, "ann")
        rows = await connection.execute(text("SELECT definition FROM reward_rule ORDER BY id"))
        assert [set(row.definition) for row in rows] == [
            {"kind", "value", "expires_after"}, {"kind", "value", "variant_ids", "active"},
        ]  # fmt: skip
        assert [rule.definition for rule in await reward_rules.listing(connection)] == [FIVE, of_one]


async def test_two_writers_at_once_make_two_versions(engine: AsyncEngine) -> None:
    async def write() -> int:
        async with engine.begin() as connection:
            return (await reward_rules.put(connection, "r1", FIVE, "ann")).version

    assert sorted(await asyncio.gather(*(write() for _ in range(5)))) == [1, 2, 3, 4, 5]
