"""The table of promises in docs/reliability.md is that of `make mutation`, and what it names is there."""

import re
from pathlib import Path

import pytest

from tests.mutation.breaks import BREAKS, Break, table

ROOT = Path(__file__).parents[2]


def test_the_table_of_promises_is_the_programs() -> None:
    assert table() in (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.what)
def test_what_is_to_be_broken_stands_there_once(each: Break) -> None:
    assert (ROOT / each.file).read_text().count(each.old) == 1
    path, _, name = each.guard.partition("::")
    assert re.search(rf"def {name}\(", (ROOT / path).read_text())
