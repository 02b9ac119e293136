"""What a field must be, as a text: a regular expression in an error message helps no reader. Pure."""

from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails

VISIBLE: Final = r"^[^\x00-\x1f\x7f]+$"
EMAIL: Final = r"^[^@\s]+@[^@\s]+$"
CURRENCY: Final = r"^[A-Z]{3}$"
RULES: Final[Mapping[str, str]] = {
    VISIBLE: "must not contain control characters, such as a line break or a tab",
    EMAIL: "must be one e-mail address, such as ada@example.com",
    CURRENCY: "must be a currency code of three capital letters, such as EUR",
}
"""The patterns of the fields that senders fill in."""
OTHER_RULE: Final = "does not have the form that the documentation of this field describes"


def message_of(detail: ErrorDetails) -> str:
    """The message of a validation error. `detail` has its context, for the pattern."""
    if detail["type"] != "string_pattern_mismatch":
        return detail["msg"]
    return RULES.get(str(detail.get("ctx", {}).get("pattern")), OTHER_RULE)
