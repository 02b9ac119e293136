"""Whether redemptions can be verified as the settings require: shown by `relay check`, and by an alert."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import open_alerts
from platform_relay.checks.configuration import check_verification, watch_verification
from platform_relay.core.reasons import ReasonCode
from platform_relay.setting_groups import CouponSettings, PlatformSettings
from platform_relay.settings import Settings

KEYS = {"api_key": "sim-platform-key", "shop_key": "sim-shop"}


def settings(platform: dict[str, Any], **coupons: object) -> Settings:
    return Settings(
        _env_file=None,
        platform=PlatformSettings.model_validate(platform),
        coupons=CouponSettings.model_validate(coupons),
    )


@pytest.mark.parametrize(
    ("platform", "coupons", "ok", "words"),
    [
        (KEYS, {"require": "confirmed"}, True, "needs: confirmed"),
        ({"api_key": "sim-platform-key"}, {"require": "confirmed"}, False, "without PLATFORM__SHOP_KEY: every"),
        ({"shop_key": "sim-shop"}, {"require": "confirmed"}, False, "without PLATFORM__API_KEY: every"),
        ({}, {"require": "known", "confirm_above": "7"}, None, "worth more than 7 are held"),
        (KEYS, {"require": "secret", "confirm_above": "none"}, None, "all coupons are created for anyone who knows"),
        ({}, {"require": "source", "confirm_above": "none"}, False, "PLATFORM__ALLOWED_NETWORKS is empty"),
        ({"allowed_networks": ["203.0.113.0/24"]}, {"require": "source", "confirm_above": "none"}, True, "source"),
        ({}, {"require": "known", "confirm_above": "none"}, True, "needs: known"),
    ],
)
def test_check_says_which_proof_can_be_had(
    platform: dict[str, Any], coupons: dict[str, object], ok: bool | None, words: str
) -> None:
    check = check_verification(settings(platform, **coupons))
    assert check.ok is ok
    assert words in check.detail
    assert bool(check.next_step) is (ok is not True)


async def test_an_alert_stands_while_nothing_can_be_confirmed(engine: AsyncEngine) -> None:
    for _ in range(2):
        await watch_verification(engine, settings({}))
    async with engine.connect() as connection:
        [alert] = await open_alerts(connection)
    assert (alert.reason.code, alert.subject) == (ReasonCode.SETTING_MISSING, "redemptions")
    assert alert.reason.facts["setting"] == "PLATFORM__SHOP_KEY"
    assert "PLATFORM__SHOP_KEY" in alert.reason.next_step
    await watch_verification(engine, settings(KEYS))
    async with engine.connect() as connection:
        assert await open_alerts(connection) == []
