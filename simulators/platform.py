"""The Platform's REST API (api version /v1) and its Launcher, held in memory.

What is not published is a setting of `PlatformConfig`, so a test can try each possibility.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from urllib.parse import unquote

from .call import Call, Handler, Json, RefusalError, Response, json_response
from .deliveries import Deliveries
from .dialects import DIALECTS
from .loyalty import Loyalty
from .program import Control

FINANCIAL_STATUSES = frozenset(
    {"authorized", "pending", "paid", "partially_paid", "refunded", "partially_refunded", "voided", "expired"}
)
MONEY_FIELDS = ("totalPrice", "subtotalPrice")


@dataclass
class PlatformConfig:
    """Every setting of the Platform simulator; `POST /_sim/config` and `--set` change them by name."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {
        "dialect": ("", *DIALECTS),
        "second_order_post": ("conflict", "duplicate", "upsert"),
        "second_reward_use": ("conflict", "not_found", "accept"),
        "rewards_next": ("offset", "same", "fresh", "object", "long"),
    }

    api_key: str = "sim-platform-key"
    shop_key: str = "sim-shop"
    bad_key_status: int = 403
    second_order_post: str = "conflict"
    """What a second POST of one order id does: conflict (409) | duplicate (a second row) | upsert."""
    second_reward_use: str = "conflict"
    """What a second use of one coupon answers: conflict (409) | not_found (404) | accept (200)."""
    dialect: str = ""
    """Which names, forms and statuses are others than the assumed ones (`dialects`); empty: none, and unknown fields are kept."""
    strict: bool = True
    """Refuse with 400 money that is no decimal string, an unknown financialStatus, points that are no int > 0."""
    points_per_unit: int = 1
    refund_takes_points: bool = True
    complete_referrals: bool = True
    """A paid order that matches a pending referral completes it and sends `referrals/completed`."""
    customers_page_size: int = 50
    customers_none_is_404: bool = False
    store_currency: str = "EUR"
    rewards_page_size: int = 20
    rewards_delay: float = 0.0
    """Seconds until a new reward shows up in all-rewards."""
    rewards_next: str = "offset"
    """The nextToken of all-rewards: offset | same (the first page again, under one token) | fresh (under a new token) |
    object (no text) | long (5000 characters)."""
    rewards_moved: int = 0
    """So many rewards move to an earlier page during the next read of all-rewards, so that this read misses them."""
    code_prefix: str = ""
    negative_redeem_points: bool = False
    webhook_url: str = ""
    webhook_headers: dict[str, str] = field(default_factory=dict)
    webhook_id: str = "sim-subscription-1"
    """`X-Webhook-Id` of every webhook, as if it were the subscription's id; empty: a fresh one each time."""
    webhook_attempts: int = 5
    webhook_backoff: float = 0.2
    webhook_timeout: float = 10.0


