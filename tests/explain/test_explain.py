"""Explain names the right cause in every injected case, in whole sentences."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.database import create_engine
from app.operations.explain import causes
from app.operations.explain.story import in_text
from tests.conftest import temporary_database
from tests.explain.causes import CAUSES, Injected
from tests.explain.scene import CODE, Scene, answered


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_database(server_url: str, template_database: str) -> AsyncIterator[str]:
    """For all of them, as a database of its own for each would take longer than the rest of it."""
    async with temporary_database(server_url, template_database) as url:
        yield url


@pytest.fixture
async def scene(one_database: str) -> AsyncIterator[Scene]:
    engine = create_engine(one_database, application_name="tests", pool_size=3)
    scene = Scene(engine)
    await scene.sql("TRUNCATE message, job, lane, attempt, entity, coupon, coupon_fuse, alert, audit")
    await scene.sql("UPDATE channel SET state = 'open', reason = NULL, retry_at = NULL")
    yield scene
    await engine.dispose()


def test_the_set_is_large_enough() -> None:
    assert len(CAUSES) >= 40
    assert len({case.name for case in CAUSES}) == len(CAUSES)


@pytest.mark.parametrize("case", CAUSES, ids=lambda case: case.name)
async def test_the_right_cause_is_named(case: Injected, scene: Scene) -> None:
    key = await case.inject(scene) or case.key
    told = await scene.explain(case.by, key)
    assert (told.cause, told.confidence) == (case.cause, "likely" if not told.found else "certain"), in_text(told)
    assert case.status in (None, told.finding.status)
    for sentence in (told.headline, told.next, *(line.says for line in told.story)):
        assert sentence.endswith("."), sentence
        assert not re.search(r"[{}]|\bNone\b|\.\.$", sentence), sentence
    for step in told.do:
        assert not re.search(r"[{}]|None", step), step
    needs_somebody = causes.CAUSES[told.cause].rank >= causes.Rank.NEEDS_A_PERSON
    assert not needs_somebody or told.do, "what an operator can do"
    assert [line.at for line in told.story] == sorted(line.at for line in told.story)
    assert told.searched
    assert told.asked == {case.by: told.asked[case.by]}


async def test_the_story_of_a_refused_order(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "rejected_422")
    await case.inject(scene)
    told = await scene.explain("order", "1001")
    assert told.headline == "The Platform refused order 1001: the Platform says: currency must be ISO 4217 (HTTP 422)."
    assert [line.says for line in told.story] == [
        "The shop's backend reported order 1001 (paid 45.00 EUR); so the Platform has to be given order 1001.",
        "Order 1001, try 1: the Platform refused it: the Platform says: currency must be ISO 4217 (HTTP 422).",
        "Order 1001: given up: the Platform says: currency must be ISO 4217 (HTTP 422).",
    ]


async def test_nobody_refused_what_nobody_was_asked(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "a_redemption_without_a_code")
    told = await scene.explain("message", await case.inject(scene) or "")
    [tried] = [line.says for line in told.story if "try 1" in line.says]
    assert "try 1: it cannot be done: the webhook carries no coupon code" in tried


async def test_tries_that_fail_alike_are_one_line(scene: Scene) -> None:
    await scene.order()
    for _ in range(5):
        await scene.run(answered(503))
        await scene.due()
    told = await scene.explain("order", "1001")
    assert len(told.story) == 2
    assert "tries 1 to 5, the last at " in told.story[1].says


async def test_what_stands_behind_a_waiting_order_is_told(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "its_customer_comes_first")
    await case.inject(scene)
    told = await scene.explain("order", "1001")
    assert told.finding.because == "failing"
    assert "HTTP 503" in told.headline


async def test_an_operators_acts_are_part_of_the_story(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "dropped_by_an_operator")
    await case.inject(scene)
    told = await scene.explain("order", "1001")
    assert "a test order" in told.story[-1].says


async def test_what_was_searched_is_told(scene: Scene) -> None:
    told = await scene.explain("customer", "nobody@example.com")
    assert told.searched == [
        "messages about customer nobody@example.com",
        "coupons of customer nobody@example.com",
        "messages about customer NOBODY@EXAMPLE.COM",
        "coupons of customer NOBODY@EXAMPLE.COM",
        "customers whose newest kept bodies hold this e-mail address",
    ]
    assert "relay backfill" in in_text(told)


async def test_a_dead_coupon_stands_beside_its_order(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "an_order_whose_coupon_is_dead")
    await case.inject(scene)
    told = await scene.explain("order", "1001")
    assert [(each.subject, each.cause) for each in told.also] == [(f"coupon:{CODE}", "code_taken")]
