"""Where commands print: results to `out`, all else to `err`. Sentences are never broken into lines, since what they hold may be
copied, or read by a program; a table is broken to fit."""

from typing import Final

from rich.console import Console

out: Final = Console(soft_wrap=True)
err: Final = Console(stderr=True, soft_wrap=True)
