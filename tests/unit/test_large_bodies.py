"""The time for a body grows in proportion to its size: twice the input takes at most three times the processor time."""

import gc
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from platform_relay.api.batch import MAX_LINES, split_lines
from platform_relay.api.event_bodies import event_message, read_line
from platform_relay.core.errors import Problem, TooManyLines
from platform_relay.core.outcomes import Reject
from platform_relay.forwarding.fetch import webhook_message
from platform_relay.forwarding.prepare import prepare_customer, prepare_order, prepare_product
from platform_relay.inbox.events import EventKind, OrderEvent, TooManyElementsError
from platform_relay.platform.fields import ASSUMED
from platform_relay.platform.webhooks import webhook_message as platform_message
from platform_relay.stores.woocommerce.events import to_event

ORDER = {"id": "1", "customerId": "4", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1.00"}
LINE = {"productId": "7", "title": "Mug", "quantity": 1, "price": "1.00"}
WOO = {"id": 1, "status": "processing", "currency": "EUR", "total": "1.00", "date_modified_gmt": "2026-01-01T00:00:00"}
SIZES = (10_000, 40_000)
"""Elements, so that each step takes long enough to be measured."""
FLOOR = 0.002
"""Seconds; below, the fixed costs decide."""


def event(kind: EventKind, members: dict[str, object]) -> None:
    raw = json.dumps(members).encode()
    event_message(kind, raw, "1", None, backfill=False)
    prepare = {
        EventKind.CUSTOMER: prepare_customer,
        EventKind.ORDER: prepare_order,
        EventKind.PRODUCT: prepare_product,
    }[kind]
    prepare(raw, ASSUMED)


def named_above(value: str, size: int) -> dict[str, object]:
    """A long name above many values: their paths would be long as well."""
    return {"wrong": value, "n" * size * 4: [0] * size * 2}


def batch(size: int) -> None:
    lines = [json.dumps({"type": "customers", "event": {"id": "1", "x": [0] * size}}).encode()] * 10
    for _, line in split_lines(b"\n".join(lines)):
        read_line(line, 1 << 30, False)


def woocommerce(size: int) -> None:
    rows = {"line_items": [{"product_id": 7, "name": "Mug", "quantity": 1, "price": 1}] * size,
            "coupon_lines": [{"code": f"c{number}", "discount": "1.00"} for number in range(size)]}  # fmt: skip
    webhook_message(partial(to_event, EventKind.ORDER, {**WOO, **rows}), b"{}", source="woocommerce", message_id="1")


WORK: dict[str, Callable[[int], None]] = {
    "tags": lambda size: event(EventKind.CUSTOMER, {"id": "1", "tags": ["a"] * size}),
    "unknown members": lambda size: event(EventKind.CUSTOMER, {"id": "1", **{f"x{n}": n for n in range(size)}}),
    "unknown list": lambda size: event(EventKind.ORDER, {**ORDER, "x": [{"a": 1.5}] * size}),
    "discount codes": lambda size: event(EventKind.ORDER, {**ORDER, "discountCodes": [{"code": "a"}] * size}),
    "line items": lambda size: event(EventKind.ORDER, {**ORDER, "lineItems": [LINE] * size}),
    "members of a line item": lambda size: event(
        EventKind.ORDER, {**ORDER, "lineItems": [{f"x{n}": n for n in range(size)}]}
    ),
    "variants": lambda size: event(EventKind.PRODUCT, {"id": "1", "variants": [{"externalVariantId": 7}] * size}),
    "long text": lambda size: event(EventKind.ORDER, {**ORDER, "x": "ä" * size * 10}),
    "backslashes": lambda size: event(EventKind.ORDER, {**ORDER, "x": "\\" * size * 10 + "u0000"}),
    "NaN in a text": lambda size: event(EventKind.ORDER, {**ORDER, "x": ["NaN"] * size}),
    "a NUL beside a long name": lambda size: event(EventKind.ORDER, {**ORDER, **named_above("\x00", size)}),
    "a surrogate beside a long name": lambda size: event(EventKind.ORDER, {**ORDER, **named_above("\ud800", size)}),
    "wrong elements": lambda size: event(EventKind.ORDER, {**ORDER, "lineItems": [1] * size}),
    "a batch": batch,
    "a Platform webhook": lambda size: void(
        platform_message("points/redeemed", json.dumps({"id": "1", "couponCode": "A", "x": [0.5] * size}).encode(), "1")
    ),
    "a store's webhook": woocommerce,
}


def void(_: object) -> None:
    return None


@pytest.fixture(autouse=True)
def without_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def seconds(work: Callable[[], None]) -> float:
    """The processor time of one run."""
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.parametrize("name", WORK)
def test_twice_the_input_takes_at_most_three_times_as_long(name: str) -> None:
    """The least times of up to 20 runs are compared: a busy machine makes some runs slow, quadratic work makes all slow.

    The size is doubled twice, so quadratic work takes 16 times as long.
    """
    small = large = math.inf
    for _ in range(20):
        small, large = (
            min(least, seconds(partial(WORK[name], size))) for least, size in zip((small, large), SIZES, strict=True)
        )
        if large <= 9 * max(small, FLOOR):
            return
    pytest.fail(f"{SIZES[0]} elements took {small:.4f} s, {SIZES[1]} took {large:.4f} s")


@pytest.mark.parametrize(
    ("kind", "field", "element", "maximum"),
    [
        (EventKind.CUSTOMER, "tags", "a", 1_000),
        (EventKind.ORDER, "lineItems", LINE, 5_000),
        (EventKind.ORDER, "discountCodes", {"code": "a"}, 1_000),
        (EventKind.PRODUCT, "variants", {"externalVariantId": "7"}, 5_000),
    ],
)
def test_the_maximum_of_a_list_is_named(kind: EventKind, field: str, element: object, maximum: int) -> None:
    members = ORDER if kind is EventKind.ORDER else {"id": "1"}
    for count in (maximum, maximum + 1, 70_000):  # the last in a body that is counted before it is validated
        raw = json.dumps({**members, field: [element] * count}).encode()
        result = event_message(kind, raw, "1", None, backfill=False)
        if count == maximum:
            assert not isinstance(result, Problem)
            continue
        assert isinstance(result, Problem)
        assert result.detail == f"`{field}` has {count:,} elements; at most {maximum:,} are allowed."
        assert [error.field for error in result.errors] == [field]


def test_a_stores_own_event_with_a_long_list_is_stored_and_becomes_a_dead_job() -> None:
    """It is not ignored, and a list of the store that contains it can be read."""
    order = {**WOO, "coupon_lines": [{"code": f"c{number}"} for number in range(1_001)]}
    message = webhook_message(partial(to_event, EventKind.ORDER, order), b"{}", source="woocommerce", message_id="1")
    assert [job.kind for job in message.jobs] == ["forward_order"]  # type: ignore[union-attr]  # not Unverified
    outcome = prepare_order(message.event or b"", ASSUMED)  # type: ignore[union-attr]  # as above
    assert isinstance(outcome, Reject)
    assert outcome.reason.code == "event_too_large"
    assert outcome.reason.facts == {"field": "discountCodes", "count": 1_001, "maximum": 1_000}


def test_no_element_of_a_long_list_is_validated() -> None:
    raw = json.dumps({**ORDER, "lineItems": [1] * 70_000}).encode()
    with pytest.raises(TooManyElementsError):
        OrderEvent.parse(raw)


def test_a_batch_of_line_breaks_is_rejected_before_it_is_split() -> None:
    started = time.process_time()
    with pytest.raises(TooManyLines, match="line breaks"):
        split_lines(b"\n" * (16 << 20))
    assert time.process_time() - started < 0.5
    assert split_lines(b"{}\r\n\r\n\n{}\r\n") == [(1, b"{}\r"), (4, b"{}\r")]
    assert len(split_lines(b"{}\r\n\r\n" * MAX_LINES)) == MAX_LINES
