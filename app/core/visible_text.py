"""Makes foreign text safe to show: invisible and control characters are replaced. Pure.

A terminal, a chat or a page obeys some characters instead of showing them: C0 and C1 controls (escape sequences), bidirectional
controls (which reverse the order of letters), zero-width characters, and line separators. `visible` and `visible_lines`
are for people. `visible_json` is for JSON that programs read as well: it changes no value.
"""

import re
from typing import Final

REPLACEMENT: Final = "\ufffd"
_LINE_SPACE: Final = re.compile("[\t\n\r]")
_INVISIBLE: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero-width, separators, bidirectional
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"
    "\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff"  # halves of surrogate pairs
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)


def visible(text: str) -> str:
    """The text as one line: each tab and line end is a space, each other invisible character is U+FFFD."""
    return text if text.isprintable() else _INVISIBLE.sub(REPLACEMENT, _LINE_SPACE.sub(" ", text))


def visible_lines(text: str) -> str:
    """The text with its tabs and line feeds; each other invisible character is U+FFFD."""
    return text if text.isprintable() else _INVISIBLE.sub(REPLACEMENT, text.replace("\r\n", "\n"))


def visible_json(text: str) -> str:
    """The JSON text with its invisible characters as escapes, such as `\\u202e`. It has the same value."""
    return text if text.isprintable() else _INVISIBLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    encoded = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{encoded[at : at + 2].hex()}" for at in range(0, len(encoded), 2))
