"""*Events*: live, filtered, and actions on what is selected."""

import pytest
from playwright.async_api import expect

from tests.browser.console_page import ConsolePage
from tests.browser.stage import order
from tests.browser.test_pages import check

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_arrives_appears_and_a_selection_stays(console: ConsolePage) -> None:
    await console.open("/console/events?kind=orders")
    box = console.page.get_by_role("checkbox").first
    name = str(await box.get_attribute("id"))
    await box.check()
    await console.stage.send("orders", [order(9101, 101)])
    await expect(console.page.get_by_role("link", name="order:9101")).to_be_visible(timeout=20_000)
    await expect(console.page.locator(f"#{name}")).to_be_checked()
    await console.stage.idle()
    row = console.page.get_by_role("row").filter(has_text="order:9101")
    await expect(row).to_contain_text("delivered", timeout=20_000)


async def test_filters_and_the_story_of_an_event(console: ConsolePage) -> None:
    await console.open("/console/events")
    await console.page.get_by_label("Id, e-mail or code").fill("3001")
    await console.page.get_by_label("State").select_option("needs_attention")
    await console.page.get_by_role("button", name="Show").click()
    rows = console.page.locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("HTTP 422")
    await rows.get_by_role("link", name="order:3001").click()
    await expect(console.page.get_by_role("heading", level=2).first).to_contain_text("Message")
    await console.page.go_back()
    await rows.get_by_role("link").first.click()
    await expect(console.page).to_have_title("Message · Platform Relay")


async def test_older_events_follow(console: ConsolePage) -> None:
    await console.open("/console/events")
    oldest = await console.page.locator("tbody tr").last.get_by_role("link").first.get_attribute("href")
    await console.page.get_by_role("link", name="Older events").click()
    await expect(console.page.get_by_role("link", name="Newest events")).to_be_visible()
    links = [
        await row.get_by_role("link").first.get_attribute("href")
        for row in await console.page.locator("tbody tr").all()
    ]
    assert links
    assert oldest not in links


async def test_selected_events_are_retried_edited_and_dropped(console: ConsolePage) -> None:
    await console.stage.refused(9201, 3, "ISK")
    console.stage.accept("ISK")
    for number, button, notice in (
        (9201, "Retry dead-lettered jobs", "1 job wait"),
        (9202, "Edit and retry", "1 job edited"),
        (9203, "Drop waiting and dead-lettered jobs permanently", "1 job dropped"),
    ):
        await console.open(f"/console/events?about={number}&state=needs_attention")
        await console.page.get_by_role("checkbox").check()
        if number != 9201:
            await console.page.locator("summary", has_text="Edit or drop").click()
            await console.page.locator("#why-selected").fill("The store's own test.")
            await console.page.get_by_label("Field").fill("currency")
            await console.page.get_by_label("New value").fill("EUR")
        await console.page.get_by_role("button", name=button).click()
        await expect(console.page.get_by_role("status")).to_contain_text(notice)
        await expect(console.page.locator("tbody tr")).to_have_count(0)
    await console.stage.idle()
    ended = await console.stage.sql(
        "SELECT order_ref, job.state FROM job JOIN message ON message.id = message_id"
        " WHERE order_ref BETWEEN '9201' AND '9203' ORDER BY 1"
    )
    assert ended == [("9201", "done"), ("9202", "done"), ("9203", "dropped")]


async def test_an_action_needs_a_selection(console: ConsolePage) -> None:
    await console.open("/console/events")
    await console.page.get_by_role("button", name="Retry dead-lettered jobs").click()
    await expect(console.page.get_by_role("main")).to_contain_text("No event is selected")
    console.expected("422")


async def open_matching(console: ConsolePage, first: int, currency: str) -> None:
    await console.stage.refused(first, 60, currency)
    console.stage.accept(currency)
    await console.open("/console/events?state=needs_attention&kind=orders")
    await console.page.get_by_role("link", name="All matching events").click()


async def test_all_matching_events_are_retried_and_none_that_matches_later(console: ConsolePage) -> None:
    """More than a page and more than a chunk. What becomes dead after the count stays dead."""
    stage = console.stage
    await stage.refused(9600, 5, "BGN")
    await open_matching(console, 9300, "HUF")
    [(dead,)] = await stage.sql("SELECT count(*) FROM job WHERE dead AND kind = 'forward_order'")
    await expect(console.page.locator("#preview")).to_contain_text(f"{dead} events")
    await stage.refused(9500, 3, "RSD")
    await console.page.get_by_role("button", name=f"Retry: {dead} dead-lettered jobs").click()
    await expect(console.page.get_by_role("status")).to_contain_text("Done.", timeout=20_000)
    await expect(console.page.get_by_role("status")).to_contain_text(f"Retried: {dead} of {dead} jobs")
    await stage.idle()
    late = await stage.sql(
        "SELECT order_ref FROM job JOIN message ON message.id = message_id"
        " WHERE order_ref BETWEEN '9500' AND '9502' AND dead AND job.created_at = message.received_at ORDER BY 1"
    )
    assert late == [("9500",), ("9501",), ("9502",)]
    delivered = await stage.sql(
        "SELECT count(*) FROM job JOIN message ON message.id = message_id"
        " WHERE order_ref BETWEEN '9300' AND '9359' AND job.state = 'done'"
    )
    assert delivered == [(60,)]


async def test_the_page_of_all_matching_events(console: ConsolePage) -> None:
    await open_matching(console, 9700, "ALL")
    for menu in await console.page.locator("summary").all():
        await menu.click()
    await check(console)
    await console.open("/console/events/matching?about=no-such-thing")
    await expect(console.page.get_by_role("main")).to_contain_text("there is nothing to do")
