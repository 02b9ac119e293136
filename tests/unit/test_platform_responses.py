"""What the Platform's answers mean."""

import json

import pytest

from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.platform.fields import AssumptionError, Fields
from platform_relay.platform.responses import THE_PLATFORM, Accepted, Rejected, RejectionKind, read_response


def answer(status: int, body: object = None, headers: dict[str, str] | None = None) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, Headers(headers or {}), raw, destination=THE_PLATFORM)


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
    assert verdict.certain is (status == 401), "a firewall answers 403 for one body"
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
    assert not blocked.certain
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


FAILURES = [
    {"success": False},
    {"success": False, "customer": {}},
    {"error": "boom"},
    {"errors": [{"field": "phone"}]},
    {"errors": {"phone": "wrong"}},
]


@pytest.mark.parametrize("body", FAILURES)
@pytest.mark.parametrize(("idempotent", "outcome"), [(True, Reject), (False, Unknown)])
def test_a_success_that_reports_a_failure_is_none(
    body: dict[str, object], idempotent: bool, outcome: type[Reject | Unknown]
) -> None:
    got = read_response(answer(200, body), request="the creation of the order", idempotent=idempotent)
    assert isinstance(got, outcome)
    assert got.reason.code is ReasonCode.FAILURE_REPORTED
    assert got.evidence.status == 200


@pytest.mark.parametrize(
    "body", [{}, {"success": True}, {"success": None}, {"error": None}, {"error": ""}, {"errors": []}, {"errors": {}}]
)
def test_an_empty_error_is_no_failure(body: dict[str, object]) -> None:
    assert isinstance(read_response(answer(200, body)), Accepted)


def test_a_reported_failure_that_handlers_know_is_theirs() -> None:
    body = {"success": False, "message": "Order not found"}
    got = read_response(answer(200, body), idempotent=True)
    assert isinstance(got, Rejected)
    assert got.kind is RejectionKind.ORDER_NOT_FOUND


def test_the_members_that_report_a_failure_are_configurable() -> None:
    fields = Fields({"response.failureFlag": "ok", "response.failureText": "-"})
    assert isinstance(read_response(answer(200, {"success": False, "error": "x"}), fields), Accepted)
    assert isinstance(read_response(answer(200, {"ok": False}), fields), Unknown)


def test_an_empty_success_is_accepted_by_a_setting() -> None:
    fields = Fields({"response.emptySuccess": "accepted"})
    assert isinstance(read_response(answer(201, b" "), fields), Accepted)
    assert isinstance(read_response(answer(200, b"<html>"), fields), Unknown)
    with pytest.raises(AssumptionError):
        Fields({"response.emptySuccess": "yes"})


def test_an_error_that_is_nested_too_deeply_is_an_error() -> None:
    raw = b'{"errors": ' + b"[" * 400 + b"1.5" + b"]" * 400 + b"}"
    assert isinstance(read_response(answer(500, raw)), Unknown | Retry)
