"""The pictures of README.md and docs/tour.md: `make screenshots`. Not part of `make test`, so that it leaves no traces."""

import io
from pathlib import Path
from typing import Final

import pytest
from PIL import Image
from playwright.async_api import Browser, FloatRect, expect

from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import JobKind
from platform_relay.trial.rehearsal import CALLS
from tests.browser.console_page import PHONE, ConsolePage, Scheme
from tests.browser.stage import STORE_KEY, Stage, order
from tests.helpers import eventually
from tests.reconcile.shop import LONG_AGO, entity

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.screenshots]

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
LARGEST: Final = 150_000
COLOURS: Final = 96
SPREAD: Final = """
WITH spread AS (SELECT job_id, fencing_token, outcome, random() AS random FROM attempt)
UPDATE attempt SET started_at = now() - interval '1 minute' *
    CASE WHEN attempt.outcome = 'retry' THEN 24 + 5 * random
         WHEN 59 * power(random, 0.9) BETWEEN 24 AND 29 THEN 22 + 2 * random
         ELSE 59 * power(random, 0.9) END
FROM spread WHERE spread.job_id = attempt.job_id AND spread.fencing_token = attempt.fencing_token AND spread.outcome <> 'reject'
"""
SPREAD_DONE: Final = """
WITH spread AS (SELECT id, random() AS random FROM job WHERE duration_ms IS NOT NULL)
UPDATE job SET finished_at = now() - interval '1 minute' *
    CASE WHEN 59 * power(random, 0.9) BETWEEN 24 AND 29 THEN 22 + 2 * random ELSE 59 * power(random, 0.9) END
FROM spread WHERE spread.id = job.id
"""


async def test_the_pictures(browser: Browser, stage: Stage) -> None:
    await an_hour(stage)
    async with ConsolePage.at(browser, stage, scale=2) as console:
        await console.sign_in()
        await taken(console, "now", "/console")
        await taken(console, "events", "/console/events")
        await taken(console, "explanation", "/console/search?q=3001")
        await mistakes(stage)
        await taken(console, "refused_requests", "/console/refused-requests")
        await taken(console, "dead_and_held", "/console/dead-and-held")
        await console.page.get_by_role("table").get_by_role("link").first.click()
        await console.page.locator("summary", has_text="Edit and continue").click()
        await console.page.get_by_label("Field").fill("currency")
        await console.page.get_by_label("New value").fill("EUR")
        await taken(console, "failure_group")
        await a_reconciliation(console)
        await taken(console, "reconciliation")
        await taken(console, "coupons", "/console/coupons?state=all")
        await taken(console, "coupon", "/console/coupon?code=OOPS15")
        await taken(console, "audit", "/console/audit")
        await an_uploaded_file(console)
        await console.open("/console/setup")
        await console.page.get_by_role("button", name="Create a test coupon").click()
        await taken(console, "setup", "/console/setup")
        stage.platform.outage(on=True)
        await stage.send(
            "orders", [order(7000 + number, 101 + number % 24, f"{25 + number % 50}.90") for number in range(180)]
        )
        await console.open("/console")
        await expect(console.page.get_by_role("region", name="The Platform cannot be reached")).to_be_visible(
            timeout=20_000
        )
        await expect(console.page.locator(".tiles dd").first).to_contain_text("180", timeout=20_000)
        await taken(console, "outage")
    phone: Scheme = "dark"
    async with ConsolePage.at(browser, stage, PHONE, phone, scale=2) as console:
        await console.sign_in()
        await taken(console, "phone", "/console")
    await a_trial(stage)
    async with ConsolePage.at(browser, stage, scale=2) as console:
        await console.sign_in()
        await taken(console, "trial", "/console/trial")


async def mistakes(stage: Stage) -> None:
    """What an integrator gets wrong on the first day."""
    key = {"authorization": f"Bearer {STORE_KEY}"}
    bodies = (
        {"id": 1001, "totalPrice": 19.999999},
        {"id": "1002", "financialStatus": "payed"},
        {"email": "ada@example"},
    )
    for body in bodies:
        await stage.client.post("/v1/events/orders", json=body, headers=key)
    await stage.client.post("/v1/events/customers", content=b"id=41", headers=key)
    await stage.client.post("/v1/events/order", json={"id": "1003"}, headers=key)
    await stage.client.post("/v1/events/orders", json={"id": "1003"}, headers={"authorization": "Bearer wrong-key"})
    await stage.client.post("/v1/webhooks/platform/wrong-secret", json={})

    async def stored() -> bool:
        [(count,)] = await stage.sql("SELECT count(*) FROM refused_request")
        return bool(count >= 4)

    await eventually(stored, 20)


