"""API keys: scopes, last use, rotation, and the auth throttle."""

import re
from datetime import timedelta
from ipaddress import ip_network

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access import api_keys
from platform_relay.api.authentication import TRIES
from platform_relay.settings import Settings
from tests.api.served import OPERATOR_KEY, STORE_KEY, Caller, serving
from tests.docs.test_api_docs import NEED_NO_KEY

SCOPES = ("events", "read", "operate", "admin")


async def test_every_operation_requires_its_scope(
    calling: Caller, anonymous: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """Calls all operations of the OpenAPI document without a key, and with a key of each scope."""
    document = (await anonymous.get("/openapi.json")).json()
    by_scope = {scope: await calling(await api_keys.create(engine, scope, [scope], by="test")) for scope in SCOPES}
    walked = 0
    for pattern, item in document["paths"].items():
        path = re.sub(r"{\w+}", "00000000-0000-7000-8000-000000000000", pattern)
        for method, operation in item.items():
            result = (method, pattern)
            if pattern in NEED_NO_KEY:
                assert "security" not in operation, result
                continue
            [needed] = operation["security"][0]["key"]
            assert needed in SCOPES, result
            assert (await anonymous.request(method, path)).status_code == 401, result
            for scope, client in by_scope.items():
                status = (await client.request(method, path, content=b"not json")).status_code
                assert (status == 403) == (scope != needed), (*result, scope, status)
                assert status not in (401, 500), (*result, scope, status)
            walked += 1
    assert walked > 30


async def test_every_page_of_the_console_asks_for_a_sign_in(anonymous: httpx.AsyncClient) -> None:
    for path in (
        "",
        "/search",
        "/dead-and-held",
        "/coupons",
        "/rules",
        "/keys",
        "/audit",
        "/live",
        "/jobs/x",
        "/messages/x",
    ):
        answer = await anonymous.get(f"/console{path}")
        assert answer.status_code in (303, 404), path
        assert "location" not in answer.headers or answer.headers["location"].startswith("/console/login"), path


async def test_the_last_use_is_stored_once_per_interval(calling: Caller, engine: AsyncEngine) -> None:
    key = await api_keys.create(engine, "reporting", ["read"], by="test")
    reader = await calling(key)
    assert [known.last_used_at for known in await api_keys.list_keys(engine)] == [None]
    await reader.get("/v1/jobs/counts")
    [first] = await api_keys.list_keys(engine)
    assert first.last_used_at is not None
    for _ in range(3):
        await reader.get("/v1/jobs/counts")
    assert [known.last_used_at for known in await api_keys.list_keys(engine)] == [first.last_used_at]


async def test_a_rotated_key_works_until_the_end_of_the_overlap(
    calling: Caller, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.api.authentication.CACHE_SECONDS", 0.0)
    old = await api_keys.create(engine, "reporting", ["read"], by="test")
    [known] = await api_keys.list_keys(engine)
    rotated = await api_keys.rotate(engine, known.id, "test", timedelta(hours=1))
    assert rotated is not None
    for key in (old, rotated.key):
        assert (await (await calling(key)).get("/v1/jobs/counts")).status_code == 200
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE api_key SET expires_at = now() WHERE id = :id"), {"id": known.id})
    assert (await (await calling(old)).get("/v1/jobs/counts")).status_code == 401
    assert (await (await calling(rotated.key)).get("/v1/jobs/counts")).status_code == 200


async def test_only_the_digest_of_a_key_is_stored(engine: AsyncEngine) -> None:
    key = await api_keys.create(engine, "reporting", ["read"], by="test")
    assert len(key) >= len("relay_") + 43  # 256 bits in base64
    async with engine.connect() as connection:
        held = (await connection.execute(text("SELECT api_key::text, audit::text FROM api_key, audit"))).all()
    assert held
    assert key not in str(held)
    assert key.removeprefix("relay_") not in str(held)


async def test_the_throttle_refuses_wrong_keys_and_no_right_one(
    calling: Caller, anonymous: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    for number in range(TRIES):
        wrong = {"authorization": f"Bearer guess-{number}"}
        assert (await anonymous.get("/v1/jobs/counts", headers=wrong)).status_code == 401
    locked = await anonymous.get("/v1/jobs/counts", headers={"authorization": "Bearer one-more"})
    assert locked.status_code == 429
    assert locked.json()["type"].endswith(":too-many-wrong-keys")
    assert int(locked.headers["retry-after"]) > 0
    never_seen = await api_keys.create(engine, "never seen by this process", ["read"], by="test")
    for key in (never_seen, STORE_KEY):
        assert (await (await calling(key)).get("/v1/jobs/counts")).status_code == 200


@pytest.mark.parametrize("trusted", [False, True])
async def test_wrong_keys_lock_no_operator_out_of_the_console(
    settings: Settings, database_url: str, engine: AsyncEngine, trusted: bool
) -> None:
    """The attack: 300 wrong keys, all from the proxy's address when it is not trusted, else from 300 addresses."""
    networks = (ip_network("127.0.0.0/8"),) if trusted else ()
    behind_proxy = settings.model_copy(update={"trusted_proxies": networks})
    support_key = await api_keys.create(engine, "support", ["read"], by="test")
    async with serving(behind_proxy, database_url) as (_, url):
        headers = {"origin": url}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False) as client:

            async def sign_in(key: str, address: str) -> int:
                forwarded = {"x-forwarded-for": address}
                answer = await client.post("/console/login", data={"key": key, "next": ""}, headers=forwarded)
                client.cookies.clear()
                return answer.status_code

            statuses = [await sign_in(f"wrong-{number}", f"2001:db8:{number:x}::1") for number in range(300)]
            assert set(statuses[:10]) == {401}
            assert set(statuses[10:]) == {401 if trusted else 429}
            for key in (OPERATOR_KEY, support_key):
                assert await sign_in(key, "2001:db8:1::1") == 303
            # The addresses of one IPv6 network count together, and a right key passes there too.
            statuses = [await sign_in("wrong", f"2001:db8:ffff:1::{number:x}") for number in range(1, 12)]
            assert statuses[-1] == 429
            assert await sign_in(OPERATOR_KEY, "2001:db8:ffff:1::1") == 303
