"""Somebody with access to the database removes entries of the audit log, and a hash that was kept elsewhere shows it."""

import asyncio
import json
import stat
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from platform_relay.alerts.audit_head import send_newest_hash
from platform_relay.audit import known_head
from platform_relay.audit.integrity import note_newest_hash
from platform_relay.audit.known_head import Head
from platform_relay.audit.record import audit
from platform_relay.cli.program import cli
from platform_relay.core.database import create_engine
from platform_relay.core.http import HttpClient


async def entries(engine: AsyncEngine, *actions: str) -> None:
    async with engine.begin() as connection:
        for action in actions:
            await audit(connection, "t", action, "x", {})


async def remove_last(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"))


async def test_a_removed_entry_is_noticed_and_the_known_hash_is_kept(engine: AsyncEngine, tmp_path: Path) -> None:
    file = tmp_path / "data" / "head.json"
    assert await note_newest_hash(engine, file) is None
    await entries(engine, "a", "b")
    first = await note_newest_hash(engine, file)
    assert first is not None
    assert (first.missing, known_head.read(file)) == (None, first.head)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await remove_last(engine)
    for _ in range(2):  # also when the next check comes after new entries
        noted = await note_newest_hash(engine, file)
        assert noted is not None
        assert noted.missing == first.head
        assert known_head.read(file) == first.head
        await entries(engine, "other")
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit"))
    noted = await note_newest_hash(engine, file)
    assert noted is not None
    assert noted.missing == first.head


async def test_the_chat_gets_the_hash_and_the_missing_one(engine: AsyncEngine, tmp_path: Path) -> None:
    received: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(
            next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split(b":")[1]
        )
        received.append(json.loads(await reader.readexactly(length))["text"])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url, file, http = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", tmp_path / "head.json", HttpClient()
    try:
        await entries(engine, "a", "b")
        await send_newest_hash(engine, file, http, url)
        known = known_head.read(file)
        assert known is not None
        assert known.hash in received[0]
        assert "missing" not in received[0]
        await remove_last(engine)
        await send_newest_hash(engine, file, http, url)
        assert f"Entry 2 with the hash {known.hash} is missing" in received[1]
    finally:
        await http.aclose()
        server.close()


@pytest.fixture
def verifying(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.chdir(tmp_path)
    return database_url


def verify(*words: str) -> Result:
    return CliRunner().invoke(cli, ["audit", "verify", *words])


def test_verify_uses_the_known_hash_and_states_what_it_proves(verifying: str, tmp_path: Path) -> None:
    async def change(how: str) -> None:
        engine = create_engine(verifying, application_name="test")
        if how == "write":
            await entries(engine, "a", "b")
        elif how == "note":
            await note_newest_hash(engine, known_head.file_of(tmp_path / "data", engine, "public"))
        else:
            await remove_last(engine)
        await engine.dispose()

    asyncio.run(change("write"))
    without = verify()
    assert without.exit_code == 0, without.output
    assert "Not verified: that no entry was removed from the end" in without.output
    asyncio.run(change("note"))
    known = verify()
    assert known.exit_code == 0, known.output
    assert "Also verified" in known.output
    asyncio.run(change("remove"))
    removed = verify()
    assert removed.exit_code == 1
    assert "BROKEN" in removed.output


def test_a_damaged_file_is_no_known_hash(tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    for content in ("", "[]", "{}", "\x00"):
        file.write_text(content)
        assert known_head.read(file) is None
    known_head.write(file, Head(1, "ab"))
    assert known_head.read(file) == Head(1, "ab")
