"""*Dead and held*: actions on single jobs and on failure groups, each with its audit record."""

import asyncio
import json

import pytest
from playwright.async_api import Route, expect

from platform_relay.console.bulk import CHUNK
from tests.browser.console_page import ConsolePage
from tests.browser.test_pages import check

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def open_group(console: ConsolePage, currency: str) -> None:
    await console.open("/console/dead-and-held")
    row = console.page.get_by_role("row").filter(has_text=f"currency {currency} is not")
    await row.get_by_role("link").click()


async def open_job(console: ConsolePage, order: int) -> None:
    """From the explanation of the order."""
    await console.open(f"/console/search?by=order&q={order}")
    await console.page.get_by_role("link", name="Open the job").click()


async def test_causes_are_filtered_by_reason_code(console: ConsolePage) -> None:
    await console.open("/console/dead-and-held")
    chosen = console.page.get_by_label("Reason code")
    for code, rows in (("rejected_by_destination", True), ("tls_failed", False)):
        await chosen.select_option(code)
        await console.page.get_by_role("button", name="Show").click()
        await expect(chosen).to_have_value(code)
        shown = console.page.get_by_role("row").filter(has_text="rejected_by_destination")
        assert (await shown.count() > 0) is rows, code


async def test_one_is_retried(console: ConsolePage) -> None:
    await console.stage.refused(4001, 1, "SEK")
    console.stage.accept("SEK")
    await open_job(console, 4001)
    await console.page.get_by_role("button", name="Retry").click()
    await expect(console.page.get_by_role("status")).to_contain_text("The job waits again")
    await console.stage.idle()
    await console.page.reload()
    await expect(console.page.get_by_role("main")).to_contain_text("Delivered.")
    await expect(console.page.get_by_role("region", name="Audit")).to_contain_text("job.retry")


async def test_one_is_dropped_with_a_reason(console: ConsolePage) -> None:
    await console.stage.refused(4002, 1, "NOK")
    await open_job(console, 4002)
    await console.page.locator("summary", has_text="Drop").click()
    reason = console.page.get_by_role("group").filter(has_text="Drop permanently").get_by_label("Reason (stored")
    await console.page.get_by_role("button", name="Drop permanently").click()
    assert await reason.evaluate("input => input.validity.valueMissing"), "a reason is needed"
    await reason.fill("A test order of our own.")
    await console.page.get_by_role("button", name="Drop permanently").click()
    await expect(console.page.get_by_role("status")).to_contain_text("The job is dropped")
    await expect(console.page.get_by_role("region", name="Audit")).to_contain_text("A test order of our own.")
    await expect(console.page.get_by_role("button", name="Retry")).to_have_count(0)


async def test_one_is_edited_and_continues(console: ConsolePage) -> None:
    await console.stage.refused(4003, 1, "DKK")
    await open_job(console, 4003)
    await console.page.get_by_role("link", name="Edit and continue").click()
    event = console.page.get_by_label("The event (orders)")
    original = json.loads(await event.input_value())
    await event.fill(json.dumps({**original, "currency": "euro"}))
    await console.page.get_by_label("Reason (stored").fill("The store's tax plugin wrote its own currency.")
    await console.page.get_by_role("button", name="Save and retry").click()
    await expect(console.page.get_by_role("alert")).to_contain_text("currency")
    console.expected("422")
    await event.fill(json.dumps({**original, "currency": "EUR"}))
    await console.page.get_by_role("button", name="Save and retry").click()
    await expect(console.page.get_by_role("status")).to_contain_text("The corrected event waits")
    await console.stage.idle()
    [sent] = console.stage.platform.ledger(kind="order.post", entity="order:4003", applied=1)
    assert "EUR" in str(sent["body"])
    [(kept,)] = await console.stage.sql("SELECT body FROM message WHERE order_ref = '4003'")
    assert json.loads(kept)["currency"] == "DKK", "what the store sent is kept"


