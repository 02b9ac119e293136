"""The documents agree with the code: everything that they name exists, and everything that exists is named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args  # Any: OpenAPI documents are free-form JSON

import pytest

import platform_relay
from platform_relay import wiring
from platform_relay.cli.program import COMMANDS, imported
from platform_relay.core.errors import all_problems
from platform_relay.core.models import JOB_STATES
from platform_relay.coupons.transitions import ALLOWED_FROM
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs import actions as operator_sql
from platform_relay.jobs.views import Counts, MessageState
from platform_relay.queue.destinations import DestinationState
from platform_relay.queue.runner import OUTCOME_NAMES
from platform_relay.queue.statements import waiting as waiting_sql
from platform_relay.queue.states import Again, Ending, GiveBack
from platform_relay.stores import ADAPTERS
from tests.docs.documents import openapi_document

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("integrations/*/README.md"),
        ROOT / "simulators" / "README.md",
    ],
    key=str,
)
TEXT = {page: page.read_text("utf-8") for page in PAGES}
STATES = (ROOT / "docs" / "states.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
WALKTHROUGH = (ROOT / "docs" / "walkthrough.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MOST_FILES = 20
"""Files of the walkthrough: what a newcomer reads in an hour."""
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:app|tests|docs|migrations|simulators|benchmarks)/[\w./-]*)(?:::(\w+))?`")
STEP = re.compile(r"^\| \d+ \| `(app/[\w/]+\.py)` \| (.+?) \|", re.MULTILINE)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# ----------------------------------------------------------------------------------------------- named things exist


@pages
def test_links_have_a_target(page: Path) -> None:
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
def test_no_path_of_a_machine_is_named(page: Path) -> None:
    assert re.findall(r"/(?:work|root|home|tmp|Users)/\S*", TEXT[page]) == []


def test_the_walkthrough_names_files_and_functions_that_exist() -> None:
    steps = STEP.findall(WALKTHROUGH)
    files = {path for path, _ in steps}
    assert f"{len(steps)} steps in {len(files)} files" in WALKTHROUGH
    assert len(files) <= MOST_FILES
    for path, names in steps:
        known = names_of(ROOT / path)
        for name in re.findall(r"`([\w.]+)`", names):
            assert set(name.split(".")) <= known, f"{path}: {name}"


def test_every_decision_is_a_page_of_the_same_form() -> None:
    folder = ROOT / "docs" / "adr"
    decisions = sorted(folder.glob("0*.md"))
    assert [page.name[:4] for page in decisions] == [f"{number:04d}" for number in range(1, len(decisions) + 1)]
    index = (folder / "README.md").read_text("utf-8")
    for page in decisions:
        text = page.read_text("utf-8")
        title, _, status = text.splitlines()[:3]
        assert title.startswith(f"# {page.name[:4]}: "), page.name
        assert re.fullmatch(r"Status: (accepted|superseded by \[\d{4}\]\(.+\.md\))", status), page.name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Code"], page.name
        decision = text.split("## Decision\n\n")[1].split("\n\n")[0].replace("\n", " ")
        assert f"| [{title.removeprefix('# ')}]({page.name}) | {decision} |" in index, page.name


# ----------------------------------------------------------------------------------------------- existing things are named


def test_every_state_disposition_and_outcome_is_explained() -> None:
    destination_states = get_args(DestinationState.__annotations__["state"])
    waiting = (*get_args(Again.__annotations__["disposition"]), *get_args(GiveBack.__annotations__["disposition"]))
    written = re.findall(
        r"disposition = (?:CASE WHEN :by_operator THEN )?'(\w+)'", source_of(waiting_sql) + source_of(operator_sql)
    )
    names = {
        *JOB_STATES,
        *waiting,
        *written,
        *get_args(Ending),
        *OUTCOME_NAMES.values(),
        *destination_states,
        *ALLOWED_FROM,
        *get_args(MessageState),
        *get_args(Receipt.__annotations__["status"]),
        "lost",
    }
    assert {"parked", "operator_retry", "dropped", "tripped", "held", "needs_attention"} <= names
    assert sorted(name for name in names if f"`{name}`" not in STATES) == []
    dispositions = re.findall(r"^\| `(\w+)` \|", STATES.split("### Dispositions")[1].split("###")[0], re.MULTILINE)
    assert sorted(dispositions) == sorted({*waiting, *written, *get_args(Ending)})


def test_the_accounting_identity_is_that_of_the_counts() -> None:
    received, *parts = Counts.model_fields
    assert f"{received} = {' + '.join(parts)}" in STATES


def test_every_kind_of_job_is_named() -> None:
    handled = re.findall(r"^        JobKind\.(\w+): ", source_of(wiring), re.MULTILINE)
    assert sorted(handled) == sorted(kind.name for kind in JobKind)
    assert [kind for kind in JobKind if f"`{kind}`" not in STATES] == []


async def test_every_endpoint_is_named() -> None:
    table = OPERATIONS.split("### The API at a glance")[1].split("##")[0]
    assert sorted(await endpoints()) == sorted(re.findall(r"`((?:GET|POST|PUT|DELETE|PATCH) /[^`]*)`", table))


def test_every_metric_is_named() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "app" / "core").glob("*.py")]
    metrics = {name for source in sources for name in re.findall(r'(?:Counter|Histogram|Gauge\w*)\(\s*"(\w+)"', source)}
    assert "relay_jobs_waiting" in metrics
    assert metrics == set(re.findall(r"^\| `(relay_[a-z_]+)` \|", OPERATIONS, re.MULTILINE))


def test_every_command_is_named() -> None:
    assert sorted(set(commands())) == sorted(re.findall(r"`(relay [a-z -]+)`", commands_table()))


def test_every_problem_and_adapter_is_named() -> None:
    errors, stores = TEXT[ROOT / "docs" / "errors.md"], {page.stem for page in (ROOT / "docs" / "stores").glob("*.md")}
    assert [problem.id for problem in all_problems() if f"## {problem.id}\n" not in errors] == []
    assert stores == set(ADAPTERS)


def test_the_index_leads_to_every_page() -> None:
    index = TEXT[ROOT / "docs" / "README.md"]
    here = sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md")
    assert [name for name in here if f"]({name})" not in index] == []


def test_the_map_in_the_package_names_every_module() -> None:
    text = platform_relay.__doc__ or ""
    assert len(text.splitlines()) < 60
    assert sorted(name for name in (*packages("app"), *modules()) if not re.search(rf"\b{name}\b", text)) == []


def test_contributing_names_every_package_and_every_folder_of_tests() -> None:
    folders = [f"app/{name}" for name in packages("app")] + [f"tests/{name}" for name in packages("tests")]
    assert {"app/queue", "tests/queue"} <= set(folders)
    assert [folder for folder in folders if f"`{folder}`" not in CONTRIBUTING] == []


# ----------------------------------------------------------------------------------------------- reading the code


def names_of(path: Path) -> set[str]:
    """All classes, functions, methods and assigned names of a module, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def packages(folder: str) -> list[str]:
    """The folders with Python code or shell scripts. Links, such as app/migrations, are not counted."""
    return sorted(
        path.name
        for path in (ROOT / folder).iterdir()
        if path.is_dir() and not path.is_symlink() and (any(path.rglob("*.py")) or any(path.glob("*.sh")))
    )


def modules() -> list[str]:
    return sorted(path.stem for path in (ROOT / "app").glob("*.py") if not path.name.startswith("_"))


def source_of(module: Any) -> str:
    return Path(module.__file__).read_text("utf-8")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes from headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


async def endpoints() -> set[str]:
    """Method and path of every operation in /openapi.json."""
    paths = (await openapi_document())["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


def commands() -> Iterator[str]:
    """`relay serve`, `relay keys create` and so on, without hidden commands."""

    def below(command: Any, name: str) -> Iterator[str]:
        if command.hidden:
            return
        if hasattr(command, "commands"):
            for child, one in command.commands.items():
                yield from below(one, f"{name} {child}")
        else:
            yield name

    for name in COMMANDS:
        yield from below(imported(name), f"relay {name}")


def commands_table() -> str:
    return OPERATIONS.split("### Commands")[1].split("###")[0]
