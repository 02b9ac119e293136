"""What only WooCommerce does."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind, StoreCoupon
from platform_relay.stores.native import FetchesEntities
from platform_relay.stores.woocommerce.api import GONE
from platform_relay.stores.woocommerce.coupons import coupon_body, parse_coupon
from tests.contract.bench import Bench, differences_of, order
from tests.contract.tls import Certificate, front, self_signed

pytestmark = pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)
RECORDED = Path(__file__).parents[3] / "shared" / "payloads" / "woocommerce" / "POST_coupons_response.json"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


def authorizations(bench: Bench) -> list[str]:
    return [dict(entry["headers"])["authorization"] for entry in bench.simulator.ledger()]


async def test_coupons_that_are_switched_off_are_named_and_the_key_is_not_blamed(bench: Bench) -> None:
    bench.simulator.config(coupons_enabled=False)
    outcomes = [
        await bench.adapter.check(),
        await bench.adapter.issue_coupon(order(first_try=True)),
        await bench.adapter.issue_coupon(order()),
        await bench.adapter.find_coupon(order().code),
        await bench.adapter.retire_coupon(order().code),
    ]
    for outcome in outcomes:
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.STORE_NOT_READY
        assert "woocommerce_enable_coupons" in outcome.reason.text
    assert bench.made() == 0


async def test_plain_http_is_signed_by_oauth(bench: Bench) -> None:
    bench.simulator.config(record_headers=True)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    for header in authorizations(bench):
        assert header.startswith("OAuth ")
        assert bench.shop.variables["CONSUMER_SECRET"] not in header


async def test_https_uses_basic(bench: Bench, certificate: Certificate) -> None:
    bench.simulator.config(record_headers=True, require_tls=False)  # the TLS ends before the simulator
    async with front(certificate, bench.simulator.url) as url:
        bench.point_at(url)
        untrusting = bench.build()
        assert isinstance(await untrusting.check(), Blocked)
        assert bench.simulator.ledger() == []
        bench.set("CA_FILE", str(certificate.path))
        assert isinstance(await bench.build().issue_coupon(order()), Done)
        await bench.aclose()
    keys = base64.b64encode(":".join(bench.secrets).encode()).decode()
    assert set(authorizations(bench)) == {f"Basic {keys}"}


@pytest.mark.parametrize("echoed", ["basic", "secret"])
async def test_the_encoded_key_is_a_secret_too(bench: Bench, certificate: Certificate, echoed: str) -> None:
    keys = base64.b64encode(":".join(bench.secrets).encode()).decode()
    bench.misbehave(bench.shop.create, status=500, body={"basic": keys, "secret": bench.secrets[1]}[echoed])
    async with front(certificate, bench.simulator.url) as url:
        bench.point_at(url)
        bench.set("CA_FILE", str(certificate.path))
        bench.simulator.config(require_tls=False)
        outcome = await bench.build().issue_coupon(order(first_try=True))
        await bench.aclose()
    assert isinstance(outcome, Unknown)
    assert outcome.evidence.excerpt == "***"


async def test_a_read_only_key_is_blocked_by_its_permission(bench: Bench) -> None:
    bench.simulator.config(read_only=True)
    for outcome in (await bench.adapter.issue_coupon(order()), await bench.adapter.check()):
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
        assert outcome.reason.facts["permission"] == "Read/Write"


async def test_an_unknown_key_is_told_from_a_wrong_secret(bench: Bench) -> None:
    bench.simulator.config(consumer_secret="cs_another")
    wrong_secret = await bench.adapter.check()
    assert isinstance(wrong_secret, Blocked)
    assert wrong_secret.reason.code is ReasonCode.KEY_REJECTED
    assert "signature may be wrong" in wrong_secret.reason.next_step
    bench.simulator.config(require_tls=True, consumer_key="ck_another")
    assert isinstance(await bench.adapter.check(), Blocked)


async def test_a_request_that_was_delivered_twice(bench: Bench) -> None:
    body = {"code": "woocommerce_rest_authentication_error", "message": "Invalid nonce - nonce has already been used."}
    bench.misbehave(bench.shop.create, mode="apply_then", status=401, body=body)
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown)
    bench.misbehave(bench.shop.find, status=401, body=body)
    assert isinstance(await bench.adapter.issue_coupon(order()), Retry)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1


async def test_another_currency_is_rejected(bench: Bench) -> None:
    bench.simulator.config(currency="USD")
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.CURRENCY_MISMATCH
    assert (outcome.reason.facts["ordered"], outcome.reason.facts["currency"]) == ("EUR", "USD")
    assert bench.made() == 0


async def test_an_address_that_the_shop_drops_is_no_success(bench: Bench) -> None:
    """WooCommerce answers 201 with an empty list: the coupon would be valid for everybody."""
    outcome = await bench.adapter.issue_coupon(order(email="jane-at-example"))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert outcome.reason.facts["differences"] == [{"field": "email", "actual": None, "expected": "set"}]
    assert not await bench.usable()


async def test_a_code_that_the_shop_rewrites_is_no_success(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(order(code="<b>x</b>&y"))
    assert isinstance(outcome, Reject)
    assert {"field": "code", "actual": "x&amp;y", "expected": "<b>x</b>&y"} in differences_of(outcome)
    assert not await bench.usable("x&y")


async def test_a_wrong_coupon_that_cannot_be_deleted_is_named(bench: Bench) -> None:
    bench.simulator.config(distort=bench.shop.distortion)
    bench.misbehave(("DELETE", "/wp-json"), status=503)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    assert (outcome.reason.facts["removed"], outcome.reason.facts["store_id"]) == (False, "1")


async def test_a_coupon_of_the_merchant_with_conditions_is_another(bench: Bench) -> None:
    bench.simulator.config(distort={"exclude_sale_items": True, "maximum_amount": "500.00"})
    outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Reject)
    assert differences_of(outcome) == [
        {"field": "restrictions", "actual": name, "expected": None} for name in ("exclude_sale_items", "maximum_amount")
    ]


async def test_store_time_is_not_ours(bench: Bench) -> None:
    bench.simulator.config(utc_offset_hours=5.5)
    expires_at = datetime(2031, 1, 31, 23, 59, 59, tzinfo=UTC)
    assert isinstance(await bench.adapter.issue_coupon(order(expires_at=expires_at)), Done)
    found = await bench.adapter.find_coupon(order().code)
    assert isinstance(found, StoreCoupon)
    assert found.expires_at == expires_at


async def test_php_warnings_around_the_json(bench: Bench) -> None:
    warning = "<br />\n<b>Warning</b>: Undefined variable in <b>/var/www/x.php</b> on line <b>3</b><br />\n"
    bench.misbehave(bench.shop.find, body=f"{warning}[]", status=200)
    bench.misbehave(bench.shop.create, mode="apply_then", status=201, body=f'{warning}{{"id": 1}}')
    assert isinstance(await bench.adapter.issue_coupon(order()), Unknown)
    row = json.dumps(bench.simulator.state("coupons"))
    for broken in (
        f"{warning}{row}{row}",
        f"<html>{row}</html>",
        f"{warning}{row[:-200]}",
        f"{warning}{row[40:]}",
        f"<p>{{</p>{row}",
    ):
        bench.misbehave(bench.shop.find, body=broken, status=200)
        assert isinstance(await bench.adapter.issue_coupon(order()), Unknown), broken
    bench.misbehave(bench.shop.find, body=f"{warning}{row}", status=200)
    assert isinstance(await bench.adapter.issue_coupon(order()), Done)
    assert bench.made() == 1


async def test_all_coupons_of_a_raced_code_are_retired(bench: Bench) -> None:
    bench.simulator.config(coupon_race=0.3, require_tls=False)
    url, coupon = f"{bench.simulator.url}/wp-json/wc/v3/coupons", {"code": order().code}
    async with httpx.AsyncClient(auth=(bench.secrets[0], bench.secrets[1])) as client:
        made = await asyncio.gather(*(client.post(url, json=coupon) for _ in range(2)))
    assert [answer.status_code for answer in made] == [201, 201]
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)
    assert bench.simulator.state("coupons") == []


async def test_a_coupon_deleted_meanwhile_is_retired(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    bench.misbehave(
        ("DELETE", "/wp-json"), mode="apply_then", status=404, body={"code": GONE, "message": "Invalid ID."}
    )
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)


async def test_a_failed_deletion_is_told(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    bench.misbehave(("DELETE", "/wp-json"), status=503, headers={"retry-after": "3"})
    outcome = await bench.adapter.retire_coupon(order().code)
    assert isinstance(outcome, Retry)
    assert outcome.after == 3


def test_what_is_sent(bench: Bench) -> None:
    wanted = order(
        kind=CouponKind.FREE_PRODUCT, value=None, product_ids=("7",), minimum_spend=Decimal("3E+1"), usage_limit=None,
        expires_at=datetime(2027, 1, 31, 1, 2, 3, 999000, UTC), combinable=False, reference="r-1",
    )  # fmt: skip
    assert coupon_body(wanted) == {
        "code": wanted.code, "discount_type": "percent", "amount": "100", "description": "", "individual_use": True,
        "free_shipping": False, "product_ids": [7], "limit_usage_to_x_items": 1, "minimum_amount": "30",
        "email_restrictions": [], "date_expires": "2027-01-31T01:02:03Z",
        "meta_data": [{"key": "_platform_relay_reference", "value": "r-1"}],
    }  # fmt: skip


def test_a_real_shops_answer_is_understood(bench: Bench) -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded answers (../shared) are not here")
    found = parse_coupon(json.loads(RECORDED.read_text()), NOW)
    assert found is not None
    assert (found.code, found.kind, found.value) == ("SPRING-10", CouponKind.PERCENTAGE, Decimal("10.50"))
    assert (found.email, found.combinable, found.minimum_spend) == ("jane@example.com", False, Decimal(30))
    assert found.expires_at == datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)
    assert found.restrictions == ("exclude_sale_items", "maximum_amount")
    assert found.active


@pytest.mark.parametrize(
    "row", [None, [], {}, {"id": 1}, {"id": "1", "code": "x"}, {"id": 1, "code": "x", "amount": "NaN"},
            {"id": 1, "code": "x", "amount": "a lot"}, {"id": 1, "code": "x", "date_expires_gmt": "soon"}]
)  # fmt: skip
def test_what_is_no_coupon(bench: Bench, row: Any) -> None:
    assert parse_coupon(row, NOW) is None


async def test_a_product_id_of_another_shop_is_rejected(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(order(product_ids=("gid://shopify/Product/1",)))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.COUPON_INVALID
    assert outcome.reason.facts["field"] == "product_ids"
    assert "gid://shopify/Product/1" in str(outcome.reason.facts["problem"])


@pytest.mark.parametrize("kind", list(EventKind))
async def test_what_is_gone_from_the_shop_is_gone_and_closes_no_channel(bench: Bench, kind: EventKind) -> None:
    assert isinstance(bench.adapter, FetchesEntities)
    assert await bench.adapter.fetch(kind, "999999") is None
    bench.simulator.script(status=404, body="<html>no such page</html>")
    assert isinstance(await bench.adapter.fetch(kind, "999999"), Blocked)
