"""The last refused requests: what an integrator's mistakes look like. Bounded in number, size and age.

Noting a request only adds it to memory, so no response waits for it. One task writes what was noted, at most `PENDING` rows a
second for each process. Requests that are refused for the same reason within that second are one row with their number; what
does not fit is counted and dropped. So a flood of refused requests costs no more than that.
"""

import asyncio
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from pydantic import Field, JsonValue, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.access.body_shapes import LARGEST_BODY, masked_path, shape_of
from platform_relay.core.chunks import run_in_chunks
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.ids import first_id
from platform_relay.core.paging import Cursor, Page
from platform_relay.jobs.views import View

KEPT: Final = 1000
"""Rows."""
MAX_AGE: Final = timedelta(days=14)
PENDING: Final = 50
"""Rows that wait to be written, in each process."""
EVERY: Final = 1.0
"""Seconds between two writes."""
LAST_WRITE: Final = 2.0
"""Seconds that the end of a process waits for the last write."""
MOST_FIELDS: Final = 20
"""Fields of one request."""
STATUSES: Final = frozenset({401, 403, 404, 409, 413, 415, 422})
_CURSOR: Final = Cursor("refused requests", TypeAdapter(UUID))

INSERT: Final = text("""
INSERT INTO refused_request (id, at, requests, key_name, method, route, status, problem, fields, size, body_shape)
SELECT id, at, requests, key_name, method, route, status, problem, CAST(fields AS jsonb), size, CAST(body_shape AS jsonb)
FROM unnest(CAST(:ids AS uuid[]), CAST(:at AS timestamptz[]), CAST(:requests AS int[]), CAST(:key_names AS text[]),
            CAST(:methods AS text[]), CAST(:routes AS text[]), CAST(:statuses AS int[]), CAST(:problems AS text[]),
            CAST(:fields AS text[]), CAST(:sizes AS int[]), CAST(:body_shapes AS text[]))
     AS noted(id, at, requests, key_name, method, route, status, problem, fields, size, body_shape)
""")
TRIM: Final = text("""
DELETE FROM refused_request WHERE id IN (
    SELECT id FROM refused_request
    WHERE id < greatest(CAST(:oldest AS uuid), (SELECT id FROM refused_request ORDER BY id DESC OFFSET :kept - 1 LIMIT 1))
    ORDER BY id LIMIT :chunk FOR UPDATE SKIP LOCKED)
""")
LIST: Final = text("SELECT * FROM refused_request WHERE id < :before AND id >= :oldest ORDER BY id DESC LIMIT :limit")
COUNTS: Final = text("""
SELECT key_name, problem, CAST(sum(requests) AS bigint) AS requests FROM refused_request WHERE id >= :oldest
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
""")


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused request. `route` is the template of the path. `fields` and `body` may contain personal data; they are
    masked before they are stored. `body` is None if the caller is not authenticated."""

    at: datetime
    key_name: str | None
    method: str
    route: str
    status: int
    problem: str
    fields: tuple[str, ...] = ()
    size: int | None = None
    body: bytes | None = None

    @property
    def group(self) -> Hashable:
        return self.key_name, self.method, self.route, self.status, self.problem, self.fields


class RefusedRequestView(View):
    """A refused request, or several within a second that were refused for the same reason."""

    id: UUID
    at: datetime = Field(description="When the first of them was refused.")
    requests: int = Field(description="The number of requests.")
    key: str | None = Field(description="The name of the API key; null if the caller was not authenticated.")
    method: str
    route: str = Field(description="The template of the path. The path itself can contain a mistyped secret.")
    status: int
    problem: str = Field(description="The id of the error (docs/errors.md).")
    fields: list[str] = Field(
        description=f"The fields with an error, at most {MOST_FIELDS}, each once. Unknown names are masked."
    )
    size: int | None = Field(description="The size of the body in bytes, as far as it was read or declared.")
    body_shape: JsonValue = Field(
        description="The body with each value replaced by its type, and unknown names masked; null if the caller was not"
        " authenticated, or if the body was not read or is too large."
    )


class RefusedRequestCount(View):
    """How many requests of one key were refused with one error."""

    key: str | None = Field(description="The name of the API key; null for callers that were not authenticated.")
    problem: str
    requests: int


class RefusedRequests:
    """Notes refused requests and writes them in the background. `on_drop` is called for each that is not stored."""

    def __init__(self, engine: AsyncEngine, on_drop: Callable[[int], None] = lambda _: None) -> None:
        self._engine = engine
        self._on_drop = on_drop
        self._pending: dict[Hashable, tuple[Refused, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, refused: Refused) -> None:
        """Keep the request for the next write. Returns at once."""
        first, count = self._pending.get(refused.group, (refused, 0))
        if not count and len(self._pending) >= PENDING:
            self._on_drop(1)
            return
        self._pending[refused.group] = first, count + 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_while_pending())

    async def _write_while_pending(self) -> None:
        while self._pending:
            await asyncio.sleep(EVERY)
            await self.write()

    async def write(self) -> None:
        """Write what was noted, and delete what is above the limits. What cannot be written is dropped."""
        noted, self._pending = list(self._pending.values()), {}
        if not noted:
            return
        written = False
        try:
            rows = []
            for refused, count in noted:
                rows.append(_row(refused, count))
                await asyncio.sleep(0)  # reading a body takes up to a millisecond
            async with map_database_errors(), self._engine.begin() as connection:
                await connection.execute(INSERT, {name: [row[name] for row in rows] for name in rows[0]})
            written = True
            async with map_database_errors():
                await prune_refused_requests(self._engine)
        except DatabaseAway:
            return
        except Exception as error:  # noqa: BLE001  # an error in noting a refused request must not stop what notes the next
            structlog.get_logger(__name__).error("refused_requests_not_written", error=type(error).__name__)
        finally:
            if not written:
                self._on_drop(sum(count for _, count in noted))

    async def aclose(self) -> None:
        """Write what is left, if that is possible soon."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST_WRITE):
                await self.write()
        except TimeoutError:
            pass


