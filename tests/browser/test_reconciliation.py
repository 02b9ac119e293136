"""*Reconciliation*: start, cancel, both sides' values, the preview of a repair, the repair and what became of it."""

import pytest
from playwright.async_api import expect

from platform_relay.inbox.events import EventKind
from tests.browser.console_page import WIDE, ConsolePage
from tests.browser.stage import Stage
from tests.browser.test_pages import check
from tests.reconcile.shop import LONG_AGO, entity

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGE = "/console/reconciliations"


def seed(stage: Stage, *numbers: int) -> None:
    """Products of the store that it never sent."""
    products = [entity(EventKind.PRODUCT, number, LONG_AGO) for number in numbers]
    stage.shop.control("seed", products=products)


async def checked(console: ConsolePage) -> None:
    """As every page; then wide and light again."""
    await check(console)
    await console.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    await console.page.emulate_media(color_scheme="light")


async def start(console: ConsolePage, kind: str) -> None:
    await console.open(PAGE)
    await console.page.get_by_label("Compare").select_option(kind)
    await console.page.get_by_role("button", name="Start").click()
    await expect(console.page.get_by_role("status")).to_contain_text("was requested")


async def test_what_was_never_sent_is_found_shown_and_repaired(console: ConsolePage) -> None:
    page, stage = console.page, console.stage
    seed(stage, 5001, 5002, 5003)
    await start(console, "products")
    groups = page.locator("#summary")
    await expect(groups).to_contain_text("never sent", timeout=30_000)
    await expect(groups).to_contain_text("3 open")
    await page.reload()
    await checked(console)

    await page.get_by_label("Id in the store").fill("5002")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("link", name="products 5002", exact=True).click()
    fields = page.get_by_role("region", name="Fields")
    await expect(fields.get_by_role("row").filter(has_text="Thing 5002")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("The relay has received nothing about it.")
    await checked(console)

    await page.get_by_role("link", name="Preview the repair").click()
    await expect(page.locator("#preview")).to_contain_text("1 open difference")
    await checked(console)
    await page.get_by_role("button", name="Repair 1 difference").click()
    await expect(page.get_by_role("status")).to_contain_text("Repaired: 1 of 1 difference")
    await page.get_by_role("link", name="See what became of them").click()

    await page.get_by_role("link", name="Clear").click()
    await page.get_by_role("link", name="Preview the repair of all 2").click()
    await expect(page.get_by_role("main")).to_contain_text("2 × GET product from the store")
    await page.get_by_role("button", name="Repair 2 differences").click()
    await expect(page.get_by_role("status")).to_contain_text("Repaired: 2 of 2 differences")
    await page.get_by_role("link", name="See what became of them").click()
    await expect(groups).to_contain_text("3 delivered", timeout=30_000)
    assert {str(number) for number in (5001, 5002, 5003)} <= set(stage.platform.state("products"))
    acts = await stage.sql("SELECT DISTINCT action FROM audit WHERE action LIKE 'reconciliation%' ORDER BY 1")
    assert acts == [("reconciliation.repair",), ("reconciliation.request",)]


async def test_one_that_waits_is_cancelled(console: ConsolePage) -> None:
    await console.stage.api("POST", "/v1/destinations/store/pause", json={"why": "maintenance"})
    try:
        await start(console, "")
        await console.page.get_by_role("button", name="Cancel").click()
        await expect(console.page.get_by_role("status")).to_contain_text("is cancelled")
        await expect(console.page.get_by_role("main")).to_contain_text("cancelled")
        await expect(console.page.get_by_role("button", name="Cancel")).to_have_count(0)
        await console.open(PAGE)
        await expect(console.page.locator("tbody tr").first).to_contain_text("cancelled")
        await checked(console)
    finally:
        await console.stage.api("POST", "/v1/destinations/store/resume")
