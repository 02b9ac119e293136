"""Webhooks of the Platform."""

import json
from ipaddress import ip_network

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from tests.api.served import PREVIOUS_WEBHOOK_SECRET, WEBHOOK_SECRET, Stored, serving

ENDPOINT = f"/v1/webhooks/platform/{WEBHOOK_SECRET}"
REDEEMED = {
    "id": "event-1",
    "customer": {"id": "c", "externalId": "42", "email": "ada@example.com", "pointBalance": 10},
    "points": -500,
    "ruleId": "rule-7",
    "couponCode": "0123456789ab",
    "rewardType": "fixedamountdiscount",
}
TOPIC = {"X-Webhook-Topic": "points/redeemed", "X-Webhook-Id": "subscription-1"}


async def test_a_redemption_is_stored_with_one_coupon_job(anonymous: httpx.AsyncClient, engine: AsyncEngine) -> None:
    first = await anonymous.post(ENDPOINT, json=REDEEMED, headers=TOPIC)
    again = await anonymous.post(ENDPOINT, json=REDEEMED, headers=TOPIC)
    assert (first.status_code, first.json()["status"]) == (200, "accepted")
    assert (again.status_code, again.json()) == (200, {"id": first.json()["id"], "status": "duplicate"})
    async with engine.connect() as connection:
        jobs = (await connection.execute(text("SELECT kind, destination, lane FROM job"))).all()
    assert [tuple(job) for job in jobs] == [("issue_coupon", "store", f"coupon:0123456789ab#{first.json()['id']}")]


async def test_a_byte_order_mark_belongs_to_the_encoding(anonymous: httpx.AsyncClient, engine: AsyncEngine) -> None:
    for body in (REDEEMED, {"other": "topic"}):  # with and without an id that identifies repetitions
        content = json.dumps(body).encode()
        first = await anonymous.post(ENDPOINT, content=b"\xef\xbb\xbf" + content, headers=TOPIC)
        again = await anonymous.post(ENDPOINT, content=content, headers=TOPIC)
        assert (again.status_code, again.json()) == (200, {"id": first.json()["id"], "status": "duplicate"})
    async with engine.connect() as connection:
        kinds = (await connection.execute(text("SELECT kind FROM job ORDER BY id"))).scalars().all()
    assert kinds[0] == "issue_coupon"


async def test_every_body_is_stored(anonymous: httpx.AsyncClient, engine: AsyncEngine) -> None:
    bodies = [b"", b"\x00\xff", b"[]", b'{"a":NaN}', json.dumps({"new": "topic"}).encode()]
    for body in bodies:
        answer = await anonymous.post(ENDPOINT, content=body, headers={"X-Webhook-Topic": "carts/abandoned"})
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted"), body
    assert (await anonymous.post(ENDPOINT, content=b"{}")).status_code == 200
    async with engine.connect() as connection:
        kept = [bytes(row.body) for row in await connection.execute(text("SELECT body FROM message ORDER BY id"))]
        jobs = (await connection.execute(text("SELECT count(*) FROM job"))).scalar_one()
    assert kept == [*bodies, b"{}"]
    assert jobs == 0


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("points/redeemed", b"[]"),
        ("Points/Redeemed", b"\x00\xff"),
        ("points/redeemed", b'{"couponCode": "ab\xff"}'),
        ("customers/tier_entry_reward_earned", b'{"rewards": [{"couponCode": "T1"}]}'),
        ("customers/tier_entry_reward_earned", b""),
    ],
)
async def test_a_coupon_that_cannot_be_read_is_a_job(
    anonymous: httpx.AsyncClient, store: httpx.AsyncClient, topic: str, body: bytes
) -> None:
    answer = await anonymous.post(ENDPOINT, content=body, headers={"X-Webhook-Topic": topic})
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    message = (await store.get(f"/v1/events/{answer.json()['id']}")).json()
    assert (message["kind"], message["state"]) == (topic.lower(), "waiting")
    assert [job["lane"] for job in message["jobs"]] == [f"coupon-without-code:{answer.json()['id']}"]


