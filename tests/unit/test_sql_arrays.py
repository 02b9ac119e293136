"""No statement has a parameter for each element of a list: PostgreSQL accepts at most 32,767 parameters.

`database.is_one_of`, `= ANY(CAST(:list AS …[]))` and `unnest` pass a list as one parameter.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
SPREADING = {"in_", "not_in", "notin_", "bulk_insert_mappings", "insertmanyvalues"}


def spreading(tree: ast.AST) -> Iterator[int]:
    """The lines that make a parameter of each element."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = (
            function.attr
            if isinstance(function, ast.Attribute)
            else function.id
            if isinstance(function, ast.Name)
            else ""
        )
        rows = name == "values" and any(isinstance(value, ast.List | ast.ListComp | ast.Starred) for value in node.args)
        if name in SPREADING or rows or any(keyword.arg == "expanding" for keyword in node.keywords):
            yield node.lineno


def test_lists_are_passed_as_arrays() -> None:
    places = [
        f"{path.relative_to(APP)}:{line}"
        for path in sorted(APP.rglob("*.py"))
        for line in spreading(ast.parse(path.read_text()))
    ]
    assert places == [], "use database.is_one_of, or ANY with an array"


@pytest.mark.parametrize(
    "code",
    [
        "Job.id.in_(ids)",
        "Job.id.not_in(ids)",
        "bindparam('ids', expanding=True)",
        "insert(Job).values([{'id': i} for i in ids])",
        "insert(Job).values([row])",
    ],
)
def test_the_check_finds(code: str) -> None:
    assert list(spreading(ast.parse(code))) == [1]


def test_the_check_allows_arrays() -> None:
    assert list(spreading(ast.parse("is_one_of(Job.id, ids), update(Job).values(state=1), a.values()"))) == []
