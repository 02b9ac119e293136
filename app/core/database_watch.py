"""Watches the servers of the database URL, so that the connections of a failed primary are replaced within seconds.

A frozen primary, or one behind a firewall that drops packets, ends no connection: statements wait for an answer, up to
their own time limit. So one connection to each address asks at short intervals which server it is. When it does not answer,
and no new connection can be opened, all connections to that address are terminated. When a server with a later timeline
accepts writes, the connections to the old primary are terminated, even if it answers.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from platform_relay.core.background import keep_running
from platform_relay.core.database_dial import Place, ServerConnection, SilentError, answer_within
from platform_relay.core.database_server import read_state
from platform_relay.core.database_servers import CONNECT_ERRORS, Servers

log: Final = structlog.get_logger(__name__)

ASK_SECONDS: Final = 1.5
"""Between two questions to a server."""
ANSWER_SECONDS: Final = 3.0
RESOLVE_SECONDS: Final = 5.0
"""Between two looks at the addresses of the URL's hosts."""
RENEW_SECONDS: Final = 6.0
"""How old the connection of a question becomes: behind a proxy or a pooler only a new one may lead to the new primary."""


async def watch_servers(servers: Servers) -> None:
    """Runs until it is cancelled."""
    watched: dict[Place, asyncio.Task[None]] = {}
    try:
        while True:
            with suppress(OSError, TimeoutError):  # without an answer of the DNS the known addresses stay
                places = await servers.places()
                for gone in watched.keys() - set(places):
                    watched.pop(gone).cancel()
                for place in places:
                    if place not in watched:
                        watching = keep_running("watch_server", partial(_watch, servers, place), server=str(place))
                        watched[place] = asyncio.create_task(watching)
            await asyncio.sleep(RESOLVE_SECONDS)
    finally:
        for task in watched.values():
            task.cancel()
        await asyncio.gather(*watched.values(), return_exceptions=True)


async def _watch(servers: Servers, place: Place) -> None:
    loop = asyncio.get_running_loop()
    connection: ServerConnection | None = None
    opened = 0.0
    try:
        while True:
            try:
                if connection is None or loop.time() - opened > RENEW_SECONDS:
                    fresh = await servers.connect_to(place, ANSWER_SECONDS)
                    if connection is not None:
                        connection.terminate()
                    connection, opened, state = fresh, loop.time(), fresh.state
                else:
                    state = await answer_within(ANSWER_SECONDS, asyncio.ensure_future(read_state(connection)))
                servers.saw(place, state)
            except CONNECT_ERRORS as error:
                if isinstance(error, TimeoutError) and connection is None:
                    servers.silent(place)
                if connection is not None:
                    connection.terminate()
                    connection = None
                    if isinstance(error, SilentError):
                        continue  # a new connection shows whether it is the server or this connection
            await asyncio.sleep(ASK_SECONDS)
    finally:
        if connection is not None:
            connection.terminate()
