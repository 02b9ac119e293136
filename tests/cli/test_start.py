"""What a process imports: only what it uses, because imports are nearly all of its start and of its memory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.cli.program import COMMANDS, imported
from platform_relay.stores import ADAPTERS

RELAY: Final = """
import json, sys
from platform_relay.cli.program import main
try:
    main()
except SystemExit:
    pass
with open({file!r}, "w") as file:
    json.dump(sorted(sys.modules), file)
"""
"""`relay`, which writes the names of all imported modules into a file at its end."""
WEB: Final = {"fastapi", "starlette", "uvicorn", "jinja2", "itsdangerous", "alembic", "mako", "opentelemetry"}
"""Of the web server, and of the migration."""
HEAVY: Final = WEB | {"sqlalchemy", "asyncpg", "pydantic", "aiohttp", "httpx", "structlog", "cryptography", "uvloop"}


def program(file: Path, *words: str, **settings: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.Popen(
        [sys.executable, "-c", RELAY.format(file=str(file)), *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def packages(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("words", [["--help"], []])
def test_the_list_of_commands_imports_no_part_of_the_application(tmp_path: Path, words: list[str]) -> None:
    _, stderr = (process := program(tmp_path / "modules", *words)).communicate(timeout=60)
    assert process.returncode == 0, stderr
    modules = json.loads((tmp_path / "modules").read_text())
    assert packages(modules) & HEAVY == set()
    assert [name for name in modules if name.startswith("platform_relay.")] == [
        "platform_relay.cli",
        "platform_relay.cli.program",
        "platform_relay.core",
        "platform_relay.core.shared_folders",  # it decides whether the folder's modules and .env may be read
    ]


@pytest.mark.parametrize("store", ["woocommerce", "saleor"])
async def test_a_worker_imports_no_web_framework_and_no_other_store(
    tmp_path: Path, database_url: str, engine: AsyncEngine, store: str
) -> None:
    """Of the optional parts neither: the embedded server, and the encryption of bodies."""
    settings = {
        "STORE__ADAPTER": store,
        "WOOCOMMERCE__URL": "https://shop.example",
        "WOOCOMMERCE__CONSUMER_KEY": "ck_0123456789abcdef",
        "WOOCOMMERCE__CONSUMER_SECRET": "cs_0123456789abcdef",
        "SALEOR__URL": "https://shop.example/graphql/",
        "SALEOR__TOKEN": "0123456789abcdef",
        "SALEOR__CHANNEL": "default-channel",
    }
    process = program(tmp_path / "modules", "worker", DATABASE_URL=database_url, LOG_FORMAT="json", **settings)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:  # until the worker works
        lines.append(line)
        if "worker_started" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert "worker_started" in lines[-1], lines
    modules = json.loads((tmp_path / "modules").read_text())
    others = [name for name in ADAPTERS if name != store and f"platform_relay.stores.{name}" in modules]
    ours = [
        f"platform_relay.{name}"
        for name in ("api", "console", "main", "web_server", "core.embedded", "core.body_cipher")
    ]
    unused = WEB | {"aiohttp", "httpx"}  # the URLs of the settings are plain
    assert (packages(modules) & unused, others, [name for name in ours if name in modules]) == (set(), [], [])
    assert f"platform_relay.stores.{store}" in modules
    assert store == "saleor" or "cryptography" not in modules


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_its_help(name: str) -> None:
    assert COMMANDS[name].summary == imported(name).help.partition("\n\n")[0].replace("\n", " ")
