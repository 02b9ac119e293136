"""`python -m simulators platform|shop|corner [--host 127.0.0.1] [--port 0] [--set name=value …]`.

Prints one line, `listening on http://127.0.0.1:PORT`, when it is ready. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys

import uvicorn
from typing_extensions import override
from uvicorn.config import Config

from .corner import Corner
from .platform import Platform
from .program import Program
from .script import RuleError
from .shop import Shop
from .wire import TransportProtocol

SERVICES = {"corner": Corner, "platform": Platform, "shop": Shop}


class AnnouncingServer(uvicorn.Server):
    """uvicorn's server, which says where it listens once it does, and ends with its parent when asked to."""

    def __init__(self, config: Config, address: str, with_parent: bool) -> None:
        super().__init__(config)
        self._address = address
        self._with_parent = with_parent

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the line callers wait for."""
        await super().startup(sockets)
        if self._with_parent:
            asyncio.get_running_loop().add_reader(0, self._parent_said)
        sys.stdout.write(f"listening on {self._address}\n")
        sys.stdout.flush()

    def _parent_said(self) -> None:
        if not os.read(0, 1024):
            asyncio.get_running_loop().remove_reader(0)
            self.should_exit = True


def parse_setting(text: str) -> tuple[str, object]:
    """`name=value`; the value is JSON when it parses as such, else a text."""
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    with contextlib.suppress(ValueError):
        return name, json.loads(value)
    return name, value


def main(arguments: list[str] | None = None) -> int:
    """Run one simulator until it is stopped. Gives 2 when the settings are wrong."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("service", choices=sorted(SERVICES))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--set", dest="settings", type=parse_setting, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    options = parser.parse_args(arguments)
    try:
        program = Program(SERVICES[options.service](), dict(options.settings))
    except RuleError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    listener = socket.create_server((options.host, options.port), backlog=2048)
    port = listener.getsockname()[1]
    config = Config(
        program, loop="uvloop" if sys.platform != "win32" else "asyncio", http=TransportProtocol, ws="none",
        lifespan="on", access_log=False, log_level="critical", proxy_headers=False, server_header=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=1,
    )  # fmt: skip
    AnnouncingServer(config, f"http://{options.host}:{port}", options.with_parent).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
