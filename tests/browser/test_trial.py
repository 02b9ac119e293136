"""*Trial*: the banner on every page, and what a relay in its trial would have sent."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console_page import WIDE, ConsolePage
from tests.browser.stage import order, person, staged
from tests.browser.test_pages import check
from tests.conftest import temporary_database
from tests.helpers import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def checked(console: ConsolePage) -> None:
    """As every page; then wide and light again."""
    await check(console)
    await console.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    await console.page.emulate_media(color_scheme="light")


async def test_the_page_of_the_trial(browser: Browser, server_url: str, template_database: str, tmp_path: Path) -> None:
    async with (
        temporary_database(server_url, template_database) as database,
        staged(tmp_path, database, MODE="shadow") as stage,
        ConsolePage.at(browser, stage) as console,
    ):
        page = console.page
        await console.sign_in()
        await console.open("/console/trial")
        await expect(page.get_by_text("Nothing arrived in the trial")).to_be_visible()
        await checked(console)

        await stage.send("customers", [person(101), person(102)])
        await stage.send("orders", [order(1001, 101)])
        known = {"customerId": "101", "email": "someone@example.com", "points": 1000}
        stage.platform.control("customers", customers=[known])
        fields = {"customerId": "101", "ruleId": "rule-5-off", "code": "SPRING5", "allow_overdraft": True}
        stage.platform.control(
            "redeem", url=f"{stage.url}/v1/webhooks/platform/webhook-secret-of-the-browser-suite", **fields
        )

        async def skipped() -> bool:
            return await stage.sql("SELECT count(*) FROM job WHERE state = 'skipped'") == [(4,)]

        await eventually(skipped, 30)
        await console.open("/console")
        await page.get_by_role("link", name="See what it would have sent").click()
        jobs = page.get_by_role("region", name="Jobs of the trial")
        await expect(jobs).to_contain_text("called: create coupon")
        await expect(page.get_by_role("region", name="Counts")).to_contain_text("POST or PATCH order")
        await checked(console)

        await page.get_by_role("link", name="Compared with the Platform and the store").click()
        await expect(jobs.get_by_role("row").filter(has_text="customer:101")).to_contain_text("differs email")
        await expect(jobs.get_by_role("row").filter(has_text="customer:102")).to_contain_text("missing")
        await expect(jobs.get_by_role("row").filter(has_text="coupon:SPRING5")).to_contain_text("missing")
        await expect(jobs).not_to_contain_text("@")
        await checked(console)
        await jobs.get_by_role("link", name="customer:101").click()
        await expect(page.get_by_text("received in the trial").first).to_be_visible()
        ledger = [*stage.platform.ledger(), *stage.shop.ledger()]
        assert [call["path"] for call in ledger if call["method"] != "GET"] == []
        console.no_complaints()
