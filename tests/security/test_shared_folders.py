"""Another user of the machine prepares files in a folder where everybody can write, and waits for a command of an operator."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from platform_relay.cli.program import find_packages_in_this_folder
from platform_relay.cli.rejected_rows import RejectedRows
from platform_relay.core.shared_folders import UnsafeFileError, check_settings_file
from platform_relay.imports.files import FileRow

ROW: Final = FileRow(1, 10, {"email": "ada@example.com"})
OTHER_USER: Final = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of another user")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def source(shared: Path) -> Path:
    file = shared / "customers.csv"
    file.write_text("id,email\n")
    file.chmod(0o644)
    return file


def symbolic(file: Path, victim: Path) -> None:
    file.symlink_to(victim)


def hard(file: Path, victim: Path) -> None:
    os.link(victim, file)


@pytest.mark.parametrize("link", [symbolic, hard])
@pytest.mark.parametrize("again", [False, True])
def test_rejected_rows_are_not_written_through_a_link(
    source: Path, tmp_path: Path, link: Callable[[Path, Path], None], again: bool
) -> None:
    """The attack: the link leads to a file of the operator, which would get the rows and the mode of the imported file."""
    victim = tmp_path / "authorized_keys"
    victim.write_text("a key\n")
    victim.chmod(0o600)
    rejected = RejectedRows(source)
    link(rejected.path, victim)
    with pytest.raises(UnsafeFileError, match=r"\.rejected\.ndjson is a link"):
        rejected.begin(0) if again else rejected.write(ROW, "no reason")
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("a key\n", 0o600)


def test_rejected_rows_are_not_written_to_a_link_that_leads_nowhere_or_a_pipe(source: Path, tmp_path: Path) -> None:
    rejected = RejectedRows(source)
    rejected.path.symlink_to(tmp_path / "new")
    with pytest.raises(UnsafeFileError):
        rejected.write(ROW, "no reason")
    assert not (tmp_path / "new").exists()
    rejected.path.unlink()
    os.mkfifo(rejected.path)
    with pytest.raises(UnsafeFileError):
        rejected.write(ROW, "no reason")


@as_root
def test_rejected_rows_are_not_written_to_a_file_of_another_user(source: Path) -> None:
    rejected = RejectedRows(source)
    rejected.path.touch(0o600)
    os.chown(rejected.path, OTHER_USER, OTHER_USER)
    with pytest.raises(UnsafeFileError, match="belongs to user 65534"):
        rejected.write(ROW, "no reason")
    assert rejected.path.read_text() == ""


def test_rejected_rows_are_kept_and_continued(source: Path) -> None:
    first = RejectedRows(source)
    for number in (1, 2, 3):
        first.write(FileRow(number, 10, {}), "no reason")
    first.close()
    resumed = RejectedRows(source)
    resumed.begin(2)
    resumed.write(FileRow(3, 10, {}), "another")
    resumed.close()
    assert [line.split(",")[0] for line in resumed.path.read_text().splitlines()] == [
        '{"row":1',
        '{"row":2',
        '{"row":3',
    ]
    assert stat.S_IMODE(resumed.path.stat().st_mode) == 0o644
    RejectedRows(source).begin(0)
    assert not resumed.path.exists()


def test_modules_of_a_shared_folder_are_not_imported(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file there, such as brotli.py, would run with the operator's rights."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(shared)
    find_packages_in_this_folder()
    assert str(shared) not in sys.path
    monkeypatch.chdir(tmp_path)
    find_packages_in_this_folder()
    assert sys.path[-1] == str(tmp_path)


@as_root
def test_settings_of_another_user_in_a_shared_folder_are_not_read(shared: Path) -> None:
    file = shared / ".env"
    file.write_text("PLATFORM__URL=https://attacker.example\n")
    check_settings_file(file)
    os.chown(file, OTHER_USER, OTHER_USER)
    with pytest.raises(UnsafeFileError, match="belongs to user 65534"):
        check_settings_file(file)
    command = [sys.executable, "-m", "platform_relay.cli", "check"]
    path = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
    ended = subprocess.run(command, cwd=shared, env=path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "belongs to user 65534" in ended.stderr) == (2, True), ended.stderr
