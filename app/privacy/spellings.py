"""The spellings under which an e-mail address is found: of its domain, and behind the escapes of formats that carry text.

Pure. Sources: RFC 5891 (domains in Unicode and in punycode), RFC 8259 (`\\u0040`), RFC 3986 (`%40`), HTML (`&#64;`),
RFC 2045 (quoted-printable: `=40`).
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import idna

ROUNDS: Final = 3
"""How deep escapes are resolved: JSON in a form in a text is two."""
_HIDING: Final = re.compile(r"\\u|%[0-9a-f][0-9a-f]|&#|&[a-z]+;|=[0-9a-f][0-9a-f]|=\r?\n|=\\+[rn]", re.IGNORECASE)
HIDING: Final = _HIDING.pattern
"""Matches a text in lower case in which an escape may hide a letter, here and in PostgreSQL."""
_JSON: Final = re.compile(r"(?<!\\)\\+u([0-9a-fA-F]{4})")
_QUOTED: Final = re.compile(r"(?:=[0-9a-fA-F]{2})+")
_SOFT_BREAK: Final = re.compile(r"=(?:\r?\n|(?:\\+r)?\\+n)")
"""At the end of a line, also of one in a JSON string."""


def address_spellings(address: str) -> set[str]:
    """The address in lower case, with its domain in Unicode and in punycode. A domain that is none stays as it is."""
    lower = unicodedata.normalize("NFC", address.strip().lower())
    spellings = {address.strip().lower(), lower}
    local, at, domain = lower.rpartition("@")
    try:
        punycode = idna.encode(domain, uts46=True).decode()
        spellings |= {local + at + punycode, local + at + idna.decode(punycode)}
    except idna.IDNAError:
        pass
    return spellings


def readings(text: str) -> Iterator[str]:
    """The text in lower case, as it is and with its escapes resolved. Each way to read it on its own, because what is an escape
    in one format is a plain text in another: `key=40` is a value, or `key@`."""
    forms = [text]
    if _HIDING.search(text):
        unescaped = text
        for _ in range(ROUNDS):
            unescaped = unquote(html.unescape(_JSON.sub(_character, unescaped)), errors="replace")
        forms += [unescaped, _unquoted(text), _unquoted(unescaped)]
    for form in dict.fromkeys(forms):
        lower = form.lower()
        yield lower
        if not lower.isascii() and (composed := unicodedata.normalize("NFC", lower)) != lower:
            yield composed


def texts_of(raw: bytes) -> Iterator[str]:
    """The body as text: UTF-8, or else Latin-1."""
    try:
        yield raw.decode()
    except UnicodeDecodeError:
        yield raw.decode("utf-8", "replace")
        yield raw.decode("latin-1")


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _unquoted(text: str) -> str:
    """The text without quoted-printable's escapes."""
    return _QUOTED.sub(
        lambda match: bytes.fromhex(match[0].replace("=", "")).decode("utf-8", "replace"), _SOFT_BREAK.sub("", text)
    )
