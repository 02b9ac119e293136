"""*Coupons* and *Reward rules*: every decision that an operator may have to take."""

import pytest
from playwright.async_api import expect

from platform_relay.core.reasons import ReasonCode, because
from tests.browser.console_page import ConsolePage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def decide(console: ConsolePage, code: str, menu: str, button: str, why: str, **fields: str) -> None:
    """One of the menus of a coupon's page."""
    await console.open(f"/console/coupon?code={code}")
    box = console.page.locator("details").filter(has=console.page.locator("summary", has_text=menu))
    await box.locator("summary").click()
    for label, value in fields.items():
        await box.get_by_label(label).fill(value)
    await box.get_by_label("Reason").fill(why)
    await box.get_by_role("button", name=button).click()


def rule_without_value(console: ConsolePage, rule: str) -> None:
    """A rule that the Platform lists without a value."""
    definition = {
        "id": rule,
        "title": "A surprise",
        "pointCost": 150,
        "discountValue": None,
        "templateName": "amountdiscount",
    }
    console.stage.platform.control("rules", rules=[definition])


async def test_a_held_coupon_is_given_its_value(console: ConsolePage) -> None:
    rule_without_value(console, "rule-surprise-1")
    await console.stage.redeem("VALUED7", 110, "rule-surprise-1")
    await console.stage.coupon("VALUED7", "held")
    await decide(console, "VALUED7", "Set value", "Create with this value", "As printed in the letter.", Value="a lot")
    await expect(console.page.get_by_role("status")).to_contain_text("not a number")
    await decide(console, "VALUED7", "Set value", "Create with this value", "As printed in the letter.", Value="7.00")
    await expect(console.page.get_by_role("status")).to_contain_text("The coupon continues with this value.")
    await console.stage.coupon("VALUED7", "active")
    await console.open("/console/coupons?state=active&customer=110")
    row = console.page.get_by_role("row").filter(has_text="VALUED7")
    await expect(row).to_contain_text("7.00 EUR")


async def test_a_held_coupon_is_approved(console: ConsolePage) -> None:
    """Above COUPONS__CONFIRM_ABOVE, and not in the Platform's list of rewards: an operator has to approve it."""
    stage = console.stage
    where = {"url": f"{stage.url}/v1/webhooks/platform/webhook-secret-of-the-browser-suite"}
    await stage.delivered(111)
    stage.platform.control("tier-reward", customerId="111", discountAmount=50, code="GOLD50", listed=False, **where)
    await stage.coupon("GOLD50", "held")
    await decide(console, "GOLD50", "Approve", "Approve", "The Platform's support confirmed it.")
    await expect(console.page.get_by_role("status")).to_contain_text("The coupon is approved")
    await stage.coupon("GOLD50", "active")
    await console.page.reload()
    await expect(console.page.get_by_role("region", name="Audit")).to_contain_text("coupon.approve")


async def test_a_coupon_is_retired_and_its_points_returned(console: ConsolePage) -> None:
    await console.stage.redeem("REGRET5", 112, "rule-5-off")
    await console.stage.coupon("REGRET5", "active")
    await decide(console, "REGRET5", "Retire", "Retire", "The customer changed her mind.")
    await expect(console.page.get_by_role("status")).to_contain_text("The coupon is being made unusable")
    await console.stage.coupon("REGRET5", "retired")
    assert "regret5" not in str(console.stage.shop.state("coupons")).lower()
    await decide(console, "REGRET5", "Return points", "Return points", "The customer changed her mind.")
    await expect(console.page.get_by_role("status")).to_contain_text("The points are being returned.")
    await console.stage.coupon("REGRET5", "points_returned")


async def test_an_alert_is_dismissed(console: ConsolePage) -> None:
    await console.stage.redeem("SHARED5", 115, "rule-5-off")
    await console.stage.coupon("SHARED5", "active")
    overused = because(ReasonCode.COUPON_OVERUSED, code="SHARED5", orders=2, limit=1, order_ids=["1001", "1002"])
    await console.stage.alert(overused, "SHARED5")
    await console.open("/console")
    await console.page.get_by_role("region", name="Alerts").get_by_role("link", name="SHARED5").click()
    await expect(console.page.get_by_role("region", name="Alerts")).to_contain_text(overused.text)
    await decide(console, "SHARED5", "Dismiss the alert", "Dismiss", "One basket, split by the store.")
    await expect(console.page.get_by_role("status")).to_contain_text("1 alert dismissed.")
    await expect(console.page.get_by_role("region", name="Alerts")).to_have_count(0)
    await expect(console.page.get_by_role("region", name="Audit")).to_contain_text("coupon.dismiss")