def _row(refused: Refused, count: int) -> Mapping[str, object]:
    """One value for each array of INSERT."""
    shape = shape_of(refused.body) if refused.body is not None and len(refused.body) <= LARGEST_BODY else None
    return {
        "ids": uuid7(),
        "at": refused.at,
        "requests": count,
        "key_names": refused.key_name,
        "methods": refused.method,
        "routes": refused.route,
        "statuses": refused.status,
        "problems": refused.problem,
        "fields": json.dumps(list(dict.fromkeys(map(masked_path, refused.fields)))),
        "sizes": refused.size and min(refused.size, (1 << 31) - 1),
        "body_shapes": None if shape is None else json.dumps(shape),
    }


async def prune_refused_requests(engine: AsyncEngine) -> None:
    """Delete the rows above KEPT, and those older than MAX_AGE."""
    await run_in_chunks(engine, TRIM, {"kept": KEPT, "oldest": _oldest()})


async def list_refused_requests(
    connection: AsyncConnection, *, cursor: str | None = None, limit: int = 50
) -> Page[RefusedRequestView]:
    """Newest first. `cursor` is the last page's `next_cursor`. Raises QueryInvalid for a cursor of another list."""
    before = _CURSOR.decode(cursor) or UUID(int=(1 << 128) - 1)
    rows = await connection.execute(LIST, {"before": before, "oldest": _oldest(), "limit": limit + 1})
    views = [RefusedRequestView(**{**row, "key": row["key_name"]}) for row in rows.mappings()]
    return _CURSOR.page(views, limit, lambda view: view.id)


async def count_refused_requests(connection: AsyncConnection) -> list[RefusedRequestCount]:
    """By key and problem, the most frequent first."""
    rows = await connection.execute(COUNTS, {"oldest": _oldest()})
    return [RefusedRequestCount(key=row.key_name, problem=row.problem, requests=row.requests) for row in rows]


def _oldest() -> UUID:
    return first_id(datetime.now(UTC) - MAX_AGE)
