"""The table of guarantees in docs/reliability.md is that of `make mutation`, and the tests that it names exist."""

import re
from pathlib import Path

from tests.mutation.breaks import BREAKS, table

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_table_of_guarantees() -> None:
    assert table() in (ROOT / "docs" / "reliability.md").read_text()


def test_every_guarantee_has_its_test_and_can_be_broken() -> None:
    for change in BREAKS:
        assert (ROOT / change.file).read_text().count(change.old) == 1, change.what
        path, _, name = change.guard.partition("::")
        assert re.search(rf"def {name}\(", (ROOT / path).read_text()), change.guard
