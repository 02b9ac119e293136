"""The client of the Platform, made from the settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from platform_relay.core.http import HttpClients, RateLimit, WriteGuard
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.responses import THE_PLATFORM
from platform_relay.settings import Settings


@asynccontextmanager
async def platform_client(
    settings: Settings, limit: RateLimit | None, guard: WriteGuard | None = None
) -> AsyncIterator[PlatformClient]:
    """The client, which is closed at the end. `limit` is the rate limit that all replicas share; None: no limit."""
    key = settings.platform.api_key
    clients = HttpClients(
        settings.platform.timeout, limit, private_networks=settings.private_networks, write_guard=guard
    )
    http = clients.make(
        settings.platform.url,
        settings.platform.launcher_url,
        destination=THE_PLATFORM,
        ca_file=settings.platform.ca_file,
        connections=2 * settings.concurrency,
        secrets=(key.get_secret_value(),) if key else (),
    )
    try:
        yield PlatformClient(http, settings.platform)
    finally:
        await http.aclose()
