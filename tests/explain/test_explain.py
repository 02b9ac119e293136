"""Explain names the right cause in every injected case, by codes, and in whole sentences."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from platform_relay.core.database import create_engine
from platform_relay.core.outcomes import Evidence, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.explain import causes
from platform_relay.explain.explanation import Explanation, as_text
from tests.conftest import temporary_database
from tests.explain.causes import CAUSES, Injected, by_rule
from tests.explain.scene import CODE, Scene, answered

NOT_INJECTED = {"stored_only", "coupon_points_returned", "coupon_held", "value_uncertain"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_database(server_url: str, template_database: str) -> AsyncIterator[str]:
    """For all of them, as a database of its own for each would take longer than the rest of it."""
    async with temporary_database(server_url, template_database) as url:
        yield url


@pytest.fixture
async def scene(one_database: str) -> AsyncIterator[Scene]:
    engine = create_engine(one_database, application_name="tests", pool_size=3)
    scene = Scene(engine)
    await scene.sql("TRUNCATE message, dedupe_digest, job, lane, attempt, entity, coupon, issuance_limit, alert, audit")
    await scene.sql("UPDATE destination SET state = 'open', reason_code = NULL, facts = NULL, retry_at = NULL")
    yield scene
    await engine.dispose()


def test_the_set_is_large_enough() -> None:
    assert len(CAUSES) >= 40
    assert len({case.name for case in CAUSES}) == len(CAUSES)


def test_every_cause_is_injected_and_every_code_leads_to_one() -> None:
    assert set(causes.CAUSES) - {case.cause for case in CAUSES} <= NOT_INJECTED
    for table in (causes.BLOCKED, causes.RETRIED, causes.PARKED, causes.DEAD):
        assert set(table.values()) <= set(causes.CAUSES)


@pytest.mark.parametrize("case", CAUSES, ids=lambda case: case.name)
async def test_the_right_cause_is_named(case: Injected, scene: Scene) -> None:
    key = await case.inject(scene) or case.key
    explanation = await scene.explain(case.by, key)
    expected = (case.cause, "certain" if explanation.matched else "likely")
    assert (explanation.cause, explanation.confidence) == expected, as_text(explanation)
    assert case.status in (None, explanation.finding.status)
    assert case.code in (None, explanation.finding.reason_code), as_text(explanation)
    assert_readable(explanation)
    needs_an_operator = causes.CAUSES[explanation.cause].rank >= causes.Rank.NEEDS_OPERATOR
    assert not needs_an_operator or explanation.steps
    assert [line.at for line in explanation.timeline] == sorted(line.at for line in explanation.timeline)
    assert explanation.searched
    assert explanation.query == {case.by: explanation.query[case.by]}


def assert_readable(explanation: Explanation) -> None:
    """Whole sentences, no template left over; the API's calls and the commands stand apart from the text."""
    sentences = [explanation.text, explanation.next_step, *(line.text for line in explanation.timeline)]
    sentences += [step.text for step in explanation.steps]
    for sentence in sentences:
        assert sentence.endswith("."), sentence
        assert not re.search(r"[{}\[\]]|\bNone\b|\.\.$|  |/v1/", sentence), sentence
    for step in explanation.steps:
        assert step.api is None or re.fullmatch(r"(GET|POST|PUT) /v1/[^{}\s]+", step.api), step
        assert step.command is None or step.command.startswith("relay "), step


async def test_the_story_of_a_rejected_order(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "rejected_422")
    await case.inject(scene)
    explanation = await scene.explain("order", "1001")
    reason = because(explanation.finding.reason_code or ReasonCode.UNSPECIFIED, **explanation.finding.facts)
    assert reason.facts["status"] == 422
    assert "currency must be ISO 4217" in reason.text
    assert explanation.text == f"Order 1001: {reason.text}"
    assert [line.text for line in explanation.timeline] == [
        "The store's backend reported order 1001 (paid 45.00 EUR); so order 1001 must be sent to the Platform.",
        f"Order 1001, attempt 1: {reason.text}",
        "Order 1001: dead-lettered.",
    ]
    assert [step.api for step in explanation.steps] == [
        None,
        f"POST /v1/jobs/{explanation.finding.job_id}/retry",
        f"POST /v1/jobs/{explanation.finding.job_id}/drop",
    ]


