"""Tests wait for conditions (`tests.helpers.eventually`). A sleep is too short on one machine and too long on all others."""

import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
SLEEP: Final = re.compile(r"\bsleep\(|wait_for_timeout\(")
ONE_TURN: Final = re.compile(r"\basyncio\.sleep\(0\)")
"""One turn of the event loop, which takes no time."""
ABOUT_TIME: Final = ("faults/", "fuzz/", "many_stores/", "money/", "security/test_floods.py", "helpers.py")
"""Where time itself can be the condition: how long a fault lasts, how fast a load comes. Each line gives the reason in a
comment, `# time: ...`."""


def bare_sleeps(path: str, text: str) -> list[str]:
    """The lines that sleep without a permitted reason."""
    return [
        f"tests/{path}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if SLEEP.search(ONE_TURN.sub("", line)) and not (path.startswith(ABOUT_TIME) and "  # time: " in line)
    ]


def test_no_test_sleeps() -> None:
    bare = [
        line
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__)
        for line in bare_sleeps(path.relative_to(TESTS).as_posix(), path.read_text())
    ]
    assert bare == [], "wait for the condition with eventually()"


@pytest.mark.parametrize(
    ("path", "line", "bare"),
    [
        ("queue/test_loop.py", "await asyncio.sleep(0.1)", True),
        ("queue/test_loop.py", "await asyncio.sleep(0.1)  # time: it is slow", True),
        ("queue/test_loop.py", "await asyncio.sleep(0)", False),
        ("browser/test_pages.py", "await page.wait_for_timeout(100)", True),
        ("faults/machine.py", "time.sleep(4)", True),
        ("faults/machine.py", "time.sleep(4)  # time: the length of the fault", False),
    ],
)
def test_what_counts_as_a_sleep(path: str, line: str, bare: bool) -> None:
    assert bool(bare_sleeps(path, line)) is bare
