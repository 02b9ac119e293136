"""What only BigCommerce does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from platform_relay.core.outcomes import Blocked, Done, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind
from platform_relay.stores.bigcommerce.adapter import coupon_body, parse_coupon
from tests.contract.bench import CODE, Bench, differences_of, double, order

SPEC = Path(__file__).parents[3] / "shared" / "specs" / "bigcommerce" / "marketing.v2.yml"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    bench = Bench("bigcommerce", double("bigcommerce"), monkeypatch)
    yield bench
    await bench.aclose()


@pytest.mark.parametrize("first_try", [True, False])
async def test_a_code_with_other_values_is_rejected(bench: Bench, first_try: bool) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    outcome = await bench.adapter.issue_coupon(order(value=Decimal("7.50"), first_try=first_try))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert differences_of(outcome) == [{"field": "value", "actual": "5.00", "expected": "7.50"}]
    assert await bench.usable()
    assert bench.made() == 1


@pytest.mark.parametrize("who", [{"email": "jane@example.com"}, {"customer_id": "7"},
                                 {"email": "jane@example.com", "customer_id": "7"}])  # fmt: skip
async def test_one_shopper_is_refused_or_by_setting_everybody(bench: Bench, who: dict[str, str]) -> None:
    outcome = await bench.adapter.issue_coupon(order(**who))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
    assert outcome.reason.facts["field"] in ("email", "customer_id")
    assert "jane" not in repr(outcome)
    assert bench.made() == 0
    bench.set("ONE_CUSTOMER", "issue_unrestricted")
    adapter = bench.build()
    for _ in range(2):
        assert isinstance(await adapter.issue_coupon(order(**who)), Done)
    assert bench.made() == 1


async def test_a_token_that_may_not_write(bench: Bench) -> None:
    bench.simulator.config(permissions=["Information & settings read-only"])
    for outcome in (await bench.adapter.check(), await bench.adapter.issue_coupon(order(first_try=True))):
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
        assert "scopes" in outcome.reason.next_step


async def test_throttled_as_its_own_header_says(bench: Bench) -> None:
    bench.misbehave(bench.shop.create, status=429, body={}, headers={"X-Rate-Limit-Time-Reset-Ms": "2500"})
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Retry), outcome
    assert outcome.after == 2.5
    assert outcome.reason.code is ReasonCode.RATE_LIMITED
    assert outcome.reason.facts["seconds"] == 2.5


async def test_a_stale_look_up_ends_in_one_coupon(bench: Bench) -> None:
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    bench.simulator.config(stale_finds=1)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)  # refused, then looked up again
    assert bench.made() == 1


async def test_the_same_title_is_no_conflict_of_names(bench: Bench) -> None:
    for code in ("A1", "B2"):
        assert isinstance(await bench.adapter.issue_coupon(order(code=code, title="Thank you")), Done)


async def test_another_currency_is_rejected(bench: Bench) -> None:
    bench.simulator.config(currency="USD")
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert (outcome.reason.facts["ordered"], outcome.reason.facts["currency"]) == ("EUR", "USD")
    assert bench.made() == 0


@pytest.mark.parametrize("fields", [{"code": "ü"}, {"code": "x" * 51}, {"product_ids": ("gid://x",)}])
async def test_what_does_not_fit_never_reaches_the_shop(bench: Bench, fields: dict[str, Any]) -> None:
    outcome = await bench.adapter.issue_coupon(order(**fields))
    assert isinstance(outcome, Reject)
    assert outcome.reason.facts["field"] == next(iter(fields))
    assert bench.simulator.ledger() == []


BODIES = [
    order(),
    order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), currency=None, usage_limit=None),
    order(kind=CouponKind.FREE_SHIPPING, value=None, currency=None),
    order(product_ids=("3", "1"), minimum_spend=Decimal("3E+1"), per_customer_limit=2, title="T" * 200),
    order(expires_at=NOW + timedelta(days=9)),
]


@pytest.mark.parametrize("wanted", BODIES)
def test_the_body_is_what_the_official_document_says(wanted: Any) -> None:
    if not SPEC.exists():
        pytest.skip("the official documents (../shared/specs) are not here")
    yaml = pytest.importorskip("yaml", reason="PyYAML, which reads the official document, is not installed")
    schema = yaml.safe_load(SPEC.read_text())["components"]["schemas"]["coupon_Base"]
    body = coupon_body(wanted)
    jsonschema.Draft4Validator(schema).validate(body)
    assert set(body) <= set(schema["properties"])


def test_the_documents_example_is_understood() -> None:
    row: dict[str, Any] = {
        "id": 2, "name": "x", "type": "per_total_discount", "amount": "5.0000", "min_purchase": "25.0000",
        "expires": "Tue, 13 Mar 2029 16:18:59 +0000", "enabled": True, "code": "E3JC79S0I",
        "applies_to": {"entity": "categories", "ids": [0]}, "num_uses": 0, "max_uses": 25, "max_uses_per_customer": 0,
        "restricted_to": {"countries": "AU"}, "shipping_methods": ["shipping_endicia"],
    }  # fmt: skip
    found = parse_coupon(row, NOW)
    assert found is not None
    assert (found.value, found.minimum_spend, found.usage_limit, found.per_customer_limit) == (
        Decimal(5),
        Decimal(25),
        25,
        None,
    )
    assert found.restrictions == ("restricted_to", "shipping_methods")
    assert found.active


@pytest.mark.parametrize(
    "row", [None, [], {}, {"id": "1", "code": "x"}, {"id": 1, "code": "x", "amount": "much"},
            {"id": 1, "code": "x", "expires": "soon"}]
)  # fmt: skip
def test_what_is_no_coupon(row: Any) -> None:
    assert parse_coupon(row, NOW) is None


def test_the_name_fits(bench: Bench) -> None:
    assert len(str(coupon_body(order(title="T" * 200))["name"])) == 100
    assert CODE in str(coupon_body(order(title="T" * 200))["name"])
