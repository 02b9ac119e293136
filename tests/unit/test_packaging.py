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