def test_a_step_names_the_reward_rule() -> None:
    step = causes.CAUSES["no_reward_rule"].steps[0]
    named = step.filled({"rule": "rule 7"})
    assert named.api == "PUT /v1/reward-rules/rule%207"
    assert named.command is not None
    assert named.command.startswith("relay rules put 'rule 7' ")
    assert step.filled({"code": "AB12"}) == step


async def test_a_held_coupon_names_its_reward_rule(scene: Scene) -> None:
    await by_rule(scene, None)
    explanation = await scene.explain("coupon", CODE)
    assert (explanation.steps[0].command or "").startswith("relay rules put rule-7 ")


async def test_attempts_that_fail_in_the_same_way_are_one_line(scene: Scene) -> None:
    await scene.order()
    for _ in range(5):
        await scene.run(answered(503))
        await scene.due()
    explanation = await scene.explain("order", "1001")
    assert len(explanation.timeline) == 2
    assert "attempts 1 to 5, the last at " in explanation.timeline[1].text


async def test_a_call_after_which_a_job_waits_is_no_attempt(scene: Scene) -> None:
    await scene.order()
    await scene.run(
        Wait(because(ReasonCode.WAITING_FOR_CUSTOMER), "customer:42", evidence=Evidence(status=404), for_lane=True)
    )
    await scene.due()
    await scene.run(answered(503))
    texts = [entry.text for entry in (await scene.explain("order", "1001")).timeline[1:]]
    assert "a call that does not count as an attempt: " in texts[0]
    assert "attempt 1: " in texts[1]


async def test_the_cause_behind_a_waiting_order_is_named(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "its_customer_comes_first")
    await case.inject(scene)
    explanation = await scene.explain("order", "1001")
    assert explanation.finding.caused_by == "failing"
    assert "HTTP 503" in explanation.text


async def test_the_time_of_the_next_attempt_is_named(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(503))
    assert re.search(r"Next attempt: \d{4}-\d\d-\d\d .* UTC\.$", (await scene.explain("order", "1001")).next_step)
    await scene.due()
    assert "Next attempt" not in (await scene.explain("order", "1001")).next_step


async def test_a_reason_without_a_code_is_at_most_likely(scene: Scene) -> None:
    """Rows from before reason codes: nothing is read from their text."""
    await scene.order()
    old = because(ReasonCode.UNSPECIFIED, text="the Platform says: names neither a customer nor an e-mail address")
    await scene.run(Reject(old))
    explanation = await scene.explain("order", "1001")
    assert (explanation.cause, explanation.confidence) == ("rejected", "likely")
    assert "names neither a customer" in explanation.text


async def test_what_operators_did_is_part_of_the_story(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "dropped_by_an_operator")
    await case.inject(scene)
    explanation = await scene.explain("order", "1001")
    assert "a test order" in explanation.timeline[-1].text


async def test_what_was_searched_is_named(scene: Scene) -> None:
    explanation = await scene.explain("customer", "nobody@example.com")
    assert explanation.searched == [
        "messages about customer nobody@example.com",
        "coupons of customer nobody@example.com",
        "messages about customer NOBODY@EXAMPLE.COM",
        "coupons of customer NOBODY@EXAMPLE.COM",
        "customers whose stored bodies contain this e-mail address",
    ]
    assert "relay backfill" in as_text(explanation)


async def test_a_dead_coupon_stands_beside_its_order(scene: Scene) -> None:
    case = next(case for case in CAUSES if case.name == "an_order_whose_coupon_is_dead")
    await case.inject(scene)
    explanation = await scene.explain("order", "1001")
    assert [(finding.subject, finding.cause) for finding in explanation.related] == [(f"coupon:{CODE}", "code_taken")]
