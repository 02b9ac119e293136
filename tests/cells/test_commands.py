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
from app.operations.alerts.raised import open_alerts, raise_alert
from app.operations.audit.lines import list_audit
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


async def test_alerts_about_a_coupon_are_dismissed_in_every_cell(
    relay: Relay, operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    """Those alone that nothing else ends, and of this coupon alone; each cell's audit says who, what and why."""
    await hold_coupons(operator, web[0])
    raised = ((1, "points_in_doubt", "code-1"), (3, "coupon_over_used", "code-1"), (3, "points_in_doubt", "code-3"),
              (2, "coupon_late", "code-1"))  # fmt: skip
    for cell, kind, code in raised:
        async with web[0].engines[cell - 1].begin() as connection:
            await raise_alert(connection, kind, code, "detail", "look at it")
    ended = relay("coupons", "dismiss", "code-1", "--why", "the points are there")
    assert (ended.returncode, ended.stdout) == (0, "2 alerts dismissed.\n"), ended.stderr
    left, lines = [], []
    for engine in web[0].engines:
        async with engine.connect() as connection:
            left += [(alert.kind, alert.subject) for alert in await open_alerts(connection)]
            lines += [
                (line.actor, line.detail)
                for line in await list_audit(connection, subject="code-1")
                if line.action == "coupon.dismiss"
            ]
    assert left == [("coupon_late", "code-1"), ("points_in_doubt", "code-3")]
    assert lines == [
        ("cli", {"alerts": [kind], "why": "the points are there"}) for kind in ("points_in_doubt", "coupon_over_used")
    ]
    again = relay("coupons", "dismiss", "code-1", "--why", "seen")
    assert again.returncode != 0
    assert "no alert about code-1 is open that is dismissed by hand" in again.stderr
    assert relay("coupons", "dismiss", "code-3").returncode != 0, "who dismisses says why"


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
