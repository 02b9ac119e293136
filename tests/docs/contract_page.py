"""The table of docs/platform-contract.md, made from the code. `python -m tests.docs.contract_page` writes it."""

import re
from pathlib import Path
from typing import Final

from platform_relay.platform.verify.assumptions import CONTRACT, NULLS

PAGE: Final = Path(__file__).parents[2] / "docs" / "platform-contract.md"
HEADER: Final = "| id | assumption | tested by | setting |\n|---|---|---|---|\n"
_TABLE: Final = re.compile(re.escape(HEADER) + r"(?:\|.*\n)*")


def table() -> str:
    """The table of all assumptions except those about nulls."""
    rows = [
        f"| `{item.id}` | {item.statement} | {item.check or 'not testable'} | {_setting(item.setting)} |\n"
        for item in CONTRACT
        if item not in NULLS
    ]
    return HEADER + "".join(rows)


def page() -> str:
    """The page with the table of the code."""
    return _TABLE.sub(lambda _: table(), PAGE.read_text("utf-8"))


def _setting(setting: str) -> str:
    key = setting.removeprefix("PLATFORM__FIELDS ")
    return f"`{key}`" if key else "-"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
