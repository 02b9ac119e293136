"""No JSON number passes through float: every path keeps the digits of numbers that the relay does not know."""

import ast
import io
import json
import pickle
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Done, Outcome
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.forwarding.loyalty_sync import SyncLoyalty
from platform_relay.imports.rows import ImportPlan, read_messages
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent, UnstorableTextError
from platform_relay.inbox.messages import Incoming
from platform_relay.platform import translation
from platform_relay.platform.fields import ASSUMED
from platform_relay.privacy.identity import CustomerIdentity, redacted
from platform_relay.queue.jobs import Job
from platform_relay.stores.native import NativeEvent
from platform_relay.stores.shopify.events import event_from_node
from platform_relay.stores.woocommerce.events import to_event

APP: Final = Path(__file__).parents[2] / "app"
NUMBERS: Final = ("0.1234567890123456789", "1e2", "1E-7", "100.0", "-0.0", "9" * 40, "1234567890.0987654321e3", "19.90")
MEMBER: Final = f'"x": [{", ".join(NUMBERS)}], "deep": {{"y": 0.30000000000000000001}}'


def contains_numbers(sent: bytes) -> bool:
    text = sent.decode().replace(" ", "")
    return ",".join(NUMBERS) in text and "0.30000000000000000001" in text


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_written_as_it_was_read(number: str) -> None:
    assert exact_json.dumps(exact_json.loads(number.encode())) == number.encode()


TEXTS: Final = st.text(st.characters(codec="utf-8"))
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(VALUES, st.sampled_from([0, 2]))
def test_what_is_written_is_read_again(value: object, indent: int) -> None:
    again = exact_json.loads(exact_json.dumps(value, indent=indent))
    assert again == value
    assert exact_json.dumps(again) == exact_json.dumps(value)


def test_a_number_that_is_not_json_and_one_that_is_out_of_range_are_refused() -> None:
    for raw in (b"NaN", b"-Infinity", b"1e9999999999999999999999"):
        with pytest.raises(ValueError):  # noqa: PT011  # any ValueError is handled alike
            exact_json.loads(raw)
    with pytest.raises(ValueError):  # noqa: PT011  # as above
        exact_json.dumps(Decimal("NaN"))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "1e9999999999999999999999"])
def test_an_event_with_a_number_that_is_not_finite_is_refused_with_its_field(number: str) -> None:
    with pytest.raises(UnstorableTextError) as caught:
        CustomerEvent.parse(f'{{"id": "1", "x": 0.5, "deep": {{"y": {number}}}}}'.encode())
    assert caught.value.field == "deep.y"


@pytest.mark.parametrize("kind", ["customer", "order", "line", "product", "variant"])
def test_unknown_numbers_of_an_event_reach_the_platform(kind: str) -> None:
    match kind:
        case "customer":
            body = translation.customer(CustomerEvent.parse(f'{{"id": "1", {MEMBER}}}'.encode()), ASSUMED)
        case "product":
            body = translation.product(ProductEvent.parse(f'{{"id": "1", {MEMBER}}}'.encode()), ASSUMED)
        case "variant":
            raw = f'{{"id": "1", "variants": [{{"externalVariantId": "2", {MEMBER}}}]}}'
            body = translation.variants(ProductEvent.parse(raw.encode()), ASSUMED) or {}
        case _:
            where = MEMBER if kind == "order" else f'"lineItems": [{{{MEMBER}}}]'
            raw = f'{{"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1.00", {where}}}'
            body = translation.order(OrderEvent.parse(raw.encode()), ASSUMED)
    assert contains_numbers(exact_json.dumps(body))


def test_numbers_that_differ_only_in_late_digits_have_different_digests() -> None:
    def digest(number: str) -> bytes:
        return translation.digest({"x": exact_json.loads(number.encode())})  # type: ignore[dict-item]  # an exact number

    assert digest("0.1234567890123456789") != digest("0.12345678901234567891")
    assert digest("0.1234567890123456789") == digest("0.1234567890123456789")


@pytest.mark.parametrize(
    ("number", "sent"), [("19.98", "19.98"), ("19.90", "19.90"), ("20.0", "20.0"), ("1e2", "100"), ("7", "7")]
)
def test_money_that_is_a_json_number_keeps_its_digits(number: str, sent: str) -> None:
    raw = f'{{"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": {number}}}'
    assert translation.order(OrderEvent.parse(raw.encode()), ASSUMED)["totalPrice"] == sent


def test_money_with_digits_that_a_float_would_lose_is_refused() -> None:
    raw = b'{"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": 19.9800000000000000001}'
    with pytest.raises(ValueError, match="not an exact amount"):
        OrderEvent.parse(raw)


@pytest.mark.parametrize("file_format", ["ndjson", "json"])
def test_an_import_keeps_them(file_format: str) -> None:
    row = f'{{"id": "1", {MEMBER}}}'
    raw = row if file_format == "ndjson" else f"[{row}]"
    plan = ImportPlan("customers", file_format, EventKind.CUSTOMER, {"id": "id"})  # type: ignore[arg-type]  # a format
    [(_, message)] = read_messages(plan, io.BytesIO(raw.encode()))
    assert isinstance(message, Incoming)
    members, written = (exact_json.loads(text) for text in (message.body, row.encode()))
    assert members == written


