"""The table of assumptions and an operator's overrides of it."""

import pytest
from pydantic import JsonValue

from platform_relay.platform.fields import ASSUMPTIONS, AssumptionError, Fields


def test_without_overrides_every_entry_has_its_assumed_text() -> None:
    fields = Fields()
    assert all(fields[key] == assumption.text for key, assumption in ASSUMPTIONS.items())


def test_an_override_renames_one_field() -> None:
    fields = Fields({"order.totalPrice": "total"})
    assert fields.body("order", {"totalPrice": "19.98", "currency": "EUR"}) == {"total": "19.98", "currency": "EUR"}


def test_statuses_and_texts_are_compared_as_configured() -> None:
    fields = Fields({"status.alreadyExists": "409, 422", "text.orderNotFound": "no such order"})
    assert fields.has_status("status.alreadyExists", 422)
    assert not fields.has_status("status.alreadyExists", 404)
    assert fields.has_text("text.orderNotFound", "There is No Such Order.")


@pytest.mark.parametrize(
    ("overrides", "telling"),
    [
        ({"order.total": "total"}, "order.totalPrice"),
        ({"order.totalPrice": " "}, "order.totalPrice"),
        ({"status.throttled": "slow"}, "status.throttled"),
        ({"order.totalPrice": "currency"}, "currency"),
    ],
)
def test_a_wrong_override_is_refused_and_named(overrides: dict[str, str], telling: str) -> None:
    with pytest.raises(AssumptionError, match=telling):
        Fields(overrides)


def test_extra_fields_are_added_and_hide_none_of_ours() -> None:
    assert Fields().body("order", {"totalPrice": "1"}, {"totalPrice": "2", "note": None}) == {
        "totalPrice": "1",
        "note": None,
    }


def test_a_request_is_wrapped_in_the_member_that_the_table_names() -> None:
    body: dict[str, JsonValue] = {"email": "jane@example.com"}
    assert Fields().wrapped("customer", body) == body
    assert Fields({"form.customer": "customer"}).wrapped("customer", body) == {"customer": body}


def test_a_part_of_a_response_is_named_by_a_path() -> None:
    assert Fields().path("response.customer") == ("customer",)
    assert Fields({"response.customer": "data.customer"}).path("response.customer") == ("data", "customer")
    assert Fields({"response.customer": "-"}).path("response.customer") == ()


def test_the_form_of_money_is_text_or_number() -> None:
    assert Fields({"form.money": "number"}).money_is_number
    with pytest.raises(AssumptionError, match=r"form\.money; write text or number"):
        Fields({"form.money": "cents"})
