"""Makes the calls of a verification, one after another, and keeps what came back. What it means is in `verdicts`.

A name or a form that the Platform needs, and that differs from the settings, is used in all later calls, so that one wrong
assumption does not hide the others.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.platform.client import launcher_digest
from platform_relay.platform.echo import holder_of, places_of
from platform_relay.platform.fields import NO_FIELDS
from platform_relay.platform.responses import Rejected, RejectionKind
from platform_relay.platform.translation import Body
from platform_relay.platform.verify.calls import Call
from platform_relay.platform.verify.name_findings import names_in
from platform_relay.platform.verify.observations import (
    Exchange,
    NameFinding,
    NameState,
    Observations,
    balance_of,
)
from platform_relay.platform.verify.samples import CUSTOMER_ID, STATUSES, Samples, other_names
from platform_relay.platform.verify.session import Session
from platform_relay.setting_groups import PlatformSettings

POINTS_INTERVAL: Final = 0.25
"""Seconds between two readings of the customer's points."""
BASIC: Final = ("id", "customerId", "email", "financialStatus", "currency", "totalPrice")
"""The fields of an order without which it means nothing."""


class Verification:
    """One verification. `points_wait`: the seconds for which points may take to change. `on_call` is called before each call."""

    def __init__(
        self,
        http: HttpClient,
        settings: PlatformSettings,
        samples: Samples,
        *,
        points_wait: float,
        on_call: Callable[[Call], None] = lambda _: None,
    ) -> None:
        self._session = Session(http, settings, samples, on_call)
        self._seen = self._session.seen
        self._samples = samples
        self._points_wait = points_wait
        self._shop_key = settings.shop_key
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""

    async def run(self) -> Observations:
        """All calls. Ends early, with the reason in `stopped`, when the Platform cannot be called or refuses the key."""
        first = await self._session.make(
            self._session.calls.customer(
                self._samples.unknown_id, "customer.unknown", "reads a customer that does not exist"
            )
        )
        meaning = first.meaning(self._seen.fields)
        if isinstance(meaning, Blocked | Retry | Unknown):
            self._seen.stopped = meaning.reason
            return self._seen
        await self._session.make(
            self._session.calls.customer(
                self._samples.unknown_id, "key.wrong", "the same with a wrong key", wrong_key=True
            )
        )
        await self._launcher_facts()
        await self._customer()
        await self._launcher_rewards()
        await self._product()
        await self._order()
        await self._order_with_code()
        await self._unknown_customer()
        await self._session.make(self._session.calls.use_reward())
        await self._session.make(self._session.calls.empty_customer())
        return self._seen

    # ------------------------------------------------------------------------------------------- customers

    async def _customer(self) -> None:
        create = await self._put_customer_in_some_form()
        values = self._samples.customer(2)
        update, read = await self._update_customer(values)
        if update.accepted:
            self._seen.names |= names_in("customer", values, self._seen.fields, [update.json, read.json])
        await self._session.other_names("customer", values, self._put_customer)
        if not update.accepted:
            update, read = await self._update_customer(values)
        self._note_customer_path(update, create)
        self._seen.balances["start"] = balance_of(read, self._seen.fields)
        find = await self._session.make(self._session.calls.find_customer())
        rows = _list_path(self._samples.email, find)
        if rows and rows != self._seen.fields.path("response.customers"):
            self._session.use("response.customers", ".".join(rows))

    async def _update_customer(self, values: Body) -> tuple[Exchange, Exchange]:
        """Send the customer, and read it back."""
        calls = self._session.calls
        update = await self._session.make(calls.put_customer("customer.update", "changes every field of it", values))
        return update, await self._read_customer("customer.read")

    async def _put_customer(self, step: str, values: Body, *, every_name: bool = False) -> Exchange:
        call = self._session.calls.put_customer(step, "sends it under other names", values, every_name=every_name)
        return await self._session.make(call)

    async def _put_customer_in_some_form(self) -> Exchange:
        """The first form of the request that the Platform accepts and whose e-mail address comes back."""
        values, accepted = self._samples.customer(1), None
        for wrapper in self._session.wrappers("customer"):
            self._session.use("form.customer", wrapper)
            for every_name in (False, True):
                step = "customer.create" if accepted is None and not every_name else "customer.names"
                exchange = await self._session.make(
                    self._session.calls.put_customer(step, "creates the test customer", values, every_name=every_name)
                )
                if exchange.accepted and places_of(self._samples.email, exchange.json):
                    self._seen.exchanges["customer.create"] = exchange
                    return exchange
                accepted = accepted or (exchange if exchange.accepted else None)
                if exchange.accepted:
                    break
        self._session.use("form.customer", self._session.configured("form.customer"))
        return accepted or self._seen.exchanges["customer.create"]

    def _note_customer_path(self, *exchanges: Exchange) -> None:
        """Where a response has the customer, if it is not where the table expects it."""
        for exchange in exchanges:
            path = holder_of(self._samples.email, exchange.json)
            if exchange.accepted and path is not None and path != self._seen.fields.path("response.customer"):
                self._session.use("response.customer", ".".join(path) or NO_FIELDS)

    async def _read_customer(self, step: str) -> Exchange:
        return await self._session.make(self._session.calls.customer(CUSTOMER_ID, step, "reads the points"))

    async def _points(self, name: str, before: str | None) -> None:
        """Read the points; with `before`, until they differ from that reading, at most for `points_wait` seconds."""
        until = time.monotonic() + (self._points_wait if before else 0.0)
        while True:
            exchange = await self._read_customer(f"points.{name}")
            balance = balance_of(exchange, self._seen.fields)
            self._seen.balances[name] = balance
            unchanged = before is not None and balance is not None and balance == self._seen.balances.get(before)
            if not unchanged or time.monotonic() >= until:
                return
            await asyncio.sleep(POINTS_INTERVAL)

    # ------------------------------------------------------------------------------------------- products

    async def _product(self) -> None:
        values = self._samples.product()
        if self._seen.overrides.get("form.customer") == "customer":
            self._session.use("form.product", "product")
        put: Exchange | None = None
        for wrapper in self._session.wrappers("product"):
            self._session.use("form.product", wrapper)
            put = await self._session.make(
                self._session.calls.put_product("product.put", "creates the test product", values)
            )
            if put.accepted:
                break
        else:
            self._session.use("form.product", self._session.configured("form.product"))
        if put is not None and put.accepted:
            self._seen.names |= names_in("product", values, self._seen.fields, [put.json])
        await self._session.other_names("product", values, self._put_product)
        await self._variants()

    async def _put_product(self, step: str, values: Body, *, every_name: bool = False) -> Exchange:
        return await self._session.make(
            self._session.calls.put_product(step, "sends it under other names", values, every_name=every_name)
        )

    async def _variants(self) -> None:
        values = self._samples.variant(1)
        post = await self._session.make(
            self._session.calls.post_variants("variants.post", "creates two variants", (1, 2))
        )
        if post.accepted:
            self._seen.names |= names_in("variant", values, self._seen.fields, [post.json])
        if not post.accepted or self._session.missing("variant", values):
            again = await self._session.make(
                self._session.calls.post_variants(
                    "variants.names", "sends them under other names", (1, 2), every_name=True
                )
            )
            self._session.learn("variant", values, again)
        await self._session.make(self._session.calls.post_variants("variants.fewer", "sends one of them", (1,)))

    # ------------------------------------------------------------------------------------------- orders

    async def _order(self) -> None:
        values = self._samples.order(1, "paid")
        if await self._post_order_in_some_form(values) is None:
            return
        await self._points("created", "start")
        await self._session.other_names("order", values, self._patch_order)
        calls, unknown = self._session.calls, self._samples.unknown_id
        await self._session.make(
            calls.patch_order("order.missing", "updates an order that does not exist", unknown, values)
        )
        await self._session.make(calls.post_order("order.again", "sends the same order once more", values))
        await self._points("again", "created")
        for status in STATUSES:
            if status == "refunded":
                await self._points("before_refund", None)
            order = self._samples.order(1, status)
            step, purpose = f"order.status.{status}", f"sets the status {status}"
            await self._session.make(self._session.calls.patch_order(step, purpose, self._samples.order_id(1), order))
            if status == "refunded":
                await self._points("refunded", "before_refund")

    async def _patch_order(self, step: str, values: Body, *, every_name: bool = False) -> Exchange:
        order_id = self._samples.order_id(1)
        return await self._session.make(
            self._session.calls.patch_order(step, "sends it under other names", order_id, values, every_name=every_name)
        )

    async def _post_order_in_some_form(self, values: Body) -> Exchange | None:
        """The first form of the order that the Platform accepts; all have one id."""
        basic = {name: values[name] for name in BASIC}
        step = "order.create"
        if self._seen.overrides.get("form.customer") == "customer":
            self._session.use("form.order", "order")
        for wrapper in self._session.wrappers("order"):
            self._session.use("form.order", wrapper)
            for every_name, body in ((False, values), (True, values), (False, basic)):
                for form in dict.fromkeys((self._session.configured("form.money"), "number", "text")):
                    self._session.use("form.money", form)
                    call = self._session.calls.post_order(step, "creates a paid order", body, every_name=every_name)
                    exchange = await self._session.make(call)
                    if exchange.accepted:
                        await self._learn_order(exchange, body, every_name=every_name)
                        return exchange
                    if exchange.status is None or not 400 <= exchange.status < 500:
                        return None  # it may have arrived, and is never sent blindly a second time
                    step = "order.names"
        for key in ("form.order", "form.money"):
            self._session.use(key, self._session.configured(key))
        return None

    async def _learn_order(self, exchange: Exchange, body: Body, *, every_name: bool) -> None:
        self._seen.exchanges["order.create"] = exchange
        if not every_name:
            self._seen.names |= names_in("order", body, self._seen.fields, [exchange.json])
            return
        self._session.learn("order", body, exchange, except_for="order.id")
        await self._order_id_name(body)

    async def _order_id_name(self, body: Body) -> None:
        """The name of the order's id: the first one with which the Platform does not reject the order, or knows it already."""
        for name in dict.fromkeys((self._seen.fields["order.id"], *other_names("order.id"))):
            self._session.use("order.id", name)
            exchange = await self._session.make(
                self._session.calls.post_order("order.id", "the same with another name of the id", body)
            )
            meaning = exchange.meaning(self._seen.fields)
            exists = isinstance(meaning, Rejected) and meaning.kind is RejectionKind.ALREADY_EXISTS
            if exchange.accepted or exists:
                changed = "order.id" in self._seen.overrides
                self._seen.names["order.id"] = NameFinding(
                    NameState.OTHER_NAME if changed else NameState.CONFIRMED, name
                )
                return
        self._session.use("order.id", self._session.configured("order.id"))
        self._seen.names["order.id"] = NameFinding(NameState.NOT_SHOWN)

    async def _order_with_code(self) -> None:
        if not self._created("order.create"):
            return
        pending = self._samples.order(2, "pending")
        order_id = self._samples.order_id(2)
        post = await self._session.make(
            self._session.calls.post_order("order.discount", "creates an unpaid order with a discount code", pending)
        )
        if post.accepted:
            codes: Body = {"discountCodes": pending["discountCodes"]}
            self._seen.names |= names_in("order", codes, self._seen.fields, [post.json])
            await self._code_names(codes, order_id)
        await self._points("pending", None)
        paid, refunded = self._samples.order(2, "paid"), self._samples.order(2, "refunded")
        await self._session.make(
            self._session.calls.patch_order("order.discount_paid", "sets it to paid", order_id, paid)
        )
        await self._points("paid_later", "pending")
        await self._session.make(
            self._session.calls.patch_order("order.discount_refunded", "sets it to refunded", order_id, refunded)
        )

    async def _code_names(self, codes: Body, order_id: str) -> None:
        if self._session.missing("order", codes):
            call = self._session.calls.patch_order(
                "order.code_names", "sends the discount code under other names", order_id, codes, every_name=True
            )
            self._session.learn("order", codes, await self._session.make(call))

    async def _unknown_customer(self) -> None:
        if self._created("order.create"):
            samples = self._samples
            values = samples.order(3, "pending", customer=samples.unknown_id, email=samples.unknown_email)
            await self._session.make(
                self._session.calls.post_order(
                    "order.unknown_customer", "creates an order of an unknown customer", values
                )
            )

    # ------------------------------------------------------------------------------------------- the Launcher

    async def _launcher_facts(self) -> None:
        await self._launcher("launcher.store", "/shop")
        await self._launcher("launcher.rules", "/shop/rules/redeem")

    async def _launcher_rewards(self) -> None:
        if self._shop_key is None:
            return
        digest = launcher_digest(self._shop_key, self._samples.email, CUSTOMER_ID, self._key)
        customer = {"customer_id": CUSTOMER_ID, "customer_email": self._samples.email}
        await self._launcher("launcher.rewards", "/customer/all-rewards", **customer, digest=digest)
        await self._launcher("launcher.digest", "/customer/all-rewards", **customer, digest="0" * 64)

    async def _launcher(self, step: str, path: str, **parameters: str) -> None:
        if self._shop_key is not None:
            query = {"shop": self._shop_key, **parameters}
            call = self._session.calls.launcher(step, "reads from the Launcher", path, **query)
            await self._session.make(call)

    def _created(self, step: str) -> bool:
        exchange = self._seen.get(step)
        return exchange is not None and exchange.accepted


def _list_path(email: str, exchange: Exchange) -> tuple[str, ...]:
    """The path of the list whose rows have the e-mail address; empty when there is none."""
    return (holder_of(email, exchange.json) or ()) if exchange.accepted else ()
