"""What adapters share: what a status means, failed calls, remembered values, and the kit's look at reasons."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import JsonValue

from platform_relay.conformance.outcome_checks import InvalidReason, check_outcomes, reason_problem
from platform_relay.core.http import HttpResponse, firewall_refusal
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Blocked, Outcome, Reject, Retry, Skip, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.native import FetchesEntities, ListsEntities, no_list
from platform_relay.stores.responses import Responses
from platform_relay.sync.polling import kinds_in_order

RESPONSES = Responses("Example", "EXAMPLE__URL")
REQUEST = "the coupon lookup"


def answer(status: int, body: str = "{}", **headers: str) -> HttpResponse:
    return HttpResponse(status, Headers(headers), body.encode())


@pytest.mark.parametrize(
    ("status", "wrote", "outcome", "code"),
    [
        (301, False, Blocked, ReasonCode.REDIRECTED),
        (400, True, Reject, ReasonCode.REJECTED_BY_DESTINATION),
        (401, False, Blocked, ReasonCode.KEY_REJECTED),
        (403, True, Blocked, ReasonCode.KEY_REJECTED),
        (404, False, Blocked, ReasonCode.WRONG_ADDRESS),
        (422, False, Reject, ReasonCode.REJECTED_BY_DESTINATION),
        (429, True, Retry, ReasonCode.RATE_LIMITED),
        (500, False, Retry, ReasonCode.SERVER_ERROR),
        (500, True, Unknown, ReasonCode.SERVER_ERROR),
        (503, False, Retry, ReasonCode.DESTINATION_UNAVAILABLE),
        (503, True, Unknown, ReasonCode.SERVER_ERROR),
    ],
)
def test_a_status_means_the_same_in_every_shop(
    status: int, wrote: bool, outcome: type[Outcome], code: ReasonCode
) -> None:
    failure = RESPONSES.failure(answer(status), REQUEST, "no", wrote=wrote)
    assert isinstance(failure, outcome)
    assert failure.reason.code is code
    assert failure.reason.facts["destination"] == "Example"
    assert failure.reason.facts["status"] == status
    assert failure.reason.facts["response"] == "no"
    assert failure.evidence.status == status
    assert not isinstance(failure, Blocked) or failure.certain is (status not in (403, 404))


def test_success_is_no_failure_and_an_unreadable_body_is_unknown() -> None:
    RESPONSES.raise_for_status(answer(204), REQUEST)
    with pytest.raises(CallFailed) as failed:
        RESPONSES.json(answer(200, "<html>"), REQUEST)
    assert isinstance(failed.value.outcome, Unknown)
    assert failed.value.outcome.reason.code is ReasonCode.RESPONSE_UNREADABLE
    assert failed.value.outcome.reason.facts["request"] == REQUEST


async def test_a_failed_call_is_returned_at_the_boundary() -> None:
    @returns_failures
    async def find(code: str) -> str:
        if code == "lost":
            raise RESPONSES.unreadable(REQUEST, "it has no list")
        return code

    assert await find("kept") == "kept"
    outcome = await find("lost")
    assert isinstance(outcome, Unknown)
    assert outcome.reason.facts["problem"] == "it has no list"


async def test_a_remembered_value_is_asked_for_again_when_it_is_forgotten_or_failed() -> None:
    asked: list[int] = []

    async def ask() -> int:
        asked.append(len(asked))
        if len(asked) == 1:
            raise RESPONSES.unreadable(REQUEST, "it has no currency")
        return len(asked)

    value = Cached(ask)
    with pytest.raises(CallFailed):
        await value.get()
    assert [await value.get(), await value.get()] == [2, 2]
    value.clear()
    assert await value.get() == 3


FLAWS: dict[str, tuple[dict[str, JsonValue], str]] = {
    "a NUL": ({"problem": "\x00"}, "its facts contain a NUL character, which PostgreSQL cannot store"),
    "no JSON": ({"problem": float("nan")}, "its facts are not JSON"),
    "long": ({"response": "x" * 301}, "its fact `response` is longer than 300 characters"),
    "none": ({"response": "x" * 300}, ""),
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_kit_judges_the_facts_of_a_reason(name: str) -> None:
    facts, flaw = FLAWS[name]
    assert reason_problem(Retry(Reason(ReasonCode.SERVER_ERROR, facts))) == flaw


class Fetching:
    """An adapter that can look entities up and has no lists."""

    async def fetch(self, kind: EventKind, entity_id: str) -> Outcome | None:  # noqa: ARG002  # one answer for every kind
        match entity_id:
            case "unspecified":
                return Skip(because(ReasonCode.UNSPECIFIED, text="somehow"))
            case "text":
                return Skip("somehow")  # type: ignore[arg-type]  # as an adapter without type checks may
        return None

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("entity_id", ["unspecified", "text"])
async def test_the_kit_requires_a_reason_code(entity_id: str) -> None:
    adapter: object = check_outcomes(Fetching())  # type: ignore[arg-type]  # it has no coupons
    assert isinstance(adapter, FetchesEntities)
    assert not isinstance(adapter, ListsEntities)
    assert await adapter.fetch(EventKind.ORDER, "1") is None
    with pytest.raises(InvalidReason, match="fetch returned Skip, and it has no reason code"):
        await adapter.fetch(EventKind.ORDER, entity_id)


def test_a_list_that_the_store_does_not_have_is_not_read() -> None:
    class Listing:
        NO_LISTS: ClassVar = {EventKind.PRODUCT: "it has no list of products"}

    assert kinds_in_order(Listing()) == (EventKind.CUSTOMER, EventKind.ORDER)
    assert kinds_in_order(object()) == (EventKind.CUSTOMER, EventKind.PRODUCT, EventKind.ORDER)
    rejected = no_list("Example", EventKind.PRODUCT, Listing.NO_LISTS[EventKind.PRODUCT])
    assert rejected.reason.facts["field"] == "products"


@pytest.mark.parametrize(
    ("body", "headers", "firewall"),
    [
        ("<!DOCTYPE html><title>Just a moment…</title>", {}, True),
        ("\n <html><body>Forbidden</body></html>", {}, True),
        ("", {"cf-mitigated": "challenge"}, True),
        ("", {}, False),
        ('{"message": "Forbidden"}', {}, False),
        ('<br />\n<b>Warning</b>: x in <b>y.php</b><br />{"code": "rest_forbidden", "message": "no"}', {}, False),
    ],
)
def test_the_page_of_a_firewall_is_not_a_rejected_key(body: str, headers: dict[str, str], firewall: bool) -> None:
    refused = firewall_refusal(answer(403, body, **headers))
    assert (refused is not None) is firewall
    assert firewall_refusal(answer(200, body, **headers)) is None
    if refused is not None:
        assert refused.reason.code is ReasonCode.FIREWALL_REFUSED
        assert not refused.certain


def test_a_secret_of_a_session_is_hidden() -> None:
    hidden = answer(400, '{"message": "token-123 has ended"}').hiding("token-123", "")
    assert hidden.evidence().excerpt == '{"message": "*** has ended"}'
    assert hidden.quote("token-123") == "***"