def now_text() -> str:
    """The present as the Platform writes it: ISO 8601, UTC, milliseconds, Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(status: int, text: str) -> Response:
    """An error the way the Platform words it: a top-level string `message`."""
    return json_response(status, {"message": text})


class Platform:
    """State and behaviour of the Platform; `Loyalty` holds rewards, rules and webhooks."""

    once = frozenset({"order.post", "reward.use"})

    def __init__(self, config: PlatformConfig | None = None) -> None:
        self.config = config or PlatformConfig()
        self.deliveries = Deliveries()
        self.loyalty = Loyalty(self)
        self.controls: dict[str, Control] = self.loyalty.controls
        self.reset()

    def reset(self) -> None:
        """Forget customers, orders, products, rewards; the rules are the default ones again."""
        self.customers: dict[str, Json] = {}
        self.by_email: dict[str, Json] = {}
        self.orders: dict[str, list[Json]] = {}
        self.products: dict[str, Json] = {}
        self.awards: dict[str, list[Json]] = {}
        self.loyalty.reset()

    def identify(self, call: Call) -> None:
        """Route the call. Path ids are the merchant's own and may be percent-encoded."""
        if call.path.startswith("/launcher/v1/"):
            self.loyalty.identify(call)
            return
        parts = call.path.split("/")
        match [call.method, *parts[1:]]:
            case [("PUT" | "GET") as method, "v1", "customers", identifier]:
                put = method == "PUT"
                self._set(call, "customer.put" if put else "customer.get", "customer", identifier,
                          self._put_customer if put else self._get_customer)  # fmt: skip
            case ["GET", "v1", "customers"]:
                self._set(call, "customer.list", "", "", self._list_customers)
            case ["POST", "v1", "customers", identifier, "points"]:
                self._set(call, "points.post", "customer", identifier, self._post_points)
            case ["POST", "v1", "orders"]:
                self._set(call, "order.post", "order", str(call.object.get("id", "")), self._post_order)
            case ["PATCH", "v1", "orders", identifier]:
                self._set(call, "order.patch", "order", identifier, self._patch_order)
            case ["PUT", "v1", "products", identifier]:
                self._set(call, "product.put", "product", identifier, self._put_product)
            case ["POST", "v1", "products", identifier, "variants"]:
                self._set(call, "variants.post", "product", identifier, self._post_variants)
            case ["POST", "v1", "rewards", code, "use"]:
                self._set(call, "reward.use", "coupon", code, self.loyalty.use)

    @staticmethod
    def _set(call: Call, kind: str, entity: str, identifier: str, handler: Handler) -> None:
        call.kind = kind
        call.argument = unquote(identifier) if "%" in identifier else identifier
        call.entity = f"{entity}:{call.argument}" if entity else ""
        call.handler = handler

    async def answer(self, call: Call) -> Response:
        """Check the key (not for the Launcher) and handle the call."""
        if call.kind.startswith("launcher."):
            return await call.handler(call) if call.handler else message(404, "Not Found")
        if not hmac.compare_digest(call.header(b"x-api-key").encode(), self.config.api_key.encode()):
            dialect = DIALECTS.get(self.config.dialect)
            return message(
                dialect.bad_key_status if dialect and dialect.bad_key_status else self.config.bad_key_status,
                "Forbidden",
            )
        if call.handler is None:
            return message(404, "Not Found")
        if call.method != "GET" and call.kind != "reward.use" and not isinstance(call.json, dict):
            return message(400, "Invalid request body")
        if (dialect := DIALECTS.get(self.config.dialect)) is None:
            return await call.handler(call)
        dialect.understand(call)
        return dialect.express(call, await call.handler(call))

    def customer_of(self, identifier: object, email: object) -> Json | None:
        """The customer by the merchant's id when one is given, else by e-mail."""
        if identifier not in (None, ""):
            return self.customers.get(str(identifier))
        return self.by_email.get(str(email).lower()) if email else None

    async def _put_customer(self, call: Call) -> Response:
        body = call.object
        customer = self.customers.get(call.argument)
        now = now_text()
        if customer is None:
            customer = {"id": str(uuid.uuid4()), "externalId": call.argument, "pointBalance": 0, "createdAt": now}
            self.customers[call.argument] = customer
        old_email = str(customer.get("email", "")).lower()
        for name, value in body.items():
            if name not in ("id", "externalId", "pointBalance"):
                if value is None:
                    customer.pop(name, None)
                else:
                    customer[name] = value
        customer["updatedAt"] = now
        email = str(customer.get("email", "")).lower()
        if old_email and old_email != email and self.by_email.get(old_email) is customer:
            del self.by_email[old_email]
        if email:
            self.by_email[email] = customer
        call.applied()
        return json_response(200, {"customer": customer})

    async def _get_customer(self, call: Call) -> Response:
        customer = self.customers.get(call.argument)
        return json_response(200, {"customer": customer}) if customer else message(404, "Customer not found")

    async def _list_customers(self, call: Call) -> Response:
        start, email = 0, call.query.get("email", "")
        if "cursor" in call.query:
            try:
                place, _, email = base64.urlsafe_b64decode(call.query["cursor"]).decode().partition("|")
                start = int(place)
            except (binascii.Error, ValueError):
                return message(400, "Invalid cursor")
        if email:
            found = self.by_email.get(email.lower())
            chosen = [found] if found else []
        else:
            chosen = list(self.customers.values())
        end = start + self.config.customers_page_size
        page: Json = {"customers": chosen[start:end]}
        if end < len(chosen):
            page["cursor"] = base64.urlsafe_b64encode(f"{end}|{email}".encode()).decode()
        if not page["customers"] and self.config.customers_none_is_404:
            return message(404, "Customer not found")
        return json_response(200, page)

    async def _post_points(self, call: Call) -> Response:
        customer = self.customers.get(call.argument)
        if customer is None:
            return message(404, "Customer not found")
        points = call.object.get("points")
        if points is None and call.object.get("earnRuleId"):
            points = 100
        if not isinstance(points, int) or isinstance(points, bool) or points <= 0:
            return message(400, "points must be a positive integer")
        self.award(customer, points, str(call.object.get("action", "")))
        call.applied()
        return json_response(200, {"customer": customer})

    def award(self, customer: Json, points: int, action: str) -> None:
        """Add points (negative: take them) and remember why."""
        customer["pointBalance"] += points
        entry = {"points": points, "action": action, "at": now_text()}
        self.awards.setdefault(customer["externalId"], []).append(entry)

    def _check_order(self, body: Json) -> None:
        if not self.config.strict:
            return
        status = body.get("financialStatus")
        if status is not None and status not in FINANCIAL_STATUSES:
            raise RefusalError(message(400, f"financialStatus must be one of {sorted(FINANCIAL_STATUSES)}"))
        for name in ("lineItems", "discountCodes"):
            rows = body.get(name) or []
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise RefusalError(message(400, f"{name} must be a list of objects"))
        money = [(name, body.get(name)) for name in MONEY_FIELDS]
        money += [("lineItems.price", item.get("price")) for item in body.get("lineItems") or []]
        money += [("discountCodes.amount", item.get("amount")) for item in body.get("discountCodes") or []]
        for name, value in money:
            if value is not None and not _is_decimal_text(value):
                raise RefusalError(message(400, f"{name} must be a decimal string"))

    async def _post_order(self, call: Call) -> Response:
        body = call.object
        identifier = body.get("id")
        if not isinstance(identifier, str) or not identifier:
            return message(400, "id must be a non-empty string")
        self._check_order(body)
        customer = self.customer_of(body.get("customerId"), body.get("email"))
        dialect = DIALECTS.get(self.config.dialect, DIALECTS["plain"])
        if customer is None:
            return message(*dialect.unknown_customer)
        second_post = dialect.second_order_post or self.config.second_order_post
        rows = self.orders.setdefault(identifier, [])
        if rows:
            call.duplicate()
            if second_post == "conflict":
                return message(409, "Order already exists")
            if second_post == "upsert":
                rows[-1]["order"].update({name: value for name, value in body.items() if name != "id"})
                self._settle(rows[-1], customer)
                call.applied()
                return json_response(200, {"order": rows[-1]["order"]})
        now = now_text()
        row = {"order": {**body, "id": str(uuid.uuid4()), "externalId": identifier, "updatedAt": now}, "points": 0}
        rows.append(row)
        self._settle(row, customer)
        call.applied()
        return json_response(200, {"order": row["order"]})

    async def _patch_order(self, call: Call) -> Response:
        rows = self.orders.get(call.argument)
        if not rows:
            return message(404, "Order not found")
        self._check_order(call.object)
        order = rows[-1]["order"]
        order.update({name: value for name, value in call.object.items() if name not in ("id", "externalId")})
        order["updatedAt"] = now_text()
        customer = self.customer_of(order.get("customerId"), order.get("email"))
        if customer is not None:
            self._settle(rows[-1], customer)
        call.applied()
        return json_response(200, {"order": order})

    def _settle(self, row: Json, customer: Json) -> None:
        """Points once per order, when it is paid; taken back once when refunded, if the account says so."""
        order = row["order"]
        status = order.get("financialStatus")
        if status == "paid" and "awarded" not in row:
            total = order.get("totalPrice")
            points = int(Decimal(str(total))) * self.config.points_per_unit if total is not None else 0
            row["awarded"] = row["points"] = points
            if points:
                self.award(customer, points, f"order {order['externalId']}")
            if self.config.complete_referrals:
                self.loyalty.order_paid(order)
        elif status == "refunded" and row["points"] and self.config.refund_takes_points:
            self.award(customer, -row["points"], f"refund of order {order['externalId']}")
            row["points"] = 0

    async def _put_product(self, call: Call) -> Response:
        product = self.products.setdefault(
            call.argument, {"id": str(uuid.uuid4()), "externalId": call.argument, "variants": {}}
        )
        product.update({k: v for k, v in call.object.items() if k not in ("id", "externalId", "variants")})
        call.applied()
        return json_response(200, {"product": {**product, "variants": list(product["variants"].values())}})

    async def _post_variants(self, call: Call) -> Response:
        product = self.products.get(call.argument)
        if product is None:
            return message(404, "Product not found")
        given = call.object.get("variants")
        if not isinstance(given, list) or not all(isinstance(v, dict) and v.get("externalVariantId") for v in given):
            return message(400, "variants must be a list of objects with an externalVariantId")
        before: dict[str, Json] = product["variants"]
        after: dict[str, Json] = {}
        for variant in given:
            key = str(variant["externalVariantId"])
            after[key] = {**before.get(key, {"id": str(uuid.uuid4())}), **variant}
        product["variants"] = after
        call.applied()
        return json_response(200, {"variants": list(after.values())})

    def summary(self, full: bool) -> Json:
        """How much there is, and how often each order is stored: those stored twice or more, all with `full`."""
        repeated = {identifier: len(rows) for identifier, rows in self.orders.items() if full or len(rows) > 1}
        return {"state": self._counts(), "orders_stored": repeated}

    def _counts(self) -> Json:
        return {
            "customers": len(self.customers),
            "orders": sum(len(rows) for rows in self.orders.values()),
            "products": len(self.products),
            "rewards": len(self.loyalty.rewards),
            "points": sum(customer["pointBalance"] for customer in self.customers.values()),
        }

    def state(self, query: dict[str, str]) -> object:
        """`kind` customers | orders | products | rewards | awards with `id` gives one (null if absent), else all."""
        tables: dict[str, dict[str, Any]] = {
            "customers": self.customers, "orders": self.orders, "products": self.products, "awards": self.awards,
            "rewards": self.loyalty.rewards,
        }  # fmt: skip
        if "kind" not in query:
            return self._counts()
        table = tables[query["kind"]]
        return table.get(query["id"]) if "id" in query else table


def _is_decimal_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return Decimal(value).is_finite()
    except InvalidOperation:
        return False
