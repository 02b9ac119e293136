"""Keys: what each scope opens, when one was used, how one is replaced, and what guessing brings."""

import re
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access import api_keys
from platform_relay.api.authentication import TRIES
from tests.api.served import STORE_KEY, Caller
from tests.docs.test_api_docs import NEED_NO_KEY

SCOPES = ("events", "read", "operate", "admin")


async def test_every_operation_asks_for_its_scope_and_no_other_opens_it(
    calling: Caller, nobody: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """All routes are walked: without a key, with a key of each single scope, against what the document says."""
    document = (await nobody.get("/openapi.json")).json()
    by_scope = {scope: await calling(await api_keys.create(engine, scope, [scope], by="test")) for scope in SCOPES}
    walked = 0
    for pattern, item in document["paths"].items():
        path = re.sub(r"{\w+}", "00000000-0000-7000-8000-000000000000", pattern)
        for method, operation in item.items():
            told = (method, pattern)
            needs = [each for each in operation.get("parameters", ()) if each["in"] == "query" and each.get("required")]
            query = {each["name"]: "customers" for each in needs}  # parameters are read before the key
            if pattern in NEED_NO_KEY:
                assert "security" not in operation, told
                continue
            [needed] = operation["security"][0]["key"]
            assert needed in SCOPES, told
            assert (await nobody.request(method, path, params=query)).status_code == 401, told
            for scope, client in by_scope.items():
                status = (await client.request(method, path, params=query, content=b"not json")).status_code
                assert (status == 403) == (scope != needed), (*told, scope, status)
                assert status not in (401, 500), (*told, scope, status)
            walked += 1
    assert walked > 30


async def test_every_page_of_the_console_asks_for_a_sign_in(nobody: httpx.AsyncClient) -> None:
    for path in ("", "/search", "/stuck", "/coupons", "/rules", "/keys", "/audit", "/live", "/jobs/x", "/messages/x"):
        answer = await nobody.get(f"/console{path}")
        assert answer.status_code in (303, 404), path
        assert "location" not in answer.headers or answer.headers["location"].startswith("/console/login"), path


async def test_the_last_use_is_noted_once_in_a_while(calling: Caller, engine: AsyncEngine) -> None:
    key = await api_keys.create(engine, "reporting", ["read"], by="test")
    reader = await calling(key)
    assert [known.last_used_at for known in await api_keys.list_keys(engine)] == [None]
    await reader.get("/v1/counts")
    [first] = await api_keys.list_keys(engine)
    assert first.last_used_at is not None
    for _ in range(3):
        await reader.get("/v1/counts")
    assert [known.last_used_at for known in await api_keys.list_keys(engine)] == [first.last_used_at]


async def test_a_rotated_key_works_beside_its_successor_for_a_while(
    calling: Caller, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.api.authentication.REMEMBERED", 0.0)
    old = await api_keys.create(engine, "reporting", ["read"], by="test")
    [known] = await api_keys.list_keys(engine)
    rotated = await api_keys.rotate(engine, known.id, "test", timedelta(hours=1))
    assert rotated is not None
    for key in (old, rotated.key):
        assert (await (await calling(key)).get("/v1/counts")).status_code == 200
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE api_key SET expires_at = now() WHERE id = :id"), {"id": known.id})
    assert (await (await calling(old)).get("/v1/counts")).status_code == 401
    assert (await (await calling(rotated.key)).get("/v1/counts")).status_code == 200


async def test_only_the_digest_of_a_key_is_stored(engine: AsyncEngine) -> None:
    key = await api_keys.create(engine, "reporting", ["read"], by="test")
    assert len(key) >= len("relay_") + 43  # 256 bits in base64
    async with engine.connect() as connection:
        held = (await connection.execute(text("SELECT api_key::text, audit::text FROM api_key, audit"))).all()
    assert held
    assert key not in str(held)
    assert key.removeprefix("relay_") not in str(held)


async def test_who_guesses_is_shut_out_and_known_keys_are_not(
    calling: Caller, nobody: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    known = await calling(await api_keys.create(engine, "known", ["read"], by="test"))
    assert (await known.get("/v1/counts")).status_code == 200
    for number in range(TRIES):
        wrong = {"authorization": f"Bearer guess-{number}"}
        assert (await nobody.get("/v1/counts", headers=wrong)).status_code == 401
    locked = await nobody.get("/v1/counts", headers={"authorization": "Bearer one-more"})
    assert locked.status_code == 429
    assert locked.json()["type"].endswith(":too-many-wrong-keys")
    assert int(locked.headers["retry-after"]) > 0
    assert (await known.get("/v1/counts")).status_code == 200
    assert (await (await calling(STORE_KEY)).get("/v1/counts")).status_code == 200
