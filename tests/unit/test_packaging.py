"""The wheel installs one package of its own name, beside a host project that has its own `app` and `migrations`."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = """
import app, migrations, sys
assert app.OWNER == migrations.OWNER == "host project"
from platform_relay.core import migrate
from platform_relay.stores.base import CouponSpec
assert "site" in sys.modules["platform_relay"].__file__, sys.modules["platform_relay"].__file__
print(migrate.head())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents, as `pip install` lays them down."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    site = folder / "site"
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_the_wheel_installs_platform_relay_and_nothing_else(site: Path) -> None:
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"platform_relay"}
    package = site / "platform_relay"
    assert (package / "py.typed").exists(), "authors of adapters get the types"
    assert len(list((package / "migrations" / "versions").glob("0*.py"))) == len(
        list((ROOT / "migrations" / "versions").glob("0*.py"))
    )
    assert (package / "console" / "templates").is_dir()
    assert (package / "conformance" / "sample.py").exists()
    assert (package / "simulators" / "README.md").exists()
    assert list((package / "simulators" / "captured").glob("*.json"))


def test_a_host_project_keeps_its_own_app(site: Path, tmp_path: Path) -> None:
    for name in ("app", "migrations"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('OWNER = "host project"\n')
    run = subprocess.run(
        [sys.executable, "-c", HOST],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{site}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


CHECK_ADAPTER = """
import json, os, subprocess, sys
from platform_relay.simulators.process import run

with run("corner") as store:
    names = {"CORNER__URL": store.url, "CORNER__SECRET": "corner-secret-0123456789", "CORNER__WEBHOOK_SECRET": "corner-signing-01"}
    ran = subprocess.run(
        [sys.executable, "-m", "platform_relay.cli", "conformance", "my_store.adapter:MyStore",
         "--only", "created coupon is found"],
        env={**os.environ, **names}, capture_output=True, text=True,
    )
print(ran.stdout, ran.stderr)
sys.exit(ran.returncode)
"""
ADAPTER = """
from platform_relay.conformance.sample import Corner
from platform_relay.stores.base import CouponSpec, StoreAdapterClass


class MyStore(Corner):
    pass


CHECKED: StoreAdapterClass = MyStore
CODE: str = CouponSpec("code", "kind").code
"""


@pytest.fixture
def author(tmp_path: Path) -> Path:
    """A project with an adapter, and with its own `app`, `simulators` and `tests`."""
    for name in ("app", "simulators", "tests", "my_store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('OWNER = "host project"\n')
    (tmp_path / "my_store" / "adapter.py").write_text(ADAPTER)
    return tmp_path


def test_an_author_runs_the_kit_on_an_adapter_in_the_current_folder(site: Path, author: Path) -> None:
    program = author / "check_adapter.py"
    program.write_text(CHECK_ADAPTER)
    run = subprocess.run(
        [sys.executable, "-P", str(program)],
        cwd=author,
        env={"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed, 0 failed" in run.stdout


def test_every_command_finds_the_adapter_in_the_current_folder(site: Path, author: Path) -> None:
    """`check` names the missing variables of the adapter, so it has loaded it."""
    run = subprocess.run(
        [sys.executable, "-m", "platform_relay.cli", "check"],
        cwd=author,
        env={"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1", "PATH": "", "STORE__ADAPTER": "my_store.adapter:MyStore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CORNER__URL is not set" in " ".join((run.stdout + run.stderr).split())


def test_an_author_gets_the_types_of_the_contract(site: Path, author: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "my_store/adapter.py"],
        cwd=author,
        env={"MYPYPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Argument 2 to "CouponSpec" has incompatible type "str"' in run.stdout, run.stdout + run.stderr
    assert "Found 1 error" in run.stdout, run.stdout
