"""What the Platform's answers mean."""

import json

import httpx
import pytest

from app.http import Answer
from app.outcomes import Blocked, Reject, Retry, Unknown
from app.platform.answers import Accepted, Meaning, Refused, understand
from app.platform.fields import Fields


def answer(status: int, body: object = None, headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, httpx.Headers(headers or {}), raw)


def test_a_success_is_a_json_object() -> None:
    verdict = understand(answer(200, {"customer": {"id": "u"}}))
    assert isinstance(verdict, Accepted)
    assert verdict.body == {"customer": {"id": "u"}}


@pytest.mark.parametrize(
    "body", [b"", b"  ", b"<html>welcome</html>", b'{"customer": {"id', b"[]", b"null", b"[" * 99_999]
)
def test_a_success_without_one_proves_nothing(body: bytes) -> None:
    assert isinstance(understand(answer(200, body)), Unknown)


@pytest.mark.parametrize(
    ("status", "text", "meaning"),
    [
        (404, "Customer not found", Meaning.CUSTOMER_NOT_FOUND),
        (404, "customer not found.", Meaning.CUSTOMER_NOT_FOUND),
        (404, "Order not found", Meaning.ORDER_NOT_FOUND),
        (404, "Reward not found", Meaning.NOT_FOUND),
        (409, "Conflict", Meaning.ALREADY_EXISTS),
        (400, "An order with this id already exists", Meaning.ALREADY_EXISTS),
        (422, "Order already exists", Meaning.ALREADY_EXISTS),
    ],
)
def test_refusals_that_somebody_can_act_on(status: int, text: str, meaning: Meaning) -> None:
    verdict = understand(answer(status, {"message": text}))
    assert isinstance(verdict, Refused)
    assert verdict.meaning is meaning


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_about_the_channel(status: int) -> None:
    verdict = understand(answer(status, {"message": "Forbidden"}))
    assert isinstance(verdict, Blocked)
    assert "PLATFORM__API_KEY" in verdict.why


def test_throttling_keeps_the_wish_of_the_platform() -> None:
    assert understand(answer(429, {"message": "slow down"}, {"retry-after": "7"})) == Retry(
        "HTTP 429: throttled", 7.0, answer(429, {"message": "slow down"}).evidence()
    )


def test_a_status_can_be_configured_to_mean_throttling() -> None:
    assert isinstance(understand(answer(420, {}), Fields({"status.throttled": "420"})), Retry)


@pytest.mark.parametrize("body", [{"message": "Not Found"}, b"<html>404</html>", b""])
def test_a_404_that_names_nothing_is_about_the_address(body: object) -> None:
    assert isinstance(understand(answer(404, body)), Blocked)
    assert isinstance(understand(answer(404, body), plain_path=False), Retry), "one odd id must not stop the others"


def test_other_refusals_are_final_and_repeat_the_words() -> None:
    verdict = understand(answer(400, {"message": "totalPrice must be a decimal string"}))
    assert isinstance(verdict, Reject)
    assert "totalPrice" in verdict.why


@pytest.mark.parametrize("status", [408, 500, 502, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert isinstance(understand(answer(status, {"message": "already exists? no"})), Retry)
