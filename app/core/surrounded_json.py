"""JSON with other text around it: a warning of PHP before it, a comment of a cache behind it, a byte order mark.

    loads(b'<br /><b>Warning</b>: Undefined variable in x.php<br />{"id": 1}<!-- cached -->')    # {"id": 1}

The text is read only if it is unambiguous: exactly one complete object or array, in no HTML page, and no part of another one.
"""

import re
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson

ATTEMPTS: Final = 10
"""A text with more brackets that begin no JSON is not read."""
_OPENING: Final = re.compile(r"[\[{]")
_BRACKETS: Final = re.compile(r"[\[{}\]]")
_PAGE: Final = re.compile(r"<(?:!doctype|html|head|body|title|script)\b", re.IGNORECASE)
_GUARD: Final = re.compile(r"^\)\]\}',?")
"""What some frameworks put before JSON, so that no page of another site can run it as a script."""
_PAIRS: Final = {"]": "[", "}": "{"}


class AmbiguousJsonError(ValueError):
    """The text contains JSON, but not exactly one complete value."""


def loads(raw: bytes) -> ExactJson:
    """The one JSON object or array in a text. Raises AmbiguousJsonError if the text contains several, a part of one, or a
    page; ValueError if it contains none."""
    try:
        text = _GUARD.sub("", raw.decode("utf-8-sig"), count=1)
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error
    values: list[tuple[ExactJson, int, int]] = []
    position = failed = 0
    while opening := _OPENING.search(text, position):
        try:
            value, position = exact_json.decode_at(text, opening.start())
        except ValueError:
            failed, position = failed + 1, opening.end()
            if failed > ATTEMPTS:
                break
            continue
        values.append((value, opening.start(), position))
        if len(values) > 1:
            raise AmbiguousJsonError("several JSON values")
    if not values or failed > ATTEMPTS:
        raise ValueError("is not JSON")
    value, start, end = values[0]
    before, after = text[:start], text[end:]
    if _PAGE.search(before) or _PAGE.search(after):
        raise AmbiguousJsonError("JSON within a page")
    if not (_is_balanced(before) and _is_balanced(after)):
        raise AmbiguousJsonError("a part of a JSON value")
    return value


def _is_balanced(text: str) -> bool:
    """Whether every bracket is closed: an open one can be the beginning of a larger value that was cut off."""
    opened: list[str] = []
    for bracket in _BRACKETS.findall(text):
        if bracket in "[{":
            opened.append(bracket)
        elif not opened or opened.pop() != _PAIRS[bracket]:
            return False
    return not opened
