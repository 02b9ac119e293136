"""Every call of a verification: what is sent, why, and what it leaves behind. Pure.

`plan` is the preview that `relay platform verify --dry-run` shows. The runner makes the same calls; those with a `condition`
only if it is met.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.platform.fields import Fields
from platform_relay.platform.translation import Body
from platform_relay.platform.verify.samples import CUSTOMER_ID, PRODUCT_ID, STATUSES, Samples, named

WRONG_KEY: Final = "relay-verify-wrong-key"


@dataclass(frozen=True, slots=True)
class Call:
    """`leaves`: what stays at the Platform afterwards. `condition`: when the call is made; empty: always."""

    step: str
    purpose: str
    method: str
    path: str
    body: Body | None = None
    leaves: str = ""
    condition: str = ""
    wrong_key: bool = False
    launcher: bool = False


@dataclass(frozen=True, slots=True)
class Calls:
    """Makes the calls, with the names, forms and members of the table as far as they are known."""

    samples: Samples
    fields: Fields

    # ------------------------------------------------------------------------------------------- customers

    def customer(self, customer_id: str, step: str, purpose: str, *, wrong_key: bool = False) -> Call:
        return Call(step, purpose, "GET", f"/v1/customers/{quote(customer_id, safe='')}", wrong_key=wrong_key)

    def put_customer(self, step: str, purpose: str, values: Body, *, every_name: bool = False) -> Call:
        body = self.fields.wrapped("customer", named("customer", values, self.fields, every_name=every_name))
        return Call(step, purpose, "PUT", f"/v1/customers/{CUSTOMER_ID}", body, "one customer")

    def empty_customer(self) -> Call:
        """The customer with the fields removed that the relay sends as an empty text or list."""
        values: Body = {"email": self.samples.email, "name": None, "phone": None}
        values |= {"firstName": None, "lastName": None, "tags": None}
        body = self.fields.wrapped("customer", self.fields.body("customer", values))
        purpose = "removes the fields, as when a customer deletes them in the store"
        return Call("customer.empty", purpose, "PUT", f"/v1/customers/{CUSTOMER_ID}", body)

    def find_customer(self) -> Call:
        query = urlencode({"email": self.samples.email})
        return Call("customer.find", "finds the customer by e-mail address", "GET", f"/v1/customers?{query}")

    # ------------------------------------------------------------------------------------------- orders

    def post_order(self, step: str, purpose: str, values: Body, *, every_name: bool = False) -> Call:
        body = self.fields.wrapped("order", named("order", values, self.fields, every_name=every_name))
        return Call(step, purpose, "POST", "/v1/orders", body, "one order")

    def patch_order(self, step: str, purpose: str, order_id: str, values: Body, *, every_name: bool = False) -> Call:
        changed = {name: value for name, value in values.items() if name != "id"}
        body = self.fields.wrapped("order", named("order", changed, self.fields, every_name=every_name))
        return Call(step, purpose, "PATCH", f"/v1/orders/{quote(order_id, safe='')}", body)

    # ------------------------------------------------------------------------------------------- products, rewards

    def put_product(self, step: str, purpose: str, values: Body, *, every_name: bool = False) -> Call:
        body = self.fields.wrapped("product", named("product", values, self.fields, every_name=every_name))
        return Call(step, purpose, "PUT", f"/v1/products/{PRODUCT_ID}", body, "one product")

    def post_variants(self, step: str, purpose: str, numbers: tuple[int, ...], *, every_name: bool = False) -> Call:
        rows: list[JsonValue] = [
            named("variant", self.samples.variant(number), self.fields, every_name=every_name) for number in numbers
        ]
        body: Body = {self.fields["product.variants"]: rows}
        return Call(step, purpose, "POST", f"/v1/products/{PRODUCT_ID}/variants", body, "its variants")

    def use_reward(self) -> Call:
        path = f"/v1/rewards/{self.samples.unknown_id}/use"
        return Call("reward.unknown", "reports the use of a coupon that does not exist", "POST", path, {})

    # ------------------------------------------------------------------------------------------- the Launcher

    def launcher(self, step: str, purpose: str, path: str, **parameters: str) -> Call:
        query = urlencode(parameters)
        return Call(step, purpose, "GET", f"/launcher/v1{path}" + (f"?{query}" if query else ""), launcher=True)


def plan(samples: Samples, fields: Fields, *, has_launcher: bool) -> tuple[Call, ...]:
    """All calls in their order. Those with a condition are examples: their names depend on earlier responses."""
    return tuple(_plan(Calls(samples, fields), has_launcher=has_launcher))


def _plan(calls: Calls, *, has_launcher: bool) -> Iterator[Call]:
    samples = calls.samples
    if_ignored = "only if the Platform ignores or rejects a name: the other names that are known for it"
    yield calls.customer(samples.unknown_id, "customer.unknown", "reads a customer that does not exist")
    yield calls.customer(samples.unknown_id, "key.wrong", "the same with a wrong key", wrong_key=True)
    if has_launcher:
        yield calls.launcher("launcher.store", "reads the store's facts", "/shop")
        yield calls.launcher("launcher.rules", "reads the redeem rules", "/shop/rules/redeem")
    yield calls.put_customer("customer.create", "creates the test customer", samples.customer(1))
    yield calls.put_customer("customer.update", "changes every field of it", samples.customer(2))
    yield calls.customer(CUSTOMER_ID, "customer.read", "reads it back, with its points")
    yield _if(
        calls.put_customer("customer.names", "sends it under other names", samples.customer(2), every_name=True),
        if_ignored,
    )
    yield calls.find_customer()
    if has_launcher:
        yield calls.launcher("launcher.rewards", "reads its rewards, with the digest", "/customer/all-rewards")
        yield calls.launcher("launcher.digest", "the same with a wrong digest", "/customer/all-rewards")
    yield calls.put_product("product.put", "creates the test product", samples.product())
    yield _if(
        calls.put_product("product.names", "sends it under other names", samples.product(), every_name=True), if_ignored
    )
    yield calls.post_variants("variants.post", "creates two variants", (1, 2))
    yield _if(
        calls.post_variants("variants.names", "sends them under other names", (1, 2), every_name=True), if_ignored
    )
    yield calls.post_variants("variants.fewer", "sends one of them: the other one is deleted", (1,))
    yield calls.post_order("order.create", "creates a paid order", samples.order(1, "paid"))
    yield _if(
        calls.post_order("order.names", "the same with other names, or money as numbers", samples.order(1, "paid")),
        "only if the Platform rejects the order, until it accepts one",
    )
    yield calls.customer(CUSTOMER_ID, "points.created", "reads the points; repeated while they do not change")
    yield calls.patch_order(
        "order.missing", "updates an order that does not exist", samples.unknown_id, samples.order(1, "paid")
    )
    yield calls.post_order("order.again", "sends the same order once more", samples.order(1, "paid"))
    yield calls.customer(CUSTOMER_ID, "points.again", "reads the points; repeated while they do not change")
    for status in STATUSES:
        if status == "refunded":
            yield calls.customer(CUSTOMER_ID, "points.before_refund", "reads the points")
        order = samples.order(1, status)
        yield calls.patch_order(f"order.status.{status}", f"sets the status {status}", samples.order_id(1), order)
        if status == "refunded":
            yield calls.customer(CUSTOMER_ID, "points.refunded", "reads the points; repeated while they do not change")
    yield calls.post_order(
        "order.discount", "creates an unpaid order with a discount code", samples.order(2, "pending")
    )
    yield calls.customer(CUSTOMER_ID, "points.pending", "reads the points")
    yield calls.patch_order("order.discount_paid", "sets it to paid", samples.order_id(2), samples.order(2, "paid"))
    yield calls.customer(CUSTOMER_ID, "points.paid_later", "reads the points; repeated while they do not change")
    refunded = samples.order(2, "refunded")
    yield calls.patch_order("order.discount_refunded", "sets it to refunded", samples.order_id(2), refunded)
    unknown = samples.order(3, "pending", customer=samples.unknown_id, email=samples.unknown_email)
    call = calls.post_order("order.unknown_customer", "creates an order of an unknown customer", unknown)
    yield replace(call, leaves="one order and its customer, if the Platform accepts it")
    yield calls.use_reward()
    yield calls.empty_customer()


def _if(call: Call, condition: str) -> Call:
    return replace(call, condition=condition)


def left_behind(samples: Samples) -> tuple[str, ...]:
    """What a verification leaves at the Platform. No call of the Platform's API is known that deletes it."""
    orders = f"{samples.order_id(1)} (at the end expired) and {samples.order_id(2)} (at the end refunded)"
    return (
        f"one customer: {CUSTOMER_ID} ({samples.email}), the same in every verification. The e-mail address accepts no mail",
        f"two orders: {orders}. They count in the Platform's statistics",
        "points that the Platform does not take back when an order is refunded",
        f"one product: {PRODUCT_ID} with the variant {samples.variant_id(1)}",
        f"if the Platform accepts orders of unknown customers: the order {samples.order_id(3)} and its customer",
        "if the Platform creates a second order when an order is sent twice: that order",
    )
