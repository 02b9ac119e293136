"""Whether the folder of HISTORY_EXPORT can be written: shown by `relay check`."""

import os
from pathlib import Path

import pytest

from platform_relay.checks.configuration import check_history_export


def test_without_an_export_there_is_no_check() -> None:
    assert check_history_export(None) is None


def test_a_folder_may_be_missing_as_long_as_it_can_be_created(tmp_path: Path) -> None:
    check = check_history_export(tmp_path / "not" / "yet")
    assert check is not None
    assert check.ok
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "exports"
    file.write_text("a file")
    for folder in (file, file / "below"):
        check = check_history_export(folder)
        assert check is not None
        assert check.ok is False
        assert f"{file} is not a folder" in check.detail
        assert "HISTORY_EXPORT" in check.next_step


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_of_another_user_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    check = check_history_export(tmp_path / "exports")
    assert check is not None
    assert check.ok is False
    assert f"cannot write to the folder {tmp_path}" in check.detail
