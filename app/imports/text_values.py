"""Texts that programs write where a value is missing, or where a spreadsheet destroyed it. Pure."""

import re
from typing import Final

from platform_relay.imports.id_values import is_formula_error, is_shortened_number

TEXTS: Final = frozenset(
    {"name", "firstName", "lastName", "phone", "tags", "title", "imageUrl", "status", "externalUrlHandle"}
)
"""Fields that take any text."""
_NO_VALUE: Final = frozenset(
    {
        "null",
        "NULL",
        "(null)",
        "(NULL)",
        "<null>",
        "<NULL>",
        "[NULL]",
        "\\N",
        "None",
        "none",
        "nan",
        "NaN",
        "NAN",
        "<NA>",
    }
    | {"undefined", "n/a", "N/A", "NA", "nil"}
)
"""Null, Nan, Na and Nil with one capital letter are names of people."""
_DECIMALS: Final = re.compile(r"[0-9]{6,20}[.,]0{1,2}")


def text_problem(field: str, text: str) -> str | None:
    """Why the text is no value of the field, as the end of a sentence that begins with it; None if it can be one."""
    if is_formula_error(text):
        return "is the error of a spreadsheet's formula"
    if text in _NO_VALUE or (text.isascii() and not any(character.isalnum() for character in text)):
        return "means no value"
    if field == "phone":
        if is_shortened_number(text) or _DECIMALS.fullmatch(text):
            return "is a telephone number that a program changed into an amount; export it as text"
        if text in ("0", "-1"):
            return "means no value"
    return None