async def test_a_wrong_secret_is_not_found(anonymous: httpx.AsyncClient, stored: Stored) -> None:
    assert (await anonymous.post(f"/v1/webhooks/platform/{PREVIOUS_WEBHOOK_SECRET}", json=REDEEMED)).status_code == 200
    for secret in ("wrong", WEBHOOK_SECRET[:-1], WEBHOOK_SECRET + "x", "%00", "%ff"):
        answer = await anonymous.post(f"/v1/webhooks/platform/{secret}", json={"other": secret})
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:platform-relay:problem:not-found"), secret
        assert answer.json() == (await anonymous.get("/nowhere")).json()
    assert await stored() == 1


async def test_a_webhook_can_be_read_by_the_id_of_its_receipt(
    anonymous: httpx.AsyncClient, store: httpx.AsyncClient
) -> None:
    kept = (await anonymous.post(ENDPOINT, json={"id": "1"}, headers={"X-Webhook-Topic": "points/earned"})).json()
    message = (await store.get(f"/v1/events/{kept['id']}")).json()
    assert (message["source"], message["kind"], message["state"]) == ("platform", "points/earned", "stored")


@pytest.fixture
def from_networks(settings: Settings) -> Settings:
    """Only 203.0.113.0/24 is the Platform; this machine is a trusted proxy."""
    platform = settings.platform.model_copy(update={"allowed_networks": (ip_network("203.0.113.0/24"),)})
    proxies = (ip_network("127.0.0.0/8"),)
    return settings.model_copy(
        update={"platform": platform, "trusted_proxies": proxies, "store": StoreSettings(loyalty_sync=True)}
    )


@pytest.mark.parametrize(
    ("forwarded", "network"),
    [
        ("203.0.113.9", "allowed"),
        ("198.51.100.1, 203.0.113.9", "allowed"),
        ("203.0.113.9, 198.51.100.1", "other"),
        ("203.0.113.77:50617", "allowed"),  # Azure Application Gateway
        ("[::ffff:203.0.113.77]:443", "allowed"),
        ("203.0.113.77:50617, unknown", "other"),
        ("203.0.113.77,", "allowed"),
        (None, "other"),
        ("nonsense", "other"),
    ],
)
async def test_the_origin_of_a_webhook_is_stored_with_its_job(
    from_networks: Settings, database_url: str, engine: AsyncEngine, forwarded: str | None, network: str
) -> None:
    """A client can send any X-Forwarded-For; only the last entry, from the trusted proxy, counts."""
    headers = {**TOPIC, **({"x-forwarded-for": forwarded} if forwarded else {})}
    async with serving(from_networks, database_url) as (_, url), httpx.AsyncClient(base_url=url) as client:
        assert (await client.post(ENDPOINT, json=REDEEMED, headers=headers)).status_code == 200
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT params ->> 'network' FROM job"))).scalars().all() == [network]


async def test_loyalty_changes_are_forwarded_to_stores_that_accept_them(
    from_networks: Settings, database_url: str, engine: AsyncEngine
) -> None:
    earned = {"id": "e-1", "customer": REDEEMED["customer"], "points": 5}
    async with serving(from_networks, database_url) as (_, url), httpx.AsyncClient(base_url=url) as client:
        for body, address in ((earned, "203.0.113.9"), ({**earned, "id": "e-2"}, "198.51.100.1")):
            headers = {"x-webhook-topic": "points/earned", "x-forwarded-for": address}
            assert (await client.post(ENDPOINT, json=body, headers=headers)).status_code == 200
    async with engine.connect() as connection:
        jobs = (await connection.execute(text("SELECT job.kind FROM job"))).scalars().all()
        stored = (await connection.execute(text("SELECT count(*) FROM message"))).scalar_one()
    assert (jobs, stored) == (["sync_loyalty"], 2), "a webhook from elsewhere is stored, and creates no job"
