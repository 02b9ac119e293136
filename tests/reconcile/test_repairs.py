"""Repairs: what the preview counts is what is repaired, once, whoever repairs it and how often."""

import asyncio
import random
from collections import Counter
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import create_engine
from platform_relay.core.errors import WrongState
from platform_relay.core.http import HttpClients
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import OperatorActions
from platform_relay.queue.states import dead
from platform_relay.reconcile.coverage import Coverage
from platform_relay.reconcile.difference_list import Selection, group_differences, list_differences
from platform_relay.reconcile.differences import CAUSES, Cause, Difference
from platform_relay.reconcile.repair_plan import NO_LONGER_DEAD, NO_LOOK_UP
from platform_relay.reconcile.repairs import CHUNK, Repairer
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.stores import adapter_class
from platform_relay.trial.mode import OperatingMode
from simulators.process import Simulator
from tests.database.engine_room import accept, claim, order, rows, run, settle

FETCHES = "SELECT count(*) FROM job WHERE kind = 'fetch_entity'"


def repairer(engine: AsyncEngine, store: object) -> Repairer:
    inbox = Inbox(engine, on_commit=lambda _: None)
    return Repairer(engine, inbox, OperatorActions(engine), store, "woocommerce", OperatingMode(engine, "live"))


@pytest.fixture
async def store(shop: Simulator) -> object:
    return adapter_class("woocommerce").from_environment(HttpClients(5.0))


async def ended(engine: AsyncEngine, *differences: Difference) -> UUID:
    """A reconciliation that found these."""
    runs = Reconciliations(engine)
    identifier = await runs.request("ada", None)
    assert await runs.claim(identifier) is not None
    await runs.add_differences(identifier, differences)
    await runs.finish(identifier, {}, [], None, Coverage())
    return identifier


async def a_dead_job(engine: AsyncEngine, number: str) -> UUID:
    await accept(engine, order(number))
    reason = because(ReasonCode.REJECTED_BY_DESTINATION, destination="the Platform", status=422, response="no")
    await settle(engine, await claim(engine), dead("rejected", reason), "reject")
    [(job,)] = await rows(engine, "SELECT id FROM job WHERE lane = :lane", lane=f"order:{number}")
    return UUID(str(job))


async def test_what_the_preview_counts_is_repaired(engine: AsyncEngine, store: object) -> None:
    chance = random.Random(20260511)
    jobs = [await a_dead_job(engine, f"x{number}") for number in range(5)]
    causes: tuple[Cause, ...] = ("never_sent", "stale", "extra", "lost_by_webhook")
    kinds = list(EventKind)
    differences = [
        Difference(chance.choice(kinds), str(number), chance.choice(causes), "x") for number in range(CHUNK + 200)
    ]
    differences += [Difference(EventKind.ORDER, f"x{n}", "rejected", "x", job_id=job) for n, job in enumerate(jobs)]
    identifier = await ended(engine, *differences)
    work = repairer(engine, store)
    selections = [Selection(chance.choice(CAUSES), chance.choice(list(EventKind))) for _ in range(6)]
    selections += [Selection(kind=EventKind.ORDER, entity_id="x1"), Selection(cause="stale"), Selection()]
    for selection in selections:
        preview = await work.preview(identifier, selection)
        result = await work.repair(identifier, "ada", selection)
        assert preview is not None
        assert result is not None
        assert (sum(result.repaired.values()), result.left) == (
            preview.repairable,
            preview.differences - preview.repairable,
        )
    groups = await group_differences(engine, identifier)
    assert sum(group.differences for group in groups) == len(differences)
    assert sum(group.open for group in groups) == 0
    read = sum(difference.cause not in ("extra", "rejected") for difference in differences)
    assert await rows(engine, FETCHES) == [(read,)]


async def test_two_operators_repair_each_difference_once(engine: AsyncEngine, store: object) -> None:
    job = await a_dead_job(engine, "77")
    differences = [Difference(EventKind.CUSTOMER, str(number), "stale", "x") for number in range(300)]
    identifier = await ended(engine, *differences, Difference(EventKind.ORDER, "77", "rejected", "x", job_id=job))
    results = await asyncio.gather(*(repairer(engine, store).repair(identifier, by) for by in ("ada", "ben", "ada")))
    assert sum(sum(result.repaired.values()) for result in results if result) == 301
    assert await rows(engine, FETCHES) == [(300,)]
    assert await rows(engine, "SELECT count(*) FROM audit WHERE action = 'job.retry'") == [(1,)]
    await run(engine, "UPDATE job SET state = 'dead' WHERE lane = 'order:77'")
    again = await repairer(engine, store).repair(identifier, "ada")
    assert again is not None
    assert (again.repaired, again.left) == ({}, 0)
    assert await rows(engine, "SELECT state FROM job WHERE lane = 'order:77'") == [("dead",)]


async def test_many_clicks_do_not_take_all_connections(database_url: str, engine: AsyncEngine) -> None:
    """A repair needs further connections while the others wait for it."""
    identifier = await ended(engine, *(Difference(EventKind.ORDER, str(number), "extra", "x") for number in range(50)))
    small = create_engine(database_url, application_name="test", pool_size=3)
    try:
        work = repairer(small, None)
        chunks = await asyncio.gather(*(work.repair_chunk(identifier, "ada", Selection(), ("", "")) for _ in range(20)))
    finally:
        await small.dispose()
    assert sum(chunk.repaired.total() for chunk in chunks if chunk is not None) == 50
    assert await rows(engine, "SELECT count(*) FROM audit WHERE action = 'reconciliation.repair'") == [(1,)]


