"""Finds the server of a database URL to work with, among its hosts and their addresses, also after a failover.

Each address has its own time limit, and all are queried at the same time, so one that does not answer delays no other. Of several
servers that accept writes the one with the latest timeline is taken. A server with an older timeline than one that this process
has seen is refused: it is the old primary. A server of another cluster is refused while the used one is not away
(`database_cluster`).
"""

import asyncio
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from weakref import WeakSet

import asyncpg
import structlog
from sqlalchemy.engine import URL

from platform_relay.core.database_cluster import AWAY_SECONDS, UsedCluster
from platform_relay.core.database_dial import Place, ServerConnection, answer_within, dial, places_of
from platform_relay.core.database_server import History, ServerState, newest, read_state
from platform_relay.core.database_url import connect_seconds, needs_writable

log: Final = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 0.5
"""How long the other addresses may still answer after one that accepts writes: it may be the old primary."""
FIRST_SETTLE_SECONDS: Final = 2.0
"""The same while this process knows no history: of several clusters, all processes should begin with the first of the URL."""
CONNECT_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
NO_ROOM: Final = "53"
"""The class of SQLSTATEs of a server that answers and has no room for one more connection: it is not away."""


class NoWritableServerError(ConnectionError):
    """No server of the URL fits `target_session_attrs`. During a failover none accepts writes for some seconds."""


class OldPrimaryError(ConnectionError):
    """The server has an older timeline than one that this process has seen: it was replaced by a promoted standby."""


