"""The rejected rows of an import with their reasons, as NDJSON: to be corrected, and imported on their own."""

from collections.abc import AsyncIterator
from typing import IO

from platform_relay.core import exact_json
from platform_relay.core.compute import ComputeProcess
from platform_relay.imports.batches import batches
from platform_relay.imports.files import FileRow
from platform_relay.imports.importer import with_possible_version
from platform_relay.imports.rows import ImportPlan
from platform_relay.inbox.inbox import Inbox


def rejected_line(row: FileRow, reason: str) -> bytes:
    """A rejected row as a line of JSON: `row`, `reason`, and `values`, which are null if they are nested too deeply."""
    line = {"row": row.number, "reason": reason}
    try:
        return exact_json.dumps({**line, "values": row.values}) + b"\n"
    except ValueError:
        return exact_json.dumps({**line, "values": None}) + b"\n"


async def rejected_rows(
    plan: ImportPlan, file: IO[bytes], inbox: Inbox, compute: ComputeProcess, last_row: int
) -> AsyncIterator[bytes]:
    """The lines of all rejected rows up to row `last_row`, read from the file again: the database keeps no values. Raises
    ComputeError; a file that is broken behind these rows ends there."""
    try:
        async for batch in batches(plan, file, compute):
            now = await inbox.clock.now()
            for row, parsed in batch.rows:
                if row.number > last_row:
                    return
                message = with_possible_version(parsed, now)
                if isinstance(message, str):
                    yield rejected_line(row, message)
    except ValueError:
        return
