"""`relay coupons list` and `GET /v1/coupons` separate what needs a decision from what was refused."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from platform_relay.cli.program import cli
from platform_relay.core.database import create_engine
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.records import RedemptionClaim
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform.redemptions import Redemption
from tests.journeys.handler_jobs import store_message
from tests.reasons import NO_VALUE

FORGED = because(ReasonCode.NOT_GENUINE, explanation="the webhook names no customer")


async def _hold(url: str) -> None:
    engine = create_engine(url, application_name="tests")
    coupons = Coupons(engine)
    for code, reason in (("genuine", NO_VALUE), ("forged", FORGED)):
        message = await store_message(engine, "points/redeemed")
        redemption = Redemption(code, f"p-{code}", None, "r1", 500, "42")
        await coupons.open(redemption, message)
        await coupons.hold_claim(RedemptionClaim(redemption, message), reason, rejected=reason is FORGED)
    await engine.dispose()


def listed(*options: str) -> list[str]:
    result = CliRunner().invoke(cli, ["coupons", "list", "--json", *options])
    assert result.exit_code == 0, result.output
    return [json.loads(line)["code"] for line in result.output.splitlines()]


def test_the_command_filters_by_state_and_reason_code(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    asyncio.run(_hold(database_url))
    assert listed() == ["forged", "genuine"]
    assert listed("--limit", "1") == ["forged"]
    assert listed("--state", "held") == listed("--reason-code", "no_value") == ["genuine"]
    assert listed("--state", "refused") == listed("--reason-code", "not_genuine") == ["forged"]
    assert listed("--customer", "43") == []
    shown = CliRunner().invoke(cli, ["coupons", "list", "--state", "refused"])
    assert shown.exit_code == 0
    assert "forged" in shown.output