async def test_a_repair_that_was_stopped_is_continued(engine: AsyncEngine, store: object) -> None:
    """Its jobs are stored, but not yet that they are: the same differences are repaired again, and nothing twice."""
    identifier = await ended(
        engine, *(Difference(EventKind.ORDER, str(number), "never_sent", "x") for number in range(20))
    )
    work = repairer(engine, store)
    await work.repair(identifier, "ada")
    await run(engine, "UPDATE difference SET repair = NULL, repair_message_id = NULL")
    result = await work.repair(identifier, "ada")
    assert result is not None
    assert result.repaired == {"never_sent": 20}
    assert await rows(engine, FETCHES) == [(20,)]


async def test_what_cannot_be_repaired_stays_open_with_its_reason(engine: AsyncEngine) -> None:
    job = await a_dead_job(engine, "78")
    identifier = await ended(
        engine,
        Difference(EventKind.PRODUCT, "7", "never_sent", "x"),
        Difference(EventKind.ORDER, "78", "rejected", "x", job_id=job),
    )
    work = repairer(engine, store=None)
    preview = await work.preview(identifier)
    assert preview is not None
    assert [(step.action, step.calls) for step in preview.steps] == [
        ("none", []), ("retry", ["POST or PATCH order to the Platform"]),
    ]  # fmt: skip
    assert preview.steps[0].text == NO_LOOK_UP
    await run(engine, "UPDATE job SET state = 'dropped' WHERE lane = 'order:78'")
    preview = await work.preview(identifier)
    assert preview is not None
    assert preview.steps[1].text == NO_LONGER_DEAD
    assert preview.calls == []
    result = await work.repair(identifier, "ada")
    assert result is not None
    assert (result.repaired, result.left) == ({"rejected": 1}, 1)
    page = await list_differences(engine, identifier, repaired=False)
    assert [item.entity_id for item in page.items] == ["7"]
    assert await rows(engine, "SELECT count(*) FROM alert WHERE resolved_at IS NULL") == [(1,)]


async def test_nothing_is_repaired_before_the_end_and_a_cancelled_one_keeps_what_it_found(
    engine: AsyncEngine, store: object
) -> None:
    runs = Reconciliations(engine)
    identifier = await runs.request("ada", None, kind=EventKind.ORDER)
    claimed = await runs.claim(identifier)
    assert claimed is not None
    assert claimed.kind is EventKind.ORDER
    await runs.add_differences(identifier, [Difference(EventKind.ORDER, "1", "never_sent", "x", fields=("email",))])
    assert await runs.heartbeat(identifier, {"orders": 1})
    work = repairer(engine, store)
    with pytest.raises(WrongState, match="running"):
        await work.repair(identifier, "ada")
    assert await runs.cancel(identifier, "ben") is True
    assert not await runs.heartbeat(identifier, {"orders": 2})
    await runs.add_differences(identifier, [Difference(EventKind.ORDER, "2", "never_sent", "x")])
    view = await runs.finish(identifier, {"orders": 2}, [], None, Coverage())
    assert (view.state, view.compared, view.difference_counts) == ("cancelled", {"orders": 1}, {"never_sent": 1})
    assert await runs.cancel(identifier, "ben") is False
    result = await work.repair(identifier, "ada")
    assert result is not None
    assert result.repaired == {"never_sent": 1}
    [item] = (await list_differences(engine, identifier)).items
    assert (item.fields, item.outcome) == (["email"], "in_progress")
    acts = await rows(engine, "SELECT actor, action FROM audit ORDER BY seq")
    assert acts == [
        ("ada", "reconciliation.request"),
        ("ben", "reconciliation.cancel"),
        ("ada", "reconciliation.repair"),
    ]


async def test_what_became_of_each_repair(engine: AsyncEngine, store: object) -> None:
    identifier = await ended(
        engine, *(Difference(EventKind.ORDER, str(number), "stale", "x") for number in range(4)),
        Difference(EventKind.PRODUCT, "7", "extra", "x"),
    )  # fmt: skip
    await repairer(engine, store).repair(identifier, "ada")
    [sent] = await accept(engine, order("3"))
    await run(engine, "UPDATE job SET state = 'dead' WHERE lane = 'fetch:orders:0'")
    await run(engine, "UPDATE job SET state = 'skipped' WHERE lane = 'fetch:orders:1'")
    await run(
        engine,
        "UPDATE job SET state = 'done', result = jsonb_build_object('message', CAST(:id AS text)) WHERE lane = 'fetch:orders:3'",
        id=str(sent.id),
    )
    outcomes = Counter(item.outcome for item in (await list_differences(engine, identifier)).items)
    assert outcomes == {"failed": 1, "nothing_sent": 1, "in_progress": 2, "noted": 1}
    await run(engine, "UPDATE job SET state = 'done' WHERE lane = 'order:3'")
    outcomes = Counter(item.outcome for item in (await list_differences(engine, identifier)).items)
    assert outcomes == {"failed": 1, "nothing_sent": 1, "in_progress": 1, "noted": 1, "delivered": 1}
