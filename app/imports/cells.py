"""Cleans a cell: removes what spreadsheets and copies leave around a value. Pure."""

import re
import string
from typing import Final

from platform_relay.imports.amounts import CellNumber

_INVISIBLE: Final = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
"""BOM, zero-width spaces and joiners, marks of direction, word joiner. Python does not count them as white space."""
_SPACES: Final = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_AROUND: Final = _INVISIBLE + _SPACES + "\x1a"  # 0x1A ends files of DOS
_FORMULA_TEXT: Final = re.compile(r'="([^"]*)"')
"""What exporters write so that Excel keeps the zeros: `="00042"`."""
_PARTICLE: Final = re.compile(r"'[A-Za-z]{1,2}[ \-]")
"""The beginning of a name such as 't Hooft or 's-Gravenhage."""


def clean(cell: str) -> tuple[str, bool]:
    """The value of the cell, and whether more than ordinary white space was removed.

    An apostrophe in front is Excel's mark of a text (`'00042`, `'+49 30 1234`) and is removed, except in names like
    `'t Hooft` and in a text in single quotes.
    """
    if isinstance(cell, CellNumber):
        return cell, False
    plain = cell.strip(string.whitespace)
    if plain.isascii() and plain[:1] not in ("'", "="):
        value = plain.strip("\x1a") if "\x1a" in plain else plain
        return value, False
    value = cell.strip(_AROUND)
    if value.startswith("'") and not _PARTICLE.match(value) and not (len(value) > 1 and value.endswith("'")):
        value = value[1:].strip(_AROUND)
    elif match := _FORMULA_TEXT.fullmatch(value):
        value = match[1].strip(_AROUND)
    return value, value != plain
