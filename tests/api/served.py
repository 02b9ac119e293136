"""Serves the real web application with uvicorn, in the test's event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import uvicorn

from platform_relay import wiring
from platform_relay.settings import Settings
from platform_relay.web_server import server_config
from tests.helpers import eventually, free_port

STORE_KEY = "store-key-for-tests-012345"
OPERATOR_KEY = "operator-key-for-tests-0123"
WEBHOOK_SECRET = "webhook-secret-for-tests"
PREVIOUS_WEBHOOK_SECRET = "previous-webhook-secret-for-tests"

Caller = Callable[[str | None], Awaitable[httpx.AsyncClient]]
"""Makes a client with this API key."""
Stored = Callable[[], Awaitable[int]]
"""A function that counts the messages in the database."""


@asynccontextmanager
async def serving(settings: Settings, database_url: str) -> AsyncIterator[tuple[wiring.Services, str]]:
    """The application's services and its base URL."""
    async with wiring.services(settings, database_url, "web") as parts:
        port = free_port()
        server = uvicorn.Server(server_config(settings.model_copy(update={"port": port}), parts))
        serve = asyncio.create_task(server.serve())
        try:
            await eventually(lambda: server.started or serve.done())
            yield parts, f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await serve
