"""The file of the settings that `relay init` writes: its text, how it differs from the one before, and its replacement."""

import io
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

HIDDEN: Final = "(hidden)"
PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=~?&-]*")
"""Values that every reader of the file takes as they are: no quotes, spaces, `#` or `$`."""
HEAD: Final = (
    "# Settings of Platform Relay, written by `relay init`. It contains secrets: keep it private (mode 0600).\n"
)


class UnwritableValueError(ValueError):
    """The value of a setting cannot be in the file. The text names the setting and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting of the file, and what it is for."""

    name: str
    value: str
    comment: str = ""


def read_text(text: str) -> dict[str, str]:
    """The settings in the text of a file. Settings without a value are left out. Pure."""
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if value}


def render(sections: Iterable[tuple[str, Iterable[Line]]]) -> str:
    """The text of the file. A section without lines is left out. Pure. Raises UnwritableValueError."""
    parts = [HEAD]
    for title, lines in sections:
        entries = [f"# {line.comment}\n{_entry(line)}" if line.comment else _entry(line) for line in lines]
        if entries:
            parts.append(f"# ---- {title}\n" + "".join(entries))
    return "\n".join(parts)


def _entry(line: Line) -> str:
    value = line.value
    if PLAIN.fullmatch(value):
        return f"{line.name}={value}\n"
    if "${" in value or "'" in value or "\\" in value or not value.isprintable():
        raise UnwritableValueError(
            f"{line.name} contains a quote, a backslash, a line break or “${{”, which not every reader of the file"
            f" understands. Put it into /run/secrets/{line.name.lower()}, or set it in the environment."
        )
    return f"{line.name}='{value}'\n"


def changes(before: Mapping[str, str], after: Mapping[str, str], public: Collection[str]) -> list[str]:
    """What a new file changes: lines that begin with `-`, `+` or `~` (changed). Values of settings that are not in `public`
    are hidden. Pure."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        shown_old, shown_new = (value if name in public else HIDDEN for value in (old, new))
        if old is None:
            lines.append(f"+ {name}={shown_new}")
        elif new is None:
            lines.append(f"- {name}={shown_old}")
        else:
            lines.append(f"~ {name}={shown_old} -> {shown_new}")
    return lines


def unwritable(path: Path) -> str | None:
    """Why `replace_file` could not write the file, as far as it can be known before; None: nothing is known."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"{path} cannot be written: the folder {folder} does not exist"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{path} cannot be written: the user {os.geteuid()} may not write to the folder {folder}"
    if path.exists() and not os.access(path, os.R_OK):
        return f"{path} cannot be read by the user {os.geteuid()}"
    return None


def replace_file(path: Path, text: str, now: datetime) -> Path | None:
    """Write the file with mode 0600, completely or not at all. Returns where the one before is kept; None if there was none.

    Raises OSError, and ValueError if the path is a link: the settings would be written to another place.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a link. Give the file itself: --file.")
    kept = None
    if path.exists():
        kept = path.with_name(f"{path.name}.backup-{now:%Y%m%d-%H%M%S-%f}")
        _write_new(kept, path.read_bytes())
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        _write_new(fresh, text.encode())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return kept


def _write_new(path: Path, content: bytes) -> None:
    """Create a file that only its owner can read. It must not exist yet, so no other user can have opened it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
