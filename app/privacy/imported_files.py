"""The files of imports. Any file may name the customer, so an erasure deletes all of them."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.chunks import run_in_chunks

_REJECTED_FILES: Final = text("""
SELECT DISTINCT name FROM import_run WHERE rejected > 0 AND source = 'file' ORDER BY name
""")
"""The files beside which `relay import` wrote rejected rows. Other imports write none."""
_EXPIRE_UPLOADS: Final = text("UPDATE import_upload SET expires_at = '-infinity'")
_IMPORTED: Final = "SELECT upload_id FROM import_run WHERE state IN ('running', 'stopped') AND upload_id IS NOT NULL"
_DELETE_UPLOADS: Final = (
    text(f"UPDATE import_run SET upload_id = NULL WHERE upload_id NOT IN ({_IMPORTED})"),  # noqa: S608  # constants only
    text(f"DELETE FROM import_upload WHERE id NOT IN ({_IMPORTED})"),  # noqa: S608  # as above
)
_DELETE_CHUNKS: Final = text("""
DELETE FROM import_chunk WHERE (upload_id, number) IN (
    SELECT upload_id, number FROM import_chunk
    WHERE NOT EXISTS (SELECT FROM import_upload WHERE import_upload.id = import_chunk.upload_id)
    ORDER BY upload_id, number LIMIT :chunk FOR UPDATE SKIP LOCKED)
""")
"""What is left of deleted files."""
_RUNNING_IMPORTS: Final = text(
    "SELECT name FROM import_run WHERE state IN ('running', 'stopped') AND upload_id IS NOT NULL ORDER BY name"
)
"""A file that is being imported is deleted when its import ends."""


async def files_with_rejected_rows(connection: AsyncConnection) -> list[str]:
    """The names of the imported files beside which a file of rejected rows was written."""
    return list((await connection.execute(_REJECTED_FILES)).scalars())


async def delete_uploads(engine: AsyncEngine) -> list[str]:
    """Delete the uploaded files. Returns the names of imports that run: their files are deleted when they end."""
    async with engine.begin() as connection:
        await connection.execute(_EXPIRE_UPLOADS)
        for statement in _DELETE_UPLOADS:
            await connection.execute(statement)
        running = list((await connection.execute(_RUNNING_IMPORTS)).scalars())
    await run_in_chunks(engine, _DELETE_CHUNKS)
    return running
