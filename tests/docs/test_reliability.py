"""The table of promises in docs/reliability.md is that of `make mutation`, and the tests that it names are there."""

import re
from pathlib import Path

from tests.mutation.breaks import BREAKS, table

ROOT = Path(__file__).parents[2]


def test_the_table_of_promises_is_the_programs() -> None:
    assert table() in (ROOT / "docs" / "reliability.md").read_text()


def test_every_promise_has_its_test_and_can_be_broken() -> None:
    for each in BREAKS:
        assert (ROOT / each.file).read_text().count(each.old) == 1, each.what
        path, _, name = each.guard.partition("::")
        assert re.search(rf"def {name}\(", (ROOT / path).read_text()), each.guard