async def test_the_loyalty_sync_passes_them_on() -> None:
    received: list[bytes] = []

    class Store:
        async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
            assert (message_id, topic) == (str(UUID(int=2)), "")
            received.append(exact_json.dumps(body))
            return Done()

    job = Job(
        UUID(int=1), UUID(int=2), "sync_loyalty", "store", "loyalty:1", 1, 1, 1, False, False, f"{{{MEMBER}}}".encode(),
        {}, None, None, False, None, None, False, 0.0,
    )  # fmt: skip
    assert isinstance(await SyncLoyalty(Store())(job), Done)
    assert contains_numbers(received[0])


def test_a_response_is_read_with_them() -> None:
    value = HttpResponse(200, Headers(), f"{{{MEMBER}}}".encode()).json()
    assert contains_numbers(exact_json.dumps(value))


def test_an_erased_body_keeps_them() -> None:
    customer = CustomerIdentity(("42",), ("ada@example.com",))
    without = redacted(customer, f'{{"email": "ada@example.com", {MEMBER}}}'.encode())
    assert without is not None
    assert contains_numbers(without)


def test_native_amounts_are_read_with_all_digits() -> None:
    row = exact_json.loads(
        b'{"id": 1, "status": "completed", "currency": "EUR", "total": "9",'
        b' "line_items": [{"subtotal": 999999999999999.99, "quantity": 1}]}'
    )
    woo = to_event(EventKind.ORDER, row)
    assert isinstance(woo, NativeEvent)
    assert isinstance(woo.event, OrderEvent)
    assert woo.event.lineItems is not None
    assert str(woo.event.lineItems[0].price) == "999999999999999.99"
    node = exact_json.loads(
        b'{"id": "gid://shopify/Order/1", "currencyCode": "EUR", "displayFinancialStatus": "PAID", "updatedAt":'
        b' "2026-01-01T00:00:00Z", "totalPriceSet": {"shopMoney": {"amount": 999999999999999.98500000000000001}}}'
    )
    shopify = event_from_node(EventKind.ORDER, cast("JsonValue", node))
    assert isinstance(shopify, NativeEvent)
    assert isinstance(shopify.event, OrderEvent)
    assert str(shopify.event.totalPrice) == "999999999999999.99"  # rounded once, from all digits


def test_a_number_in_a_fact_can_be_stored() -> None:
    reason = because(ReasonCode.COUPON_DIFFERS, value=cast("JsonValue", Decimal("1.10")))
    assert json.dumps(dict(reason.facts)) == '{"value": "1.10"}'


# ----------------------------------------------------------------------------------------------- the source

PLAIN_JSON: Final = {
    "api/event_bodies.py": "the names and the text members of a line; an event is kept as its source text",
    "cli/conformance.py": "a file with headers and a body as texts",
    "cli/rejected_rows.py": "the number of a row in our own file",
    "conformance/responses.py": "the kit's own bodies",
    "core/exact_json.py": "the exact parser",
    "core/paging.py": "a cursor, which the relay made itself",
    "inbox/events.py": "counts the elements of lists; the event is read exactly",
    "stores/vendure/coupons.py": "a list of ids",
}
"""Modules that may read JSON with floats, and why."""
FLOATS: Final = {
    "api", "cli", "core/http.py", "core/database_url.py", "core/metrics.py", "core/setting_values.py", "queue",
    "platform/launcher.py", "stores/bigcommerce/api.py", "jobs/queries.py",
}  # fmt: skip
"""Where `float(…)` is about seconds and counts, never about a value of an event, a coupon or a response."""


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def modules() -> list[str]:
    return sorted(str(path.relative_to(APP)) for path in APP.rglob("*.py") if "migrations" not in path.parts)


@pytest.mark.parametrize("module", modules())
def test_no_module_reads_json_with_floats_or_makes_one(module: str) -> None:
    used = set(calls(APP / module))
    if module not in PLAIN_JSON:
        assert not {call for call in used if call in ("json.loads", "json.load", "from_json", "orjson.loads")}
        assert not {call for call in used if call.endswith("model_validate_json")}
    if not any(module == place or module.startswith(f"{place}/") for place in FLOATS):
        assert "float" not in used


def test_every_exception_is_needed() -> None:
    assert all("json" in (APP / module).read_text() for module in PLAIN_JSON)


@pytest.mark.parametrize("amount", ["1e-999999999", "1e-30000000", "1e999999999", "1e17"])
def test_the_digits_of_an_amount_are_bounded(amount: str) -> None:
    """Written out, 1e-999999999 would take a gigabyte."""
    body = (
        b'{"id": "1", "email": "a@b.c", "financialStatus": "paid", "currency": "EUR", "totalPrice": %b}'
        % amount.encode()
    )
    with pytest.raises(ValueError, match="totalPrice"):
        OrderEvent.parse(body)
    with pytest.raises(ValueError, match=r"is not an amount|out of range"):
        exact_json.plain(exact_json.ExactNumber(amount))


@pytest.mark.parametrize("number", ["1", "1.50"])
def test_a_value_that_is_nested_too_deeply_is_a_value_error(number: str) -> None:
    value: exact_json.ExactJson = exact_json.loads(number.encode())
    for _ in range(2000):
        value = [value]
    with pytest.raises(ValueError, match=r"nested too deeply|Circular"):
        exact_json.dumps(value)


def test_a_number_keeps_its_text_in_another_process() -> None:
    value = exact_json.loads(b'{"total": 1e2, "price": 1.10}')
    assert exact_json.dumps(pickle.loads(pickle.dumps(value))) == b'{"total":1e2,"price":1.10}'  # noqa: S301  # our own
