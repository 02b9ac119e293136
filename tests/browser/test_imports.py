"""*Imports*: a file is uploaded, corrected, counted, imported and cancelled, in a real browser."""

import asyncio

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from tests.browser.console_page import PHONE, ConsolePage
from tests.browser.stage import Stage
from tests.helpers import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW = 40_000
"""Milliseconds: the process that reads files may have to start, on a busy machine."""
ROWS = "".join(f"{number},import{number}@example.com,Person {number}\n" for number in range(9001, 9004))
FILE = f"Customer number,Mail,Full name\n{ROWS},nobody@example.com,No id\n9001,import9001@example.com,Person 9001\n"
"""The number is an uncertain id; one row has none, and one is in the file twice."""


async def uploaded(console: ConsolePage, name: str, raw: str, kind: str = "customers") -> None:
    await console.open("/console/imports")
    await console.page.get_by_label("What it contains").select_option(kind)
    await console.page.get_by_label("File (CSV").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": raw.encode()}
    )
    await console.page.get_by_role("button", name="Upload").click(timeout=SLOW)


async def serious(console: ConsolePage) -> list[str]:
    results = await Axe().run(console.page)
    return [item["id"] for item in results.response["violations"] if item["impact"] in ("serious", "critical")]


async def tile(console: ConsolePage, name: str) -> str:
    return (
        await console.page.locator("dl.tiles > div", has=console.page.locator("dt", has_text=name))
        .locator("dd")
        .inner_text()
    ).split("\n")[0]


async def test_a_file_is_corrected_counted_and_imported(console: ConsolePage) -> None:
    await uploaded(console, "customers of May.csv", FILE)
    page = console.page
    await expect(page.get_by_role("heading", name="customers of May.csv")).to_be_visible(timeout=SLOW)
    await expect(page.get_by_role("region", name="What the file does not decide")).to_contain_text(
        "Customer number", timeout=SLOW
    )
    await expect(page.get_by_role("heading", name="What the import would do")).to_be_visible(timeout=SLOW)
    assert [await tile(console, name) for name in ("Rows", "Accepted", "Duplicates", "Newer", "Rejected")] == [
        "5",
        "3",
        "1",
        "0",
        "1",
    ]
    await expect(page.get_by_role("region", name="The first rejected rows")).to_contain_text("Row 4", timeout=SLOW)
    assert await serious(console) == []

    await page.get_by_role("button", name="Start the import").click(timeout=SLOW)
    await expect(page.locator(".notice.failed")).to_contain_text("answer the questions, or confirm", timeout=SLOW)
    await page.get_by_label("id", exact=True).select_option("=Customer number")
    await page.get_by_role("button", name="Start the import").click(timeout=SLOW)
    await expect(page.locator(".notice.failed")).to_contain_text("you changed how the file is read", timeout=SLOW)
    await expect(page.get_by_label("The file is read correctly")).to_have_count(0)
    assert await console.stage.sql("SELECT count(*) FROM import_run WHERE source = 'console'") == [(0,)]

    await page.get_by_role("button", name="Start the import").click(timeout=SLOW)
    await expect(page.get_by_role("heading", name="Import of customers")).to_be_visible(timeout=SLOW)
    await expect(page.get_by_role("status").filter(has_text="done")).to_be_visible(timeout=SLOW)
    assert [await tile(console, name) for name in ("Rows", "Accepted", "Duplicates", "Rejected")] == [
        "5",
        "3",
        "1",
        "1",
    ]
    assert await serious(console) == []
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name="Download the rejected rows").click()
    path = await (await waiting.value).path()
    text = await asyncio.to_thread(path.read_text, "utf-8")
    assert '"values":{"Customer number":"","Mail":"nobody@example.com"' in text.replace('": ', '":').replace(
        ', "', ',"'
    )
    await console.stage.delivered(9003)
    await console.open("/console/audit")
    await expect(page.get_by_role("region", name="Audit")).to_contain_text("import.begin", timeout=SLOW)

    await uploaded(console, "customers of May.csv", FILE)
    await page.get_by_label("id", exact=True).select_option("=Customer number")
    await page.get_by_role("button", name="Read the file in this way").click(timeout=SLOW)
    await page.get_by_role("button", name="Start the import").click(timeout=SLOW)
    await expect(page.locator(".notice")).to_contain_text("imported completely before", timeout=SLOW)


