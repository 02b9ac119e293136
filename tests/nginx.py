"""Runs nginx with a configuration of the test."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.helpers import eventually_sync

NGINX: Final = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
needs_nginx: Final = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


@contextmanager
def running(folder: Path, port: int, http: str) -> Iterator[Proxy]:
    """nginx with the block `http`, which listens on `port`, with its files in `folder`."""
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{\n{temporary}{http}\n}}\n"
    )
    command = [str(NGINX), "-p", str(folder), "-c", str(configuration)]
    with (folder / "stderr").open("wb") as output:
        process = subprocess.Popen(command, stderr=output)
    try:

        def listens() -> bool:
            assert process.poll() is None, (folder / "stderr").read_text()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        eventually_sync(listens, 10)
        yield Proxy(port, folder)
    finally:
        process.terminate()
        process.wait()