async def test_the_list_opens_on_what_needs_a_decision(console: ConsolePage) -> None:
    await console.stage.redeem("PLAIN1", 117, "rule-5-off")
    await console.stage.coupon("PLAIN1", "active")
    selected = console.page.locator(".tabs [aria-current]")
    await console.open("/console/coupons?customer=117")
    await expect(selected).to_have_text("All")
    await expect(console.page.get_by_role("row").filter(has_text="PLAIN1")).to_be_visible()
    rule_without_value(console, "rule-surprise-3")
    await console.stage.redeem("RULED8", 117, "rule-surprise-3")
    await console.stage.coupon("RULED8", "held")
    await console.open("/console/coupons?customer=117")
    await expect(selected).to_have_text("Held")
    await console.open("/console/coupons?customer=117&state=refused")
    await expect(selected).to_have_text("Refused")


async def test_an_issuance_limit_is_released(console: ConsolePage) -> None:
    """COUPONS__ISSUANCE_LIMITS__CUSTOMER_COUNT is 3 here."""
    await console.open("/console/coupons")
    await expect(console.page.get_by_text("Release issuance limits")).to_have_count(0)
    for number in range(4):
        await console.stage.redeem(f"EAGER{number}", 113, "rule-5-off")
        await console.stage.coupon(f"EAGER{number}", "active" if number < 3 else "held")
    await console.open("/console/coupons?customer=113")
    await expect(console.page.get_by_role("row").filter(has_text="EAGER3")).to_contain_text("held")
    await console.page.locator("summary", has_text="Release issuance limits").click()
    await console.page.get_by_label("Customer id in the store (empty").fill("113")
    await console.page.get_by_label("Reason (stored").fill("A birthday, all of them are hers.")
    await console.page.get_by_role("button", name="Release").click()
    await expect(console.page.get_by_role("status")).to_contain_text(
        "1 issuance limit released; 1 held coupon continues."
    )
    await console.stage.coupon("EAGER3", "active")
    await console.open("/console/coupons")
    await expect(console.page.get_by_text("Release issuance limits")).to_have_count(0)


async def test_a_rule_is_created_changed_and_deleted(console: ConsolePage) -> None:
    page = console.page
    rule_without_value(console, "rule-surprise-2")
    await console.stage.redeem("RULED9", 114, "rule-surprise-2")
    await console.stage.coupon("RULED9", "held")
    await console.open("/console/dead-and-held?state=held")
    await page.get_by_role("row").filter(has_text="reward-rule:rule-surprise-2").get_by_role("link").click()
    await page.get_by_role("link", name="Set the value of the rule").click()
    await expect(page.get_by_label("Rule id, as")).to_have_value("rule-surprise-2")
    value = page.get_by_label("Value", exact=True)
    await value.fill("nine")
    await page.get_by_role("button", name="Save as a new version").click()
    await expect(page.get_by_role("alert")).to_contain_text("value")
    console.expected("422")
    await value.fill("9.00")
    await page.get_by_label("Title").fill("Anniversary")
    await page.get_by_role("button", name="Save as a new version").click()
    await expect(page.get_by_role("status")).to_contain_text("Version 1 of rule-surprise-2 is now in effect; 1 waiting")
    await console.stage.coupon("RULED9", "active")

    await value.fill("8.00")
    await page.get_by_label("Variants").fill("12,13 ")
    await page.get_by_role("button", name="Save as a new version").click()
    await expect(page.get_by_role("status")).to_contain_text("Version 2")
    await expect(page.get_by_label("Variants")).to_have_value("12, 13")
    await page.get_by_text("Settings", exact=True).click()
    await page.get_by_role("link", name="Reward rules").click()
    await expect(page.get_by_role("row").filter(has_text="Anniversary")).to_contain_text("8.00")
    await page.get_by_role("link", name="rule-surprise-2").click()
    await page.get_by_role("button", name="Delete rule").click()
    await expect(page.get_by_role("status")).to_contain_text("rule-surprise-2 is deleted")
    await expect(page.get_by_role("row").filter(has_text="Anniversary")).to_have_count(0)
