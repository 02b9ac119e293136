"""The file of rejected rows that `relay import` writes beside the imported file."""

import json
import math
import os
from pathlib import Path
from typing import Literal, TextIO

from platform_relay.core.shared_folders import open_own_file
from platform_relay.imports.files import FileRow
from platform_relay.imports.rejected import rejected_line


class RejectedRows:
    """The file of rejected rows with reasons, beside the imported file and with its mode. Correct it and import it on its own."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.path = source.with_name(f"{source.name}.rejected.ndjson")
        self._file: TextIO | None = None

    def begin(self, committed: int) -> None:
        """Keep only the lines of committed rows; the process may have been killed between a line and its commit."""
        if not os.path.lexists(self.path):
            return
        with self._opened("r+") as file:
            kept = [line for line in file.read().splitlines(keepends=True) if _row_of(line) <= committed]
            file.seek(0)
            file.truncate()
            file.writelines(kept)
        if not kept:
            self.path.unlink()

    def write(self, row: FileRow, reason: str) -> None:
        if self._file is None:
            self._file = self._opened("a")
        self._file.write(rejected_line(row, reason).decode())
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self, how: Literal["a", "r+"]) -> TextIO:
        """Raises UnsafeFileError: in a shared folder, another user may have put a link there."""
        source, flags = self._source.stat(), os.O_APPEND | os.O_WRONLY if how == "a" else os.O_RDWR
        file = open_own_file(self.path, source.st_uid, source.st_mode & 0o666, flags)
        return os.fdopen(file, how, encoding="utf-8")


def _row_of(line: str) -> float:
    """The row's number; infinity for an incomplete line."""
    try:
        return int(json.loads(line)["row"])
    except ValueError:
        return math.inf
