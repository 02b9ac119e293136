"""What the relay assumes about the Platform: every entry of the table of fields, and every rule in the code. Data.

docs/platform-contract.md lists it and is tested against it.
"""

from dataclasses import dataclass
from typing import Final

from platform_relay.platform.fields import ASSUMPTIONS


@dataclass(frozen=True, slots=True)
class ContractAssumption:
    """`check`: how it is tested; empty: it cannot be tested from outside, and `statement` is undecidable. `setting`: what
    changes it; empty: nothing, because the relay works either way or the code would have to change."""

    id: str
    statement: str
    check: str
    setting: str


PUT_CUSTOMER: Final = "PUT of the test customer, twice, and GET"
_CHECKS: Final = {
    "customer": PUT_CUSTOMER,
    "order": "POST and PATCH of a test order",
    "lineItem": "POST and PATCH of a test order",
    "discountCode": "POST of a test order with a discount code",
    "product": "PUT of the test product",
    "variant": "POST of two variants",
}
UNTESTED_FIELDS: Final = frozenset({"order.refundedAmount", "product.variants"})
"""Keys of bodies that are no field with a value of its own; they have entries of their own."""


def _fields(entity: str) -> tuple[ContractAssumption, ...]:
    return tuple(
        ContractAssumption(key, f"`{item.text}`: {item.description}", _CHECKS[entity], f"PLATFORM__FIELDS {key}")
        for key, item in ASSUMPTIONS.items()
        if key.startswith(f"{entity}.") and key not in UNTESTED_FIELDS
    )


def _entry(key: str, statement: str, check: str) -> ContractAssumption:
    return ContractAssumption(key, statement, check, f"PLATFORM__FIELDS {key}")


def _rule(name: str, statement: str, check: str, setting: str = "") -> ContractAssumption:
    return ContractAssumption(name, statement, check, setting)


WEBHOOK_ONLY: Final = tuple(
    _entry(key, item.description, "") for key, item in ASSUMPTIONS.items() if key.startswith("tierReward.")
)
"""Only a webhook of the Platform shows them."""
NULLS: Final = tuple(
    _entry(
        key, item.description, "PUT of the test customer with empty fields" if key.startswith("null.customer.") else ""
    )
    for key, item in ASSUMPTIONS.items()
    if key.startswith("null.")
)

CONTRACT: Final[tuple[ContractAssumption, ...]] = (
    *_fields("customer"),
    _entry("form.customer", "the fields of a customer are at the top of the request", PUT_CUSTOMER),
    _entry("response.customer", "a response has the customer in the member `customer`", PUT_CUSTOMER),
    _entry("response.customers", "the list has the customers in the member `customers`", "GET customers by e-mail address"),
    _rule("customer.upsert", "PUT creates a customer, and updates the same one the second time", "PUT twice"),
    _rule("customer.readback", "GET returns what the last PUT sent", "PUT, then GET"),
    *_fields("order"),
    *_fields("lineItem"),
    *_fields("discountCode"),
    _entry("order.refundedAmount", "no field is known for the amount that was paid back", ""),
    _entry("form.money", "money in an order is a decimal text", "POST of a test order"),
    _entry("form.order", "the fields of an order are at the top of the request", "POST of a test order"),
    _rule("order.statuses", "an order accepts every financialStatus", "PATCH of the test order to each of the eight"),
    _rule("order.points", "an order that is created as paid earns points", "the customer's points before and after"),
    _rule("order.points_later", "an order that becomes paid earns points", "points before and after a PATCH to paid"),
    _rule("order.points_once", "an order earns points once", "points before and after all updates of a paid order"),
    _rule("order.points_back", "a refund takes the points back", "points before and after a PATCH to refunded"),
    _entry("status.alreadyExists", "a second POST of an order is rejected with 409", "the same POST again"),
    _entry("text.alreadyExists", "the rejection of a second POST contains `already exists`", "the same POST again"),
    _entry("text.orderNotFound", "the update of an unknown order is 404 `Order not found`", "PATCH of an unknown order"),
    _entry(
        "text.customerNotFound", "an order of an unknown customer is 404 `Customer not found`", "POST of such an order"
    ),
    _rule("order.discount_code", "an order can have a discount code", "POST of a test order with a discount code"),
    *_fields("product"),
    *_fields("variant"),
    _entry("product.variants", "the variants are in the member `variants`", "POST of two variants"),
    _entry("form.product", "the fields of a product are at the top of the request", "PUT of the test product"),
    _rule("variants.complete", "variants that are absent from the list are deleted", "POST of one of two variants"),
    _entry("status.keyRefused", "a wrong key is refused with 401 or 403", "GET with a wrong key"),
    _entry("status.throttled", "a rate limit is answered with 429", "the statuses and headers of all responses"),
    _rule("rate_limit", "no response names a rate limit", "the headers of all responses", "PLATFORM__RATE_LIMIT"),
    _rule("timing", "a call takes less than half of the time limit", "the duration of all calls", "PLATFORM__TIMEOUT"),
    _rule("http", "the Platform speaks HTTP/1.1", "all calls, and the protocols that TLS offers"),
    _entry("status.rewardUsed", "the use of an unknown coupon is 404; a second use is 404 or 409", "use of an unknown code"),
    _entry("response.failureFlag", "no success has `success: false`", "all responses"),
    _entry("response.failureText", "no success has an `error` that is not empty", "all responses"),
    _entry("response.emptySuccess", "no success is empty", "all responses"),
    _rule("launcher.rules", "the Launcher lists the redeem rules", "GET of the rules", "PLATFORM__SHOP_KEY"),
    _rule("launcher.digest", "the Launcher checks the digest", "GET of the rewards with a right and a wrong digest"),
    _entry("launcher.items", "the rewards are in the member `items`", "GET of the rewards"),
    _entry("launcher.nextToken", "the parameter `nextToken` reads the next page of the rewards", ""),
    _entry("rule.increments", "a rule whose value grows has the redeemType `increments`", "GET of the rules"),
    _entry("rule.productId", "a rule's product has the store's id as `externalId`", "GET of the rules"),
    _entry("ruleVariant.id", "a rule's variants have the store's id as `externalId`", "GET of the rules"),
    *WEBHOOK_ONLY,
    *NULLS,
)  # fmt: skip
"""Everything, in the order of the result."""
BY_ID: Final = {assumption.id: assumption for assumption in CONTRACT}
