"""What a Platform could do differently from what its public pages show: other names, other forms, other statuses.

A dialect translates requests into the simulator's own form, and responses back. With a dialect, fields that the Platform does
not know are ignored, so that a wrong name has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .call import Call, Json, RefusalError, Response, json_response

CUSTOMER = {
    name: name
    for name in (
        "email", "name", "phone", "firstName", "lastName", "birthdayMonth", "birthdayDay", "externalCreatedAt", "tags",
    )
}  # fmt: skip
ORDER = {
    name: name
    for name in (
        "id", "customerId", "email", "financialStatus", "currency", "totalPrice", "subtotalPrice", "createdAt",
        "lineItems", "discountCodes",
    )
}  # fmt: skip
LINE_ITEM = {name: name for name in ("productId", "variantId", "title", "quantity", "price")}
DISCOUNT_CODE = {name: name for name in ("code", "amount")}
PRODUCT = {name: name for name in ("title", "imageUrl", "status", "externalUrlHandle")}
MONEY = ("totalPrice", "subtotalPrice", "price", "amount")


@dataclass(frozen=True)
class Dialect:
    """`customer`, `order`, `line_item`: the simulator's name of a field, and the dialect's. `wraps_requests`: all fields of a
    request are inside of one member. `wraps_responses`: a response is inside of `data`. `unknown_customer`: the status and the
    text for an order of an unknown customer. `refuses_unknown`: a field that the Platform does not know is an error."""

    customer: Mapping[str, str] = field(default_factory=lambda: CUSTOMER)
    order: Mapping[str, str] = field(default_factory=lambda: ORDER)
    line_item: Mapping[str, str] = field(default_factory=lambda: LINE_ITEM)
    discount_code: Mapping[str, str] = field(default_factory=lambda: DISCOUNT_CODE)
    money_is_number: bool = False
    wraps_requests: bool = False
    wraps_responses: bool = False
    second_order_post: str = ""
    unknown_customer: tuple[int, str] = (404, "Customer not found")
    bad_key_status: int = 0
    refuses_unknown: bool = False

    def understand(self, call: Call) -> None:
        """Replace the request by the simulator's form of it. Raises RefusalError for one that the dialect refuses."""
        entity = call.kind.partition(".")[0]
        tables = {"customer": self.customer, "order": self.order, "product": PRODUCT}
        if call.method == "GET" or entity not in tables or not isinstance(call.json, dict):
            return
        body = call.object
        if self.wraps_requests:
            inner = body.get(entity)
            if not isinstance(inner, dict):
                raise RefusalError(json_response(400, {"message": f"{entity} is required"}))
            body = inner
        body = self._known(body, tables[entity])
        for name, table in (("lineItems", self.line_item), ("discountCodes", self.discount_code)):
            rows = body.get(name)
            if isinstance(rows, list):
                body[name] = [self._known(row, table) if isinstance(row, dict) else row for row in rows]
        if entity == "order" and call.kind == "order.post" and not isinstance(body.get("id"), str):
            raise RefusalError(json_response(400, {"message": f"{self.order['id']} must be a non-empty string"}))
        if self.money_is_number:
            _each_amount(body, self._from_number)
        call.entity = f"order:{body['id']}" if call.kind == "order.post" else call.entity
        call.replace_body(body)

    def express(self, call: Call, answer: Response) -> Response:
        """The simulator's response in the dialect's form."""
        value = answer.json
        if answer.status >= 300 or not isinstance(value, dict) or call.kind.startswith("launcher."):
            return answer
        if isinstance(order := value.get("order"), dict):
            value = {**value, "order": self._order(order)}
        if isinstance(customer := value.get("customer"), dict):
            value = {**value, "customer": _renamed(customer, self.customer)}
        if isinstance(customers := value.get("customers"), list):
            value = {**value, "customers": [_renamed(row, self.customer) for row in customers]}
        return json_response(answer.status, {"data": value} if self.wraps_responses else value)

    def _order(self, order: Json) -> Json:
        shown = {**order}
        for name, table in (("lineItems", self.line_item), ("discountCodes", self.discount_code)):
            if isinstance(shown.get(name), list):
                shown[name] = [_renamed(row, table) for row in shown[name]]
        return _renamed(shown, {name: text for name, text in self.order.items() if name != "id"})

    def _known(self, body: Json, names: Mapping[str, str]) -> Json:
        own = {text: name for name, text in names.items()}
        if self.refuses_unknown and (others := sorted(set(body) - set(own))):
            raise RefusalError(json_response(400, {"message": f"unknown field {others[0]}"}))
        return {own[text]: value for text, value in body.items() if text in own}

    def _from_number(self, name: str, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RefusalError(json_response(400, {"message": f"{name} must be a number"}))
        return str(value)


def _renamed(row: Json, names: Mapping[str, str]) -> Json:
    return {names.get(name, name): value for name, value in row.items()}


def _each_amount(body: Json, change: Callable[[str, object], object]) -> None:
    for row in (body, *(body.get("lineItems") or []), *(body.get("discountCodes") or [])):
        for name in MONEY:
            if row.get(name) is not None:
                row[name] = change(name, row[name])


DIALECTS: dict[str, Dialect] = {
    "plain": Dialect(),
    "other_names": Dialect(
        customer={
            **CUSTOMER, "firstName": "first_name", "lastName": "last_name", "phone": "phoneNumber",
            "externalCreatedAt": "registeredAt",
        },
        order={
            **ORDER, "id": "orderId", "customerId": "customerExternalId", "totalPrice": "total",
            "financialStatus": "paymentStatus", "lineItems": "items",
        },
        line_item={**LINE_ITEM, "productId": "externalProductId", "price": "unitPrice"},
    ),
    "number_money": Dialect(money_is_number=True),
    "upsert": Dialect(second_order_post="upsert"),
    "duplicate": Dialect(second_order_post="duplicate"),
    "unknown_customer_400": Dialect(unknown_customer=(400, "No such customer")),
    "wrapped": Dialect(wraps_requests=True, wraps_responses=True),
    "strict_names": Dialect(
        customer={**{name: text for name, text in CUSTOMER.items() if name != "tags"}, "phone": "phone_number"},
        order={**ORDER, "createdAt": "orderedAt"},
        refuses_unknown=True,
        bad_key_status=418,
    ),
}  # fmt: skip
"""By the value of the setting `dialect`."""