async def test_a_file_without_ids_shows_its_columns_to_choose_from(console: ConsolePage) -> None:
    await uploaded(console, "a.csv", "Who,Mail\nAnn,x@example.com\n")
    page = console.page
    await expect(page.get_by_role("alert")).to_contain_text("No column for id", timeout=SLOW)
    await expect(page.get_by_role("button", name="Start the import")).to_have_count(0)
    await expect(page.get_by_label("id", exact=True).locator("option")).to_contain_text(
        ["No column", "Leave out", "Who", "Mail"]
    )
    await page.get_by_role("button", name="Delete the file").click()
    await expect(page.locator(".notice")).to_contain_text("Nothing was imported from it", timeout=SLOW)


async def test_a_file_of_another_format_is_refused(console: ConsolePage) -> None:
    await uploaded(console, "photo.png", "x")
    await expect(console.page.get_by_role("main")).to_contain_text("format of photo.png is unknown", timeout=SLOW)
    console.expected("422")


async def test_the_list_of_the_store_is_imported(console: ConsolePage) -> None:
    page = console.page
    await console.open("/console/imports")
    await page.get_by_label("List").select_option("customers")
    await page.get_by_role("button", name="Start", exact=True).click(timeout=SLOW)
    await expect(page.get_by_role("status").filter(has_text="done")).to_be_visible(timeout=SLOW)
    await console.open("/console/imports")
    await expect(page.get_by_role("region", name="Imports")).to_contain_text("customers from the store", timeout=SLOW)


async def test_an_import_is_cancelled_and_continued(console: ConsolePage) -> None:
    """The import is done, and then set back to the state in which another process is in the middle of it."""
    await uploaded(console, "slow.csv", "id,email\n9101,slow@example.com\n,nobody@example.com\n")
    page = console.page
    await page.get_by_role("button", name="Start the import").click(timeout=SLOW)
    await expect(page.get_by_role("status").filter(has_text="done")).to_be_visible(timeout=SLOW)
    await console.stage.sql(
        "UPDATE import_run SET state = 'running', heartbeat_at = now() + interval '1 minute',"
        " claimed_at = now() - interval '9 seconds', position = 9, last_row = 0, rows = 900, accepted = 0,"
        " rejected = 0, finished_at = NULL, claimed_rows = 0, claimed_position = 0 WHERE name = 'slow.csv'"
    )
    await page.reload()
    await expect(page.get_by_role("region", name="Progress")).to_contain_text("left", timeout=SLOW)
    await page.get_by_role("button", name="Cancel the rest").click()
    await expect(page.get_by_role("region", name="Progress")).to_contain_text(
        "it ends after the rows it is storing", timeout=SLOW
    )
    await console.stage.sql("UPDATE import_run SET state = 'cancelled', rows = 0, position = 0 WHERE name = 'slow.csv'")
    await expect(page.get_by_role("status").filter(has_text="cancelled")).to_be_visible(timeout=SLOW)
    assert await console.stage.sql("SELECT count(*) FROM audit WHERE action = 'import.cancel'") == [(1,)]
    await page.get_by_role("button", name="Continue").click()

    async def done() -> bool:
        found = await console.stage.sql(
            "SELECT state, accepted, duplicates, rejected FROM import_run WHERE name = 'slow.csv'"
        )
        assert found == [("done", 0, 1, 1)]
        return True

    await eventually(done, 30)
    await expect(page.get_by_role("status").filter(has_text="done")).to_be_visible(timeout=SLOW)


async def test_on_a_phone_in_the_dark(browser: Browser, stage: Stage) -> None:
    async with ConsolePage.at(browser, stage, PHONE, "dark") as console:
        await console.sign_in()
        await uploaded(console, "phone.csv", FILE)
        await expect(console.page.get_by_role("heading", name="What the import would do")).to_be_visible(timeout=SLOW)
        for path in (None, "/console/imports"):
            if path is not None:
                await console.open(path)
            assert await serious(console) == []
            wide = await console.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
            assert not wide
        console.no_complaints()


async def test_without_scripts(browser: Browser, stage: Stage) -> None:
    context = await browser.new_context(base_url=stage.url, java_script_enabled=False)
    try:
        console = ConsolePage(await context.new_page(), stage)
        await console.page.goto("/console/login")
        await console.sign_in()
        await console.page.goto("/console/imports")
        await console.page.get_by_label("File (CSV").set_input_files(
            {"name": "plain.csv", "mimeType": "text/csv", "buffer": FILE.encode()}
        )
        await console.page.get_by_role("button", name="Upload").click(timeout=SLOW)
        await console.page.get_by_role("link", name="Count what the import would do").click(timeout=SLOW)
        await expect(console.page.get_by_role("heading", name="What the import would do")).to_be_visible(timeout=SLOW)
    finally:
        await context.close()
