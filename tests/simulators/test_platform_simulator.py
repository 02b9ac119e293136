"""The Platform simulator as a process of its own: its contract, its misbehaviour, its ledger, its webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from simulators.process import Simulator, SimulatorError, run, start

ORDER: dict[str, Any] = {
    "id": "1001", "customerId": "42", "financialStatus": "paid", "currency": "EUR", "totalPrice": "19.98",
    "lineItems": [{"productId": "7", "title": "Mug", "quantity": 2, "price": "9.99"}],
}  # fmt: skip


def put_customer(platform: Simulator, identifier: str = "42", **fields: Any) -> httpx.Response:
    return platform.client.put(f"/v1/customers/{identifier}", json={"email": f"{identifier}@example.com", **fields})


# -- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_forbidden_and_changes_nothing(platform: Simulator, status: int) -> None:
    platform.config(bad_key_status=status)
    answer = platform.client.put("/v1/customers/42", json={}, headers={"x-api-key": "wrong"})
    assert (answer.status_code, answer.json()) == (status, {"message": "Forbidden"})
    assert platform.state("customers") == {}


def test_customers_are_put_read_and_listed(platform: Simulator) -> None:
    assert platform.client.get("/v1/customers/42").json() == {"message": "Customer not found"}
    first = put_customer(platform, name="Jane").json()["customer"]
    again = put_customer(platform, name="Jane Doe").json()["customer"]
    assert again["id"] == first["id"]
    assert again["externalId"] == "42"
    assert platform.client.get("/v1/customers/42").json()["customer"]["name"] == "Jane Doe"
    found = platform.client.get("/v1/customers", params={"email": "42@EXAMPLE.com"}).json()["customers"]
    assert [customer["externalId"] for customer in found] == ["42"]


def test_the_customer_list_is_paged_by_a_cursor(platform: Simulator) -> None:
    platform.config(customers_page_size=2)
    for number in range(5):
        put_customer(platform, str(number))
    seen: list[str] = []
    parameters: dict[str, str] = {}
    while True:
        page = platform.client.get("/v1/customers", params=parameters).json()
        seen += [customer["externalId"] for customer in page["customers"]]
        if "cursor" not in page:
            break
        parameters = {"cursor": page["cursor"]}
    assert seen == ["0", "1", "2", "3", "4"]


def test_an_id_with_a_slash_and_a_percent_sign_survives(platform: Simulator) -> None:
    assert platform.client.put("/v1/customers/a%2Fb%2525", json={}).json()["customer"]["externalId"] == "a/b%25"


def test_points_are_added_each_time(platform: Simulator) -> None:
    assert platform.client.post("/v1/customers/42/points", json={"points": 5}).status_code == 404
    put_customer(platform)
    for _ in range(2):
        platform.client.post("/v1/customers/42/points", json={"points": 5, "action": "review"})
    assert platform.state("customers", "42")["pointBalance"] == 10
    for wrong in ({"points": 0}, {"points": "5"}, {}):
        assert platform.client.post("/v1/customers/42/points", json=wrong).status_code == 400


def test_an_order_needs_its_customer_by_id_else_by_email(platform: Simulator) -> None:
    for body in (ORDER, {"id": "1", "email": "42@example.com"}, {"id": "2"}):
        answer = platform.client.post("/v1/orders", json=body)
        assert (answer.status_code, answer.json()) == (404, {"message": "Customer not found"})
    put_customer(platform)
    assert platform.client.post("/v1/orders", json=ORDER).status_code == 200
    assert platform.client.post("/v1/orders", json={"id": "1", "email": "42@example.com"}).status_code == 200
    answer = platform.client.patch("/v1/orders/unknown", json={"financialStatus": "paid"})
    assert (answer.status_code, answer.json()) == (404, {"message": "Order not found"})


def test_points_are_awarded_once_per_order_when_paid_and_taken_back_when_refunded(platform: Simulator) -> None:
    put_customer(platform)
    platform.client.post("/v1/orders", json={**ORDER, "financialStatus": "pending"})
    assert platform.state("customers", "42")["pointBalance"] == 0
    for _ in range(2):
        platform.client.patch("/v1/orders/1001", json={"financialStatus": "paid"})
    assert platform.state("customers", "42")["pointBalance"] == 19
    for _ in range(2):
        platform.client.patch("/v1/orders/1001", json={"financialStatus": "refunded"})
    assert platform.state("customers", "42")["pointBalance"] == 0


@pytest.mark.parametrize(
    ("mode", "status", "rows", "points"), [("conflict", 409, 1, 19), ("duplicate", 200, 2, 38), ("upsert", 200, 1, 19)]
)
def test_a_second_post_of_an_order(platform: Simulator, mode: str, status: int, rows: int, points: int) -> None:
    platform.config(second_order_post=mode)
    put_customer(platform)
    platform.client.post("/v1/orders", json=ORDER)
    second = platform.client.post("/v1/orders", json=ORDER)
    assert second.status_code == status
    if mode == "conflict":
        assert second.json() == {"message": "Order already exists"}
    assert len(platform.state("orders", "1001")) == rows
    assert platform.state("customers", "42")["pointBalance"] == points
    counts = platform.summary()["repeated"]["order.post"]["order:1001"]
    assert (counts["received"], counts["duplicates"]) == (2, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"totalPrice": 19.98},
        {"financialStatus": "payed"},
        {"lineItems": [{"price": 9.99}]},
        {"lineItems": ["x"]},
        {"id": 7},
    ],
)
def test_untidy_orders_are_refused(platform: Simulator, wrong: dict[str, Any]) -> None:
    put_customer(platform)
    assert platform.client.post("/v1/orders", json={**ORDER, **wrong}).status_code == 400


def test_absent_variants_are_deleted(platform: Simulator) -> None:
    path = "/v1/products/7/variants"
    assert platform.client.post(path, json={"variants": []}).status_code == 404
    platform.client.put("/v1/products/7", json={"title": "Mug", "status": "active"})
    first = platform.client.post(path, json={"variants": [{"externalVariantId": v} for v in ("a", "b")]}).json()
    second = platform.client.post(path, json={"variants": [{"externalVariantId": v} for v in ("b", "c")]}).json()
    assert [variant["externalVariantId"] for variant in second["variants"]] == ["b", "c"]
    assert second["variants"][0]["id"] == first["variants"][1]["id"]


# -- redemptions, the Launcher, webhooks -----------------------------------------------------------------------------


def digest(email: str, customer: str, key: str = "sim-platform-key") -> str:
    return hmac.new(key.encode(), f"sim-shop{email.lower()}{customer}".encode(), hashlib.sha256).hexdigest()


def all_rewards(platform: Simulator, email: str, customer: str, **more: str) -> httpx.Response:
    named = {"shop": "sim-shop", "customer_id": customer, "customer_email": email, "digest": digest(email, customer)}
    return platform.client.get("/launcher/v1/customer/all-rewards", params={**named, **more})


def test_a_redemption_spends_points_is_listed_and_is_sent_until_2xx(platform: Simulator, receiver: Any) -> None:
    receiver.statuses = [500, 503, 202]
    platform.config(webhook_url=receiver.url, webhook_backoff=0.01, webhook_headers={"x-door": "secret"})
    platform.control("customers", customers=[{"customerId": "42", "email": "Jane@example.com", "points": 700}])
    made = platform.control("redeem", customerId="42", ruleId="rule-5-off", embed_rule=True)
    assert re.fullmatch("[0-9a-f]{12}", made["code"])
    assert [attempt["status"] for attempt in made["deliveries"][0]["attempts"]] == [500, 503, 202]
    assert made["deliveries"][0]["delivered"] is True
    headers, body = receiver.received[-1]
    sent = json.loads(body)
    assert (headers["x-webhook-topic"], headers["x-webhook-id"]) == ("points/redeemed", "sim-subscription-1")
    assert headers["x-door"] == "secret"
    assert (sent["couponCode"], sent["points"], sent["rewardType"]) == (made["code"], 500, "amountdiscount")
    assert sent["redeemRule"]["discountValue"] == 5
    assert sent["customer"]["pointBalance"] == 200
    listed = all_rewards(platform, "JANE@example.com", "42").json()
    assert [item["couponCode"] for item in listed["items"]] == [made["code"]]
    assert listed["nextToken"] == ""
    with pytest.raises(SimulatorError, match="allow_overdraft"):
        platform.control("redeem", customerId="42", ruleId="rule-5-off")
    twice = platform.control("redeem", customerId="42", ruleId="rule-5-off", allow_overdraft=True, times=2)
    assert len(twice["deliveries"]) == 2
    assert len(receiver.received) == 5


def test_all_rewards_checks_the_digest_and_pages(platform: Simulator) -> None:
    platform.config(rewards_page_size=2)
    platform.control("customers", customers=[{"customerId": "42", "email": "j@example.com"}])
    redeem = {"customerId": "42", "ruleId": "rule-5-off", "allow_overdraft": True, "deliver": False}
    codes = [platform.control("redeem", **redeem)["code"] for _ in range(5)]
    platform.control("redeem", **redeem, code="forged", listed=False)
    seen, token = [], ""
    while True:
        page = all_rewards(platform, "j@example.com", "42", **({"nextToken": token} if token else {})).json()
        seen += [item["couponCode"] for item in page["items"]]
        token = page["nextToken"]
        if not token:
            break
    assert seen == codes
    wrong = all_rewards(platform, "j@example.com", "42", digest="0" * 64)
    assert (wrong.status_code, wrong.json()) == (401, {"error": "DigestMismatch"})
    unknown = platform.client.get("/launcher/v1/customer/all-rewards", params={"shop": "sim-shop"})
    assert (unknown.status_code, unknown.json()) == (400, {"error": "CustomerRequired"})
    nowhere = platform.client.get("/launcher/v1/customer/all-rewards")
    assert (nowhere.status_code, nowhere.json()) == (400, {"error": "ShopRequired"})


def test_the_launcher_shows_shop_and_rules_without_a_key(platform: Simulator) -> None:
    with httpx.Client(base_url=platform.url) as anonymous:
        assert anonymous.get("/launcher/v1/shop", params={"shop": "sim-shop"}).json()["storeCurrency"] == "EUR"
        rules = anonymous.get("/launcher/v1/shop/rules/redeem", params={"shop": "sim-shop"}).json()["rules"]
        assert {"rule-5-off", "rule-per-100"} <= {rule["id"] for rule in rules}
        assert anonymous.get("/launcher/v1/shop", params={"shop": "other"}).status_code == 404


def test_a_used_reward(platform: Simulator) -> None:
    assert platform.client.post("/v1/rewards/nope/use").status_code == 404
    put_customer(platform)
    redeem = {"customerId": "42", "ruleId": "rule-5-off", "allow_overdraft": True, "deliver": False}
    code = platform.control("redeem", **redeem)["code"]
    assert platform.client.post(f"/v1/rewards/{code}/use").status_code == 200
    assert platform.client.post(f"/v1/rewards/{code}/use").status_code == 409


def test_a_referral_completes_by_the_friends_paid_order(platform: Simulator, receiver: Any) -> None:
    platform.config(webhook_url=receiver.url)
    put_customer(platform)
    started = platform.control("referral", customerId="42", friendEmail="friend@example.com", discountAmount=7)
    put_customer(platform, "43", email="friend@example.com")
    platform.client.post("/v1/orders", json={**ORDER, "customerId": "43", "email": "Friend@example.com"})
    (_, first), (headers, second) = receiver.wait(2)
    assert headers["x-webhook-topic"] == "referrals/completed"
    assert json.loads(second) == json.loads(first)
    assert [json.loads(first)[name]["couponCode"] for name in ("customerReward", "friendReward")] == started["codes"]


def test_tier_rewards_and_any_webhook(platform: Simulator, receiver: Any) -> None:
    platform.config(webhook_url=receiver.url)
    put_customer(platform)
    made = platform.control("tier-reward", customerId="42", discountAmount=3)
    platform.control("send-webhook", topic="customers/updated", body={"externalId": "42"}, webhook_id="w-1")
    platform.control("send-webhook", topic="points/earned", raw="{not json", attempts=1)
    (_, tier), (updated, body), (_, raw) = receiver.received
    assert json.loads(tier)["reward"]["couponCode"] == made["code"]
    assert (updated["x-webhook-topic"], updated["x-webhook-id"]) == ("customers/updated", "w-1")
    assert json.loads(body) == {"externalId": "42"}
    assert raw == b"{not json"


# -- misbehaviour ----------------------------------------------------------------------------------------------------


def applied(platform: Simulator) -> int:
    return int(platform.summary()["kinds"]["customer.put"]["applied"])


@pytest.mark.parametrize(("mode", "effects"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_is_a_real_tcp_reset(platform: Simulator, mode: str, effects: int) -> None:
    platform.script(path="/v1/customers", mode=mode)
    address = urlsplit(platform.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
        connection.sendall(
            b"PUT /v1/customers/42 HTTP/1.1\r\nhost: x\r\nx-api-key: sim-platform-key\r\ncontent-length: 2\r\n\r\n{}"
        )
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    assert applied(platform) == effects
    entry = platform.ledger()[0]
    assert (entry["status"], entry["fault"], entry["applied"]) == (None, mode, effects == 1)
    assert put_customer(platform).status_code == 200


def test_scripted_answers_come_in_order_then_the_honest_one(platform: Simulator) -> None:
    platform.script(path="/v1/customers", method="PUT", times=2, status=503, headers={"Retry-After": "7"})
    platform.script(path="^/v1/.*/42$", mode="apply_then", status=500, body={"message": "oops"})
    answers = [put_customer(platform) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 500, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[2].json() == {"message": "oops"}
    assert applied(platform) == 2


def test_broken_answers(platform: Simulator) -> None:
    platform.script(mode="garbage")
    assert "<html>" in put_customer(platform).text
    platform.script(mode="empty")
    empty = put_customer(platform)
    assert (empty.status_code, empty.content) == (200, b"")
    platform.script(mode="truncated")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        put_customer(platform)
    platform.script(mode="not_http")
    with pytest.raises(httpx.RemoteProtocolError):
        put_customer(platform)
    platform.script(mode="redirect")
    redirect = put_customer(platform)
    assert (redirect.status_code, redirect.headers["location"]) == (307, "/redirected")
    platform.script(mode="gzip_bomb", size=5_000_000)
    with platform.client.stream("PUT", "/v1/customers/42", json={}) as bomb:
        wire = sum(len(part) for part in bomb.iter_raw())
    assert (bomb.headers["content-encoding"], wire < 20_000) == ("gzip", True)
    platform.script(mode="slow_drip", delay=0.001, body="abc")
    with platform.client.stream("PUT", "/v1/customers/42", json={}) as drip:
        parts = list(drip.iter_raw())
    assert b"".join(parts) == b"abc"
    assert applied(platform) == 6
    assert put_customer(platform).status_code == 200


def test_a_late_answer_is_to_a_call_that_was_carried_out(platform: Simulator) -> None:
    platform.script(mode="apply_then", delay=30)
    with pytest.raises(httpx.ReadTimeout):
        platform.client.put("/v1/customers/42", json={}, timeout=0.3)
    assert applied(platform) == 1


def test_persistent_rules_hold_until_cleared_and_pick_by_body(platform: Simulator) -> None:
    put_customer(platform)
    platform.script(path="/v1/orders", contains='"1001"', persistent=True, status=500)
    other = {**ORDER, "id": "1002"}
    answers = [platform.client.post("/v1/orders", json=body).status_code for body in (ORDER, ORDER, other)]
    assert answers == [500, 500, 200]
    assert platform.control("clear")["removed"] == 1
    assert platform.client.post("/v1/orders", json=ORDER).status_code == 200


def test_an_outage_by_503_by_reset_and_for_a_time(platform: Simulator) -> None:
    platform.outage()
    assert put_customer(platform).status_code == 503
    platform.outage(mode="reset")
    with pytest.raises(httpx.ReadError):
        put_customer(platform)
    platform.outage(on=False)
    assert put_customer(platform).status_code == 200
    platform.outage(seconds=0)
    assert put_customer(platform).status_code == 200


def test_latency_and_rate_limit(platform: Simulator) -> None:
    platform.control("latency", seconds=0.2)
    began = time.monotonic()
    put_customer(platform)
    assert time.monotonic() - began >= 0.2
    platform.control("latency", seconds=0)
    platform.control("rate-limit", per_second=1, retry_after=2)
    answers = [put_customer(platform) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[1].headers["retry-after"] == "2"


def test_mistakes_in_control_calls_are_told(platform: Simulator) -> None:
    with pytest.raises(SimulatorError, match="unknown mode"):
        platform.script(mode="explode")
    with pytest.raises(SimulatorError, match="unknown field"):
        platform.script(statsu=500)
    with pytest.raises(SimulatorError, match="unknown setting"):
        platform.config(nonsense=1)
    with pytest.raises(SimulatorError, match="must be one of"):
        platform.config(second_order_post="nonsense")
    with pytest.raises(SimulatorError, match="must be of type int"):
        platform.config(points_per_unit="many")
    with pytest.raises(SimulatorError, match="wrong type of"):
        platform.script(status="500")
    with pytest.raises(SimulatorError, match="no regular expression"):
        platform.script(path="^(")
    platform.control("customers", customers=[{"customerId": "42", "points": 900}])
    with pytest.raises(SimulatorError, match="no webhook_url is set"):
        platform.control("redeem", customerId="42", ruleId="rule-5-off")
    assert platform.state("customers", "42")["pointBalance"] == 900
    with pytest.raises(SimulatorError, match="no such control route"):
        platform.control("nonsense")


# -- ledger and process ----------------------------------------------------------------------------------------------


def test_the_ledger_tells_what_was_received_and_the_order_of_effects(platform: Simulator) -> None:
    platform.config(record_headers=True)
    put_customer(platform, "1")
    platform.script(status=500)
    put_customer(platform, "2")
    put_customer(platform, "1", name="Jane")
    entries = platform.ledger()
    assert [(entry["seq"], entry["applied"], entry["status"]) for entry in entries] == [
        (1, True, 200), (2, False, 500), (3, True, 200)
    ]  # fmt: skip
    assert entries[0]["headers"]["x-api-key"] == "sim-platform-key"
    assert [entry["seq"] for entry in platform.ledger(since=2)] == [3]
    effects = platform.ledger(applied=1, entity="customer:1")
    assert [(entry["applied_seq"], entry["body"].get("name")) for entry in effects] == [(1, None), (2, "Jane")]
    assert "body" not in platform.ledger(body=0)[0]


def test_settings_on_the_command_line_and_a_wrong_one() -> None:
    with run("platform", "--set", "api_key=other", "--set", "points_per_unit=2") as simulator:
        answer = simulator.client.get("/v1/customers", headers={"x-api-key": "other"})
        assert answer.json() == {"customers": []}
        simulator.config(points_per_unit=3)
        simulator.reset(config=True)
        assert simulator.inspect("config")["points_per_unit"] == 2
    with pytest.raises(SimulatorError, match="ended with 2"):
        start("platform", "--set", "nonsense=1")