async def test_a_group_is_dropped_until_cancelled_and_the_rest_retried(console: ConsolePage) -> None:
    """The request of the second chunk is held back, so that the cancellation does not depend on timing."""
    many = CHUNK + 50
    await console.stage.refused(5001, many, "CHF")
    await open_group(console, "CHF")
    await expect(console.page.locator("#preview")).to_have_text(f"{many} jobs")
    held = asyncio.Event()

    async def second_waits(route: Route) -> None:
        if f"done={CHUNK}" in (route.request.post_data or ""):
            held.set()
        else:
            await route.continue_()

    await console.page.route("**/console/dead-and-held/bulk", second_waits)
    await console.page.locator("summary", has_text=f"Drop all {many}").click()
    await console.page.locator("#why-drop").fill("A load test that went to the wrong shop.")
    await console.page.get_by_role("button", name=f"Drop {many} jobs permanently").click()
    await asyncio.wait_for(held.wait(), 10)
    await expect(console.page.locator("#bulk")).to_contain_text(f"Dropped: {CHUNK} of {many} jobs")
    await expect(console.page.get_by_role("progressbar")).to_have_js_property("value", CHUNK)
    await console.page.get_by_role("link", name="Cancel the rest").click()
    await expect(console.page.get_by_role("status")).to_contain_text(f"Stopped after {CHUNK} jobs")
    await expect(console.page.locator("#preview")).to_have_text("50 jobs")

    await console.page.unroute("**/console/dead-and-held/bulk")
    console.stage.accept("CHF")
    await console.page.get_by_role("button", name="Retry: 50 jobs").click()
    await expect(console.page.locator("#bulk")).to_contain_text("Done.")
    await expect(console.page.locator("#bulk")).to_contain_text("Retried: 50 of 50 jobs")
    await console.stage.idle()
    states = await console.stage.sql(
        "SELECT job.state, count(*) FROM job JOIN message ON message.id = message_id"
        " WHERE order_ref BETWEEN '5001' AND $1 GROUP BY 1 ORDER BY 1",
        str(5000 + many),
    )
    assert states == [("done", 50), ("dropped", CHUNK)]


async def test_a_group_is_edited(console: ConsolePage) -> None:
    await console.stage.refused(4010, 3, "PLN")
    await open_group(console, "PLN")
    await console.page.locator("summary", has_text="Edit and continue").click()
    for field, value in (("id", "1"), ("currency", "EUR")):
        await console.page.get_by_label("Field").fill(field)
        await console.page.get_by_label("New value").fill(value)
        await console.page.locator("#why-edit").fill("The store showed zloty and took euros.")
        await console.page.get_by_role("button", name="Edit and retry 3 jobs").click()
        await expect(console.page.locator("#bulk")).to_contain_text("Done.")
        if field == "id":
            await expect(console.page.locator("#bulk")).to_contain_text("3 jobs could not be edited")
            await open_group(console, "PLN")
            await console.page.locator("summary", has_text="Edit and continue").click()
    await expect(console.page.locator("#bulk")).to_contain_text("Edited and retried: 3 of 3 jobs")
    await console.stage.idle()
    assert len(console.stage.platform.ledger(kind="order.post", entity="order:4012", applied=1)) == 1


async def test_all_jobs_of_every_cause_are_retried_at_once(console: ConsolePage) -> None:
    stage = console.stage
    await stage.refused(4700, 3, "MDL")
    await stage.refused(4710, 3, "UAH")
    stage.accept("MDL")
    stage.accept("UAH")
    await console.open("/console/dead-and-held?state=dead&reason_code=rejected_by_destination")
    await console.page.get_by_role("link", name="Act on all of them").click()
    await check(console)
    await console.page.set_viewport_size({"width": 1280, "height": 900})
    total = await stage.sql("SELECT count(*) FROM job WHERE dead AND reason_code = 'rejected_by_destination'")
    await console.page.get_by_role("button", name=f"Retry: {total[0][0]} jobs").click()
    await expect(console.page.get_by_role("status")).to_contain_text(f"Retried: {total[0][0]} of {total[0][0]} jobs")
    await stage.idle()
    delivered = await stage.sql(
        "SELECT count(*) FROM job JOIN message ON message.id = message_id"
        " WHERE order_ref BETWEEN '4700' AND '4712' AND job.state = 'done'"
    )
    assert delivered == [(6,)]
