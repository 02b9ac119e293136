"""What `relay explain` accepts, and what any command answers to a wrong choice."""

import pytest
import typer
from typer.testing import CliRunner

from platform_relay.cli.explain import subject_of
from platform_relay.cli.program import cli


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        (("order", "9"), ("order", "9")),
        (("order:9", None), ("order", "9")),
        (("order=9", None), ("order", "9")),
        (("coupon:a:b", None), ("coupon", "a:b")),
        (("coupon:a=b", None), ("coupon", "a=b")),
        (("message", "order:9"), ("message", "order:9")),
    ],
)
def test_the_subject_is_two_words_or_one(words: tuple[str, str | None], subject: tuple[str, str]) -> None:
    assert subject_of(*words) == subject


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("9", None), "'9' is not one of order, customer, coupon, message"),
        (("orders:9", None), "'orders' is not one of"),
        (("orders", "9"), "'orders' is not one of"),
        (("order", None), "Which order?"),
        (("order:", None), "Which order?"),
        (("order", " "), "Which order?"),
    ],
)
def test_another_subject_is_answered_exactly(words: tuple[str, str | None], text: str) -> None:
    with pytest.raises(typer.BadParameter) as error:
        subject_of(*words)
    assert text in error.value.message


@pytest.mark.parametrize(
    "words", [["explain", "orders:9"], ["events", "--state", "lost"], ["coupons", "list", "--state", "lost"]]
)
def test_a_wrong_choice_is_answered_without_words_of_a_library(words: list[str]) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert "is not one of" in " ".join(result.output.split())
    assert "Value error" not in result.output
