"""The marked test data of a verification. Pure.

The customer and the product are the same in every verification, so that a repeated one leaves only its orders behind. Their
values contain the mark of the verification, so that they are recognised wherever a response has them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from platform_relay.core.exact_json import ExactNumber
from platform_relay.platform.fields import ASSUMPTIONS, NO_FIELDS, Fields
from platform_relay.platform.translation import Body

CUSTOMER_ID: Final = "relay-verify-customer"
PRODUCT_ID: Final = "relay-verify-product"
STATUSES: Final = (
    "pending",
    "authorized",
    "partially_paid",
    "paid",
    "partially_refunded",
    "refunded",
    "voided",
    "expired",
)
"""Every financialStatus, in the order in which an order is patched."""
MONEY: Final = frozenset({"totalPrice", "subtotalPrice", "price", "amount"})
PARTS: Final = {"lineItem": "order.lineItems", "discountCode": "order.discountCodes"}
"""The entities inside of lists, and the lists."""

OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "customer.email": ("emailAddress", "mail"),
    "customer.name": ("fullName", "displayName"),
    "customer.phone": ("phoneNumber", "telephone", "mobile"),
    "customer.firstName": ("givenName", "forename"),
    "customer.lastName": ("familyName", "surname"),
    "customer.birthdayMonth": ("birthMonth", "monthOfBirth"),
    "customer.birthdayDay": ("birthDay", "dayOfBirth"),
    "customer.createdAt": ("createdAt", "registeredAt", "signupDate", "accountCreatedAt"),
    "customer.tags": ("customerTags", "labels", "segments"),
    "order.id": ("orderId", "externalId", "externalOrderId"),
    "order.customerId": ("customerExternalId", "externalCustomerId", "userId"),
    "order.email": ("customerEmail", "emailAddress"),
    "order.financialStatus": ("paymentStatus", "status", "state"),
    "order.currency": ("currencyCode", "currencyIso"),
    "order.totalPrice": ("total", "totalAmount", "amount", "grandTotal"),
    "order.subtotalPrice": ("subtotal", "subtotalAmount", "itemsTotal"),
    "order.createdAt": ("externalCreatedAt", "orderedAt", "placedAt", "orderDate"),
    "order.lineItems": ("items", "lines", "products"),
    "order.discountCodes": ("coupons", "couponCodes", "discounts"),
    "lineItem.productId": ("externalProductId", "product"),
    "lineItem.variantId": ("externalVariantId", "variant"),
    "lineItem.title": ("name", "productTitle"),
    "lineItem.quantity": ("qty", "count"),
    "lineItem.price": ("unitPrice", "amount"),
    "discountCode.code": ("couponCode", "discountCode"),
    "discountCode.amount": ("discountAmount", "value"),
    "product.title": ("name", "productTitle"),
    "product.imageUrl": ("image", "imageSrc"),
    "product.status": ("state", "productStatus"),
    "product.externalUrlHandle": ("handle", "slug", "urlHandle"),
    "variant.externalVariantId": ("externalId", "variantId"),
    "variant.title": ("name", "variantTitle"),
    "variant.imageUrl": ("image", "imageSrc"),
    "variant.status": ("state", "variantStatus"),
    "variant.position": ("sortOrder", "index"),
}
"""Names that other loyalty platforms use for the same field. Each name is also tried in snake_case."""
NOT_UNIQUE: Final = frozenset(
    {"customer.birthdayMonth", "customer.birthdayDay", "lineItem.quantity", "variant.position"}
)
"""Their values may occur elsewhere in a response, so only known names count. Also `financialStatus`, `currency` and `status`,
whose values the Platform chooses from."""
_FIXED: Final = NOT_UNIQUE | {"order.financialStatus", "order.currency", "product.status", "variant.status"}


ESSENTIAL: Final = frozenset(
    {
        "customer.email",
        "order.id",
        "order.customerId",
        "order.email",
        "order.financialStatus",
        "order.totalPrice",
        "order.lineItems",
        "order.discountCodes",
        "variant.externalVariantId",
    }
)
"""Fields that are never left out, because an entity without them means something else."""


def is_unique(key: str) -> bool:
    """Whether the value of a field occurs nowhere else."""
    return key not in _FIXED


def other_names(key: str) -> tuple[str, ...]:
    """The names to try for a field when the Platform ignores the configured one; the assumed one is among them."""
    names = [*OTHER_NAMES.get(key, ()), ASSUMPTIONS[key].text]
    return tuple(dict.fromkeys(name for item in names for name in (item, _snake(item))))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True, slots=True)
class Samples:
    """`mark`: eight hexadecimal digits of this verification. `currency`: that of the orders (ISO 4217)."""

    mark: str
    currency: str

    @property
    def email(self) -> str:
        return f"relay-verify-{self.mark}@example.com"

    def order_id(self, number: int) -> str:
        return f"relay-verify-{self.mark}-{number}"

    @property
    def unknown_id(self) -> str:
        """The id of a customer, an order and a coupon that do not exist."""
        return f"relay-verify-{self.mark}-none"

    @property
    def unknown_email(self) -> str:
        return f"relay-verify-{self.mark}-none@example.com"

    def variant_id(self, number: int) -> str:
        return f"relay-verify-{self.mark}-v{number}"

    def customer(self, number: int) -> Body:
        """Two versions of the customer, with different values in every field except the e-mail address."""
        seed = int(self.mark, 16) + number
        return {
            "email": self.email,
            "name": f"Relay Verify {self.mark} {number}",
            "phone": f"+1202555{100 + seed % 100:04d}",  # reserved for fiction
            "firstName": f"Relay{self.mark}{number}",
            "lastName": f"Verify{self.mark}{number}",
            "birthdayMonth": 1 + seed % 12,
            "birthdayDay": 1 + seed % 28,
            "createdAt": f"2020-01-0{number}T10:{seed % 60:02d}:{seed // 60 % 60:02d}.000Z",
            "tags": [f"relay-verify-{self.mark}-{number}"],
        }

    def order(self, number: int, status: str, *, customer: str = CUSTOMER_ID, email: str | None = None) -> Body:
        """Order 2 has a discount code."""
        codes: list[JsonValue] = [{"code": f"RELAYVERIFY{self.mark.upper()}", "amount": "1.37"}] if number == 2 else []
        item: Body = {
            "productId": PRODUCT_ID,
            "variantId": self.variant_id(1),
            "title": f"Relay verify item {self.mark}",
            "quantity": 2,
            "price": "60.25",
        }
        seconds = int(self.mark, 16)
        return {
            "id": self.order_id(number),
            "customerId": customer,
            "email": email or self.email,
            "financialStatus": status,
            "currency": self.currency,
            "totalPrice": f"{123 + number}.41",
            "subtotalPrice": f"{121 + number}.87",
            "createdAt": f"2020-02-0{number}T10:{seconds % 60:02d}:{seconds // 60 % 60:02d}.000Z",
            "lineItems": [item],
            "discountCodes": codes,
        }

    def product(self) -> Body:
        return {
            "title": f"Relay verify product {self.mark}",
            "imageUrl": f"https://example.com/relay-verify-{self.mark}.png",
            "status": "active",
            "externalUrlHandle": f"relay-verify-{self.mark}",
        }

    def variant(self, number: int) -> Body:
        return {
            "externalVariantId": self.variant_id(number),
            "title": f"Relay verify variant {self.mark} {number}",
            "imageUrl": f"https://example.com/relay-verify-{self.mark}-{number}.png",
            "status": "active",
            "position": number,
        }


def named(entity: str, values: Body, fields: Fields, *, every_name: bool = False) -> Body:
    """The values under the names of the table, with money in the form of the table, as the relay sends them. `every_name`: also
    under every other name that is tried."""
    body: Body = {}
    others: Body = {}
    for name, value in values.items():
        key = f"{entity}.{name}"
        part = next((part for part, holder in PARTS.items() if holder == key), None)
        if part is not None and isinstance(value, list):
            rows = [named(part, item, fields, every_name=every_name) for item in value if isinstance(item, dict)]
            sent: JsonValue = [*rows]
        elif fields.money_is_number and name in MONEY:
            sent = cast("JsonValue", ExactNumber(str(value)))
        else:
            sent = value
        if fields[key] != NO_FIELDS:
            body[fields[key]] = sent
        if every_name:
            others = {**dict.fromkeys(other_names(key), sent), **others}
    return {**others, **body}
