"""*Now* while the Platform is away; the main flow with the keyboard alone."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.console_page import ConsolePage
from tests.browser.stage import OPERATOR_KEY, order

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 20_000


async def test_an_outage_is_shown_without_a_reload(console: ConsolePage) -> None:
    """No page is loaded again: what changes comes by server-sent events."""
    page, stage = console.page, console.stage
    await console.open("/console")
    await page.evaluate("window.loadedOnce = true")
    banner = page.get_by_role("region", name="The Platform cannot be reached")
    platform = page.get_by_role("region", name="To the Platform")
    await expect(platform).to_contain_text("open")
    stage.platform.outage(on=True)
    try:
        await stage.send("orders", [order(6000 + number, 101, "20.50") for number in range(40)])
        await expect(banner).to_be_visible(timeout=PATIENCE)
        await expect(banner).to_contain_text("Nothing is lost")
        await expect(banner.locator("div").filter(has_text="Orders waiting")).to_contain_text(
            "40820.00 EUR", timeout=PATIENCE
        )
        await expect(platform).to_contain_text("tripped")
    finally:
        stage.platform.outage(on=False)
    await page.get_by_role("button", name="Probe now platform").click()
    await expect(page.get_by_role("status")).to_contain_text("Calls to the Platform are resumed.")
    await page.evaluate("window.loadedOnce = true")
    await expect(banner).to_have_count(0, timeout=PATIENCE)
    tiles = page.locator(".tiles div").filter(has_text="Orders waiting")
    await expect(tiles.locator("dd")).to_have_text("0", timeout=PATIENCE)
    await expect(platform.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("[1-9][0-9,]* delivered and [1-9][0-9,]* failed"), timeout=PATIENCE
    )
    assert await page.evaluate("window.loadedOnce"), "the page was loaded again"
    assert await page.locator(".chart canvas").count() == 2


async def test_calls_are_paused_and_resumed(console: ConsolePage) -> None:
    page = console.page
    await console.open("/console")
    shop = page.get_by_role("region", name="To the store")
    await shop.locator("summary", has_text="Pause").click()
    await shop.get_by_label("Reason").fill("The store is being moved.")
    await shop.get_by_role("button", name="Pause calls").click()
    await expect(page.get_by_role("region", name="Calls to the store are paused")).to_contain_text(
        "The store is being moved."
    )
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("status")).to_contain_text("Calls to the store are resumed.")
    await expect(shop).to_contain_text("open")


async def test_an_order_is_explained_and_retried_with_the_keyboard_alone(console: ConsolePage) -> None:
    page, press = console.page, console.page.keyboard.press
    await console.stage.refused(4020, 1, "GBP")
    console.stage.accept("GBP")
    await page.get_by_role("button", name="Sign out").focus()
    await press("Enter")
    await expect(page.get_by_label("Key")).to_be_focused()
    await page.keyboard.type(OPERATOR_KEY)
    await press("Enter")
    await expect(page.get_by_role("heading", name="Set-up")).to_be_visible()
    await page.wait_for_load_state()  # the script is deferred: before that, no key is heard
    await press("/")
    await expect(page.get_by_label("Search for an order")).to_be_focused()
    await page.keyboard.type("4020")
    await press("Enter")
    explanation = page.get_by_role("article", name="Order 4020")
    await expect(explanation).to_contain_text("The Platform rejected the creation of the order (HTTP 422)")
    await press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()  # a jump inside a page ends after its key does
    for _ in range(30):
        await press("Tab")
        at = page.locator(":focus")
        outline = await at.evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline != "none", await at.evaluate("element => element.outerHTML")
        if await at.inner_text() == "Retry":
            break
    await press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("The job waits again")
    await console.stage.idle()
