"""`relay check` calls the destinations and names the next step: a setting is the cause of some failures only."""

import pytest

from platform_relay.checks.destinations import check_launcher, check_platform
from platform_relay.core.http import HttpClient
from platform_relay.setting_groups import PlatformSettings
from platform_relay.settings import Settings
from simulators.process import Simulator
from tests.helpers import free_port
from tests.journeys.handler_jobs import client_of

SETTINGS = Settings(_env_file=None, platform=PlatformSettings.model_validate({"api_key": "sim-platform-key"}))


async def test_a_platform_that_takes_the_key_is_fine(platform: Simulator, http: HttpClient) -> None:
    client = client_of(http, platform.url, shop_key="sim-shop")
    assert (await check_platform(SETTINGS, client)).ok
    assert (await check_launcher(SETTINGS, client)).ok


@pytest.mark.parametrize("mode", ["503", "429"])
async def test_one_that_fails_by_itself_is_asked_again_later(platform: Simulator, http: HttpClient, mode: str) -> None:
    platform.script(status=int(mode), times=2)
    client = client_of(http, platform.url, shop_key="sim-shop")
    for check in (await check_platform(SETTINGS, client), await check_launcher(SETTINGS, client)):
        assert check.ok is False
        assert mode in check.detail
        assert "Try again later" in check.next_step


async def test_a_refused_key_and_a_wrong_address_are_settings(platform: Simulator, http: HttpClient) -> None:
    platform.script(mode="garbage")  # a page of somebody else
    page = await check_platform(SETTINGS, client_of(http, platform.url))
    wrong = await check_platform(SETTINGS, client_of(http, platform.url, api_key="another-key"))
    anonymous = await check_platform(SETTINGS, client_of(http, f"http://127.0.0.1:{free_port()}"))
    for check, setting in ((page, "PLATFORM__URL"), (wrong, "PLATFORM__API_KEY"), (anonymous, "PLATFORM__URL")):
        assert check.ok is False
        assert setting in check.next_step
