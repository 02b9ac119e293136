"""Who gets in, for how long, and what a forged form meets."""

import pytest
from playwright.async_api import Browser, expect
from pydantic import SecretStr

from platform_relay.console.login import ATTEMPTS_PER_ADDRESS
from platform_relay.settings import Settings
from tests.api.served import serving
from tests.browser.console_page import ConsolePage
from tests.browser.stage import OPERATOR_KEY, STORE_KEY, Stage
from tests.conftest import temporary_database

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_signing_in_leads_to_the_page_that_was_asked_for_and_out_again(browser: Browser, stage: Stage) -> None:
    async with ConsolePage.at(browser, stage) as console_page:
        await console_page.open("/console/coupons?state=held")
        await expect(console_page.page.get_by_label("Key")).to_be_focused()
        for wrong in ("not-the-operators-key", STORE_KEY):
            await console_page.page.get_by_label("Key").fill(wrong)
            await console_page.page.get_by_role("button", name="Sign in").click()
            await expect(console_page.page.get_by_role("alert")).to_contain_text("The key is not valid")
            console_page.expected("401")
        await console_page.page.get_by_label("Key").fill(OPERATOR_KEY)
        await console_page.page.keyboard.press("Enter")
        await expect(console_page.page).to_have_url(f"{stage.url}/console/coupons?state=held")

        [cookie] = await console_page.page.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert cookie["path"] == "/console"
        assert cookie["expires"] == -1, "it ends with the browser"
        assert OPERATOR_KEY not in cookie["value"]

        await console_page.page.get_by_role("button", name="Sign out").click()
        await expect(console_page.page).to_have_url(f"{stage.url}/console/login")
        await console_page.open("/console/keys")
        await expect(console_page.page.get_by_role("heading", name="Sign in")).to_be_visible()
        console_page.no_complaints()


@pytest.mark.parametrize(
    ("header", "value", "secure"),
    [
        ("x-forwarded-proto", "https", True),
        ("x-forwarded-proto", "http", False),
        ("forwarded", "for=203.0.113.7;proto=https;by=10.0.0.1", True),
        ("forwarded", 'For="[2001:db8::7]:4711";Proto="HTTPS", for=10.0.0.1;proto=http', True),
        ("forwarded", "for=203.0.113.7;proto=http, for=10.0.0.1;proto=https", False),
        ("forwarded", 'for="unfinished;proto=https', False),
        ("forwarded", "for=203.0.113.7", False),
        ("accept", "*/*", False),
    ],
)
async def test_over_https_the_cookie_is_for_https_only(stage: Stage, header: str, value: str, secure: bool) -> None:
    headers = {header: value, "sec-fetch-site": "same-origin"}
    answer = await stage.client.post("/console/login", data={"key": OPERATOR_KEY}, headers=headers)
    assert ("; Secure" in answer.headers["set-cookie"]) is secure


async def test_a_form_of_another_site_is_refused(browser: Browser, stage: Stage) -> None:
    """It would need the cookie, the token and the origin; it has none of them."""
    async with ConsolePage.at(browser, stage) as console_page:
        await console_page.sign_in()
        cookie = "; ".join(f"{item['name']}={item['value']}" for item in await console_page.page.context.cookies())
        token = await console_page.page.locator("header input[name=token]").get_attribute("value")
        form = {"why": "a trick", "token": token or ""}
        pause = "/console/destinations/platform/pause"
        foreign = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
        same = {"sec-fetch-site": "same-origin"}
        for headers, sent in ((foreign, form), ({}, form), (same, {"why": "a trick"}), (same, {**form, "token": "x"})):
            answer = await stage.client.post(pause, data=sent, headers={**headers, "cookie": cookie})
            assert answer.status_code == 403, (headers, sent)
        [destination] = [
            one for one in (await stage.api("GET", "/v1/destinations"))["items"] if one["name"] == "platform"
        ]
        assert destination["state"] == "open"


async def test_only_wrong_keys_are_locked_out(
    browser: Browser, server_url: str, template_database: str, stage: Stage
) -> None:
    settings = Settings(_env_file=None, operator_key=SecretStr(OPERATOR_KEY))
    async with temporary_database(server_url, template_database) as url, serving(settings, url) as (_, address):
        other = Stage(address, url, stage.platform, stage.shop, stage.client)
        async with ConsolePage.at(browser, other) as console_page:
            for _ in range(ATTEMPTS_PER_ADDRESS):
                await console_page.open("/console/login")
                await console_page.page.get_by_label("Key").fill("not-the-operators-key")
                await console_page.page.keyboard.press("Enter")
                await expect(console_page.page.get_by_role("alert")).to_be_visible()
                console_page.expected("401")
            await console_page.page.get_by_label("Key").fill("not-the-operators-key")
            await console_page.page.keyboard.press("Enter")
            await expect(console_page.page.get_by_role("heading", name="Too many wrong keys")).to_be_visible()
            await expect(console_page.page.get_by_text("A right key can sign in at any time.")).to_be_visible()
            console_page.expected("429")
            await console_page.sign_in(OPERATOR_KEY)
            await expect(console_page.page.get_by_role("heading", name="Set-up")).to_be_visible()
            console_page.no_complaints()
