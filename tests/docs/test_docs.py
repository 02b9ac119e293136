"""The documents are true: what they name exists, and what exists is named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args  # Any: OpenAPI documents are free-form JSON

import pytest
import typer

import platform_relay
from platform_relay import wiring
from platform_relay.cli.program import cli
from platform_relay.core.errors import all_problems
from platform_relay.core.models import JOB_STATES
from platform_relay.coupons.transitions import SOURCES
from platform_relay.inbox.inbox import Receipt
from platform_relay.jobs import actions as operator_sql
from platform_relay.jobs.views import Counts, MessageState
from platform_relay.queue import statements
from platform_relay.queue.destinations import DestinationState
from platform_relay.queue.runner import NAMES
from platform_relay.queue.states import Again, Ending, GiveBack
from platform_relay.stores import ADAPTERS
from tests.docs.documents import openapi_document

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "simulators" / "README.md"], key=str)
TEXT = {page: page.read_text("utf-8") for page in PAGES}
STATES = (ROOT / "docs" / "states.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
WALKTHROUGH = (ROOT / "docs" / "walkthrough.md").read_text("utf-8")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:app|tests|docs|migrations|simulators|benchmarks)/[\w./-]*)(?:::(\w+))?`")
STEP = re.compile(r"^\| \d+ \| `(app/[\w/]+\.py)` \| (.+?) \|", re.MULTILINE)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# ----------------------------------------------------------------------------------------------- what they name exists


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(without_code(TEXT[page])):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{page.name}: {target}"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other.read_text("utf-8")), f"{page.name}: {target}"


@pages
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    for name, function in PATH.findall(TEXT[page]):
        assert (ROOT / name).exists(), f"{page.name}: {name}"
        if function:
            assert function in names_of(ROOT / name), f"{page.name}: {name}::{function}"


@pages
def test_nothing_of_one_machine_is_named(page: Path) -> None:
    assert re.findall(r"/(?:work|root|home|tmp|Users)/\S*", TEXT[page]) == []


def test_the_walkthrough_names_what_is_there() -> None:
    steps = STEP.findall(WALKTHROUGH)
    assert len(steps) > 30
    for path, told in steps:
        known = names_of(ROOT / path)
        for name in re.findall(r"`([\w.]+)`", told):
            assert set(name.split(".")) <= known, f"{path}: {name}"


def test_every_decision_is_a_page_of_the_same_form() -> None:
    folder = ROOT / "docs" / "adr"
    found = sorted(folder.glob("0*.md"))
    assert [page.name[:4] for page in found] == [f"{number:04d}" for number in range(1, len(found) + 1)]
    index = (folder / "README.md").read_text("utf-8")
    for page in found:
        text = page.read_text("utf-8")
        title, decision = text.splitlines()[0], text.splitlines()[2]
        assert title.startswith(f"# {page.name[:4]}: "), page.name
        assert decision.startswith("**Decision.** "), page.name
        for heading in ("## Context", "## Consequences", "## Where it stands"):
            assert heading in text, page.name
        assert f"({page.name})" in index, page.name
        assert decision.removeprefix("**Decision.** ") in index, page.name


# ----------------------------------------------------------------------------------------------- what exists is named


def test_every_state_reason_and_outcome_is_explained() -> None:
    destination_states = get_args(DestinationState.__annotations__["state"])
    waiting = (*get_args(Again.__annotations__["disposition"]), *get_args(GiveBack.__annotations__["disposition"]))
    written = re.findall(r"disposition = '(\w+)'", source_of(statements) + source_of(operator_sql))
    names = {
        *JOB_STATES,
        *waiting,
        *written,
        *get_args(Ending),
        *NAMES.values(),
        *destination_states,
        *SOURCES,
        *get_args(MessageState),
        *get_args(Receipt.__annotations__["status"]),
        "lost",
    }
    assert {"parked", "operator_retry", "dropped", "tripped", "held", "needs_attention"} <= names
    assert sorted(name for name in names if f"`{name}`" not in STATES) == []


def test_the_accounting_identity_is_that_of_the_counts() -> None:
    received, *parts = Counts.model_fields
    assert f"{received} = {' + '.join(parts)}" in STATES


def test_every_kind_of_job_is_named() -> None:
    kinds = re.findall(r'^        "(\w+)": ', source_of(wiring), re.MULTILINE)
    assert "issue_coupon" in kinds
    assert [kind for kind in kinds if f"`{kind}`" not in STATES] == []


async def test_every_endpoint_is_named() -> None:
    table = OPERATIONS.split("### The API at a glance")[1].split("##")[0]
    assert sorted(await endpoints()) == sorted(re.findall(r"`((?:GET|POST|PUT|DELETE|PATCH) /[^`]*)`", table))


def test_every_metric_is_named() -> None:
    source = (ROOT / "app" / "telemetry.py").read_text("utf-8")
    metrics = set(re.findall(r'"(relay_[a-z_]+)"', source))
    assert "relay_jobs_waiting" in metrics
    assert metrics == set(re.findall(r"^\| `(relay_[a-z_]+)` \|", OPERATIONS, re.MULTILINE))


def test_every_command_is_named() -> None:
    assert sorted(set(commands())) == sorted(re.findall(r"`(relay [a-z -]+)`", commands_table()))


def test_every_problem_and_adapter_is_named() -> None:
    errors, stores = TEXT[ROOT / "docs" / "errors.md"], {page.stem for page in (ROOT / "docs" / "shops").glob("*.md")}
    assert [problem.id for problem in all_problems() if f"## {problem.id}\n" not in errors] == []
    assert stores == set(ADAPTERS)


def test_the_index_leads_to_every_page() -> None:
    index = TEXT[ROOT / "docs" / "README.md"]
    here = sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md")
    assert [name for name in here if f"]({name})" not in index] == []


def test_the_map_names_every_module() -> None:
    told = platform_relay.__doc__ or ""
    assert len(told.splitlines()) < 60
    modules = {path.stem for path in (ROOT / "app").iterdir() if not path.name.startswith("_")}
    assert sorted(name for name in modules if not re.search(rf"\b{name}\b", told)) == []


# ----------------------------------------------------------------------------------------------- reading the code


def names_of(path: Path) -> set[str]:
    """All classes, functions, methods and assigned names of a module, however deep."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def source_of(module: Any) -> str:
    return Path(module.__file__).read_text("utf-8")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


async def endpoints() -> set[str]:
    """Method and path of all that is served at /openapi.json."""
    paths = (await openapi_document())["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


def commands() -> Iterator[str]:
    """`relay serve`, `relay keys create` and so on; hidden ones are not told."""

    def below(command: Any, name: str) -> Iterator[str]:
        if command.hidden:
            return
        if hasattr(command, "commands"):
            for child, one in command.commands.items():
                yield from below(one, f"{name} {child}")
        else:
            yield name

    return below(typer.main.get_command(cli), "relay")


def commands_table() -> str:
    return OPERATIONS.split("### Commands")[1].split("###")[0]
