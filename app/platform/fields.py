"""The table of assumptions about the Platform: names, texts and statuses that no public page states.

An operator changes an entry in the settings, without a release: `PLATFORM__FIELDS={"order.totalPrice": "total"}`.
Source: the vendor's pages, read in 2025. "A" is an assumption of this project, "M" was seen in a working client.
docs/platform.md lists the table and is tested against it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, get_args

from pydantic import JsonValue

from platform_relay.core.plain_numbers import is_count


class Assumption(NamedTuple):
    """`text` is what the relay sends or looks for. `source`: A, assumed; M, seen in a working client."""

    text: str
    source: Literal["A", "M"]
    description: str


NullForm = Literal["null", "empty", "omit"]
_NULLS: Final[Mapping[str, NullForm]] = {
    "customer.email": "omit",
    "customer.name": "empty",
    "customer.phone": "empty",
    "customer.firstName": "empty",
    "customer.lastName": "empty",
    "customer.birthdayMonth": "omit",
    "customer.birthdayDay": "omit",
    "customer.createdAt": "omit",
    "customer.tags": "empty",
    "order.customerId": "omit",
    "order.email": "omit",
    "order.subtotalPrice": "omit",
    "order.refundedAmount": "omit",
    "order.createdAt": "omit",
    "order.lineItems": "empty",
    "order.discountCodes": "empty",
    "lineItem.productId": "omit",
    "lineItem.variantId": "omit",
    "lineItem.title": "empty",
    "lineItem.quantity": "omit",
    "lineItem.price": "omit",
    "discountCode.amount": "omit",
    "product.title": "empty",
    "product.imageUrl": "omit",
    "product.status": "omit",
    "product.externalUrlHandle": "empty",
    "product.variants": "omit",
    "variant.title": "empty",
    "variant.imageUrl": "omit",
    "variant.status": "omit",
    "variant.position": "omit",
}
"""How a field that the store sets to null is sent. A null may be rejected with the whole entity, so only a form with the right
type is sent: an empty text or list. Where there is none, or the format of the text matters, the field is left out."""
_LISTS: Final = frozenset({"customer.tags", "order.lineItems", "order.discountCodes", "product.variants"})
_WITHOUT_EMPTY: Final = frozenset(
    {
        "customer.birthdayMonth",
        "customer.birthdayDay",
        "customer.createdAt",
        "order.subtotalPrice",
        "order.refundedAmount",
        "order.createdAt",
        "lineItem.quantity",
        "lineItem.price",
        "discountCode.amount",
        "variant.position",
    }
)
"""Numbers, times and amounts have no empty form."""
_NO_BODIES: Final = frozenset({"text", "status", "response", "form", "null"})
"""The groups of keys that are not the fields of one body."""
NO_FIELDS: Final = "-"
"""The text of an entry that lists members of a response, to look for none; and of a field of a request that is not sent."""

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
        "order.refundedAmount": Assumption(
            NO_FIELDS,
            "A",
            "order: what was paid back as a decimal string; `-`: not sent, as no public page names a field",
        ),
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
        "response.failureFlag": Assumption("success", "A", "members of a 2xx that mean a failure when they are false"),
        "response.failureText": Assumption(
            "error,errors", "A", "members of a 2xx that mean a failure unless they are empty"
        ),
        "response.emptySuccess": Assumption("unknown", "A", "an empty 2xx: `unknown`, or `accepted` as a success"),
        "response.customer": Assumption(
            "customer",
            "M",
            "the customer in a response: a member, or a path such as `data.customer`; `-`: the response itself",
        ),
        "response.customers": Assumption("customers", "M", "the list of customers in a response: a member, or a path"),
        "form.money": Assumption("text", "A", "money in requests: decimal `text`, or `number`"),
        "form.customer": Assumption(NO_FIELDS, "A", "PUT customer: the member that holds all fields; `-`: none does"),
        "form.order": Assumption(
            NO_FIELDS, "A", "POST and PATCH order: the member that holds all fields; `-`: none does"
        ),
        "form.product": Assumption(NO_FIELDS, "A", "PUT product: the member that holds all fields; `-`: none does"),
        **{
            f"null.{key}": Assumption(
                form, "A", f"{key} set to null: sent as `null`, as `empty`, or not at all (`omit`)"
            )
            for key, form in _NULLS.items()
        },
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
        self._parts = {key: _alternatives(key, value) for key, value in self._texts.items() if key.startswith("text.")}
        self._nulls = {key: _null_form(key, self._texts[f"null.{key}"]) for key in _NULLS}
        self._bodies = self._by_body()
        self._reserved = {entity: frozenset(names.values()) for entity, names in self._bodies.items()}
        self.accepts_empty_success = self._choice("response.emptySuccess", ("unknown", "accepted")) == "accepted"
        self.money_is_number = self._choice("form.money", ("text", "number")) == "number"

    def __getitem__(self, key: str) -> str:
        return self._texts[key]

    def has_status(self, key: str, status: int) -> bool:
        """Whether the entry lists this HTTP status."""
        return status in self._statuses[key]

    def has_text(self, key: str, text: str) -> bool:
        """Whether an error message contains the entry's text, or one of its texts, ignoring case."""
        message = text.casefold()
        return any(part in message for part in self._parts[key])

    def members(self, key: str) -> tuple[str, ...]:
        """The names of the response's members that the entry lists."""
        names = (name.strip() for name in self._texts[key].split(","))
        return tuple(name for name in names if name and name != NO_FIELDS)

    def path(self, key: str) -> tuple[str, ...]:
        """The members that lead to a part of a response, from the outside; empty for the response itself."""
        text = self._texts[key]
        return () if text == NO_FIELDS else tuple(text.split("."))

    def wrapped(self, entity: str, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """The request with all fields of `body`, inside of the member that the table names for the entity, if any."""
        member = self._texts[f"form.{entity}"]
        return body if member == NO_FIELDS else {member: body}

    def body(
        self, entity: str, values: Mapping[str, JsonValue], extra: Mapping[str, JsonValue] | None = None
    ) -> dict[str, JsonValue]:
        """A request body with the Platform's names. A None is sent as the table defines it for the field.

        `extra` is added, except members with the name of a field of this body, which only the field itself can fill.
        """
        names = self._bodies[entity]
        renamed: dict[str, JsonValue] = {}
        for name, value in values.items():
            if names[name] == NO_FIELDS:
                continue
            if value is not None:
                renamed[names[name]] = value
            elif (form := self._nulls.get(key := f"{entity}.{name}", "omit")) != "omit":
                renamed[names[name]] = ([] if key in _LISTS else "") if form == "empty" else None
        if not extra:
            return renamed
        reserved = self._reserved[entity]
        return {name: value for name, value in extra.items() if name not in reserved} | renamed

    def _choice(self, key: str, choices: tuple[str, str]) -> str:
        text = self._texts[key]
        if text not in choices:
            raise AssumptionError(f"PLATFORM__FIELDS has {text!r} for {key}; write {' or '.join(choices)}")
        return text

    def _by_body(self) -> dict[str, dict[str, str]]:
        bodies: dict[str, dict[str, str]] = {}
        for key, text in self._texts.items():
            entity, name = key.split(".", 1)
            if not text:
                raise AssumptionError(f"PLATFORM__FIELDS has an empty text for {key}")
            names = bodies.setdefault(entity, {})
            if text in names.values() and text != NO_FIELDS and entity not in _NO_BODIES:
                raise AssumptionError(
                    f"PLATFORM__FIELDS uses the name {text!r} for two fields of {entity}, one is {key}"
                )
            names[name] = text
        return bodies


def _null_form(key: str, text: str) -> NullForm:
    for form in get_args(NullForm):
        if text == form and not (form == "empty" and key in _WITHOUT_EMPTY):
            result: NullForm = form
            return result
    forms = "null or omit" if key in _WITHOUT_EMPTY else "null, empty or omit"
    raise AssumptionError(f"PLATFORM__FIELDS has {text!r} for null.{key}; write {forms}")


def _alternatives(key: str, text: str) -> tuple[str, ...]:
    parts = tuple(part.strip().casefold() for part in text.split("|"))
    if not all(parts):
        raise AssumptionError(f"PLATFORM__FIELDS has an empty text for {key}")
    return parts


def _statuses(key: str, text: str) -> frozenset[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(is_count(part) and len(part) == 3 for part in parts):
        raise AssumptionError(f"PLATFORM__FIELDS has {text!r} for {key}; write HTTP statuses such as 401,403")
    return frozenset(map(int, parts))


ASSUMED: Final = Fields()
"""The table without overrides."""
