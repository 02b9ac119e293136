"""Missing variables of the store: which commands need them, and how they are named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from platform_relay import stores


def relay(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "platform_relay.cli", *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(stores.ADAPTERS))
def test_missing_variables_of_every_store_are_named_in_full(name: str) -> None:
    variables = stores.variables(stores.adapter_class(name).Settings).items()
    with pytest.raises(ValueError, match="is not set up") as error:
        stores.read_settings(name)
    for variable in [variable for variable, field in variables if field.is_required()]:
        assert f"{variable} is not set" in str(error.value)


def test_the_command_names_them(tmp_path: Path) -> None:
    result = relay(tmp_path, "check", STORE__ADAPTER="saleor")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 2
    assert "SALEOR__TOKEN is not set" in output
    assert "Traceback" not in output


def test_migrate_and_keys_do_not_need_the_variables_of_the_store(tmp_path: Path, empty_database_url: str) -> None:
    environment = {"STORE__ADAPTER": "saleor", "DATABASE_URL": empty_database_url}
    migrated = relay(tmp_path, "migrate", **environment)
    assert migrated.returncode == 0, migrated.stderr
    keys = relay(tmp_path, "keys", "list", **environment)
    assert keys.returncode == 0, keys.stderr
