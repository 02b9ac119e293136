"""The store simulator as a process of its own: WooCommerce's answers and quirks, its webhooks, the signed relay."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from oauthlib.oauth1 import Client as OAuth
from standardwebhooks import Webhook

from simulators.process import Simulator

API = "/wp-json/wc/v3"
RELAY_SECRET = "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0"


def create(shop: Simulator, **fields: Any) -> httpx.Response:
    return shop.client.post(f"{API}/coupons", json={"code": "SPRING-10", **fields})


def made(shop: Simulator, **fields: Any) -> Any:
    answer = create(shop, **fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


# -- who may come in -------------------------------------------------------------------------------------------------


def test_refusals_at_the_door(shop: Simulator) -> None:
    with httpx.Client(base_url=shop.url) as anonymous:
        get = anonymous.get(f"{API}/coupons")
        assert (get.status_code, get.json()["code"]) == (401, "woocommerce_rest_cannot_view")
        unknown = anonymous.get(f"{API}/coupons", auth=("ck_other", "cs_simulator_key"))
        assert (unknown.status_code, unknown.json()["code"]) == (401, "woocommerce_rest_cannot_view")
        wrong = anonymous.get(f"{API}/coupons", auth=("ck_simulator_key", "wrong"))
        assert (wrong.status_code, wrong.json()["code"]) == (401, "woocommerce_rest_authentication_error")
        keys = {"consumer_key": "ck_simulator_key", "consumer_secret": "cs_simulator_key"}
        assert anonymous.get(f"{API}/coupons", params=keys).status_code == 200
    shop.config(read_only=True)
    answer = create(shop)
    assert (answer.status_code, "does not have write permissions" in answer.text) == (401, True)


def test_without_tls_only_oauth_counts_when_the_shop_insists(shop: Simulator) -> None:
    shop.config(require_tls=True)
    assert shop.client.get(f"{API}/coupons").json()["code"] == "woocommerce_rest_cannot_view"
    assert shop.client.get(f"{API}/coupons", headers={"x-forwarded-proto": "https"}).status_code == 200


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
@pytest.mark.parametrize("place", ["AUTH_HEADER", "QUERY"])
def test_one_legged_oauth(shop: Simulator, method: str, place: str) -> None:
    shop.config(require_tls=True)
    oauth = OAuth("ck_simulator_key", client_secret="cs_simulator_key", signature_method=method, signature_type=place)
    url, headers, _ = oauth.sign(f"{shop.url}{API}/coupons?code=SPRING%2010&per_page=5")
    with httpx.Client() as client:
        assert client.get(url, headers=headers).json() == []
        assert "nonce" in client.get(url, headers=headers).json()["message"]
    forger = OAuth("ck_simulator_key", client_secret="x", signature_method=method, signature_type=place)
    forged, headers, _ = forger.sign(f"{shop.url}{API}/coupons")
    with httpx.Client() as client:
        answer = client.get(forged, headers=headers)
    assert answer.json()["code"] == "woocommerce_rest_authentication_error"


# -- coupons ---------------------------------------------------------------------------------------------------------


def test_a_coupon_is_created_found_in_any_case_changed_and_deleted(shop: Simulator) -> None:
    answer = create(
        shop, amount="10.5", discount_type="percent", usage_limit=1, email_restrictions=["Jane@Example.com"]
    )
    coupon = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"{API}/coupons/{coupon['id']}")
    assert (coupon["code"], coupon["amount"], coupon["usage_limit"]) == ("SPRING-10", "10.50", 1)
    assert coupon["email_restrictions"] == ["jane@example.com"]
    found = shop.client.get(f"{API}/coupons", params={"code": "spring-10"}).json()
    assert [row["id"] for row in found] == [coupon["id"]]
    again = create(shop, code="spring-10")
    assert (again.status_code, again.json()["code"]) == (400, "woocommerce_rest_coupon_code_already_exists")
    path = f"{API}/coupons/{coupon['id']}"
    assert shop.client.put(path, json={"amount": "7"}).json()["amount"] == "7.00"
    assert shop.client.delete(path).json()["status"] == "trash"
    assert shop.client.get(f"{API}/coupons", params={"code": "SPRING-10"}).json() == []
    assert shop.client.get(path).json()["status"] == "trash"
    assert made(shop)["id"] != coupon["id"]
    assert shop.client.delete(path, params={"force": "true"}).status_code == 200
    gone = shop.client.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "woocommerce_rest_shop_coupon_invalid_id")


def test_a_fresh_coupon_has_the_fields_of_the_real_one(shop: Simulator) -> None:
    assert set(made(shop)) == {
        "id", "code", "amount", "status", "date_created", "date_created_gmt", "date_modified", "date_modified_gmt",
        "discount_type", "description", "date_expires", "date_expires_gmt", "usage_count", "individual_use",
        "product_ids", "excluded_product_ids", "usage_limit", "usage_limit_per_user", "limit_usage_to_x_items",
        "free_shipping", "product_categories", "excluded_product_categories", "exclude_sale_items", "minimum_amount",
        "maximum_amount", "email_restrictions", "used_by", "meta_data", "_links",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "field", "stored"),
    [
        ({"amount": "150", "discount_type": "percent"}, "amount", "0.00"),
        ({"amount": "abc"}, "amount", "0.00"),
        ({"amount": "5,25"}, "amount", "525.00"),
        ({"email_restrictions": ["not an address"]}, "email_restrictions", []),
        ({"date_expires_gmt": "2030-01-31T23:59:59"}, "date_expires", None),
        ({"date_expires": "junk"}, "date_expires", None),
        ({"date_expires": "2030-01-31T22:59:59Z"}, "date_expires", "2030-02-01T00:59:59"),
        ({"date_expires": "2030-01-31T23:59:59"}, "date_expires_gmt", "2030-01-31T21:59:59"),
        ({"date_expires": "2030-01-31T23:59:59.123Z"}, "date_expires", "2030-01-31T23:59:59"),
        ({"date_expires": "2030-01-31"}, "date_expires", "2030-01-31T00:00:00"),
        ({"code": "<b>x</b>&y"}, "code", "x&amp;y"),
        ({"nonsense": 1}, "free_shipping", False),
    ],
)
def test_nonsense_is_accepted_and_changed_in_silence(
    shop: Simulator, given: dict[str, Any], field: str, stored: object
) -> None:
    shop.config(utc_offset_hours=2)
    assert made(shop, **given)[field] == stored


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"amount": "5"}', "rest_missing_callback_param"),
        ('{"code": ""}', "woocommerce_rest_empty_coupon_code"),
        ('{"code": "A", "amount": 5}', "rest_invalid_param"),
        ('{"code": "A", "discount_type": "gift"}', "rest_invalid_param"),
        ('{"code": "A", "usage_limit": "many"}', "rest_invalid_param"),
        ('{"code": "A", "amount": "-5"}', "coupon_invalid_amount"),
        ("{", "rest_invalid_json"),
    ],
)
def test_what_is_refused(shop: Simulator, body: str, code: str) -> None:
    answer = shop.client.post(f"{API}/coupons", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert shop.state("coupons") == []


def test_a_body_not_declared_as_json_counts_for_nothing(shop: Simulator) -> None:
    answer = shop.client.post(f"{API}/coupons", content='{"code": "A"}', headers={"content-type": "text/plain"})
    assert answer.json()["code"] == "rest_missing_callback_param"


def test_codes_are_unique_by_check_then_insert_only(shop: Simulator) -> None:
    def race(code: str) -> list[int]:
        with ThreadPoolExecutor(2) as pool:
            return sorted(pool.map(lambda _: create(shop, code=code).status_code, range(2)))

    assert race("TIDY") == [201, 400]
    shop.config(coupon_race=0.3)
    assert race("RACE") == [201, 201]
    assert len(shop.client.get(f"{API}/coupons", params={"code": "RACE"}).json()) == 1
    summary = shop.summary()
    assert summary["coupons_per_code"] == {"race": 2}
    assert summary["repeated"]["coupon.create"]["coupon:race"]["applied"] == 2


def test_a_shop_that_writes_something_else(shop: Simulator) -> None:
    shop.config(distort={"amount": "1.00"})
    assert made(shop, amount="5")["amount"] == "1.00"


def test_an_ambiguous_create_is_found_by_lookup(shop: Simulator) -> None:
    shop.script(path=f"{API}/coupons", method="POST", mode="reset_after")
    with pytest.raises(httpx.ReadError):
        create(shop)
    assert len(shop.client.get(f"{API}/coupons", params={"code": "SPRING-10"}).json()) == 1


def test_unknown_routes_and_the_currency(shop: Simulator) -> None:
    answer = shop.client.get(f"{API}/nonsense")
    assert (answer.status_code, answer.json()["code"]) == (404, "rest_no_route")
    assert shop.client.get(f"{API}/data/currencies/current").json()["code"] == "EUR"


# -- lists -----------------------------------------------------------------------------------------------------------


def test_lists_are_paged_and_filtered_by_modification(shop: Simulator) -> None:
    orders = [{"id": n, "status": "processing", "date_modified_gmt": f"2026-01-{n:02}T10:00:00"} for n in range(1, 6)]
    shop.control("seed", orders=orders)
    query: dict[str, Any] = {"orderby": "id", "order": "asc", "per_page": 2}
    pages = [shop.client.get(f"{API}/orders", params={**query, "page": page}) for page in (1, 2, 3, 4)]
    assert [[row["id"] for row in page.json()] for page in pages] == [[1, 2], [3, 4], [5], []]
    assert (pages[0].headers["x-wp-total"], pages[0].headers["x-wp-totalpages"]) == ("5", "3")
    late = shop.client.get(f"{API}/orders", params={**query, "modified_after": "2026-01-03T10:00:00Z"})
    assert [row["id"] for row in late.json()] == [4, 5]
    assert shop.client.get(f"{API}/orders", params={"per_page": 101}).json()["code"] == "rest_invalid_param"
    assert shop.client.get(f"{API}/orders/3").json()["status"] == "processing"
    assert shop.client.get(f"{API}/orders/99").json()["code"] == "woocommerce_rest_shop_order_invalid_id"


def test_the_customer_list_ignores_modified_after_as_the_real_one_does(shop: Simulator) -> None:
    old = {"id": 1, "email": "a@example.com", "date_modified_gmt": "2020-01-01T00:00:00"}
    shop.control("seed", customers=[old, {**old, "id": 2, "role": "administrator"}])
    query = {"modified_after": "2026-01-01T00:00:00Z"}
    assert [row["id"] for row in shop.client.get(f"{API}/customers", params=query).json()] == [1]
    assert len(shop.client.get(f"{API}/customers", params={"role": "all"}).json()) == 2
    shop.config(customers_modified_after=True)
    assert shop.client.get(f"{API}/customers", params=query).json() == []


# -- webhooks --------------------------------------------------------------------------------------------------------


def register(shop: Simulator, url: str, topic: str) -> Any:
    body = {"name": "relay", "topic": topic, "delivery_url": url, "secret": "s3cret", "status": "active"}
    answer = shop.client.post(f"{API}/webhooks", json=body)
    assert answer.status_code == 201
    assert "secret" not in answer.json()
    return answer.json()


def test_a_webhook_pings_then_delivers_signed_bodies(shop: Simulator, receiver: Any) -> None:
    hook = register(shop, receiver.url, "order.created")
    headers, body = receiver.wait(1)[0]
    assert (headers["content-type"], body) == ("application/x-www-form-urlencoded", b"webhook_id=%d" % hook["id"])
    shop.control("event", topic="order.created", resource={"id": 44, "status": "processing"}, times=2)
    (_, first), (headers, second) = receiver.wait(3)[1:]
    assert first == second
    signed = base64.b64encode(hmac.new(b"s3cret", second, hashlib.sha256).digest()).decode()
    assert headers["x-wc-webhook-signature"] == signed
    assert (headers["x-wc-webhook-topic"], json.loads(second)["id"]) == ("order.created", 44)
    shop.control("event", topic="order.deleted", resource={"id": 44})
    assert shop.state("orders") == {}
    path = f"{API}/webhooks/{hook['id']}"
    assert shop.client.put(path, json={"status": "paused"}).json()["status"] == "paused"
    assert shop.client.delete(path).status_code == 501
    assert shop.client.delete(path, params={"force": "true"}).status_code == 200
    assert shop.client.get(f"{API}/webhooks").json() == []


def test_one_success_in_between_keeps_a_webhook_active(shop: Simulator, receiver: Any) -> None:
    receiver.statuses = [200, *[500] * 5, 200, *[500] * 5]
    hook = register(shop, receiver.url, "product.updated")
    receiver.wait(1)
    for _ in range(11):
        shop.control("event", topic="product.updated", resource={"id": 7})
    assert shop.client.get(f"{API}/webhooks/{hook['id']}").json()["status"] == "active"


def test_a_webhook_that_keeps_failing_is_disabled_without_retries(shop: Simulator, receiver: Any) -> None:
    receiver.statuses = [500]
    hook = register(shop, receiver.url, "product.updated")
    receiver.wait(1)
    for _ in range(8):
        shop.control("event", topic="product.updated", resource={"id": 7})
    assert shop.client.get(f"{API}/webhooks/{hook['id']}").json()["status"] == "disabled"
    assert len(receiver.received) == 1 + 6


# -- the generic relay -----------------------------------------------------------------------------------------------


def signed_post(shop: Simulator, path: str, body: dict[str, Any], at: int | None = None) -> httpx.Response:
    raw = json.dumps(body).encode()
    stamp = str(at or int(time.time()))
    key = base64.b64decode(RELAY_SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, f"msg_1.{stamp}.".encode() + raw, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1,AAAA v1,{digest}"}
    return shop.client.post(path, content=raw, headers=headers)


def ask(shop: Simulator, what: str, code: str = "AB12") -> httpx.Response:
    return signed_post(shop, f"/relay/coupons/{what}", {"type": f"coupon.{what}", "code": code})


def test_the_relay_creates_finds_and_retires_signed_coupons(shop: Simulator) -> None:
    coupon = {"code": "AB12", "kind": "fixed_amount", "value": "5.00"}
    issue = {"type": "coupon.issue", **coupon}
    none = ask(shop, "lookup")
    assert (none.status_code, none.json()) == (404, {"message": "no such coupon"})
    assert signed_post(shop, "/relay/coupons", issue).status_code == 201
    assert signed_post(shop, "/relay/coupons", issue).status_code == 200
    other = signed_post(shop, "/relay/coupons", {**issue, "value": "6.00"})
    assert (other.status_code, other.json()["coupon"]["value"]) == (409, "5.00")
    found = ask(shop, "lookup").json()
    assert found["coupon"].items() >= coupon.items()
    assert (found["coupon"]["used"], found["state"]) == (0, "active")
    assert ask(shop, "retire").json()["state"] == "retired"
    assert ask(shop, "retire", "NONE").status_code == 404


def test_a_signed_lookup_cannot_pass_for_a_removal(shop: Simulator) -> None:
    lookup = {"type": "coupon.lookup", "code": "AB12"}
    assert signed_post(shop, "/relay/coupons/retire", lookup).status_code == 422
    assert signed_post(shop, "/relay/coupons", lookup).status_code == 422


def test_the_relay_refuses_what_is_not_signed_or_too_old(shop: Simulator) -> None:
    coupon = {"type": "coupon.issue", "code": "AB12"}
    assert shop.client.post("/relay/coupons", json=coupon).status_code == 401
    assert signed_post(shop, "/relay/coupons", coupon, at=int(time.time()) - 600).status_code == 401
    shop.config(relay_secret="whsec_b3RoZXI=")
    assert signed_post(shop, "/relay/coupons", coupon).status_code == 401
    assert shop.state("relay") == {}


def test_the_standard_webhooks_library_agrees_with_our_verification(shop: Simulator) -> None:
    body, moment = '{"type":"coupon.issue","code":"LIB1"}', datetime.now(UTC)
    headers = {
        "webhook-id": "msg_2",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(RELAY_SECRET).sign("msg_2", moment, body),
    }
    assert shop.client.post("/relay/coupons", content=body, headers=headers).status_code == 201
