"""Links that sign in to the console once: what makes them work, and what does not."""

import asyncio
import hashlib
from urllib.parse import parse_qs, urlsplit

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.access import api_keys
from platform_relay.access.sign_in_links import create_link
from tests.api.served import OPERATOR_KEY, STORE_KEY
from tests.security.test_sessions import browser, is_signed_in

LINKS = "/v1/sign-in-links"
PAGE = "/console/sign-in"


async def new_link(client: httpx.AsyncClient, key: str = OPERATOR_KEY) -> str:
    answer = await client.post(LINKS, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["url"]
    assert url.startswith(str(client.base_url).rstrip("/") + PAGE)
    return url


def secret_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["secret"][0]


async def test_a_link_signs_in_once(web: tuple[wiring.Services, str]) -> None:
    async with browser(web[1]) as first, browser(web[1]) as second:
        url = await new_link(first)
        for _ in range(2):  # a program that follows links does not use it up
            page = await first.get(url)
            assert (page.status_code, "set-cookie" in page.headers) == (200, False)
            assert page.headers["referrer-policy"] == "no-referrer"
        form = {"secret": secret_of(url)}
        used = await first.post(PAGE, data=form)
        assert (used.status_code, used.headers["location"]) == (303, "/console/setup")
        assert await is_signed_in(first)
        again = await second.post(PAGE, data=form)
        assert again.status_code == 401
        assert "does not work any more" in again.text
        assert not await is_signed_in(second)


async def test_a_link_is_used_by_one_of_many(web: tuple[wiring.Services, str]) -> None:
    async with browser(web[1]) as client:
        form = {"secret": secret_of(await new_link(client))}
        answers = await asyncio.gather(*(client.post(PAGE, data=form) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [303] + [401] * 19


async def test_a_link_ends_with_its_time_and_its_key(web: tuple[wiring.Services, str], engine: AsyncEngine) -> None:
    key = await api_keys.create(engine, "support", ["read", "operate"], by="test")
    async with browser(web[1]) as client:
        late = await new_link(client)
        async with engine.begin() as connection:
            rows = str((await connection.execute(text("SELECT sign_in_link::text FROM sign_in_link"))).all())
            assert secret_of(late) not in rows
            assert secret_of(late).encode().hex() not in rows
            await connection.execute(text("UPDATE sign_in_link SET expires_at = now()"))
        assert (await client.post(PAGE, data={"secret": secret_of(late)})).status_code == 401
        orphan = await create_link(engine, hashlib.sha256(key.encode()).digest(), "support")
        [row] = await api_keys.list_keys(engine)
        await api_keys.revoke(engine, row.id, "test")
        answer = await client.post(PAGE, data={"secret": orphan.secret})
    assert answer.status_code == 401


async def test_a_link_is_refused_from_another_site_and_without_the_scope(
    web: tuple[wiring.Services, str], engine: AsyncEngine
) -> None:
    reader = await api_keys.create(engine, "reader", ["read"], by="test")
    async with browser(web[1]) as client:
        for key, status in ((STORE_KEY, 403), (reader, 403), ("wrong", 401)):
            answer = await client.post(LINKS, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
        assert (await client.post(LINKS)).status_code == 401
        form = {"secret": secret_of(await new_link(client))}
        foreign = await client.post(PAGE, data=form, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert (await client.post(PAGE, data=form)).status_code == 303  # the refused request did not use it up
