"""Files of npm packages that tests read, such as a store's published schema.

A package is downloaded once by the npm client, into a cache folder that git ignores, and compared with its pinned hash. No
third party's file is part of this repository.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

CACHE: Final = Path(__file__).parents[2] / ".cache" / "packages"
SECONDS: Final = 120
_ENVIRONMENT: Final = dict(os.environ)
"""As it was before the tests removed proxies and settings from it."""


@dataclass(frozen=True)
class Package:
    """`integrity` is npm's `dist.integrity` of this version."""

    name: str
    version: str
    integrity: str

    def read(self, member: str) -> bytes:
        """The content of a file of the package. Skips the test if the package cannot be downloaded; fails if it differs."""
        file = CACHE / f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"
        if not file.exists():
            self._download(file)
        self._verify(file)
        with tarfile.open(file) as archive:
            content = archive.extractfile(f"package/{member}")
            assert content is not None, f"{self.name} {self.version} has no file {member}"
            return content.read()

    def _download(self, file: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"the program npm, which downloads {self.name}, is not installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = [npm, "pack", "--silent", "--fetch-retries=0", f"--pack-destination={folder}"]
            try:
                subprocess.run(
                    [*command, f"{self.name}@{self.version}"],
                    check=True, capture_output=True, timeout=SECONDS, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, cwd=folder,
                )  # fmt: skip
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                pytest.skip(f"the npm registry cannot be reached for {self.name} {self.version}")
            [downloaded] = Path(folder).glob("*.tgz")
            downloaded.replace(file)  # at once, because several processes may download it

    def _verify(self, file: Path) -> None:
        algorithm, _, expected = self.integrity.partition("-")
        digest = base64.b64encode(hashlib.new(algorithm, file.read_bytes()).digest()).decode()
        assert digest == expected, f"{file} is not {self.name} {self.version}; delete it"
