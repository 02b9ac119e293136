"""Canaries: secrets and a person's data are planted wherever they can be, and looked for wherever they must not be."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final  # Any: httpx's own signatures

import asyncpg
import httpx
import pytest

from platform_relay.core.database import parse_url
from platform_relay.core.embedded import EmbeddedPostgres
from platform_relay.settings import Settings
from simulators.scene import INHERITED, relay_process
from tests.helpers import eventually, free_port

SECRETS: Final = {
    "STORE_KEY": "canary-store-key-1f3a5c7e",
    "OPERATOR_KEY": "canary-operator-key-2b4c",
    "PLATFORM__API_KEY": "canary-platform-key-3c5d",
    "PLATFORM__WEBHOOK_SECRET": "canary-webhook-secret-4d6e",
    "PLATFORM__WEBHOOK_SECRET_PREVIOUS": "canary-former-webhook-5e7f",
    "WOOCOMMERCE__CONSUMER_KEY": "ck_canary_consumer_6f80",
    "WOOCOMMERCE__CONSUMER_SECRET": "cs_canary_consumer_7081",
    "WOOCOMMERCE__WEBHOOK_SECRET": "canary-webhook-secret-8192",
}
DATABASE_PASSWORD: Final = "canary-database-password-92a3"
GUESS: Final = "canary-wrong-key-a3b4"
PERSON: Final = {
    "email": "canary.person@example.com",
    "firstName": "Canarina",
    "lastName": "Personova",
    "phone": "+49301234567",
}
CANARIES: Final = (*SECRETS.values(), DATABASE_PASSWORD, GUESS)
ORDER: Final = {"id": "1001", "customerId": "42", "financialStatus": "paid", "currency": "EUR", "totalPrice": "19.98"}
CODE: Final = "cnry123def456"
"""A coupon's code, which is worth money."""
KEPT_IN: Final = {"message", "attempt", "job"}
"""The tables where a person's data may be: what arrived, and what a destination answered to it."""


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A destination that refuses everything and tells everything it was told, headers too."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                result = json.dumps({"message": f"refused: {(head + body).decode('utf-8', 'replace')}"}).encode()
                writer.write(
                    b"HTTP/1.1 422 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(result)
                )
                writer.write(result)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def found(where: str, text: str, canaries: Iterable[str]) -> list[str]:
    """The canaries in `text`, plain, escaped, or in hex as Postgres shows bytes."""
    return [f"{canary} in {where}" for canary in canaries if canary in text or canary.encode().hex() in text]


