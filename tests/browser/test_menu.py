"""The menu: one line at 1280 px, its groups by mouse, by keyboard and on a phone, and accessible while one is open."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console_page import PHONE, WIDE, ConsolePage
from tests.browser.stage import Stage
from tests.browser.test_pages import accessible

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_bar_is_one_line_at_1280_px(browser: Browser, stage: Stage) -> None:
    async with ConsolePage.at(browser, stage, WIDE) as console:
        await console.sign_in()
        await console.open("/console")
        bar = await console.page.locator(".bar").bounding_box()
        assert bar is not None
        assert bar["height"] < 70


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
async def test_a_group_opens_closes_and_leads_to_its_pages(
    browser: Browser, stage: Stage, size: tuple[int, int]
) -> None:
    async with ConsolePage.at(browser, stage, size) as console:
        await console.sign_in()
        await console.open("/console")
        page = console.page
        menu = page.get_by_role("navigation")
        keys, refused = menu.get_by_role("link", name="Keys"), menu.get_by_role("link", name="Refused requests")
        await expect(keys).to_be_hidden()

        await menu.get_by_text("Settings", exact=True).click()
        await expect(keys).to_be_visible()
        assert await accessible(console) == []
        box = await keys.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]

        await menu.get_by_text("Data", exact=True).click()
        await expect(refused).to_be_visible()
        await expect(keys).to_be_hidden()
        await page.locator("footer").click()
        await expect(refused).to_be_hidden()

        await menu.get_by_text("Settings", exact=True).focus()
        await page.keyboard.press("Enter")
        await expect(keys).to_be_visible()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Escape")
        await expect(keys).to_be_hidden()
        await expect(menu.get_by_text("Settings", exact=True)).to_be_focused()

        await page.keyboard.press("Enter")
        await keys.click()
        await expect(page.get_by_role("heading", name="Keys")).to_be_visible()
        await expect(menu.get_by_text("Settings", exact=True)).to_have_attribute("aria-current", "true")
        console.no_complaints()


async def test_a_group_closes_when_the_focus_leaves_it(browser: Browser, stage: Stage) -> None:
    async with ConsolePage.at(browser, stage) as console:
        await console.sign_in()
        await console.open("/console")
        menu = console.page.get_by_role("navigation")
        await menu.get_by_text("Settings", exact=True).click()
        for _ in range(10):
            await console.page.keyboard.press("Tab")
        await expect(menu.get_by_role("link", name="Keys")).to_be_hidden()
