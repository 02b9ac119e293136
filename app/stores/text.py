"""Titles of products, variants and line items as plain text. Pure."""

import html
from typing import Final

from pydantic import JsonValue

from platform_relay.stores.parsing import Null

BREAKS: Final = ("br", "p", "div", "li", "tr", "td", "h1", "h2", "h3", "h4", "h5", "h6")
"""Tags that begin a new line; a space replaces them."""


def plain_text(value: JsonValue | Null) -> JsonValue | Null:
    """A title without HTML tags, and with its entities decoded once: `Salt &amp; <b>Pepper</b>` is `Salt & Pepper`.

    A value that is not a text is returned unchanged. A `<` that begins no tag stays: `3 < 5`, `I <3 tea`. Takes time in
    proportion to the length of the text.
    """
    if not isinstance(value, str) or not ("<" in value or "&" in value):
        return value
    return html.unescape(_without_tags(value) if "<" in value else value).strip()


def _without_tags(text: str) -> str:
    parts: list[str] = []
    position = 0
    while (start := text.find("<", position)) >= 0:
        end = text.find(">", start) if _begins_tag(text, start) else start
        if end < 0:
            break
        parts.append(text[position:start])
        if end == start:
            parts.append("<")
        elif _tag_name(text[start + 1 : end]) in BREAKS:
            parts.append(" ")
        position = end + 1
    parts.append(text[position:])
    return "".join(parts)


def _begins_tag(text: str, start: int) -> bool:
    name = text[start + 1 : start + 3].removeprefix("/")[:1]
    return name == "!" or (name.isascii() and name.isalpha())


def _tag_name(inside: str) -> str:
    return inside[:12].strip("/ ").split(" ")[0].rstrip("/").lower()
