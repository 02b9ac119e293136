"""What the Platform's answers mean."""

import json

import httpx
import pytest

from platform_relay.core.http import Answer
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import THE_PLATFORM, Accepted, Rejected, RejectionKind, read_response


def answer(status: int, body: object = None, headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, httpx.Headers(headers or {}), raw, destination=THE_PLATFORM)


def test_a_success_is_a_json_object() -> None:
    verdict = read_response(answer(200, {"customer": {"id": "u"}}))
    assert isinstance(verdict, Accepted)
    assert verdict.body == {"customer": {"id": "u"}}


@pytest.mark.parametrize(
    "body", [b"", b"  ", b"<html>welcome</html>", b'{"customer": {"id', b"[]", b"null", b"[" * 99_999]
)
def test_a_success_without_one_proves_nothing(body: bytes) -> None:
    outcome = read_response(answer(200, body), request="the customer look-up")
    assert isinstance(outcome, Unknown)
    assert outcome.reason.code is ReasonCode.RESPONSE_UNREADABLE
    assert outcome.reason.facts.items() >= {"status": 200, "request": "the customer look-up"}.items()


@pytest.mark.parametrize(
    ("status", "text", "meaning"),
    [
        (404, "Customer not found", RejectionKind.CUSTOMER_NOT_FOUND),
        (404, "customer not found.", RejectionKind.CUSTOMER_NOT_FOUND),
        (404, "Order not found", RejectionKind.ORDER_NOT_FOUND),
        (404, "Reward not found", RejectionKind.NOT_FOUND),
        (409, "Conflict", RejectionKind.ALREADY_EXISTS),
        (400, "An order with this id already exists", RejectionKind.ALREADY_EXISTS),
        (422, "Order already exists", RejectionKind.ALREADY_EXISTS),
    ],
)
def test_refusals_that_somebody_can_act_on(status: int, text: str, meaning: RejectionKind) -> None:
    verdict = read_response(answer(status, {"message": text}))
    assert isinstance(verdict, Rejected)
    assert verdict.kind is meaning
    assert verdict.reject().reason == because(
        ReasonCode.REJECTED_BY_DESTINATION, destination=THE_PLATFORM, status=status, response=text
    )


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_about_the_destination(status: int) -> None:
    verdict = read_response(answer(status, {"message": "Forbidden"}))
    assert isinstance(verdict, Blocked)
    assert verdict.reason == because(
        ReasonCode.KEY_REJECTED,
        destination=THE_PLATFORM,
        status=status,
        setting="PLATFORM__API_KEY",
        response="Forbidden",
    )


def test_throttling_keeps_the_wish_of_the_platform() -> None:
    slow_down = answer(429, {"message": "slow down"}, {"retry-after": "7"})
    reason = because(ReasonCode.RATE_LIMITED, destination=THE_PLATFORM, status=429, seconds=7)
    assert read_response(slow_down) == Retry(reason, 7.0, slow_down.evidence())


def test_a_status_can_be_configured_to_mean_throttling() -> None:
    outcome = read_response(answer(420, {}), Fields({"status.throttled": "420"}))
    assert isinstance(outcome, Retry)
    assert outcome.reason.code is ReasonCode.RATE_LIMITED


@pytest.mark.parametrize("body", [{"message": "Not Found"}, b"<html>404</html>", b""])
def test_a_404_that_names_nothing_is_about_the_address(body: object) -> None:
    blocked, retry = read_response(answer(404, body)), read_response(answer(404, body), plain_path=False)
    assert isinstance(blocked, Blocked)
    assert blocked.reason.code is ReasonCode.WRONG_ADDRESS
    assert blocked.reason.facts["setting"] == "PLATFORM__URL"
    assert isinstance(retry, Retry), "one odd id must not stop the others"
    assert retry.reason.code is ReasonCode.ENTITY_NOT_FOUND


def test_other_refusals_are_final_and_repeat_the_words() -> None:
    said = "totalPrice must be a decimal string"
    verdict = read_response(answer(400, {"message": f"{said} (for ada@shop.example)"}), request="the order's update")
    assert isinstance(verdict, Reject)
    assert verdict.reason == because(
        ReasonCode.REJECTED_BY_DESTINATION,
        destination=THE_PLATFORM,
        status=400,
        request="the order's update",
        response=f"{said} (for ***)",
    )


@pytest.mark.parametrize("status", [408, 500, 502, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert isinstance(read_response(answer(status, {"message": "already exists? no"})), Retry)
