"""docs/reason-codes.md and docs/explain.md are what the code says; every text reads well with and without its facts."""

import re
from pathlib import Path

import pytest

from platform_relay.core.reason_texts.alerts import ALERTS
from platform_relay.core.reason_texts.calls import CALLS
from platform_relay.core.reason_texts.coupons import COUPONS
from platform_relay.core.reason_texts.events import EVENTS
from platform_relay.core.reason_texts.relay import RELAY
from platform_relay.core.reason_texts.rendering import TEXTS, render
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.explain import causes
from platform_relay.explain.causes import CAUSES
from tests.docs.reason_pages import CODES_PAGE, EXPLAIN_PAGE, codes_page, explain_page

APP = Path(__file__).parents[2] / "app"


def test_the_pages_are_those_of_the_code() -> None:
    assert CODES_PAGE.read_text("utf-8") == codes_page()
    assert EXPLAIN_PAGE.read_text("utf-8") == explain_page()


def test_every_code_and_every_cause_is_on_its_page() -> None:
    assert set(re.findall(r"^\| `(\w+)`", codes_page(), re.MULTILINE)) == set(ReasonCode) == set(TEXTS)
    assert {f"`{name}`" for name in CAUSES} <= set(re.findall(r"`\w+`", explain_page()))


def test_every_code_has_one_text() -> None:
    assert len(TEXTS) == sum(len(table) for table in (CALLS, RELAY, EVENTS, COUPONS, ALERTS))


def test_every_code_is_given_somewhere() -> None:
    sources = [path for path in APP.rglob("*.py") if path.stem != "reasons" and path.parent.name != "reason_texts"]
    given = {name for path in sources for name in re.findall(r"ReasonCode\.(\w+)", path.read_text("utf-8"))}
    assert {code.name for code in ReasonCode} - given == set()


@pytest.mark.parametrize("table", [causes.BLOCKED, causes.RETRIED, causes.PARKED, causes.DEAD])
def test_every_code_leads_to_a_cause_that_there_is(table: dict[ReasonCode, str]) -> None:
    assert set(table.values()) <= set(CAUSES)


@pytest.mark.parametrize("code", [code for code in ReasonCode if code is not ReasonCode.UNSPECIFIED])
def test_every_text_is_whole_sentences_with_its_facts(code: ReasonCode) -> None:
    template = TEXTS[code]
    names = re.findall(r"\{(\w+)\}", template.text + template.next_step)
    reason = because(code, **dict.fromkeys(names, "fact"))
    for text in (reason.text, reason.next_step):
        assert text[0].isupper() or not text[0].isalpha(), text
        assert text.endswith("."), text
        assert not re.search(r"[\[\]{}]|  | [.,;:]|\.\.", text), text


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_is_whole_sentences_with_its_facts(name: str) -> None:
    cause = CAUSES[name]
    for template in (cause.text, cause.next_step, *(step.text for step in cause.steps)):
        text = render(template, dict.fromkeys(re.findall(r"\{(\w+)\}", template), "fact"))
        assert text.endswith("."), text
        assert not re.search(r"[\[\]{}]|  | [.,;:]|\.\.|/v1/", text), text
