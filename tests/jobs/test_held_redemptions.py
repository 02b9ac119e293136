"""A redemption for which nothing was sent to the store is never counted as unknown, whatever happened to its attempts."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Reject, Wait
from platform_relay.coupons.records import RedemptionClaim
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.jobs.queries import read_job_counts
from platform_relay.platform.rules import RewardKind
from tests.explain.scene import Scene
from tests.reasons import NO_VALUE

HELD = Wait(NO_VALUE, "reward-rule:rule-7", 3600)
VALUE = RewardValue(RewardKind.FREE_SHIPPING, None, None, "rule", "a rule", "rule-7", 1)


@pytest.fixture
def scene(engine: AsyncEngine) -> Scene:
    return Scene(engine)


async def counts(scene: Scene) -> dict[str, int]:
    """The states that have jobs. The states always add up to what was received."""
    async with scene.engine.connect() as connection:
        total = (await read_job_counts(connection)).total.model_dump()
    received: int = total.pop("received")
    assert received == sum(total.values())
    return {state: jobs for state, jobs in total.items() if jobs}


async def test_a_held_redemption_is_held(scene: Scene) -> None:
    await scene.promised()
    assert await counts(scene) == {"waiting": 1}
    await scene.run(HELD, "store")
    assert await counts(scene) == {"held": 1}


async def test_an_attempt_that_was_interrupted_before_the_store_was_called_has_sent_nothing(scene: Scene) -> None:
    await scene.promised()
    await scene.run(RuntimeError("the worker failed"), "store")
    assert await counts(scene) == {"waiting": 1}
    await scene.due()
    await scene.run(HELD, "store")
    assert await counts(scene) == {"held": 1}


async def test_a_redemption_that_an_operator_retries_has_sent_nothing(scene: Scene) -> None:
    await scene.promised()
    job = await scene.run(Reject(NO_VALUE), "store")
    assert await counts(scene) == {"dead": 1}
    await scene.actions.retry([job.id], "ada")
    assert await counts(scene) == {"waiting": 1}
    await scene.run(HELD, "store")
    assert await counts(scene) == {"held": 1}


async def test_a_redemption_that_may_have_reached_the_store_is_unknown(scene: Scene) -> None:
    receipt, redemption, _ = await scene.promised()
    await scene.coupons.admit(RedemptionClaim(redemption, receipt.id), VALUE)
    await scene.run(RuntimeError("the worker failed"), "store")
    assert await counts(scene) == {"unknown": 1}
    await scene.due()
    await scene.run(HELD, "store")
    assert await counts(scene) == {"unknown": 1}


async def test_another_claim_to_a_code_that_was_sent_has_sent_nothing(scene: Scene) -> None:
    receipt, redemption, _ = await scene.promised()
    await scene.coupons.admit(RedemptionClaim(redemption, receipt.id), VALUE)
    await scene.run(HELD, "store")
    await scene.redeemed(identifier="p-2")
    await scene.run(RuntimeError("the worker failed"), "store")
    await scene.sql("UPDATE lane SET run_at = now() WHERE waits_for IS NULL")
    await scene.run(HELD, "store")
    assert await counts(scene) == {"held": 2}
