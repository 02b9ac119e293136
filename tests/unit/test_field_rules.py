"""The messages about fields name a rule in words, not a regular expression."""

from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter, ValidationError

from platform_relay.api.body_problems import body_problem
from platform_relay.api.privacy import CustomerReference
from platform_relay.core.errors import FieldsInvalid
from platform_relay.core.field_rules import RULES
from platform_relay.coupons.reward_rules import RewardRuleDefinition
from platform_relay.inbox.events import EVENTS, CustomerEvent


def patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            yield pattern
        for member in schema.values():
            yield from patterns(member)
    elif isinstance(schema, list):
        for item in schema:
            yield from patterns(item)


def test_every_pattern_of_a_field_has_words() -> None:
    models = (*EVENTS.values(), RewardRuleDefinition, CustomerReference)
    used = {pattern for model in models for pattern in patterns(TypeAdapter(model).core_schema)}
    assert used == set(RULES)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("email", "nobody", "must be one e-mail address"), ("id", "4\n2", "must not contain control characters")],
)
def test_a_body_is_refused_in_words(field: str, value: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CustomerEvent.model_validate({"id": "1", field: value})
    problem = body_problem(refused.value, b"{}")
    assert isinstance(problem, FieldsInvalid)
    assert any(error.field == field and words in error.message for error in problem.errors)
    assert "pattern" not in str(problem.errors)
