"""The packages that tests read are the pinned ones; without a registry the tests are skipped, not failed."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.contract import packages
from tests.contract.packages import Package


def stored(folder: Path) -> Package:
    """A package in the cache, with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/schema.json")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"{}"))
    (folder / "example-schema-1.0.0.tgz").write_bytes(buffer.getvalue())
    digest = base64.b64encode(hashlib.sha512(buffer.getvalue()).digest()).decode()
    return Package("@example/schema", "1.0.0", f"sha512-{digest}")


def test_a_file_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    assert stored(tmp_path).read("schema.json") == b"{}"


def test_another_package_than_the_pinned_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    stored(tmp_path)
    with pytest.raises(AssertionError, match="is not @example/schema"):
        Package("@example/schema", "1.0.0", "sha512-another").read("schema.json")


def test_without_npm_the_test_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="npm"):
        Package("@example/schema", "1.0.0", "sha512-any").read("schema.json")
