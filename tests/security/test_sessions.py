"""Sessions of the console: what the cookie and the database hold, and what ends a session."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.access import api_keys
from platform_relay.settings import Settings
from tests.api.served import OPERATOR_KEY, STORE_KEY, serving

LOGIN = "/console/login"


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=20, trust_env=False) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, key: str = OPERATOR_KEY) -> str:
    """Sign in; returns the secret in the cookie."""
    answer = await client.post(LOGIN, data={"key": key, "next": "/console"})
    assert answer.status_code == 303, answer.text
    return client.cookies["relay_console"]


async def token(client: httpx.AsyncClient) -> str:
    """The CSRF token of the session."""
    page = await client.get("/console/keys")
    assert page.status_code == 200
    match = re.search(r'name="token" value="([^"]+)"', page.text)
    assert match is not None
    return match[1]


async def is_signed_in(client: httpx.AsyncClient) -> bool:
    answer = await client.get("/console/keys")
    assert answer.status_code == 200 or answer.headers["location"].startswith(LOGIN)
    return answer.status_code == 200


async def test_a_copied_cookie_is_worthless_after_signing_out(
    web: tuple[wiring.Services, str], engine: AsyncEngine
) -> None:
    """The attack: a thief has the cookie and a token of a form, and the operator signs out."""
    async with browser(web[1]) as operator, browser(web[1]) as thief:
        thief.cookies.set("relay_console", await sign_in(operator))
        stolen = await token(thief)
        form = {"token": stolen, "name": "thief", "scope_admin": "on"}
        await operator.post("/console/logout", data={"token": await token(operator)})
        assert not await is_signed_in(operator)
        assert not await is_signed_in(thief)
        assert (await thief.post("/console/keys", data=form)).headers["location"].startswith(LOGIN)
    assert await api_keys.list_keys(engine) == []


async def test_the_database_holds_only_a_digest_of_the_cookie(
    web: tuple[wiring.Services, str], engine: AsyncEngine
) -> None:
    async with browser(web[1]) as first, browser(web[1]) as second:
        secrets = {await sign_in(first), await sign_in(second)}
    assert len(secrets) == 2
    async with engine.connect() as connection:
        rows = str((await connection.execute(text("SELECT console_session::text FROM console_session"))).all())
    for secret in secrets:
        assert len(secret) >= 43  # 256 bits in base64
        assert secret not in rows
        assert secret.encode().hex() not in rows
        assert OPERATOR_KEY not in secret


async def test_an_expired_session_needs_a_new_sign_in(web: tuple[wiring.Services, str], engine: AsyncEngine) -> None:
    async with browser(web[1]) as operator:
        await sign_in(operator)
        async with engine.begin() as connection:
            lifetime = await connection.execute(text("SELECT expires_at - created_at FROM console_session"))
            assert lifetime.scalar_one().total_seconds() == 12 * 3600
            await connection.execute(text("UPDATE console_session SET expires_at = now()"))
        assert not await is_signed_in(operator)
        await sign_in(operator)
        async with engine.connect() as connection:
            rows = (await connection.execute(text("SELECT count(*) FROM console_session"))).scalar_one()
        assert rows == 1  # the expired one was deleted


async def test_sessions_are_listed_and_ended_by_an_admin(web: tuple[wiring.Services, str], engine: AsyncEngine) -> None:
    support_key = await api_keys.create(engine, "support", ["read"], by="test")
    async with browser(web[1]) as operator, browser(web[1]) as support:
        await sign_in(operator)
        await sign_in(support, support_key)
        ids = re.findall(r"/console/sessions/([0-9a-f-]+)/end", (await operator.get("/console/keys")).text)
        [own] = re.findall(r"/console/sessions/([0-9a-f-]+)/end", (await support.get("/console/keys")).text)
        [others] = set(ids) - {own}
        form = {"token": await token(support)}
        assert (await support.post(f"/console/sessions/{others}/end", data=form)).status_code == 403
        assert await is_signed_in(operator)
        form = {"token": await token(operator)}
        assert (await operator.post(f"/console/sessions/{own}/end", data=form)).status_code == 303
        assert "The session has ended." in (await operator.get("/console/keys")).text
        assert not await is_signed_in(support)
    async with engine.connect() as connection:
        record = await connection.execute(text("SELECT actor, subject FROM audit WHERE action = 'session.end'"))
        assert record.one() == ("operator", own)


async def test_every_process_knows_a_session_and_its_end(
    web: tuple[wiring.Services, str], settings: Settings, database_url: str
) -> None:
    async with serving(settings, database_url) as (_, url), browser(web[1]) as one, browser(url) as two:
        two.cookies.set("relay_console", await sign_in(one))
        assert await is_signed_in(two)
        await two.post("/console/logout", data={"token": await token(two)})
        assert not await is_signed_in(one)


async def test_a_new_operator_key_ends_the_sessions_of_the_old_one(
    web: tuple[wiring.Services, str], settings: Settings, database_url: str
) -> None:
    changed = settings.model_copy(update={"operator_key": SecretStr("another-operator-key-for-tests-0123")})
    async with serving(changed, database_url) as (_, url), browser(web[1]) as one, browser(url) as two:
        two.cookies.set("relay_console", await sign_in(one))
        assert not await is_signed_in(two)


@pytest.mark.parametrize("cookie", ["", "forged", "x" * 43, "é", "eyJrZXlfb3duZXIiOiJvcGVyYXRvciJ9.aaaa.bbbb"])
async def test_a_forged_cookie_is_no_session(web: tuple[wiring.Services, str], cookie: str) -> None:
    async with browser(web[1]) as client:
        answer = await client.get("/console/keys", headers=[(b"cookie", f"relay_console={cookie}".encode())])
        assert answer.headers["location"].startswith(LOGIN)


async def test_a_forged_notice_is_not_shown(web: tuple[wiring.Services, str]) -> None:
    async with browser(web[1]) as client:
        await sign_in(client)
        client.cookies.set("relay_notice", "eyJ0ZXh0IjoiQ2FsbCArMTIzIiwiZmFpbGVkIjpmYWxzZX0.AAAA")
        assert "Call +123" not in (await client.get("/console/keys")).text


async def test_the_stores_key_does_not_sign_in(web: tuple[wiring.Services, str]) -> None:
    async with browser(web[1]) as client:
        assert (await client.post(LOGIN, data={"key": STORE_KEY, "next": ""})).status_code == 401


async def test_a_broken_origin_is_another_site(web: tuple[wiring.Services, str]) -> None:
    """Not an error of the relay, which would be logged with a traceback for every such request of a stranger."""
    host = web[1].removeprefix("http://")
    form = {"key": OPERATOR_KEY, "next": "/console"}
    async with httpx.AsyncClient(base_url=web[1], timeout=20, trust_env=False) as client:
        for origin in (
            "http://[",
            "http://[::1",
            "null",
            "",
            "://",
            f"//{host}",
            f"ftp://{host}",
            f"http://x@{host}",
            host,
        ):
            answer = await client.post(LOGIN, data=form, headers={"origin": origin})
            assert answer.status_code == 403, origin
        for origin in (f"http://{host}", f"https://{host}"):  # a proxy may terminate TLS
            assert (await client.post(LOGIN, data=form, headers={"origin": origin})).status_code == 303


async def test_strangers_cannot_fill_the_memory_with_forms_for_signing_in(web: tuple[wiring.Services, str]) -> None:
    async with browser(web[1]) as client:
        answer = await client.post(LOGIN, data={"key": "k" * 20_000})
        assert answer.status_code == 413
        assert (await client.post(LOGIN, data={"key": "k" * 10_000})).status_code == 401
