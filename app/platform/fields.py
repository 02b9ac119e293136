"""The table of assumptions about the Platform: names, texts and statuses that no public page states.

An operator changes an entry in the settings, without a release: `PLATFORM__FIELDS={"order.totalPrice": "total"}`.
Source: the vendor's pages, read in 2025. "A" is an assumption of this project, "M" was seen in a working client.
docs/platform.md lists the table and is tested against it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue


class Assumption(NamedTuple):
    """`text` is what the relay sends or looks for. `source`: A, assumed; M, seen in a working client."""

    text: str
    source: Literal["A", "M"]
    description: str


ASSUMPTIONS: Final[Mapping[str, Assumption]] = MappingProxyType(
    {
        "customer.email": Assumption("email", "M", "PUT customer: the e-mail address"),
        "customer.name": Assumption("name", "M", "PUT customer: the full name"),
        "customer.phone": Assumption("phone", "M", "PUT customer: the telephone number"),
        "customer.firstName": Assumption("firstName", "A", "PUT customer: the first name"),
        "customer.lastName": Assumption("lastName", "A", "PUT customer: the last name"),
        "customer.birthdayMonth": Assumption("birthdayMonth", "A", "PUT customer: month of birth, 1 to 12"),
        "customer.birthdayDay": Assumption("birthdayDay", "A", "PUT customer: day of birth, 1 to 31"),
        "customer.createdAt": Assumption("externalCreatedAt", "A", "PUT customer: when the store created the account"),
        "customer.tags": Assumption("tags", "A", "PUT customer: list of tags"),
        "order.id": Assumption("id", "A", "POST order: the store's order id"),
        "order.customerId": Assumption("customerId", "A", "order: the store's customer id"),
        "order.email": Assumption("email", "A", "order: the buyer's e-mail address"),
        "order.financialStatus": Assumption("financialStatus", "A", "order: the status that determines the points"),
        "order.currency": Assumption("currency", "A", "order: ISO 4217 code"),
        "order.totalPrice": Assumption("totalPrice", "A", "order: total as a decimal string"),
        "order.subtotalPrice": Assumption("subtotalPrice", "A", "order: subtotal as a decimal string"),
        "order.createdAt": Assumption("createdAt", "A", "order: when it was placed"),
        "order.lineItems": Assumption("lineItems", "A", "order: list of line items"),
        "order.discountCodes": Assumption("discountCodes", "A", "order: list of the codes that the customer used"),
        "lineItem.productId": Assumption("productId", "A", "line item: the store's product id"),
        "lineItem.variantId": Assumption("variantId", "A", "line item: the store's variant id"),
        "lineItem.title": Assumption("title", "A", "line item: title"),
        "lineItem.quantity": Assumption("quantity", "A", "line item: quantity"),
        "lineItem.price": Assumption("price", "A", "line item: unit price as a decimal string"),
        "discountCode.code": Assumption("code", "A", "discount code: the code as the customer entered it"),
        "discountCode.amount": Assumption("amount", "A", "discount code: the discount as a decimal string"),
        "product.title": Assumption("title", "M", "PUT product: title"),
        "product.imageUrl": Assumption("imageUrl", "M", "PUT product: URL of the image"),
        "product.status": Assumption("status", "M", "PUT product: status"),
        "product.externalUrlHandle": Assumption("externalUrlHandle", "M", "PUT product: last part of its URL"),
        "product.variants": Assumption("variants", "A", "POST variants: the list in the body"),
        "variant.externalVariantId": Assumption("externalVariantId", "M", "variant: the store's variant id"),
        "variant.title": Assumption("title", "M", "variant: title"),
        "variant.imageUrl": Assumption("imageUrl", "M", "variant: URL of the image"),
        "variant.status": Assumption("status", "M", "variant: status"),
        "variant.position": Assumption("position", "M", "variant: position in the list"),
        "tierReward.object": Assumption("reward", "A", "tier entry webhook: the object that holds the reward, if any"),
        "tierReward.id": Assumption("id", "A", "tier entry webhook: id of the reward"),
        "tierReward.code": Assumption("couponCode", "A", "tier entry webhook: the coupon's code"),
        "tierReward.type": Assumption("rewardType", "A", "tier entry webhook: kind of the reward"),
        "tierReward.otherType": Assumption("discountType", "A", "tier entry webhook: kind, where the first is absent"),
        "tierReward.amount": Assumption("discountAmount", "A", "tier entry webhook: value of the reward"),
        "rule.increments": Assumption(
            "increments", "M", "redeem rule: the redeemType whose value grows with the points"
        ),
        "rule.productId": Assumption("externalId", "A", "redeem rule: the store's product id inside `product`"),
        "ruleVariant.id": Assumption(
            "externalId", "A", "redeem rule: the store's variant id inside each of `variants`"
        ),
        "launcher.items": Assumption("items", "A", "all-rewards: the list in the response"),
        "launcher.nextToken": Assumption("nextToken", "A", "all-rewards: query parameter for the next page"),
        "text.customerNotFound": Assumption("Customer not found", "A", "404 for an order whose customer is unknown"),
        "text.orderNotFound": Assumption("Order not found", "M", "404 for the update of an order that never arrived"),
        "text.alreadyExists": Assumption("already exists", "A", "in the rejection of an order that already exists"),
        "status.alreadyExists": Assumption("409", "A", "statuses with the same meaning as text.alreadyExists"),
        "status.keyRefused": Assumption("401,403", "A", "statuses for a wrong or revoked key"),
        "status.throttled": Assumption("429", "A", "statuses of a rate limit"),
        "status.rewardUsed": Assumption("404,409", "A", "statuses for a second use of a reward"),
    }
)


class AssumptionError(ValueError):
    """An override that cannot be used. The text names it and lists the valid keys."""


class Fields:
    """The table with the operator's overrides: `fields["order.totalPrice"]`.

    Raises AssumptionError for a key that is not in the table, an empty text, an invalid status, and two fields of one body
    with the same name.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        overrides = overrides or {}
        if unknown := sorted(set(overrides) - set(ASSUMPTIONS)):
            names, known = ", ".join(unknown), ", ".join(ASSUMPTIONS)
            raise AssumptionError(f"PLATFORM__FIELDS has unknown keys: {names}. Known keys: {known}")
        self._texts = {key: overrides.get(key, assumption.text).strip() for key, assumption in ASSUMPTIONS.items()}
        self._statuses = {key: _statuses(key, value) for key, value in self._texts.items() if key.startswith("status.")}
        self._bodies = self._by_body()

    def __getitem__(self, key: str) -> str:
        return self._texts[key]

    def has_status(self, key: str, status: int) -> bool:
        """Whether the entry lists this HTTP status."""
        return status in self._statuses[key]

    def has_text(self, key: str, text: str) -> bool:
        """Whether an error message contains the entry's text, ignoring case."""
        return self._texts[key].casefold() in text.casefold()

    def body(
        self, entity: str, values: Mapping[str, JsonValue], extra: Mapping[str, JsonValue] | None = None
    ) -> dict[str, JsonValue]:
        """A request body with the Platform's names, without None. `extra` is added where it replaces no field."""
        names = self._bodies[entity]
        renamed: dict[str, JsonValue] = {names[name]: value for name, value in values.items() if value is not None}
        return {**(extra or {}), **renamed}

    def _by_body(self) -> dict[str, dict[str, str]]:
        bodies: dict[str, dict[str, str]] = {}
        for key, text in self._texts.items():
            entity, name = key.split(".", 1)
            if not text:
                raise AssumptionError(f"PLATFORM__FIELDS has an empty text for {key}")
            names = bodies.setdefault(entity, {})
            if text in names.values() and entity not in ("text", "status"):
                raise AssumptionError(
                    f"PLATFORM__FIELDS uses the name {text!r} for two fields of {entity}, one is {key}"
                )
            names[name] = text
        return bodies


def _statuses(key: str, text: str) -> frozenset[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) == 3 for part in parts):
        raise AssumptionError(f"PLATFORM__FIELDS has {text!r} for {key}; write HTTP statuses such as 401,403")
    return frozenset(map(int, parts))


ASSUMED: Final = Fields()
"""The table without overrides."""
