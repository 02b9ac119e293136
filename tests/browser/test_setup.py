"""*Set-up*: the first page until it is finished, with its checklist and its actions."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console_page import ConsolePage
from tests.browser.stage import OPERATOR_KEY, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_checklist_shows_what_was_seen(console: ConsolePage) -> None:
    await console.open("/console/setup")
    checklist = console.page.get_by_role("list", name="Checklist")
    await expect(checklist.get_by_role("listitem").filter(has_text="First event: orders")).to_contain_text("works")
    await expect(checklist.get_by_role("listitem").filter(has_text="Values of the redeem rules")).to_contain_text(
        "rule-birthday"
    )
    await expect(checklist.get_by_role("listitem").filter(has_text="Address for alerts")).to_contain_text(
        "ALERT_WEBHOOK_URL is not set"
    )


async def test_the_checklist_is_read_again_by_itself(console: ConsolePage) -> None:
    await console.page.clock.install()
    await console.open("/console/setup")
    async with console.page.expect_response("**/console/setup/checklist") as response:
        await console.page.clock.run_for(21_000)
    assert (await response.value).status == 200
    await expect(console.page.get_by_role("list", name="Checklist")).to_be_visible()


async def test_a_test_coupon_is_created_shown_and_removed(console: ConsolePage) -> None:
    await console.open("/console/setup")
    before = await console.stage.sql("SELECT count(*) FROM coupon")
    await console.page.get_by_role("button", name="Create a test coupon").click()
    await expect(console.page.locator(".notice")).to_contain_text("created, read back and removed")
    item = console.page.get_by_role("listitem").filter(has_text="RELAYTEST")
    await expect(item).to_contain_text("read back (kind percentage, value 1.00")
    [(code,)] = await console.stage.sql("SELECT facts ->> 'code' FROM setup_record WHERE name = 'test_coupon'")
    assert not console.stage.shop.state("coupons", code.lower())
    assert await console.stage.sql("SELECT count(*) FROM coupon") == before
    await console.open("/console/audit")
    await expect(console.page.get_by_role("region", name="Audit")).to_contain_text("setup.test_coupon_removed")


async def test_the_time_of_a_backup_and_a_test_alert(console: ConsolePage) -> None:
    await console.open("/console/setup")
    at = datetime.now(UTC) - timedelta(hours=2)
    await console.page.get_by_label("Time of the last backup").fill(f"{at:%Y-%m-%dT%H:%M}")
    await console.page.get_by_role("button", name="Store the time").click()
    await expect(console.page.get_by_role("listitem").filter(has_text="Backup")).to_contain_text(
        f"stated a backup of {at:%Y-%m-%d %H:%M} UTC."
    )
    await console.page.get_by_role("button", name="Send a test alert").click()
    await expect(console.page.locator(".notice")).to_contain_text("ALERT_WEBHOOK_URL is not set.")

    await console.page.get_by_label("Time of the last backup").fill("2099-01-01T00:00")
    await console.page.get_by_role("button", name="Store the time").click()
    await expect(console.page.get_by_role("heading", name="is in the future")).to_be_visible()
    console.expected("422")


async def test_it_is_the_first_page_until_it_is_finished(browser: Browser, stage: Stage) -> None:
    await stage.sql("DELETE FROM setup_record WHERE name = 'finished'")
    async with ConsolePage.at(browser, stage) as console:
        await console.sign_in()
        await expect(console.page.get_by_role("heading", name="Set-up", exact=True)).to_be_visible()
        await console.page.get_by_role("button", name="Do not show this page first").click()
        await expect(console.page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
        console.no_complaints()
    async with ConsolePage.at(browser, stage) as console:
        await console.sign_in(OPERATOR_KEY)
        await expect(console.page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
        await console.open("/console/setup")
        await expect(console.page.get_by_role("button", name="Do not show this page first")).to_have_count(0)
        console.no_complaints()
    await stage.sql("DELETE FROM setup_record WHERE name = 'finished'")
