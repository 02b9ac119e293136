import json

from platform_relay.api.problems import respond
from platform_relay.core.errors import FieldError, FieldsInvalid


def test_a_problem_with_a_lone_surrogate_can_be_sent() -> None:
    answer = respond(FieldsInvalid("`\ud800` is wrong.", [FieldError("\ud800", "is wrong")]))
    assert json.loads(bytes(answer.body))["errors"][0]["field"] == "\ud800"
