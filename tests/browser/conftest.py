"""Real Chromium on the real console. Skipped without Chromium (`CHROMIUM` is the path of one)."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.console_page import ConsolePage
from tests.browser.stage import Stage, play_morning, staged
from tests.conftest import temporary_database

FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All these tests share one stage, so they run in one xdist worker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def chromium() -> str:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(chromium: str, server_url: str, template_database: str) -> AsyncIterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="relay-browser-"))
    try:
        async with temporary_database(server_url, template_database) as url, staged(folder, url) as stage:
            await play_morning(stage)
            yield stage
    finally:
        shutil.rmtree(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def console(browser: Browser, stage: Stage) -> AsyncIterator[ConsolePage]:
    """A signed-in operator. Errors and warnings of the browser fail the test."""
    async with ConsolePage.at(browser, stage) as console:
        await console.sign_in()
        yield console
        console.no_complaints()