class OtherClusterError(ConnectionError):
    """The server belongs to another cluster than the one that this process uses."""


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
        self._places: list[Place] = []
        self._cluster = UsedCluster()
        self._reported: set[tuple[Place, int]] = set()
        """Servers of other clusters that were logged."""
        self._preparing = 0
        self._prepared_at = -math.inf

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """While a server is prepared for its first use. That may take minutes, and all connections wait for it."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._prepared_at = time.monotonic()

    def seconds_since_preparation(self) -> float:
        """0 while a server is prepared for its first use; infinite if none was."""
        return 0.0 if self._preparing else time.monotonic() - self._prepared_at

    async def places(self) -> list[Place]:
        """All addresses of the URL's hosts, resolved again. A host that cannot be resolved keeps its addresses while another
        can. Raises OSError and TimeoutError."""
        async with asyncio.timeout(self._seconds):
            self._places = await places_of(self._url, self._places)
        self._cluster.keep(self._places, time.monotonic())
        if self._best not in self._places:
            self._best = None
        return self._places

    async def connect(self) -> ServerConnection:
        """A connection to the server to work with. Raises CONNECT_ERRORS, also NoWritableServerError and OldPrimaryError."""
        places = await self.places()
        if len(places) == 1:
            return self._checked(await self.connect_to(places[0]))
        best = self._best  # the watch may change it meanwhile
        if best in places:
            try:
                return self._checked(await self.connect_to(best))
            except CONNECT_ERRORS as error:
                log.info("database_server_left", host=best.host, port=best.port, error=type(error).__name__)
                if self._best == best:
                    self._best = None
        return self._checked(await self.connect_to(await self._find(places)))

    async def connect_to(self, place: Place, within: float | None = None) -> ServerConnection:
        """A connection to this address, with its `state`. Raises CONNECT_ERRORS; TimeoutError after `within` seconds, by default
        those of the URL's `connect_timeout`."""
        seconds = self._seconds if within is None else min(within, self._seconds)
        try:
            connection = await dial(
                self._url, place, name=self._name, seconds=seconds, command_seconds=self._command_seconds
            )
            try:
                connection.state = await answer_within(seconds, asyncio.ensure_future(read_state(connection)))
            except BaseException:
                connection.terminate()
                raise
        except CONNECT_ERRORS as error:
            if not str(getattr(error, "sqlstate", "")).startswith(NO_ROOM):
                self._cluster.fails(place, time.monotonic())
            raise
        if not connection.state.writable:
            self._cluster.fails(place, time.monotonic())
        return connection

    def saw(self, place: Place, state: ServerState) -> None:
        """Note what the watch was answered at this address. If the server accepts writes and its history is newer than what was
        known, it is used, and the connections to the old primary are terminated, also those that wait for an answer. So are those
        to another cluster, when that is left. The first server of a process is chosen by `connect`, which compares all."""
        if self.newest is not None or self._best is not None:
            self._note(place, state)

    def _note(self, place: Place, state: ServerState) -> None:
        history, known, now = state.history, self.newest, time.monotonic()
        if not state.writable or (history and known and history.is_older_than(known)):
            self._cluster.fails(place, now)
            if self._best == place:
                self._best = None
            return
        if history is None:  # nothing shows that it is newer
            self._best = self._best or place
            return
        if known and history.system != known.system:
            self._cluster.fails(place, now)  # the used one, if this address led to it
            if not self._cluster.may_be_left_for(place, now):
                self._report(place, history.system, known.system)
                return
            self._cluster.leave()
            self._reported.clear()
        if history != known:
            if known is not None:
                log.warning("database_failed_over", server=str(place), timeline=history.timeline, was=known.timeline)
            self._best, self.newest = place, history
        self._best = self._best or place
        self._cluster.accepts(place)
        self._end(
            connection
            for connection in self._open
            if connection.state.history != history
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

    def _may_use(self, place: Place, history: History) -> bool:
        """False for a server of another cluster while the used one is not away."""
        return (
            self.newest is None
            or history.system == self.newest.system
            or self._cluster.may_be_left_for(place, time.monotonic())
        )

    def _report(self, place: Place, system: int, used_system: int) -> None:
        """Log the first time that this server of another cluster accepts writes."""
        if (place, system) not in self._reported:
            self._reported.add((place, system))
            log.warning(
                "database_of_another_cluster",
                server=str(place),
                system=system,
                used=str(self._cluster.place),
                used_system=used_system,
                next_step="let DATABASE_URL lead to one cluster only, or stop the servers of the other one",
            )

    def _refusal(self, place: Place) -> OtherClusterError:
        return OtherClusterError(
            f"{place} accepts writes, and belongs to another cluster than the one in use, {self._cluster.place}; it is used when"
            f" that one has accepted no writes for {AWAY_SECONDS:.0f} s"
        )

    def _checked(self, connection: ServerConnection) -> ServerConnection:
        state = connection.state
        self._note(connection.place, state)
        try:
            if self._needs_writable and not state.writable:
                raise NoWritableServerError("no server of the database URL accepts writes")
            if state.history and self.newest and state.history.is_older_than(self.newest):
                raise OldPrimaryError(
                    f"the server is on timeline {state.history.timeline}, and the database continues on timeline"
                    f" {self.newest.timeline}: it is the old primary"
                )
            if state.writable and state.history and self.newest and state.history.system != self.newest.system:
                raise self._refusal(connection.place)  # `_note` has not accepted it
        except ConnectionError:
            connection.terminate()
            raise
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
        settle = SETTLE_SECONDS if self.newest else FIRST_SETTLE_SECONDS
        try:
            while pending:
                settled = newest(self._usable(states).values(), self.newest) is not None
                done, pending = await asyncio.wait(pending, timeout=settle, return_when=asyncio.FIRST_COMPLETED)
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
        if not states:
            raise _clearest([errors[place] for place in places if place in errors])
        return self._choose({place: states[place] for place in places if place in states})

    def _choose(self, states: dict[Place, ServerState]) -> Place:
        """The server to work with, of those that answered, in the order of the URL. Raises NoWritableServerError and
        OtherClusterError."""
        usable = self._usable(states)
        best = newest(usable.values(), self.newest)
        for place, state in usable.items():
            if state is best or (best is None and not self._needs_writable):
                return place
        if refused := [place for place in states if place not in usable]:
            raise self._refusal(refused[0])
        raise NoWritableServerError("no server of the database URL accepts writes")

    def _usable(self, states: dict[Place, ServerState]) -> dict[Place, ServerState]:
        """Without the servers of another cluster, while the used one is not away."""
        return {
            place: state
            for place, state in states.items()
            if not state.writable or state.history is None or self._may_use(place, state.history)
        }

    async def _ask(self, place: Place) -> ServerState:
        connection = await self.connect_to(place)
        with suppress(*CONNECT_ERRORS):
            connection.terminate()
        return connection.state


def _clearest(errors: list[BaseException]) -> BaseException:
    """Of the errors of all addresses, one in which a server explains itself, or else the first."""
    return next((error for error in errors if isinstance(error, asyncpg.PostgresError)), errors[0])
