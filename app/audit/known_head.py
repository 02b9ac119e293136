"""The newest known hash of the audit log, in a file outside the database: who has only the database cannot change both."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class Head:
    """The number and the hash (hex) of an entry that was the newest one."""

    entry: int
    hash: str


_HEAD: Final = TypeAdapter(Head)


def file_of(folder: Path, engine: AsyncEngine, schema: str | None = None) -> Path:
    """The file for this database. Its name depends on the database, because several can share a folder."""
    url = engine.url
    name = json.dumps([url.host or url.query.get("host"), url.database, schema])
    return folder / f"audit-head-{hashlib.sha256(name.encode()).hexdigest()[:12]}.json"


def read(file: Path) -> Head | None:
    """The head in the file; None if there is none."""
    try:
        return _HEAD.validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None


def write(file: Path, head: Head) -> None:
    """Replace the file, which only its owner can read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    with os.fdopen(
        os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8"
    ) as opened:
        json.dump(asdict(head), opened)
    part.replace(file)
