"""A browser signed in to the console, and the errors and warnings it reported."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from playwright.async_api import Browser, ConsoleMessage, Page, Request, Response

from tests.browser.stage import OPERATOR_KEY, Stage

WIDE: Final = (1280, 900)
PHONE: Final = (390, 844)
Scheme = Literal["light", "dark"]


class ConsolePage:
    def __init__(self, page: Page, where: Stage | str) -> None:
        self.page = page
        self._where = where
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("response", self._on_response)
        page.on("request", self._on_request)

    @classmethod
    @asynccontextmanager
    async def at(
        cls,
        browser: Browser,
        where: Stage | str,
        size: tuple[int, int] = WIDE,
        scheme: Scheme = "light",
        scale: float = 1,
    ) -> AsyncIterator["ConsolePage"]:
        """`where`: a stage, or the address of a relay without one."""
        context = await browser.new_context(
            base_url=_url(where),
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            device_scale_factor=scale,
            reduced_motion="reduce",
        )
        context.set_default_timeout(10_000)
        try:
            yield cls(await context.new_page(), where)
        finally:
            await context.close()

    @property
    def stage(self) -> Stage:
        assert isinstance(self._where, Stage)
        return self._where

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({self.page.url})")

    def _on_response(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.status} {response.url}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(_url(self._where)):
            self.complaints.append(f"request to another origin: {request.url}")

    def no_complaints(self) -> None:
        """No errors of scripts, no violations of the content security policy, and nothing not found."""
        assert self.complaints == []

    def expected(self, words: str) -> None:
        """Removes the complaint about an error that the test provoked."""
        rest = [complaint for complaint in self.complaints if words not in complaint]
        assert len(rest) < len(self.complaints), f"no complaint contains {words}: {self.complaints}"
        self.complaints[:] = rest

    async def open(self, path: str) -> None:
        """Opens a page and waits for its fonts."""
        await self.page.goto(path)
        await self.page.evaluate("document.fonts.ready")

    async def sign_in(self, key: str = OPERATOR_KEY) -> None:
        await self.page.goto("/console/login")
        await self.page.get_by_label("Key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("button", name="Sign out").wait_for()


def _url(where: Stage | str) -> str:
    return where if isinstance(where, str) else where.url
