"""The real web program, served by uvicorn in the test's own event loop, on a database of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine

from app import wiring
from app.main import create_app
from app.settings import PlatformSettings, Settings
from tests.helpers import eventually, free_port

STORE_KEY = "store-key-for-tests"
OPERATOR_KEY = "operator-key-for-tests"
DOOR_SECRET = "door-secret-for-tests"
PREVIOUS_DOOR_SECRET = "previous-door-secret-for-tests"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        store_key=STORE_KEY,
        operator_key=OPERATOR_KEY,
        platform=PlatformSettings(door_secret=DOOR_SECRET, door_secret_previous=PREVIOUS_DOOR_SECRET),
    )


@asynccontextmanager
async def serving(settings: Settings, database_url: str) -> AsyncIterator[tuple[wiring.Services, str]]:
    """The web program's parts and its address."""
    async with wiring.services(settings, database_url, "web") as parts:
        port = free_port()
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(parts), host="127.0.0.1", port=port, log_config=None, access_log=False, loop="none"
            )
        )
        serve = asyncio.create_task(server.serve())
        try:
            await eventually(lambda: server.started or serve.done())
            yield parts, f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await serve


@pytest.fixture
async def web(settings: Settings, database_url: str) -> AsyncIterator[tuple[wiring.Services, str]]:
    async with serving(settings, database_url) as running:
        yield running


@pytest.fixture
def parts(web: tuple[wiring.Services, str]) -> wiring.Services:
    return web[0]


Caller = Callable[[str | None], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def calling(web: tuple[wiring.Services, str]) -> AsyncIterator[Caller]:
    """Makes clients by their key."""
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
async def nobody(calling: Caller) -> httpx.AsyncClient:
    return await calling(None)


@pytest.fixture
def stored(engine: AsyncEngine) -> Callable[[], Awaitable[int]]:
    """How many messages the database holds."""

    async def count() -> int:
        async with engine.connect() as connection:
            return int((await connection.exec_driver_sql("SELECT count(*) FROM message")).scalar_one())

    return count
