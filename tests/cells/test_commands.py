"""The commands about coupons and the audit act on every cell."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import httpx
import pytest
from sqlalchemy import text

from app import wiring
from app.operations.alerts.raised import raise_alert
from app.settings import Settings
from tests.cells.conftest import hold_coupons

Relay = Callable[..., subprocess.CompletedProcess[str]]
WIDE: Final = "200"
"""Columns of the terminal, so that no word of a table is cut."""


@pytest.fixture
def relay(settings: Settings) -> Relay:
    """`relay WORDS…` as a person would call it."""
    cells = [{"url": cell.url.get_secret_value(), "schema": cell.tables} for cell in settings.cells]
    environment = {**os.environ, "CELLS": json.dumps(cells), "COLUMNS": WIDE, "DATABASE_URL": ""}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app.cli", *words]
        return subprocess.run(
            command, cwd=settings.data_dir, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


async def test_coupons_of_every_cell(
    relay: Relay, operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    await hold_coupons(operator, web[0])
    for number, engine in enumerate(web[0].engines, 1):
        async with engine.begin() as connection:
            await raise_alert(connection, "coupon_overdue", f"code-{number}", "it waits", "look at it")
    told = relay("coupons", "ledger")
    [euro] = json.loads(told.stdout)["currencies"]
    assert (euro["coupons"], euro["held"]) == (3, "6")
    alerts = relay("coupons", "alerts").stdout
    assert [f"code-{number}" in alerts for number in (1, 2, 3)] == [True, True, True]
    approved = relay("coupons", "approve", "code-3", "--why", "seen")
    assert "code-3 is held" in approved.stdout or "code-3 is pending" in approved.stdout, approved.stderr
    ruling = (await operator.get("/v1/coupons/code-3")).json()["ruling"]
    assert ruling["approve"] is True
    assert relay("coupons", "approve", "code-4", "--why", "seen").returncode != 0


async def test_the_audits_of_every_cell(relay: Relay, web: tuple[wiring.Services, str]) -> None:
    operator = web[0].cells[1].operator
    await operator.pause("platform", "a look", "ada")
    head = relay("audit", "verify").stdout.split("cell 2: 1 lines; the newest hash is ")[1].split()[0]
    noted = relay("audit", "verify", "--head", head)
    assert (noted.returncode, "BROKEN" in noted.stdout) == (0, False), noted.stdout
    lost = relay("audit", "verify", "--head", "00" * 32)
    assert (lost.returncode, "BROKEN" in lost.stdout) == (1, True)
    async with web[0].engines[1].begin() as connection:
        await connection.execute(text("UPDATE audit SET actor = 'bob'"))
    changed = relay("audit", "verify")
    assert changed.returncode == 1
    assert "cell 2: after 0 good lines" in changed.stdout
