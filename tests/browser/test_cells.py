"""One of three cells goes away: its pages name it, and show and change what the others hold."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from app import wiring
from app.embedded import EmbeddedPostgres
from tests.api.served import OPERATOR_KEY, serving
from tests.browser.desk import Desk
from tests.cells.conftest import calling, give_up, settings_of
from tests.conftest import TEST_SERVER

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 20_000


@pytest.fixture
def second_server() -> Iterator[EmbeddedPostgres]:
    """Beside that of the other cells."""
    folder = Path(tempfile.mkdtemp(prefix="relay-cell-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres.start(folder, settings=TEST_SERVER)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def relay(
    tmp_path: Path, database_url: str, second_server: EmbeddedPostgres
) -> AsyncIterator[tuple[wiring.Services, str]]:
    where = ((database_url, "cell_1"), (database_url, "cell_2"), (second_server.url, "cell_3"))
    settings = settings_of(tmp_path, *where)
    await wiring.migrated(settings, "")
    async with serving(settings, "") as running:
        yield running


async def test_a_cell_is_away_and_the_others_go_on(
    browser: Browser, relay: tuple[wiring.Services, str], second_server: EmbeddedPostgres
) -> None:
    parts, url = relay
    async with calling(url) as operator:
        first, *_ = [await give_up(operator, parts, cell, begin) for begin, cell in enumerate((1, 1, 2, 3))]
    async with Desk.at(browser, url) as desk:
        page = desk.page
        await desk.sign_in(OPERATOR_KEY)
        given_up = page.locator(".tiles div").filter(has_text="Given up").locator("dd")
        await expect(given_up).to_contain_text("4", timeout=PATIENCE)

        second_server.stop()
        banner = page.get_by_role("region", name="Cell 3 cannot be reached")
        await expect(banner).to_be_visible(timeout=PATIENCE)  # the page renews itself
        await expect(given_up).to_contain_text("3")
        shop = page.get_by_role("region", name="To the shop")
        await shop.locator("summary", has_text="Pause").click()
        await shop.get_by_label("Why?").fill("The shop is being moved.")
        await shop.get_by_role("button", name="Pause the calls").click()
        await expect(page.get_by_role("main")).to_contain_text("The other cells have done it.")
        desk.expected("503")

        await desk.open(f"/console/jobs/{first}")
        await page.get_by_role("button", name="Retry").click()
        await expect(page.get_by_role("status")).to_contain_text("It waits again")

        await desk.open("/console/stuck")
        await expect(page.get_by_role("note")).to_contain_text("Cell 3 cannot be reached at the moment")
        await page.get_by_role("link", name="Customer for the Platform").click()
        await page.get_by_role("button", name="Retry: 2 jobs").click()
        await expect(page.locator("#bulk")).to_contain_text("Retried: 2 of 2 jobs")
        await expect(page.locator("#bulk").get_by_role("note")).to_contain_text("Cell 3 cannot be reached")

        await desk.open("/console/audit")
        await expect(page.get_by_role("note")).to_contain_text("Cell 3 cannot be reached")
        await expect(page.get_by_role("region", name="Audit")).to_contain_text("The shop is being moved.")
        desk.no_complaints()
