"""The real web program, served by uvicorn in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import uvicorn

from platform_relay import wiring
from platform_relay.main import create_app
from platform_relay.settings import Settings
from tests.helpers import eventually, free_port

STORE_KEY = "store-key-for-tests"
OPERATOR_KEY = "operator-key-for-tests"
WEBHOOK_SECRET = "door-secret-for-tests"
PREVIOUS_DOOR_SECRET = "previous-door-secret-for-tests"

Caller = Callable[[str | None], Awaitable[httpx.AsyncClient]]
"""Makes a client with this key."""
Stored = Callable[[], Awaitable[int]]
"""How many messages the database holds."""


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
