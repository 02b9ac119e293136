"""Which cell an entity goes to: for ever the same, and the same for all that belongs together."""

from collections import Counter

import pytest
from pydantic import ValidationError

from app.cells import entity_of, place
from app.messages import CustomerEvent, OrderEvent, ProductEvent, incoming
from app.platform.webhooks import incoming as webhook
from app.settings import FuseSettings, Settings
from app.wiring import shared_fuse


def order(**fields: object) -> str:
    body = {"id": "1001", "financialStatus": "paid", "currency": "EUR", "totalPrice": "10.00", **fields}
    return entity_of(incoming(OrderEvent.model_validate(body), b"{}", message_id="m"))


def test_what_is_stored_stays_where_it_is() -> None:
    """These are the cells that stored entities are in: another hash would look for them elsewhere."""
    keys = ("customer:42", "customer:ada@example.com", "product:7", "order:1001", "coupon:AB12")
    assert [place(key, 3) for key in keys] == GOLDEN
    assert {place(key, 1) for key in keys} == {0}


GOLDEN = [0, 0, 1, 0, 1]


def test_the_cells_are_even() -> None:
    counted = Counter(place(f"customer:{number}", 3) for number in range(30_000))
    assert all(abs(count - 10_000) < 500 for count in counted.values())


def test_a_coupon_goes_with_its_customer_and_an_order_by_its_own_id() -> None:
    customer = entity_of(incoming(CustomerEvent(id="42"), b"{}", message_id="m"))
    redeemed = b'{"id": "r1", "couponCode": "AB12", "customer": {"externalId": "42", "email": "ada@example.com"}}'
    assert entity_of(webhook("points/redeemed", None, redeemed, "m")) == customer == "customer:42"
    guest = b'{"id": "r1", "couponCode": "AB12", "customer": {"email": "Ada@Example.com"}}'
    assert entity_of(webhook("points/redeemed", None, guest, "m")) == "customer:ada@example.com"
    assert order(customerId="42") == order(email="ada@example.com") == order() == "order:1001"
    assert entity_of(incoming(ProductEvent(id="7"), b"{}", message_id="m")) == "product:7"
    assert entity_of(webhook("points/redeemed", None, b'{"couponCode": "AB12"}', "m")) == "coupon:AB12"
    assert entity_of(webhook("anything", None, b"not json", "m")).startswith("anything:")


def test_the_fuses_of_all_cells_are_never_more_than_the_fuse() -> None:
    fuse = FuseSettings.model_validate({"hour_count": 10, "day_count": 2, "hour_value": "100", "day_value": "none"})
    share = shared_fuse(fuse, 3)
    assert (share.hour_count, share.day_count, str(share.hour_value), share.day_value) == (3, 1, "33.33", None)
    assert share.customer_count == fuse.customer_count
    assert shared_fuse(fuse, 1) is fuse


CELLS = [{"url": "postgresql://a/relay", "schema": "one"}, {"url": "postgresql://a/relay", "schema": "two"}]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cells": CELLS, "database_url": "postgresql://a/relay"}, "unset DATABASE_URL"),
        ({"cells": [*CELLS, CELLS[0]]}, "twice"),
        ({"cells": CELLS, "worker_cells": [3]}, "CELLS has 2"),
        ({"cells": [{"url": "postgresql://a/relay", "schema": "One"}]}, "match pattern"),
        ({"cells": [{"url": "postgresql://a/relay", "shema": "one"}]}, "not permitted"),
    ],
)
def test_cells_that_cannot_be_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(_env_file=None, **wrong)  # type: ignore[arg-type]  # as the environment would give them
