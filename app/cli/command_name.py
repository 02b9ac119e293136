"""How this program was called, so that the commands that it prints can be copied."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

COMMAND = "relay"


def command_name() -> str:
    """The words that run this program again from the current folder: `relay`, `.venv/bin/relay`, `python -m platform_relay.cli`."""
    return called_as(sys.orig_argv, sys.argv[0], shutil.which(COMMAND), Path.cwd())


def called_as(words: Sequence[str], program: str, on_path: str | None, folder: Path) -> str:
    """As `command_name`. Pure.

    `words` are those of the process (sys.orig_argv), `program` is the file that runs (sys.argv[0]), `on_path` the `relay` of
    PATH. A shell passes the complete path of what it found there, and the path as it was typed otherwise.
    """
    if Path(program).name == "__main__.py" and words:
        return shlex.join([_short(words[0], folder), "-m", "platform_relay.cli"])
    if Path(program).name != COMMAND:
        return COMMAND
    if on_path is not None and os.path.abspath(on_path) == os.path.abspath(folder / program):
        return COMMAND
    return shlex.quote(_short(program, folder))


def _short(path: str, folder: Path) -> str:
    """The path from the folder, if it is below it."""
    if os.sep in path and Path(path).is_absolute() and Path(path).is_relative_to(folder):
        return str(Path(path).relative_to(folder))
    return path
