"""Every page, wide and light, and on a phone in the dark: accessible, complete, without a word from the browser."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from platform_relay.console.pages import POLICY
from tests.browser.console_page import PHONE, ConsolePage
from tests.browser.stage import UNKNOWN_RULE, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE: Final = Axe()
SERIOUS: Final = ("serious", "critical")


async def _job(stage: Stage, state: str = "dead") -> str:
    return str((await stage.api("GET", f"/v1/jobs?state={state}"))["items"][0]["id"])


async def _job_path(stage: Stage) -> str:
    return f"/console/jobs/{await _job(stage)}"


async def _edit_path(stage: Stage) -> str:
    return f"/console/jobs/{await _job(stage)}/edit"


async def _message_path(stage: Stage) -> str:
    return f"/console/messages/{(await stage.api('GET', '/v1/jobs?state=dead'))['items'][0]['message_id']}"


PATHS: Final[dict[str, str | Callable[[Stage], Awaitable[str]]]] = {
    "now": "/console",
    "events": "/console/events",
    "older events": "/console/events?until=2999-01-01T00:00:00&kind=orders",
    "no events": "/console/events?about=no-such-thing",
    "search": "/console/search",
    "explanation of a rejected order": "/console/search?q=3001",
    "explanation of a held coupon": "/console/search?q=MUGLOVER",
    "nothing found": "/console/search?q=no-such-thing",
    "dead-lettered": "/console/dead-and-held",
    "held": "/console/dead-and-held?state=held",
    "job": _job_path,
    "edit": _edit_path,
    "message": _message_path,
    "coupons": "/console/coupons?state=all",
    "no coupons": "/console/coupons?state=refused",
    "a held coupon": "/console/coupon?code=MUGLOVER",
    "a retired coupon": "/console/coupon?code=OOPS15",
    "ledger": "/console/coupons/ledger",
    "rules": "/console/rules",
    "new rule": f"/console/rule?id={UNKNOWN_RULE}",
    "imports": "/console/imports",
    "refused requests": "/console/refused-requests",
    "keys": "/console/keys",
    "audit": "/console/audit",
    "set-up": "/console/setup",
}


@pytest.mark.parametrize("name", PATHS)
async def test_a_page(name: str, console: ConsolePage) -> None:
    path = PATHS[name]
    await console.open(path if isinstance(path, str) else await path(console.stage))
    await check(console)


async def test_an_explanation_shows_buttons_and_steps_and_no_calls_of_the_api(console: ConsolePage) -> None:
    await console.open("/console/search?q=3001")
    steps = console.page.get_by_role("region", name="What you can do")
    await expect(steps).to_contain_text("Correct the cause in the store.")
    await expect(steps.get_by_role("button", name="Retry")).to_have_count(1)
    await expect(console.page.get_by_role("main")).not_to_contain_text("/v1/")
    await expect(steps).not_to_contain_text("Retry the job.")


async def test_a_failure_group_with_its_forms_open(console: ConsolePage) -> None:
    await console.open("/console/dead-and-held")
    await console.page.get_by_role("cell", name="order for the Platform").get_by_role("link").first.click()
    for menu in await console.page.locator("summary").all():
        await menu.click()
    await check(console)


async def test_a_page_that_is_not_there(console: ConsolePage) -> None:
    await console.open("/console/coupon?code=no-such-code")
    console.expected("404")
    await check(console)


async def test_signing_in(console: ConsolePage) -> None:
    await console.page.get_by_role("button", name="Sign out").click()
    await console.page.wait_for_url("**/console/login")
    await check(console)


async def check(console: ConsolePage) -> None:
    """What holds for every page. What of axe depends on colours and sizes is run in both."""
    assert await accessible(console) == []
    light = await background(console)
    await console.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await console.page.emulate_media(color_scheme="dark")
    assert await console.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], "it scrolls sideways"
    assert await accessible(console, {"runOnly": ["color-contrast", "target-size"]}) == []
    assert await background(console) != light
    answer = await console.page.request.get(console.page.url)
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "script-src 'self';" in POLICY


async def accessible(console: ConsolePage, options: dict[str, object] | None = None) -> list[str]:
    results = await AXE.run(console.page, options=options)
    assert results.response["passes"], "axe checked nothing"
    return [
        f"{violation['id']}: {violation['help']}: {violation['nodes'][0]['html']}"
        for violation in results.response["violations"]
        if violation["impact"] in SERIOUS
    ]


async def background(console: ConsolePage) -> str:
    return str(await console.page.evaluate("getComputedStyle(document.body).backgroundColor"))