async def a_trial(stage: Stage) -> None:
    """What was delivered looks as if the relay had been in a trial."""
    await stage.sql(
        "INSERT INTO trial (id, started_at) VALUES (1, now() - interval '2 days')"
        " ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, live_at = NULL"
    )
    for kind in (JobKind.FORWARD_CUSTOMER, JobKind.FORWARD_ORDER, JobKind.ISSUE_COUPON):
        await stage.sql(
            "UPDATE job SET state = 'skipped', reason_code = 'shadow', facts = jsonb_build_object('call', $2::text)"
            " WHERE kind = $1 AND state = 'done'",
            kind,
            CALLS[kind],
        )


async def an_uploaded_file(console: ConsolePage) -> None:
    """The page on which a file is checked before its import."""
    await console.open("/console/imports")
    people = [f"{n},person{n}@example.com,Person {n},{n % 28 + 1}.03.1990" for n in range(4000, 4240)]
    raw = "\n".join(["Customer number,E-mail,Name,Birthday", *people, ",nobody@example.com,No number,", people[7], ""])
    file = {"name": "customers.csv", "mimeType": "text/csv", "buffer": raw.encode()}
    await console.page.get_by_label("File (CSV").set_input_files(file)  # type: ignore[arg-type]  # a FilePayload
    await console.page.get_by_role("button", name="Upload").click(timeout=60_000)
    await expect(console.page.get_by_role("heading", name="What the import would do")).to_be_visible(timeout=60_000)
    await taken(console, "imports")
    await console.page.get_by_role("button", name="Delete the file").click()


async def a_reconciliation(console: ConsolePage) -> None:
    """Some products were never sent, and some are repaired."""
    numbers = range(5001, 5013)
    products = [entity(EventKind.PRODUCT, number, LONG_AGO) for number in numbers]
    console.stage.shop.control("seed", products=products)
    await console.open("/console/reconciliations")
    await console.page.get_by_label("Compare").select_option("products")
    await console.page.get_by_role("button", name="Start").click()
    await expect(console.page.locator("#summary")).to_contain_text("12 open", timeout=30_000)
    run = console.page.url
    for number in (5002, 5003, 5005):
        await console.open(f"{run}/repair?kind=products&entity_id={number}")
        await console.page.get_by_role("button", name="Repair 1 difference").click()
        await expect(console.page.get_by_role("status")).to_contain_text("Done.")
    await console.open(run)
    await expect(console.page.locator("#summary")).to_contain_text("3 delivered", timeout=30_000)
    await console.page.reload()


async def an_hour(stage: Stage) -> None:
    """What happened just now, spread over the last hour, with a few bad minutes in it."""
    stage.platform.script(path="/v1/orders", status=503, times=40, contains='"74')
    await stage.send("orders", [order(7400 + number, 101 + number % 24) for number in range(90)])
    await stage.send("orders", [order(8000 + number, 101 + number % 24) for number in range(900)])
    await stage.idle()
    await stage.sql("SELECT setseed(0.5)")
    await stage.sql(SPREAD)
    await stage.sql(SPREAD_DONE)


async def taken(console: ConsolePage, name: str, path: str | None = None) -> None:
    if path is not None:
        await console.open(path)
    await console.page.evaluate("document.fonts.ready")
    await console.page.evaluate("document.activeElement.blur()")
    size = console.page.viewport_size
    assert size is not None
    foot = float(await console.page.evaluate("document.querySelector('footer').getBoundingClientRect().top + scrollY"))
    clip = FloatRect(x=0, y=0, width=size["width"], height=min(foot, size["height"]))
    raw = await console.page.screenshot(full_page=True, clip=clip)
    picture = Image.open(io.BytesIO(raw)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    assert len(png.getvalue()) < LARGEST, name
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"{name}.png").write_bytes(png.getvalue())
