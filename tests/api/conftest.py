"""Fixtures: the web application on its own database, and its clients."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.setting_groups import PlatformSettings
from platform_relay.settings import Settings
from tests.api.served import OPERATOR_KEY, PREVIOUS_WEBHOOK_SECRET, STORE_KEY, WEBHOOK_SECRET, Caller, Stored, serving


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        store_key=SecretStr(STORE_KEY),
        operator_key=SecretStr(OPERATOR_KEY),
        platform=PlatformSettings(
            webhook_secret=SecretStr(WEBHOOK_SECRET), webhook_secret_previous=SecretStr(PREVIOUS_WEBHOOK_SECRET)
        ),
    )


@pytest.fixture
async def web(settings: Settings, database_url: str) -> AsyncIterator[tuple[wiring.Services, str]]:
    async with serving(settings, database_url) as running:
        yield running


@pytest.fixture
def parts(web: tuple[wiring.Services, str]) -> wiring.Services:
    return web[0]


@pytest.fixture
async def calling(web: tuple[wiring.Services, str]) -> AsyncIterator[Caller]:
    """A function that makes a client for an API key."""
    async with AsyncExitStack() as stack:

        async def client(key: str | None) -> httpx.AsyncClient:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return await stack.enter_async_context(httpx.AsyncClient(base_url=web[1], headers=headers, timeout=20))

        yield client


@pytest.fixture
async def store(calling: Caller) -> httpx.AsyncClient:
    return await calling(STORE_KEY)


@pytest.fixture
async def operator(calling: Caller) -> httpx.AsyncClient:
    return await calling(OPERATOR_KEY)


@pytest.fixture
async def anonymous(calling: Caller) -> httpx.AsyncClient:
    return await calling(None)


@pytest.fixture
def stored(engine: AsyncEngine) -> Stored:
    """A function that counts the messages in the database."""

    async def count() -> int:
        async with engine.connect() as connection:
            return int((await connection.exec_driver_sql("SELECT count(*) FROM message")).scalar_one())

    return count
