"""What a worker does for imports: continue those whose process ended, and delete files that have expired.

Most workers never read a file, so the readers of files are imported only when there is something to do.
"""

from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import single_statement
from platform_relay.imports.heartbeat import SILENT_SECONDS
from platform_relay.inbox.inbox import Inbox

if TYPE_CHECKING:
    from platform_relay.imports.runner import ImportRunner

_STOPPED: Final = text("""
SELECT EXISTS (SELECT FROM import_run
               WHERE (upload_id IS NOT NULL OR source = 'store')
                 AND (state = 'stopped' OR (state = 'running' AND heartbeat_at < now() - make_interval(secs => :silent))))
""")
_UPLOADS: Final = text("SELECT EXISTS (SELECT FROM import_upload) OR EXISTS (SELECT FROM import_chunk)")


class LeftImports:
    """One per worker; the parameters are those of `ImportRunner`."""

    def __init__(self, engine: AsyncEngine, inbox: Inbox, compute: ComputeProcess, store: object, adapter: str) -> None:
        self._engine = engine
        self._inbox = inbox
        self._compute = compute
        self._store = store
        self._adapter = adapter
        self._runner: ImportRunner | None = None

    async def resume(self) -> None:
        """Take over the imports whose process ended, one after another, and run them to their ends."""
        async with single_statement(self._engine) as connection:
            stopped = (await connection.execute(_STOPPED, {"silent": SILENT_SECONDS})).scalar_one()
        if stopped:
            await self._readers().run_stopped()

    async def prune_uploads(self) -> None:
        """Delete the files that have expired and are not being imported."""
        async with single_statement(self._engine) as connection:
            kept = (await connection.execute(_UPLOADS)).scalar_one()
        if kept:
            from platform_relay.imports.uploads import prune_uploads  # noqa: PLC0415  # see above

            await prune_uploads(self._engine)

    def _readers(self) -> "ImportRunner":
        if self._runner is None:
            from platform_relay.imports.runner import ImportRunner  # noqa: PLC0415  # see above

            self._runner = ImportRunner(self._engine, self._inbox, self._compute, self._store, self._adapter)
        return self._runner
