"""Saleor's webhooks by both signatures, its lists, and setting its webhooks up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from platform_relay.core.outcomes import Done, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import CustomerEvent, EventKind, OrderEvent, ProductEvent
from platform_relay.stores.native import (
    FetchesEntities,
    Ignored,
    ListsEntities,
    NativeEvent,
    Page,
    ParsedWebhook,
    ReceivesWebhooks,
    SetsUpWebhooks,
    StoreWebhook,
    ToFetch,
    Unreadable,
    Unverified,
)
from platform_relay.stores.saleor import webhooks
from platform_relay.stores.saleor.adapter import Saleor
from platform_relay.stores.saleor.events import financial_status, parse_webhook, to_event
from tests.contract.bench import Bench
from tests.contract.doubles.saleor import connection

PAYLOADS = Path(__file__).parent / "payloads" / "saleor"
SECRET = "a-secret-key-of-the-webhook"
ADDRESS = "https://relay.example/v1/store-webhooks/saleor"

on_bench = pytest.mark.parametrize("bench", ["saleor"], indirect=True)


def saleor(bench: Bench, secret: str = "") -> Saleor:
    bench.set("WEBHOOK_SECRET", secret)
    built = bench.build()
    assert isinstance(built, Saleor)
    return built


@pytest.fixture(scope="module")
def keys() -> list[RSAPrivateKey]:
    return [generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


def shown(*named: tuple[str, RSAPrivateKey]) -> dict[str, Any]:
    """A key set as Saleor shows it."""
    algorithm = jwt.algorithms.RSAAlgorithm
    rows = [{**algorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig", "kid": kid} for kid, key in named]
    return {"keys": rows}


def signed(raw: bytes, key: RSAPrivateKey, kid: str = "k1", **header: Any) -> dict[str, str]:
    """Headers with a detached JWS over the raw body."""
    fields = {"kid": kid, "crit": ["b64"], "b64": False, **header}
    token = jwt.PyJWS().encode(raw, key, algorithm="RS256", headers=fields, is_payload_detached=True)
    return {"saleor-event": "customer_updated", "saleor-signature": token}


def by_hmac(raw: bytes, secret: str = SECRET, event: str = "customer_updated") -> dict[str, str]:
    return {"saleor-event": event, "saleor-signature": hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}


CUSTOMER = {
    "id": "VXNlcjoz", "email": "jane@example.com", "firstName": "Janet", "lastName": "Doe",
    "dateJoined": "2026-11-23T05:12:46.050000+00:00", "updatedAt": "2026-11-23T05:12:52.207000+00:00",
}  # fmt: skip
BODY = json.dumps({"__typename": "CustomerUpdated", "user": CUSTOMER}).encode()


def untaxed(amount: float) -> dict[str, Any]:
    return {"gross": {"amount": amount}, "net": {"amount": amount}}


def an_order(**fields: Any) -> dict[str, Any]:
    """An order with the fields of our documents."""
    return {
        "id": "T3JkZXI6MQ==", "userEmail": "jane@example.com", "user": None, "created": "2026-11-23T05:13:28.913432+00:00",
        "updatedAt": "2026-11-23T05:13:33.048705+00:00", "status": "UNCONFIRMED", "paymentStatus": "NOT_CHARGED",
        "chargeStatus": "NONE", "authorizeStatus": "NONE", "voucherCode": "LIM1",
        "total": {"gross": {"amount": 27.4, "currency": "EUR"}}, "totalCharged": {"amount": 0.0},
        "totalRefunded": {"amount": 0.0}, "subtotal": untaxed(22.5), "shippingPrice": untaxed(4.9),
        "undiscountedTotal": untaxed(30.9),
        "discounts": [{"type": "VOUCHER", "total": {"amount": 2.5}}, {"type": "PROMOTION", "total": {"amount": 1.0}}],
        "lines": [{
            "productName": "Mug", "variantName": "blue", "productVariantId": "UHJvZHVjdFZhcmlhbnQ6Mw==", "quantity": 1,
            "undiscountedUnitPrice": untaxed(26), "undiscountedTotalPrice": untaxed(26), "discounts": [],
            "variant": {"id": "UHJvZHVjdFZhcmlhbnQ6Mw==", "product": {"id": "UHJvZHVjdDox"}},
        }], **fields,
    }  # fmt: skip


# -- whose it is ------------------------------------------------------------------------------------------------------


@on_bench
async def test_what_it_can_do(bench: Bench) -> None:
    for ability in (ReceivesWebhooks, FetchesEntities, ListsEntities, SetsUpWebhooks):
        assert isinstance(bench.adapter, ability)


@on_bench
async def test_hmac(bench: Bench) -> None:
    adapter = saleor(bench, SECRET)
    assert isinstance(await adapter.parse_event(by_hmac(BODY), BODY), NativeEvent)
    prefixed = {f"x-{name}": value for name, value in by_hmac(BODY).items()}
    assert isinstance(await adapter.parse_event(prefixed, BODY), NativeEvent)
    for headers in (
        by_hmac(BODY, "another-secret"), by_hmac(BODY + b" "), {"saleor-signature": "ü"}, {"saleor-signature": ""}, {},
    ):  # fmt: skip
        assert isinstance(await adapter.parse_event(headers, BODY), Unverified), headers
    for body in (BODY + b" ", BODY.replace(b"Janet", b"Mallory"), b""):
        assert isinstance(await adapter.parse_event(by_hmac(BODY), body), Unverified)


@on_bench
async def test_without_a_secret_no_hmac_is_right(bench: Bench) -> None:
    for secret in ("", "None"):
        assert isinstance(await saleor(bench).parse_event(by_hmac(BODY, secret), BODY), Unverified)


@on_bench
async def test_jws(bench: Bench, keys: list[RSAPrivateKey]) -> None:
    bench.simulator.config(jwks=shown(("k1", keys[0])))
    adapter = saleor(bench)
    assert isinstance(await adapter.parse_event(signed(BODY, keys[0]), BODY), NativeEvent)
    for headers, body in (
        (signed(BODY, keys[0]), BODY + b" "),
        (signed(BODY, keys[0]), b""),
        (signed(BODY, keys[1]), BODY),
        (signed(BODY, keys[0], kid="k2"), BODY),
        ({"saleor-signature": "a.b.c"}, BODY),
        ({"saleor-signature": ".."}, BODY),
    ):
        assert isinstance(await adapter.parse_event(headers, body), Unverified)


@on_bench
async def test_jws_by_another_algorithm(bench: Bench, keys: list[RSAPrivateKey]) -> None:
    """The public key as an HMAC secret, no signature at all, a payload of its own: each well known, none taken."""
    bench.simulator.config(jwks=shown(("k1", keys[0])))
    adapter = saleor(bench, SECRET)

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    fields = {"kid": "k1", "crit": ["b64"], "b64": False}
    symmetric = part({"alg": "HS256", **fields})
    public = json.dumps(shown(("k1", keys[0]))["keys"][0]).encode()
    digest = hmac.new(public, symmetric.encode() + b"." + BODY, hashlib.sha256).digest()
    attached = jwt.PyJWS().encode(b'{"user": {}}', keys[0], algorithm="RS256", headers={"kid": "k1"})
    for token in (
        f"{symmetric}..{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}",
        f"{part({'alg': 'none', **fields})}..",
        attached,
        signed(BODY, keys[0], crit=["b64", "exp"], exp=1)["saleor-signature"],
    ):
        assert isinstance(await adapter.parse_event({"saleor-signature": token}, BODY), Unverified), token


@on_bench
async def test_keys_are_kept_and_fetched_again_for_a_new_one(
    bench: Bench, keys: list[RSAPrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetches() -> int:
        return sum(entry["kind"] == "jwks" for entry in bench.simulator.ledger())

    bench.simulator.config(jwks=shown(("k1", keys[0])))
    adapter = saleor(bench)
    for _ in range(3):
        assert isinstance(await adapter.parse_event(signed(BODY, keys[0]), BODY), NativeEvent)
    assert fetches() == 1
    bench.simulator.config(jwks=shown(("k1", keys[0]), ("k2", keys[1])))
    assert isinstance(await adapter.parse_event(signed(BODY, keys[1], kid="k2"), BODY), Unverified)  # asked just now
    assert fetches() == 1
    monkeypatch.setattr(webhooks, "AGAIN_SECONDS", 0.0)
    assert isinstance(await adapter.parse_event(signed(BODY, keys[1], kid="k2"), BODY), NativeEvent)
    assert fetches() == 2
    bench.simulator.config(jwks=shown(("k2", keys[1])))
    monkeypatch.setattr(webhooks, "KEY_SECONDS", 0.0)
    assert isinstance(await adapter.parse_event(signed(BODY, keys[0]), BODY), Unverified)  # rotated away


@on_bench
async def test_keys_that_cannot_be_fetched(
    bench: Bench, keys: list[RSAPrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "AGAIN_SECONDS", 0.0)
    bench.simulator.config(jwks=shown(("k1", keys[0])))
    adapter = saleor(bench)
    for fault in (
        {"status": 503},
        {"mode": "garbage"},
        {"status": 200, "body": {"keys": [{"kty": "RSA", "kid": "k1"}]}},
    ):
        bench.misbehave(("GET", "/.well-known/jwks.json"), **fault)
        assert isinstance(await adapter.parse_event(signed(BODY, keys[0]), BODY), Unverified)
    assert isinstance(await adapter.parse_event(signed(BODY, keys[0]), BODY), NativeEvent)
    monkeypatch.setattr(webhooks, "KEY_SECONDS", 0.0)
    bench.misbehave(("GET", "/.well-known/jwks.json"), status=503)
    assert isinstance(await adapter.parse_event(signed(BODY, keys[0]), BODY), NativeEvent)  # the known ones hold


# -- what it says -----------------------------------------------------------------------------------------------------


def captured(name: str) -> ParsedWebhook:
    delivery = json.loads((PAYLOADS / f"{name}.json").read_text())
    headers = {key.lower(): value for key, value in delivery["headers"].items()}
    return parse_webhook(headers, delivery["body_raw"].encode(), "eu")


@pytest.mark.parametrize(
    ("name", "kind", "entity_id"),
    [
        ("customer_created.legacy-hmac", EventKind.CUSTOMER, "VXNlcjoy"),
        ("customer_updated.subscription-jws", EventKind.CUSTOMER, "VXNlcjoz"),
        ("order_created.legacy-hmac", EventKind.ORDER, "T3JkZXI6YTQ4OTY5ZmEtOGIzZS00MTY2LTg0YzktMDk1NmY3NjdmOGZm"),
        ("order_confirmed.legacy-hmac", EventKind.ORDER, "T3JkZXI6YTQ4OTY5ZmEtOGIzZS00MTY2LTg0YzktMDk1NmY3NjdmOGZm"),
        ("order_updated.subscription-jws", EventKind.ORDER, "T3JkZXI6YTQ4OTY5ZmEtOGIzZS00MTY2LTg0YzktMDk1NmY3NjdmOGZm"),
        ("product_updated.legacy-hmac", EventKind.PRODUCT, "UHJvZHVjdDox"),
        ("product_updated.subscription-jws", EventKind.PRODUCT, "UHJvZHVjdDox"),
    ],
)
def test_captured_bodies_of_other_shapes_are_fetched(name: str, kind: EventKind, entity_id: str) -> None:
    """An array of one, or another's subscription: neither says what an order's buyer and payment are."""
    result = captured(name)
    assert isinstance(result, ToFetch)
    assert (result.kind, result.id) == (kind, entity_id)
    assert result == captured(name)


@pytest.mark.parametrize("name", ["voucher_created.legacy-hmac", "voucher_updated.legacy-hmac"])
def test_what_is_not_relayed(name: str) -> None:
    assert isinstance(captured(name), Ignored)


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("customer_updated", b"[]"),
        ("customer_updated", b"null"),
        ("customer_deleted", BODY),
        ("order_updated", json.dumps({"order": an_order(status="DRAFT")}).encode()),
    ],
)
def test_what_is_ignored(event: str, body: bytes) -> None:
    assert isinstance(parse_webhook({"saleor-event": event}, body, "eu"), Ignored)


@pytest.mark.parametrize("body", [b"not JSON", b"[" * 100_000, b'{"user": {"updatedAt": "2026-11-23T05:12:52+00:00"}}'])
def test_what_cannot_be_read(body: bytes) -> None:
    parsed = parse_webhook({"saleor-event": "customer_updated"}, body, "eu")
    assert isinstance(parsed, Unreadable)
    assert (parsed.id, parsed.reason.code) == (None, ReasonCode.STORE_WEBHOOKS_UNREADABLE)


DENIED = {
    "message": "To access this path, you need MANAGE_ORDERS.",
    "extensions": {"exception": {"code": "PermissionDenied"}},
}


@pytest.mark.parametrize(
    ("event", "body", "kind"),
    [
        ("order_created", {"errors": [DENIED]}, EventKind.ORDER),
        ("order_updated", {"order": None, "errors": [DENIED]}, EventKind.ORDER),
        ("customer_updated", {"user": {"id": None, "email": None}, "errors": [DENIED]}, EventKind.CUSTOMER),
        ("product_variant_updated", {"productVariant": None, "errors": [DENIED]}, EventKind.PRODUCT),
    ],
)
def test_errors_instead_of_the_entity_are_a_fault_of_the_store(
    event: str, body: dict[str, Any], kind: EventKind
) -> None:
    parsed = parse_webhook({"saleor-event": event}, json.dumps(body).encode(), "eu")
    assert isinstance(parsed, Unreadable), parsed
    assert (parsed.kind, parsed.id, parsed.reason.code) == (kind, None, ReasonCode.STORE_WEBHOOKS_REFUSED)
    assert "PermissionDenied: To access this path" in parsed.reason.text
    assert "docs/stores/saleor.md" in parsed.reason.next_step


@pytest.mark.parametrize("errors", [[DENIED], ["a text"], [{}], "a text"])
def test_an_entity_with_errors_is_fetched(errors: object) -> None:
    """The fields that Saleor could not read are null, and would erase what the Platform has."""
    body = json.dumps({"order": an_order(userEmail=None), "errors": errors}).encode()
    parsed = parse_webhook({"saleor-event": "order_updated"}, body, "eu")
    assert isinstance(parsed, ToFetch), parsed
    assert (parsed.kind, parsed.id) == (EventKind.ORDER, an_order()["id"])


@pytest.mark.parametrize(
    ("event", "errors"), [("order_deleted", [DENIED]), ("voucher_created", [DENIED]), ("order_updated", [])]
)
def test_errors_of_what_is_not_relayed_are_ignored(event: str, errors: object) -> None:
    body = json.dumps({"order": None, "errors": errors}).encode()
    assert isinstance(parse_webhook({"saleor-event": event}, body, "eu"), Ignored)


@on_bench
@pytest.mark.parametrize("errors", ["a text", ["a text"], {"message": "it went wrong"}])
async def test_errors_of_any_form_do_not_mean_that_the_entity_is_gone(bench: Bench, errors: object) -> None:
    bench.misbehave(("POST", "^/graphql/Order$"), status=200, body={"errors": errors, "data": {"order": None}})
    assert isinstance(await saleor(bench).fetch(EventKind.ORDER, "T3JkZXI6MQ=="), Retry)


def test_a_customer() -> None:
    result = parse_webhook({"saleor-event": "customer_updated"}, BODY, "eu")
    assert isinstance(result, NativeEvent)
    assert isinstance(result.event, CustomerEvent)
    assert (result.event.id, result.event.email, result.event.firstName) == ("VXNlcjoz", "jane@example.com", "Janet")
    assert result.event.updatedAt == datetime(2026, 11, 23, 5, 12, 52, 207000, UTC)


def test_a_guests_order() -> None:
    result = parse_webhook({"saleor-event": "order_created"}, json.dumps({"order": an_order()}).encode(), "eu")
    assert isinstance(result, NativeEvent)
    event = result.event
    assert isinstance(event, OrderEvent)
    assert (event.customerId, event.email, event.financialStatus) == (None, "jane@example.com", "pending")
    assert (event.currency, event.totalPrice, event.subtotalPrice) == ("EUR", Decimal("27.40"), Decimal("26.00"))
    assert event.discountCodes is not None
    assert [(each.code, each.amount) for each in event.discountCodes] == [("LIM1", Decimal("2.50"))]
    assert event.lineItems is not None
    assert [(each.productId, each.variantId, each.title, each.price) for each in event.lineItems] == [
        ("UHJvZHVjdDox", "UHJvZHVjdFZhcmlhbnQ6Mw==", "Mug – blue", Decimal("26.00"))
    ]


@pytest.mark.parametrize("field", ["undiscountedTotal", "subtotal", "shippingPrice"])
def test_the_webhook_of_another_query_leads_to_a_fetch(field: str) -> None:
    """A webhook that was installed before lacks fields that are read today."""
    body = json.dumps({"order": {name: value for name, value in an_order().items() if name != field}}).encode()
    parsed = parse_webhook({"saleor-event": "order_updated"}, body, "eu")
    assert isinstance(parsed, ToFetch)
    assert parsed.id == an_order()["id"]


def test_a_voucher_on_certain_products_is_in_the_discounts_of_the_lines() -> None:
    line = {**an_order()["lines"][0], "discounts": [{"type": "VOUCHER", "total": {"amount": 3.5}}]}
    parsed = to_event(EventKind.ORDER, an_order(discounts=[], lines=[line]), "eu")
    assert isinstance(parsed, NativeEvent)
    assert isinstance(parsed.event, OrderEvent)
    assert parsed.event.discountCodes is not None
    assert [(used.code, used.amount) for used in parsed.event.discountCodes] == [("LIM1", Decimal("3.50"))]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "pending"),
        ({"status": "EXPIRED"}, "expired"),
        ({"status": "CANCELED"}, "voided"),
        ({"authorizeStatus": "FULL"}, "authorized"),
        ({"chargeStatus": "PARTIAL"}, "partially_paid"),
        ({"paymentStatus": "PARTIALLY_CHARGED"}, "partially_paid"),
        ({"chargeStatus": "FULL", "authorizeStatus": "FULL"}, "paid"),
        ({"chargeStatus": "OVERCHARGED"}, "paid"),
        ({"paymentStatus": "FULLY_CHARGED"}, "paid"),
        (
            {"chargeStatus": "PARTIAL", "totalRefunded": {"amount": 5}, "totalCharged": {"amount": 22}},
            "partially_refunded",
        ),
        ({"paymentStatus": "PARTIALLY_REFUNDED"}, "partially_refunded"),
        ({"status": "CANCELED", "totalRefunded": {"amount": 27.4}}, "refunded"),
        ({"paymentStatus": "FULLY_REFUNDED"}, "refunded"),
    ],
)
def test_financial_status(fields: dict[str, Any], status: str) -> None:
    assert financial_status(an_order(**fields)) == status


@pytest.mark.parametrize("whole", [True, False])
def test_a_product_tells_all_its_variants_or_none(whole: bool) -> None:
    """The Platform deletes the variants that it is not told of."""
    variants = connection([{"id": "v1", "name": "blue"}, {"id": "v2", "name": "red"}])
    variants["pageInfo"]["hasNextPage"] = not whole
    node: dict[str, Any] = {
        "id": "UHJvZHVjdDox", "name": "Mug", "slug": "mug", "updatedAt": "2026-11-23T05:12:25.769000+00:00",
        "thumbnail": {"url": "https://shop.example/mug.jpg"}, "productVariants": variants,
        "channelListings": [{"isPublished": True, "channel": {"slug": "eu"}}],
    }  # fmt: skip
    result = parse_webhook(
        {"saleor-event": "product_variant_updated"}, json.dumps({"productVariant": {"product": node}}).encode(), "eu"
    )
    assert isinstance(result, NativeEvent)
    assert isinstance(result.event, ProductEvent)
    assert (result.event.title, result.event.status, result.event.externalUrlHandle) == ("Mug", "active", "mug")
    ids = [each.externalVariantId for each in result.event.variants] if result.event.variants is not None else None
    assert ids == (["v1", "v2"] if whole else None)
    elsewhere = to_event(EventKind.PRODUCT, node, "us")
    assert isinstance(elsewhere, NativeEvent)
    assert isinstance(elsewhere.event, ProductEvent)
    assert elsewhere.event.status == "draft"


# -- lists and set-up -------------------------------------------------------------------------------------------------


@on_bench
async def test_lists_are_paged_and_say_what_webhooks_say(bench: Bench) -> None:
    orders = [an_order(id=f"o{day}", updatedAt=f"2026-11-{day}T00:00:00+00:00") for day in range(14, 10, -1)]
    orders.append(an_order(id="draft", status="DRAFT", updatedAt="2026-11-12T00:00:00+00:00"))
    bench.simulator.control("seed", orders=orders)
    adapter = saleor(bench)
    read: list[NativeEvent] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor:
        page = await adapter.list_entities(EventKind.ORDER, datetime(2026, 11, 12, tzinfo=UTC), cursor)
        assert isinstance(page, Page), page
        read, cursor, pages = [*read, *page.events], page.next, pages + 1
    assert [each.event.id for each in read] == ["o12", "o13", "o14"]
    assert pages == 2
    result = parse_webhook({"saleor-event": "order_updated"}, json.dumps({"order": orders[0]}).encode(), "eu")
    assert result == read[-1]
    assert await adapter.fetch(EventKind.ORDER, "o14") == result
    assert await adapter.fetch(EventKind.ORDER, "o99") is None


@on_bench
@pytest.mark.parametrize("secret", ["", SECRET])
async def test_webhooks_are_set_up_and_taken_away(bench: Bench, secret: str) -> None:
    adapter = saleor(bench, secret)
    assert await adapter.list_webhooks(ADDRESS) == ()
    for topic in adapter.webhook_topics():
        made = await adapter.create_webhook(topic, ADDRESS)
        assert isinstance(made, StoreWebhook)
        assert (made.topic, made.address, made.enabled) == (topic, ADDRESS, True)
    assert await adapter.list_webhooks("https://elsewhere.example") == ()
    held = await adapter.list_webhooks(ADDRESS)
    assert isinstance(held, tuple)
    assert [each.topic for each in held] == ["customers", "orders", "products"]
    stored = bench.simulator.state("webhooks")
    assert {each["secretKey"] for each in stored} == {secret or None}
    assert all(each["query"] for each in stored)
    bench.simulator.control("seed", webhooks=[{**stored[0], "isActive": False}])
    off = await adapter.list_webhooks(ADDRESS)
    assert isinstance(off, tuple)
    assert [each.enabled for each in off] == [False, True, True]
    assert isinstance(await adapter.enable_webhook(off[0]), Done)
    assert bench.simulator.state("webhooks")[0]["isActive"] is True
    for webhook in (*held, held[0]):
        assert isinstance(await adapter.delete_webhook(webhook), Done)
    assert await adapter.list_webhooks(ADDRESS) == ()
    assert isinstance(await adapter.create_webhook("refunds", ADDRESS), Reject)


@on_bench
@pytest.mark.parametrize("kind", list(EventKind))
async def test_an_id_that_saleor_cannot_decode_is_not_found(bench: Bench, kind: EventKind) -> None:
    """The answer is an error: "Invalid ID: 999999999. Expected: Order."."""
    adapter: object = bench.adapter
    assert isinstance(adapter, FetchesEntities)
    assert await adapter.fetch(kind, "999999999") is None
