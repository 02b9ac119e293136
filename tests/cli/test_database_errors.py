"""What each command does when it cannot use the database: one sentence, and an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from platform_relay.core.database_url import parse_url
from tests.faults.server import PostgresServer
from tests.helpers import free_port

COMMANDS = [
    ["migrate"],
    ["web"],
    ["worker"],
    ["serve"],
    ["keys", "list"],
    ["audit", "verify"],
    ["coupons", "ledger"],
    ["explain", "order", "1"],
    ["bodies", "reencrypt"],
    ["reconcile"],
    ["privacy", "export", "1"],
    ["rules", "list"],
]


PROGRAM = """
import contextlib, io, json, os, sys
from platform_relay.cli.program import main

results = []
for url, *words in json.load(sys.stdin):
    os.environ["DATABASE_URL"] = url
    sys.argv = ["relay", *words]
    output, code = io.StringIO(), None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main()
        except SystemExit as end:
            code = end.code
    results.append([code, " ".join(output.getvalue().split())])
json.dump(results, sys.stdout)
"""
"""Runs many commands in one process: importing the program takes longer than a command."""


class Ended(NamedTuple):
    code: int | None
    output: str


def relay(folder: Path, *commands: list[str]) -> list[Ended]:
    """Run `relay` once for each of `commands`: the database URL, and the words of the command line."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PORT": str(free_port())},
        input=json.dumps(commands),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [Ended(*result) for result in json.loads(ran.stdout)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A server in which the role `relay` needs a password."""
    postgres = PostgresServer(tmp_path / "postgres")
    try:
        await postgres.create()
        connection = await postgres.connect()
        await connection.execute("ALTER ROLE relay PASSWORD 'right'")
        rules = postgres.data / "pg_hba.conf"
        rules.write_text(f"host all relay 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        yield postgres
    finally:
        postgres.end()


async def test_a_wrong_configuration_ends_with_one_sentence_and_exit_code_2(
    server: PostgresServer, tmp_path: Path
) -> None:
    right = parse_url(server.url()).set(drivername="postgresql", password="right")

    def url(**changes: object) -> str:
        return right.set(**changes).render_as_string(hide_password=False)  # type: ignore[arg-type]

    expected = {
        "mysql://relay@127.0.0.1/relay": "not a PostgreSQL URL",
        url(query={"connection_limit": "5"}): "connection_limit",
        url(query={"sslmode": "sometimes"}): "sslmode",
        url(query={"options": "-c nonsense=1"}): "nonsense",
        url(query={"sslmode": "require", "sslrootcert": "system"}): "sslmode=verify-full",
        url(query={"sslrootcert": "system"}): "TLS",
        url(query={"sslmode": "verify-full", "sslrootcert": "/nowhere.pem"}): "sslrootcert",
        url(password="wrong"): "rejected the login",
        url(database="moon"): "does not exist",
        url(username="moon"): "rejected the login",
        url(query={"sslmode": "require"}): "TLS",
    }
    accepted = url(query={"channel_binding": "require", "connect_timeout": "10", "schema": "public"})
    rejected = [[address, command] for command in ("migrate", "web", "worker") for address in expected]
    *results, check, ran = relay(tmp_path, *rejected, [url(password="wrong"), "check"], [accepted, "migrate"])
    for (address, command), result in zip(rejected, results, strict=True):
        assert result.code == 2, (command, address, result)
        assert expected[address] in result.output, (command, address, result)
        assert "Traceback" not in result.output
        assert "wrong@" not in result.output
    assert ran.code in (0, None), ran
    assert check.code == 1
    assert "rejected the login" in check.output
    assert "pg_hba.conf" in check.output


async def test_every_command_explains_a_missing_database(server_url: str, tmp_path: Path) -> None:
    missing = parse_url(server_url).set(drivername="postgresql", database="moon").render_as_string(hide_password=False)
    for command, ran in zip(COMMANDS, relay(tmp_path, *([missing, *words] for words in COMMANDS)), strict=True):
        assert ran.code == 2, (command, ran)
        assert "does not exist" in ran.output, (command, ran)
        assert "Traceback" not in ran.output, (command, ran)


async def test_a_command_that_does_not_wait_fails_with_one_sentence(tmp_path: Path) -> None:
    expected = {
        f"postgresql://relay@127.0.0.1:{free_port()}/relay": "cannot be reached",
        "postgresql://relay@db.invalid/relay": "cannot be resolved",
    }
    results = relay(tmp_path, *([address, "keys", "list"] for address in expected))
    for words, ran in zip(expected.values(), results, strict=True):
        assert ran.code == 1, ran
        assert words in ran.output
        assert "Traceback" not in ran.output