async def plant_and_search(url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """Everything that comes over HTTP: answers, refusals, metrics, descriptions, pages."""
    sung: list[str] = []
    store = {"authorization": f"Bearer {SECRETS['STORE_KEY']}"}
    operator = {"authorization": f"Bearer {SECRETS['OPERATOR_KEY']}"}
    webhook_url = f"/v1/webhooks/platform/{SECRETS['PLATFORM__WEBHOOK_SECRET']}"
    everybody = (*CANARIES, *PERSON.values())
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:

        async def ask(method: str, path: str, canaries: Iterable[str] = everybody, **rest: Any) -> httpx.Response:
            answer = await client.request(method, path, **rest)
            sung.extend(found(f"{method} {path[:40]} {answer.status_code}", f"{answer.text}{answer.headers}", canaries))
            return answer

        guess = {"authorization": f"Bearer {GUESS}"}
        customer = {"id": "42", **PERSON, "updatedAt": "2026-05-11T12:00:00Z"}
        redeemed = {
            "id": "w1",
            "couponCode": CODE,
            "points": -500,
            "customer": {"externalId": "42", **PERSON},
        }
        await ask("POST", "/v1/events/customers", headers=store, json=customer)
        await ask("POST", "/v1/events/orders", headers=store, json={**ORDER, "email": PERSON["email"]})
        await ask("POST", webhook_url, headers={"x-webhook-topic": "points/redeemed"}, json=redeemed)
        for raw in (  # refused, each in its own way
            json.dumps({**customer, "email": [PERSON["email"]], "birthdayMonth": PERSON["phone"]}),
            json.dumps(customer)[:-1],
            json.dumps({**customer, "id": None, "tags": PERSON["lastName"]}),
            json.dumps({**customer, "x": "\x00"}),
        ):
            await ask("POST", "/v1/events/customers", headers=store, content=raw)
            await ask("POST", "/v1/events/batch", headers=store, content=f'{{"type":"customers","event":{raw}}}')
        for path in (
            "/v1/jobs/counts",
            "/v1/jobs",
            f"/v1/coupons?customer={GUESS}",
            f"/{GUESS}",
            f"/v1/events/{GUESS}",
        ):
            await ask("GET", path, (*SECRETS.values(), GUESS) if GUESS not in path else SECRETS.values(), headers=guess)
        same = {"origin": url}
        await ask("POST", "/console/login", data={"key": GUESS, "next": "/console"}, headers=same)
        await ask("POST", f"/v1/webhooks/platform/{GUESS}", json=redeemed)
        await ask("POST", "/v1/store-webhooks/woocommerce", headers={"x-wc-webhook-signature": GUESS}, json=customer)

        async def tried() -> bool:
            return bool(await connection.fetchval("SELECT count(*) >= 2 FROM attempt WHERE excerpt IS NOT NULL"))

        await eventually(tried, within=30)
        for path in ("/metrics", "/openapi.json", "/docs", "/redoc", "/healthz", "/readyz"):
            await ask("GET", path, (*everybody, CODE))
        dead = (await ask("GET", "/v1/jobs?state=dead", CANARIES, headers=operator)).json()["items"]
        assert dead
        result = [f"/v1/jobs/{job['id']}" for job in dead] + [f"/v1/events/{job['message_id']}" for job in dead]
        for path in (
            *result,
            "/v1/jobs/counts",
            "/v1/destinations",
            "/v1/coupons",
            "/v1/explain/order/1001",
            "/v1/explain/customer/42",
        ):
            await ask("GET", path, CANARIES, headers=operator)
        entered = await ask("POST", "/console/login", data={"key": SECRETS["OPERATOR_KEY"]}, headers=same)
        assert entered.status_code == 303
        pages = (
            "",
            "/dead-and-held",
            "/coupons",
            "/rules",
            "/keys",
            "/audit",
            "/search?q=42",
            f"/jobs/{dead[0]['id']}",
        )
        for page in pages:
            assert (await ask("GET", f"/console{page}", CANARIES)).status_code == 200, page
    return sung


async def of_the_commands(settings: Mapping[str, str]) -> list[str]:
    """What the command line prints, also when it fails."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(settings)
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    wrong = {**environment, "STORE_KEY": SECRETS["OPERATOR_KEY"], "PORT": "none"}
    sung: list[str] = []
    for words, variables in ((["check"], environment), (["keys", "list"], environment), (["check"], wrong)):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "platform_relay.cli", *words, env=variables, cwd=tempfile.gettempdir(),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await child.communicate()
        assert printed
        sung += found(f"relay {' '.join(words)}", printed.decode(), (*CANARIES, *PERSON.values()))
    return sung


async def of_the_tables(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """Secrets are in no table; a person is only in KEPT_IN."""
    sung: list[str] = []
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 10
    for (table,) in tables:
        rows = await connection.fetch(f'SELECT t::text FROM "{table}" AS t')  # noqa: S608  # our own tables
        canaries = (*CANARIES, *(() if table in KEPT_IN else PERSON.values()))
        sung += found(f"the table {table}", "\n".join(row[0] for row in rows), canaries)
    return sung


def test_nothing_shows_in_the_words_of_the_settings() -> None:
    groups = {name: value for name, value in SECRETS.items() if not name.startswith("WOOCOMMERCE")}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**groups, "DATABASE_URL": f"postgresql://relay:{DATABASE_PASSWORD}@db/relay"}.items():
            environment.setenv(name, value)
        settings = Settings(_env_file=None)
    result = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert found("repr", result, (*groups.values(), DATABASE_PASSWORD)) == []


@pytest.mark.timeout(180)
async def test_no_canary_sings() -> None:
    folder = Path(tempfile.mkdtemp(prefix="relay-canary-"))
    folder.chmod(0o711)  # noqa: ASYNC240  # before anything runs; the server of a root user is somebody else
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = EmbeddedPostgres.start(folder / "postgres", port=free_port(), settings={"fsync": "off"})
        stack.callback(server.stop)
        connection = await asyncpg.connect(server.tcp_url.replace("+asyncpg", ""))
        await connection.execute(f"ALTER ROLE postgres PASSWORD '{DATABASE_PASSWORD}'")
        database_url = parse_url(server.url).set(password=DATABASE_PASSWORD).render_as_string(hide_password=False)
        far = await stack.enter_async_context(echo())
        settings = {
            **SECRETS,
            "DATABASE_URL": database_url,
            "PLATFORM__URL": far,
            "PLATFORM__LAUNCHER_URL": far,
            "PLATFORM__SHOP_KEY": "public-shop-key",
            "STORE__ADAPTER": "woocommerce",
            "WOOCOMMERCE__URL": far,
            "LOG_LEVEL": "DEBUG",
            "RETRY__INITIAL_DELAY": "0.1",
        }
        assert DATABASE_PASSWORD in settings["DATABASE_URL"]
        process, url, log = stack.enter_context(relay_process(settings))
        stack.callback(log.unlink, missing_ok=True)
        try:
            sung = await plant_and_search(url, connection)
            sung += await of_the_commands(settings)
            sung += await of_the_tables(connection)
        finally:
            await connection.close()
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
        text = await asyncio.to_thread(log.read_text)
        assert "worker_stopped" in text
        sung += found("the log", text, (*CANARIES, *PERSON.values(), CODE, "oauth_signature"))
    assert sung == [], "\n".join(sung)
