"""Which differences between what was sent and what came back are drift."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.exact_json import ExactJson
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.platform.drift import CONSISTENT, MOST_MEMBERS, MOST_SUBJECTS, Drift
from platform_relay.platform.echo import holder_of, places_of, same_value
from platform_relay.platform.fields import Fields

SENT: dict[str, ExactJson] = {"email": "Jane@Example.com", "firstName": "Jane", "phone": "+1 202 555 0100"}
KEPT: dict[str, ExactJson] = {
    "id": "u-1",
    "email": "jane@example.com",
    "firstName": "Jane",
    "phone": "+12025550100",
    "pointBalance": 0,
}


def raised(drift: Drift, times: int, customer: ExactJson, sent: ExactJson = SENT) -> dict[str, Reason]:
    """The alerts of so many equal comparisons."""
    alerts: dict[str, Reason] = {}
    for _ in range(times):
        changes = drift.compare(sent, {"customer": customer})
        assert not alerts.keys() & changes.raised.keys(), "one alert only"
        alerts |= changes.raised
    return alerts


def without(*names: str) -> dict[str, ExactJson]:
    return {name: value for name, value in KEPT.items() if name not in names}


def test_what_comes_back_as_sent_raises_nothing() -> None:
    assert raised(Drift(Fields()), 5 * CONSISTENT, KEPT) == {}


def test_an_ignored_field_raises_one_alert_that_names_its_entry() -> None:
    drift = Drift(Fields({"customer.firstName": "first_name"}))
    sent: dict[str, ExactJson] = {"email": "jane@example.com", "first_name": "Jane"}
    assert raised(drift, CONSISTENT - 1, without("firstName"), sent) == {}
    alerts = raised(drift, 5 * CONSISTENT, without("firstName"), sent)
    assert set(alerts) == {"customer.firstName"}
    reason = alerts["customer.firstName"]
    assert reason.code is ReasonCode.PLATFORM_FIELD_DIFFERS
    assert dict(reason.facts) == {"entry": "customer.firstName", "ignored": "first_name"}
    assert "customer.firstName of PLATFORM__FIELDS" in reason.next_step


def test_a_changed_field_raises_one_alert() -> None:
    [(subject, reason)] = raised(Drift(Fields()), 3 * CONSISTENT, {**KEPT, "firstName": "JJ"}).items()
    assert (subject, dict(reason.facts)) == (
        "customer.firstName",
        {"entry": "customer.firstName", "changed": "firstName"},
    )


def test_some_customers_are_no_drift() -> None:
    drift = Drift(Fields())
    for number in range(10 * CONSISTENT):
        customer = KEPT if number % CONSISTENT == 0 else without("phone")
        assert not drift.compare(SENT, {"customer": customer}).raised


def test_a_field_that_comes_back_resolves_the_alert_of_an_earlier_process_too() -> None:
    drift = Drift(Fields())
    resolved = [subject for _ in range(3 * CONSISTENT) for subject in drift.compare(SENT, {"customer": KEPT}).resolved]
    assert sorted(resolved) == ["customer.email", "customer.firstName", "customer.phone", "response.customer"]


def test_an_alert_that_could_not_be_stored_is_raised_again() -> None:
    drift = Drift(Fields())
    assert raised(drift, CONSISTENT, without("phone"))
    drift.not_raised("customer.phone")
    assert set(raised(drift, 1, without("phone"))) == {"customer.phone"}


@pytest.mark.parametrize(
    ("response", "subject", "problem"),
    [
        ({"data": {"customer": {**KEPT}}}, "response.customer", "it has no object at customer"),
        ({"customer": [{**KEPT}]}, "response.customer", "it has no object at customer"),
        (
            {"customer": {**KEPT, "pointBalance": "0"}},
            "response.customer.pointBalance",
            "pointBalance is text instead of number",
        ),
        ({"customer": {**KEPT, "id": 7}}, "response.customer.id", "id is number instead of text"),
    ],
)
def test_another_shape_raises_one_alert(response: ExactJson, subject: str, problem: str) -> None:
    drift = Drift(Fields())
    alerts = [item for _ in range(3 * CONSISTENT) for item in drift.compare(SENT, response).raised.items()]
    assert [(name, reason.code, reason.facts["problem"]) for name, reason in alerts] == [
        (subject, ReasonCode.PLATFORM_RESPONSE_CHANGED, problem)
    ]


def test_a_new_member_raises_one_alert_and_a_rare_one_none() -> None:
    drift = Drift(Fields())
    assert raised(drift, CONSISTENT, KEPT) == {}
    later: dict[str, ExactJson] = {**KEPT, "loyaltyId": "L-1", "birthdayMonth": 3, "jane@example.com": "x"}
    alerts = raised(drift, 3 * CONSISTENT, later)
    assert {subject: reason.facts["problem"] for subject, reason in alerts.items()} == {
        "response.members": "it has new members: loyaltyId"
    }
    assert raised(drift, 5 * CONSISTENT, later) == {}


def test_a_wrapped_request_and_response_are_read_where_the_table_names_them() -> None:
    drift = Drift(Fields({"form.customer": "customer", "response.customer": "data.customer"}))
    for _ in range(2 * CONSISTENT):
        assert not drift.compare({"customer": SENT}, {"data": {"customer": KEPT}}).raised
    alerts = [
        subject
        for _ in range(2 * CONSISTENT)
        for subject in drift.compare({"customer": SENT}, {"data": {"customer": without("phone")}}).raised
    ]
    assert alerts == ["customer.phone"]


def test_memory_is_bounded_whatever_comes_back() -> None:
    drift = Drift(Fields())
    for number in range(300):
        drift.compare(SENT, {"customer": {f"m{number}_{index}": index for index in range(50)}})
    kinds: list[ExactJson] = ["text", 7]
    for kind in kinds:
        drift.compare(SENT, {"customer": {f"m{number}_{index}": kind for number in range(30) for index in range(50)}})
    assert len(drift.types) <= MOST_MEMBERS
    assert len(drift.counts) <= MOST_SUBJECTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_no_response_breaks_the_comparison(response: ExactJson) -> None:
    drift = Drift(Fields())
    bodies: list[ExactJson] = [response, {"customer": response}, {"customer": {"email": response, "phone": response}}]
    for body in bodies:
        drift.compare(SENT, body)
        drift.compare(response, body)


@pytest.mark.parametrize(
    ("sent", "returned", "same"),
    [
        ("Jane", " jane ", True),
        ("Jane", "Janet", False),
        (7, "7", True),
        ("120.50", Decimal("120.5"), True),
        (True, 1, False),
        ("2020-01-02T10:00:00.000Z", "2020-01-02T11:00:00+01:00", True),
        ("2020-01-02T10:00:00.000Z", "2020-01-03T10:00:00.000Z", False),
        ("+1 (202) 555-0100", "+12025550100", True),
        (["a", "b"], ["B", "a"], True),
        (["a"], ["a", "b"], False),
        ("", None, True),
        ([], None, True),
        ("x", None, False),
        (None, "x", False),
        ("x", {"x": "x"}, False),
    ],
)
def test_values_that_mean_the_same(sent: ExactJson, returned: ExactJson, same: bool) -> None:
    assert same_value(sent, returned) is same


def test_a_value_is_found_wherever_it_is() -> None:
    response: ExactJson = {"data": {"order": {"total": Decimal("120.50"), "lines": [{"unitPrice": "60.25"}]}}}
    assert [place.path for place in places_of("120.50", response)] == [("data", "order", "total")]
    assert [place.path for place in places_of("60.25", response)] == [("data", "order", "lines", "unitPrice")]
    assert holder_of("120.50", response) == ("data", "order")
    assert holder_of("absent", response) is None
