"""Dead and held jobs are grouped by their cause, whatever ids and numbers differ from job to job."""

from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.jobs.failure_groups import (
    FailureGroup,
    FailureGroupCount,
    State,
    count_group,
    list_failure_groups,
    list_job_ids,
)
from platform_relay.queue.states import Ending, Park, dead
from tests.database.engine_room import accept, claim, order, settle


def rejected(response: str, status: int = 422, **more: str) -> Reason:
    return because(
        ReasonCode.REJECTED_BY_DESTINATION, destination="the Platform", status=status, response=response, **more
    )


async def give_up(engine: AsyncEngine, *reasons: Reason, disposition: Ending = "rejected") -> None:
    """One dead order for each reason."""
    for number, reason in enumerate(reasons):
        await accept(engine, order(str(number)))
        await settle(engine, await claim(engine), dead(disposition, reason), "reject")


async def groups(
    engine: AsyncEngine, state: State = "dead", code: ReasonCode | None = None
) -> Sequence[FailureGroupCount]:
    async with engine.connect() as connection:
        found, more = await list_failure_groups(connection, state, code)
    assert not more
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rejected("order 1001 has no customer 42"), rejected("order 1002 has no customer 43")),
        (
            rejected("no such product: 0197c1f2-aaaa-7bbb-8ccc-1234567890ab"),
            rejected("no such product: 0197c1f3-dddd-7eee-9fff-0987654321ba"),
        ),
        (rejected("the code is taken", code="SPRING"), rejected("the code is taken", code="TEAPOT")),
        (rejected("busy").also(attempts=3), rejected("busy").also(attempts=41)),
        (
            because(ReasonCode.COUPON_DIFFERS, differences=[{"field": "value", "actual": "0.00", "expected": "5.00"}]),
            because(ReasonCode.COUPON_DIFFERS, differences=[{"field": "value", "actual": "1.00", "expected": "7.50"}]),
        ),
    ],
)
async def test_ids_and_numbers_make_no_other_cause(engine: AsyncEngine, one: Reason, other: Reason) -> None:
    await give_up(engine, one, other)
    [group] = await groups(engine)
    assert (group.jobs, group.group.reason_code) == (2, one.code)
    assert group.example in (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rejected("currency CAD is not supported"), rejected("currency AED is not supported")),
        (rejected("too large", 413), rejected("too large", 422)),
        (
            because(ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY"),
            because(ReasonCode.SETTING_MISSING, setting="STORE__ADAPTER"),
        ),
        (because(ReasonCode.SERVER_ERROR, status=500), because(ReasonCode.CONNECTION_LOST)),
        (
            because(ReasonCode.COUPON_DIFFERS, differences=[{"field": "value", "actual": "0", "expected": "5"}]),
            because(ReasonCode.COUPON_DIFFERS, differences=[{"field": "currency", "actual": "USD", "expected": "EUR"}]),
        ),
    ],
)
async def test_other_facts_are_other_causes(engine: AsyncEngine, one: Reason, other: Reason) -> None:
    await give_up(engine, one, other)
    examples = [group.example for group in await groups(engine)]
    assert len(examples) == 2
    assert one in examples
    assert other in examples


async def test_the_entitys_own_id_makes_no_other_cause(engine: AsyncEngine) -> None:
    for name in ("red-one", "blue-one"):
        await accept(engine, order(name))
        await settle(engine, await claim(engine), dead("rejected", rejected(f"order {name} is odd")), "reject")
    [group] = await groups(engine)
    assert group.jobs == 2


async def test_groups_are_listed_by_code_and_opened_by_their_name(engine: AsyncEngine) -> None:
    await give_up(engine, rejected("no"), rejected("no"))
    await give_up(engine, because(ReasonCode.SERVER_ERROR, status=503), disposition="exhausted")
    assert [group.jobs for group in await groups(engine)] == [2, 1]
    [one] = await groups(engine, code=ReasonCode.SERVER_ERROR)
    assert (one.group.disposition, one.group.waits_for) == ("exhausted", "")
    async with engine.connect() as connection:
        count, moment = await count_group(connection, one.group)
        ids = await list_job_ids(connection, one.group, moment, None, 10)
        nothing = FailureGroup("dead", "platform", "forward_order", "exhausted", "", "server_error", "another")
        assert (count, len(ids), await list_job_ids(connection, nothing, None, None, 10)) == (1, 1, [])


async def test_held_jobs_are_grouped_by_what_they_wait_for(engine: AsyncEngine) -> None:
    for number, rule in enumerate(("7", "7", "8")):
        await accept(engine, order(str(number)))
        park = Park(f"reward-rule:{rule}", because(ReasonCode.NO_VALUE, rule=rule), False, 600.0)
        await settle(engine, await claim(engine), park, "wait")
    held = await groups(engine, "held")
    assert [(group.group.waits_for, group.jobs) for group in held] == [("reward-rule:7", 2), ("reward-rule:8", 1)]
    assert {group.group.disposition for group in held} == {"parked"}
