"""Both journeys through the running programs with encrypted bodies: everything arrives, and no row shows personal data."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import pytest

from tests.browser.stage import Stage, order, person, staged
from tests.helpers import eventually

OLD, NEW = (f"{name}:{base64.b64encode(name[0].encode() * 32).decode()}" for name in ("old", "new"))
BUYER = {**person(142), "firstName": "Canarina"}
WORDS = ("canarina", str(BUYER["email"]))


async def relay(stage: Stage, folder: Path, keys: str, *words: str) -> str:
    """The output of the command."""
    settings = {"DATABASE_URL": stage.database_url, "BODY_KEYS": keys, "PYTHONPATH": str(Path(__file__).parents[2])}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "platform_relay.cli", *words, env={**os.environ, **settings}, cwd=folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await child.communicate()
    return " ".join(printed.decode().split())


async def tables_with_canary(stage: Stage) -> list[str]:
    """The tables with a row that holds a canary, as text or as hexadecimal bytes."""
    found = []
    for (table,) in await stage.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        rows = await stage.sql(f'SELECT lower(CAST(t AS text)) FROM "{table}" AS t')  # noqa: S608  # our own tables
        if any(word in row or word.encode().hex() in row for (row,) in rows for word in WORDS):
            found.append(table)
    return found


@pytest.mark.timeout(180)
async def test_both_journeys_with_encrypted_bodies(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BODY_KEYS", OLD)
    async with staged(tmp_path, database_url) as stage:
        await stage.send("customers", [person(141), BUYER])
        await stage.send("orders", [{**order(1001, 142), "shippingName": BUYER["firstName"]}])
        await stage.redeem("SPRING5", 142, "rule-5-off")
        await stage.coupon("SPRING5", "active")
        await stage.idle(dead=0)
        assert await stage.sql("SELECT DISTINCT encrypted_with FROM message") == [("old",)]
        assert await tables_with_canary(stage) == []
        email = {"customer": BUYER["email"]}
        result = await stage.api("GET", "/v1/explain", params=email)
        assert result["matched"]
        export = await stage.api("POST", "/v1/customers/export", json=email)
        assert {each["kind"] for each in export["messages"]} >= {"customers", "orders", "points/redeemed"}
        assert WORDS[0] in json.dumps(export["messages"]).lower()

        both = f"{NEW},{OLD}"
        assert "encrypted with new; some are still encrypted with old" in await relay(stage, tmp_path, both, "check")
        assert "not in BODY_KEYS: old" in await relay(stage, tmp_path, NEW, "check")
        [(kept,)] = await stage.sql("SELECT count(*) FROM message WHERE body IS NOT NULL")
        assert f"Encrypted {kept} messages and" in await relay(stage, tmp_path, both, "bodies", "reencrypt")
        assert await stage.sql("SELECT DISTINCT encrypted_with FROM message") == [("new",)]
        checked = await relay(stage, tmp_path, NEW, "check")
        assert "encrypted with new" in checked
        assert "still encrypted" not in checked
        await stage.sql(
            "INSERT INTO message (id, source, kind, dedupe_key, body, encrypted_with, received_at)"
            " VALUES (gen_random_uuid(), 'store', 'orders', 'lost', '', 'gone', now())"
        )
    monkeypatch.setenv("BODY_KEYS", NEW)
    (tmp_path / "again").mkdir()
    async with staged(tmp_path / "again", database_url) as stage:

        async def told_of_the_missing_key() -> bool:
            return 'relay_alerts_open{code="body_key_missing"} 1.0' in (await stage.client.get("/metrics")).text

        await eventually(told_of_the_missing_key, 30)
        await stage.sql("DELETE FROM message WHERE dedupe_key = 'lost'")
        receipt = await stage.api("POST", "/v1/customers/erase", json=email)
        assert receipt["messages"] >= 3
        assert (await stage.api("POST", "/v1/customers/export", json=email))["messages"] == []
