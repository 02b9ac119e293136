"""Finds the server of a database URL to work with, among its hosts and their addresses, also after a failover.

Each address has its own time limit, and all are queried at the same time, so one that does not answer delays no other. Of several
servers that accept writes the one with the latest timeline is taken. A server with an older timeline than one that this process
has seen is refused: it is the old primary.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from weakref import WeakSet

import asyncpg
import structlog
from sqlalchemy.engine import URL

from platform_relay.core.database_dial import Place, ServerConnection, answer_within, dial, places_of
from platform_relay.core.database_server import History, ServerState, newest, read_state
from platform_relay.core.database_url import connect_seconds, needs_writable

log: Final = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 0.5
"""How long the other addresses may still answer after one that accepts writes: it may be the old primary."""
CONNECT_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class NoWritableServerError(ConnectionError):
    """No server of the URL fits `target_session_attrs`. During a failover none accepts writes for some seconds."""


class OldPrimaryError(ConnectionError):
    """The server has an older timeline than one that this process has seen: it was replaced by a promoted standby."""


class Servers:
    """The servers of one URL, as this process knows them.

    `newest`: the latest history that was seen. `name` is the application_name of connections, and `command_seconds` the time
    limit of their statements.
    """

    def __init__(self, url: URL, name: str, command_seconds: float) -> None:
        self.newest: History | None = None
        self._url = url
        self._name = name
        self._command_seconds = command_seconds
        self._seconds = connect_seconds(url)
        self._needs_writable = needs_writable(url)
        self._best: Place | None = None
        self._survey: asyncio.Task[Place] | None = None
        self._open = WeakSet[ServerConnection]()

    async def places(self) -> list[Place]:
        """All addresses of the URL's hosts, resolved again. Raises OSError and TimeoutError."""
        async with asyncio.timeout(self._seconds):
            return await places_of(self._url)

    async def connect(self) -> ServerConnection:
        """A connection to the server to work with. Raises CONNECT_ERRORS, also NoWritableServerError and OldPrimaryError."""
        places = await self.places()
        if len(places) == 1:
            return self._checked(await self.connect_to(places[0]))
        if self._best in places:
            try:
                return self._checked(await self.connect_to(self._best))
            except CONNECT_ERRORS as error:
                log.info("database_server_left", host=self._best.host, port=self._best.port, error=type(error).__name__)
                self._best = None
        return self._checked(await self.connect_to(await self._find(places)))

    async def connect_to(self, place: Place, within: float | None = None) -> ServerConnection:
        """A connection to this address, with its `state`. Raises CONNECT_ERRORS; TimeoutError after `within` seconds, by default
        those of the URL's `connect_timeout`."""
        seconds = self._seconds if within is None else min(within, self._seconds)
        connection = await dial(
            self._url, place, name=self._name, seconds=seconds, command_seconds=self._command_seconds
        )
        try:
            connection.state = await answer_within(seconds, asyncio.ensure_future(read_state(connection)))
        except BaseException:
            connection.terminate()
            raise
        return connection

    def saw(self, place: Place, state: ServerState) -> None:
        """Remember a server that accepts writes. If its history is newer than what was known, the connections to the old
        primary are terminated, also those that wait for an answer."""
        if not state.writable or (state.history and self.newest and state.history.is_older_than(self.newest)):
            return
        self._best = place
        if state.history is None:
            return
        if state.history != self.newest:
            if self.newest is not None:
                log.warning("database_failed_over", timeline=state.history.timeline, was=self.newest.timeline)
            self.newest = state.history
        self._end(
            connection
            for connection in self._open
            if connection.state.history != state.history
            or (connection.place == place and connection.state.started_at != state.started_at)
        )

    def silent(self, place: Place) -> None:
        """The server does not answer, and no new connection can be opened: terminate those that lead there."""
        if self._best == place:
            self._best = None
        if ended := self._end(connection for connection in self._open if connection.place == place):
            log.warning("database_silent", host=place.host, port=place.port, connections=ended)

    def _end(self, connections: Iterable[ServerConnection]) -> int:
        ended = 0
        for connection in list(connections):
            if not connection.is_closed():
                connection.terminate()
                ended += 1
            self._open.discard(connection)
        return ended

    def _checked(self, connection: ServerConnection) -> ServerConnection:
        state = connection.state
        try:
            if self._needs_writable and not state.writable:
                raise NoWritableServerError("no server of the database URL accepts writes")
            if state.history and self.newest and state.history.is_older_than(self.newest):
                raise OldPrimaryError(
                    f"the server is on timeline {state.history.timeline}, and the database continues on timeline"
                    f" {self.newest.timeline}: it is the old primary"
                )
        except ConnectionError:
            connection.terminate()
            raise
        self.saw(connection.place, state)
        self._open.add(connection)
        return connection

    async def _find(self, places: list[Place]) -> Place:
        """Ask all addresses; callers at the same time share the answer."""
        if self._survey is None or self._survey.done():
            self._survey = asyncio.create_task(self._ask_all(places))
            self._survey.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._survey)

    async def _ask_all(self, places: list[Place]) -> Place:
        places_by_task = {asyncio.create_task(self._ask(place)): place for place in places}
        states: dict[Place, ServerState] = {}
        errors: dict[Place, BaseException] = {}
        pending = set(places_by_task)
        try:
            while pending:
                settled = newest(states.values(), self.newest) is not None
                done, pending = await asyncio.wait(pending, timeout=SETTLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not done and settled:
                    break
                if self._best in places:
                    return self._best  # the watch has found it meanwhile
                for task in done:
                    if (error := task.exception()) is None:
                        states[places_by_task[task]] = task.result()
                    else:
                        errors[places_by_task[task]] = error
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        in_order = {place: states[place] for place in places if place in states}
        best = newest(in_order.values(), self.newest)
        for place, state in in_order.items():
            if state is best or (best is None and not self._needs_writable):
                return place
        if states:
            raise NoWritableServerError("no server of the database URL accepts writes")
        raise _clearest([errors[place] for place in places if place in errors])

    async def _ask(self, place: Place) -> ServerState:
        connection = await self.connect_to(place)
        with suppress(*CONNECT_ERRORS):
            connection.terminate()
        return connection.state


def _clearest(errors: list[BaseException]) -> BaseException:
    """Of the errors of all addresses, one in which a server explains itself, or else the first."""
    return next((error for error in errors if isinstance(error, asyncpg.PostgresError)), errors[0])
