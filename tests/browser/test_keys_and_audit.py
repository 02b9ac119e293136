"""*Keys* and *Audit*: a key's whole life, and what it may do in the console."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console_page import ConsolePage
from tests.helpers import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_life_of_a_key(console: ConsolePage, browser: Browser) -> None:
    page = console.page
    await console.open("/console/keys")
    await page.get_by_label("Name (the program").fill("Support")
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_role("heading", name="The key needs a name and a scope")).to_be_visible()
    console.expected("422")

    await console.open("/console/keys")
    await page.get_by_label("Name (the program").fill("Support")
    await page.get_by_role("checkbox", name="read").check()
    await page.get_by_label("Days until it expires").fill("30")
    await page.get_by_role("button", name="Create key").click()
    key = await page.locator("#new-key").inner_text()
    await console.open("/console/keys")
    await expect(page.locator("body")).not_to_contain_text(key)

    async with ConsolePage.at(browser, console.stage) as support:
        await support.sign_in(key)
        await support.open("/console/search?q=3001")
        await expect(support.page.get_by_role("link", name="Open the job")).to_be_visible()
        await expect(support.page.get_by_role("button", name="Retry")).to_have_count(0)
        await support.open("/console/keys")
        await expect(support.page.get_by_role("button", name="Create key")).to_have_count(0)
        support.no_complaints()

        await page.get_by_role("button", name="Rotate the key of Support").click()
        await expect(page.get_by_role("status")).to_contain_text("The old key works until")
        newer = await page.locator("#new-key").inner_text()
        assert newer != key
        await support.open("/console")
        await expect(support.page.get_by_role("heading", name="Now")).to_be_visible()

        await page.get_by_role("button", name="Revoke the key of Support").first.click()
        await page.get_by_role("button", name="Revoke the key of Support").click()
        await expect(page.get_by_role("button", name="Revoke the key of Support")).to_have_count(0)
        await expect(page.get_by_role("row").filter(has_text="Support").first).to_contain_text("revoked")

        async def shut_out() -> bool:
            await support.open("/console")
            return support.page.url.endswith("/console/login")

        await eventually(shut_out, 15)

    await console.open("/console/audit")
    table = page.get_by_role("region", name="Audit")
    for action in ("key.create", "key.rotate", "key.revoke", "coupon.retire"):
        await expect(table).to_contain_text(action)
    assert not re.search(re.escape(key), await table.inner_text())
    await page.get_by_label("Subject").fill("OOPS15")
    await page.get_by_role("button", name="Show").click()
    await expect(table).to_contain_text("Redeemed by mistake, she told us on the phone.")
    await expect(table).not_to_contain_text("key.create")
