"""A Shopify shop in memory: the discounts, webhook subscriptions and lists of the Admin GraphQL API 2026-07.

The answers to discounts have the form and the words of those recorded on a real store (API 2026-04). Surprising on
purpose: errors come with HTTP 200, a value of 0 is accepted, codes are unique in any case, amounts lose their trailing
zeros. Only what a query selects is answered.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)

from simulators.call import Call, Json, Response, json_response
from simulators.deliveries import Deliveries
from simulators.program import Control
from tests.contract.doubles.process import serve

API = "/admin/api/2026-07/graphql.json"
TOKENS = "/admin/oauth/access_token"
BASIC, SHIPPING = "basicCodeDiscount", "freeShippingCodeDiscount"
KINDS = {
    "discountCodeBasicCreate": "coupon.create", "discountCodeFreeShippingCreate": "coupon.create",
    "codeDiscountNodeByCode": "coupon.find", "discountCodeDelete": "coupon.delete",
}  # fmt: skip
SCOPES = ["write_discounts", "read_discounts", "read_customers", "write_customers", "read_orders", "read_products"]


@dataclass
class Config:
    """What `POST /_sim/config` changes."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    access_token: str = "shpat_simulator"
    client_id: str = "client-of-the-double"
    client_secret: str = "shpss_of_the_double"
    token_seconds: int = 86399
    scopes: list[str] = field(default_factory=lambda: list(SCOPES))
    currency: str = "EUR"
    customers: dict[str, str] = field(default_factory=lambda: {"jane@example.com": "9001", "ada@example.com": "4711"})
    distort: dict[str, Any] = field(default_factory=dict)
    """Fields of the input that the store silently takes otherwise."""
    throttled: int = 0
    """So many of the next calls are refused for want of cost points."""
    clock_ahead: float = 0
    """Seconds by which the store's clock is ahead."""
    stale_finds: int = 0
    """So many of the next lookups do not see what was made."""


class Refused(Exception):  # noqa: N818  # it is an answer, not an error
    """Top-level `errors` with a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ShopifyDouble:
    """State and behaviour."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = Config()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {
            "seed": self._seed,
            "replace": self._replace,
            "expire-tokens": self._expire,
            "add-codes": self._add,
        }
        self.reset()

    def reset(self) -> None:
        """An empty shop."""
        self.last_id = 1000
        self.discounts: dict[str, Json] = {}
        self.webhooks: dict[str, Json] = {}
        self.tokens: dict[str, float] = {}
        self.rows: dict[str, list[Json]] = {"orders": [], "customers": [], "products": []}

    def identify(self, call: Call) -> None:
        """The kind is the root field's; the script knows a call by its operation, as if that ended the path."""
        if call.path == TOKENS:
            call.kind = "token"
        elif call.path == API and call.method == "POST":
            root, operation = _root(str(call.object.get("query", "")))
            call.kind = KINDS.get(root, root)
            call.path = f"{API}/{operation}"

    async def answer(self, call: Call) -> Response:
        """One GraphQL call, or a token."""
        if call.path == TOKENS and call.method == "POST":
            return self._token(call)
        if not call.path.startswith(f"{API}/"):
            return json_response(404, {"errors": "Not Found"})
        token = call.header(b"x-shopify-access-token")
        if token != self.config.access_token and self.tokens.get(token, 0.0) < time.monotonic():
            result = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return json_response(401, {"errors": result})
        try:
            return self._graphql(call)
        except Refused as refused:
            error = {"message": str(refused), "extensions": {"code": refused.code}}
            return json_response(
                200, {"errors": [error], "extensions": _cost(0 if refused.code == "THROTTLED" else 1900)}
            )

    def _token(self, call: Call) -> Response:
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        wanted = ("client_credentials", self.config.client_id, self.config.client_secret)
        if (form.get("grant_type"), form.get("client_id"), form.get("client_secret")) != wanted:
            return json_response(400, {"error": "invalid_client", "error_description": "Invalid client credentials"})
        token = f"shpat_renewed_{self._new_id()}"
        self.tokens[token] = time.monotonic() + self.config.token_seconds
        call.applied()
        seconds = self.config.token_seconds
        return json_response(200, {"access_token": token, "scope": ",".join(self.config.scopes), "expires_in": seconds})

    def _graphql(self, call: Call) -> Response:
        if self.config.throttled:
            self.config.throttled -= 1
            raise Refused("THROTTLED", "Throttled")
        document = parse(str(call.object["query"]))
        operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
        fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
        variables = call.object.get("variables", {})
        data: Json = {}
        for selected in operation.selection_set.selections:
            assert isinstance(selected, FieldNode)
            name = selected.name.value
            value = getattr(self, f"field_{name}")(call, variables)
            data[selected.alias.value if selected.alias else name] = _selected(value, selected.selection_set, fragments)
        return json_response(200, {"data": data, "extensions": _cost(1980)})

    def _need(self, scope: str, root: str) -> None:
        if not {scope, scope.replace("read_", "write_")} & set(self.config.scopes):  # to write includes to read
            result = f"Access denied for {root} field. Required access: `{scope}` access scope."
            raise Refused("ACCESS_DENIED", result)

    # ------------------------------------------------------------------------------------------- discounts

    def field_discountCodeBasicCreate(self, call: Call, variables: Json) -> Json:  # noqa: N802  # the schema's name
        return self._create(call, variables["coupon"], BASIC)

    def field_discountCodeFreeShippingCreate(self, call: Call, variables: Json) -> Json:  # noqa: N802
        return self._create(call, variables["coupon"], SHIPPING)

    def _create(self, call: Call, given: Json, argument: str) -> Json:
        self._need("write_discounts", "discountCodeBasicCreate")
        errors = [
            {"field": [argument, *path], "message": message, "code": code}
            for path, message, code in self._wrong(given, argument)
        ]
        if errors:
            if any(error["code"] == "TAKEN" for error in errors):
                call.duplicate()
            return {"codeDiscountNode": None, "userErrors": errors}
        number = self._new_id()
        node = {"id": f"gid://shopify/DiscountCodeNode/{number}"}
        stored = {**given, **self.config.distort}
        node["codeDiscount"] = self._stored(stored, argument)  # type: ignore[assignment]  # JSON
        self.discounts[str(given["code"]).casefold()] = node
        call.applied()
        return {"codeDiscountNode": node, "userErrors": []}

    def _wrong(self, given: Json, argument: str) -> list[tuple[list[str], str, str]]:
        code, title = given.get("code"), given.get("title")
        value = given.get("customerGets", {}).get("value", {})
        items = given.get("customerGets", {}).get("items", {})
        people = given.get("context", {}).get("customers", {}).get("add", [])
        share, limit, ends = value.get("percentage"), given.get("usageLimit"), given.get("endsAt")
        combines = given.get("combinesWith", {})
        rules = [
            (code is None, ["code"], "Code can't be blank", "BLANK"),
            (code == "", ["code"], "Code is too short (minimum is 1 character)", "TOO_SHORT"),
            (code and "\n" in code, ["code"], "Code cannot contain newline characters.", "INVALID"),
            (code and len(code) > 255, ["code"], "Code is too long (maximum is 255 characters)", "TOO_LONG"),
            (str(code).casefold() in self.discounts, ["code"],
             "Code must be unique. Please try a different code.", "TAKEN"),
            (not title, ["title"], "Title can't be blank", "BLANK"),
            (title and len(title) > 255, ["title"], "Title is too long (maximum is 255 characters)", "TOO_LONG"),
            (not given.get("startsAt"), ["startsAt"], "Starts at can't be blank", "BLANK"),
            (ends and given.get("startsAt") and ends <= given["startsAt"], ["endsAt"],
             "Ends at needs to be after starts_at", "INVALID"),
            (share is not None and not 0 <= share <= 1, ["customerGets", "value", "percentage"],
             "Value must be between 0.0 and 1.0", "VALUE_OUTSIDE_RANGE"),
            (limit is not None and limit <= 0, ["usageLimit"], "Usage limit must be greater than 0", "GREATER_THAN"),
            (argument == SHIPPING and combines.get("shippingDiscounts"), ["combinesWith"],
             "The combinesWith settings are not valid for the discount class.",
             "INVALID_COMBINES_WITH_FOR_DISCOUNT_CLASS"),
            *[(each.endswith("/0"), ["customerGets", "items", "products", "productsToAdd"],
               f"Product with id: {each.rpartition('/')[2]} is invalid", "INVALID")
              for each in items.get("products", {}).get("productsToAdd", [])],
            *[("/ProductVariant/" not in each or each.endswith("/0"),
               ["customerGets", "items", "products", "productVariantsToAdd"],
               f"Product variant with id: {each.rpartition('/')[2]} is invalid", "INVALID")
              for each in items.get("products", {}).get("productVariantsToAdd", [])],
            *[(each.rpartition("/")[2] not in self.config.customers.values(), ["context", "customers", "add"],
               f"Customer with id: {each.rpartition('/')[2]} is invalid", "INVALID") for each in people],
        ]  # fmt: skip
        return [(path, message, code_) for broken, path, message, code_ in rules if broken]

    def _stored(self, given: Json, argument: str) -> Json:
        limit = given.get("minimumRequirement", {}).get("subtotal", {}).get("greaterThanOrEqualToSubtotal")
        people = given.get("context", {}).get("customers", {}).get("add")
        starts, ends = given["startsAt"], given.get("endsAt")
        now = (datetime.now(UTC) + timedelta(seconds=self.config.clock_ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")
        stored: Json = {
            "__typename": "DiscountCodeBasic" if argument == BASIC else "DiscountCodeFreeShipping",
            "status": "EXPIRED" if ends and ends <= now else "SCHEDULED" if starts > now else "ACTIVE",
            "startsAt": starts, "endsAt": ends, "usageLimit": given.get("usageLimit"),
            "appliesOncePerCustomer": given.get("appliesOncePerCustomer", False), "asyncUsageCount": 0,
            "tags": given.get("tags", []),
            "codes": {"nodes": [{"code": given["code"]}]}, "codesCount": {"count": 1},
            "combinesWith": {name: given.get("combinesWith", {}).get(name, False)
                             for name in ("orderDiscounts", "productDiscounts", "shippingDiscounts")},
            "context": {"__typename": "DiscountCustomers", "customers": [{"id": each} for each in people]}
                       if people else {"__typename": "DiscountBuyerSelectionAll", "all": "ALL"},
            "minimumRequirement": None if limit is None else {
                "__typename": "DiscountMinimumSubtotal", "greaterThanOrEqualToSubtotal": self._money(limit)},
        }  # fmt: skip
        if argument == SHIPPING:
            return {
                **stored,
                "destinationSelection": {"__typename": "DiscountCountryAll"},
                "maximumShippingPrice": None,
            }
        value, items = given["customerGets"]["value"], given["customerGets"].get("items", {})
        amount = value.get("discountAmount")
        chosen = items.get("products")
        products, variants = (
            {"nodes": [{"id": each} for each in (chosen or {}).get(name, [])], "pageInfo": {"hasNextPage": False}}
            for name in ("productsToAdd", "productVariantsToAdd")
        )
        stored["customerGets"] = {
            "value": {"__typename": "DiscountPercentage", "percentage": value.get("percentage")} if amount is None else {
                "__typename": "DiscountAmount", "amount": self._money(amount["amount"]),
                "appliesOnEachItem": amount["appliesOnEachItem"]},
            "items": {"__typename": "AllDiscountItems"} if chosen is None else {
                "__typename": "DiscountProducts", "products": products, "productVariants": variants},
        }  # fmt: skip
        return stored

    def field_codeDiscountNodeByCode(self, call: Call, variables: Json) -> Json | None:  # noqa: N802, ARG002
        self._need("read_discounts", "codeDiscountNodeByCode")
        if self.config.stale_finds:
            self.config.stale_finds -= 1
            return None
        return self.discounts.get(variables["code"].casefold())

    def field_discountCodeDelete(self, call: Call, variables: Json) -> Json:  # noqa: N802
        code = next((code for code, node in self.discounts.items() if node["id"] == variables["id"]), None)
        if code is None:
            error = {"field": ["id"], "message": "Discount does not exist", "code": None}
            return {"deletedCodeDiscountId": None, "userErrors": [error]}
        del self.discounts[code]
        call.applied()
        return {"deletedCodeDiscountId": variables["id"], "userErrors": []}

    # ------------------------------------------------------------------------------------------- the rest

    def field_shop(self, call: Call, variables: Json) -> Json:  # noqa: ARG002
        return {"name": "The double", "currencyCode": self.config.currency}

    def field_currentAppInstallation(self, call: Call, variables: Json) -> Json:  # noqa: N802, ARG002
        return {"accessScopes": [{"handle": scope} for scope in self.config.scopes]}

    def field_customerByIdentifier(self, call: Call, variables: Json) -> Json | None:  # noqa: N802, ARG002
        self._need("read_customers", "customerByIdentifier")
        known = self.config.customers.get(variables["email"].lower())
        return None if known is None else {"legacyResourceId": known}

    def field_webhookSubscriptions(self, call: Call, variables: Json) -> Json:  # noqa: N802, ARG002
        return {"nodes": [webhook for webhook in self.webhooks.values() if webhook["uri"] == variables["uri"]]}

    def field_webhookSubscriptionCreate(self, call: Call, variables: Json) -> Json:  # noqa: N802
        topic, uri = variables["topic"], variables["webhook"]["uri"]
        result = ""
        if any((webhook["topic"], webhook["uri"]) == (topic, uri) for webhook in self.webhooks.values()):
            result = "Address for this topic has already been taken"
        elif not uri.startswith("https://"):
            result = "Address protocol http:// is not supported"
        if result:
            error = {"field": ["webhookSubscription", "callbackUrl"], "message": result}
            return {"webhookSubscription": None, "userErrors": [error]}
        webhook = {"id": f"gid://shopify/WebhookSubscription/{self._new_id()}", "topic": topic, "uri": uri}
        self.webhooks[webhook["id"]] = webhook
        call.applied()
        return {"webhookSubscription": webhook, "userErrors": []}

    def field_webhookSubscriptionDelete(self, call: Call, variables: Json) -> Json:  # noqa: N802, ARG002
        if self.webhooks.pop(variables["id"], None) is None:
            error = {"field": ["id"], "message": "Webhook subscription does not exist"}
            return {"deletedWebhookSubscriptionId": None, "userErrors": [error]}
        return {"deletedWebhookSubscriptionId": variables["id"], "userErrors": []}

    def field_orders(self, call: Call, variables: Json) -> Json:  # noqa: ARG002
        return self._listed("orders", variables)

    def field_customers(self, call: Call, variables: Json) -> Json:  # noqa: ARG002
        return self._listed("customers", variables)

    def field_products(self, call: Call, variables: Json) -> Json:  # noqa: ARG002
        return self._listed("products", variables)

    def _listed(self, family: str, variables: Json) -> Json:
        self._need(f"read_{family}", family)
        since = (variables.get("changed") or "").removeprefix("updated_at:>=").strip("'")
        rows = sorted(
            (row for row in self.rows[family] if row["updatedAt"] >= since),
            key=lambda row: (row["updatedAt"], row["id"]),
        )
        first = int(variables["first"])
        after = tuple(json.loads(variables["cursor"])) if variables.get("cursor") else ("", "")
        rows = [row for row in rows if (row["updatedAt"], row["id"]) > after]  # a cursor is the key of the last row
        more = len(rows) > first
        cursor = json.dumps([rows[first - 1]["updatedAt"], rows[first - 1]["id"]]) if more else None
        return {"nodes": rows[:first], "pageInfo": {"hasNextPage": more, "endCursor": cursor}}

    def field_ordersCount(self, call: Call, variables: Json) -> Json:  # noqa: N802, ARG002
        return self._counted("orders", variables)

    def field_customersCount(self, call: Call, variables: Json) -> Json:  # noqa: N802, ARG002
        return self._counted("customers", variables)

    def field_productsCount(self, call: Call, variables: Json) -> Json:  # noqa: N802, ARG002
        return self._counted("products", variables)

    def _counted(self, family: str, variables: Json) -> Json:
        self._need(f"read_{family}", family)
        since = (variables.get("changed") or "").removeprefix("updated_at:>=").strip("'")
        return {"count": sum(row["updatedAt"] >= since for row in self.rows[family]), "precision": "EXACT"}

    def field_order(self, call: Call, variables: Json) -> Json | None:  # noqa: ARG002
        return self._one("orders", variables)

    def field_customer(self, call: Call, variables: Json) -> Json | None:  # noqa: ARG002
        row = self._one("customers", variables)
        if row is None or "namespace" not in variables:
            return row
        self._need("read_customers", "customer")
        kept = [each for each in row.get("metafields", []) if each["namespace"] == variables["namespace"]]
        return {**row, "metafields": {"nodes": kept}}

    def field_metafieldsSet(self, call: Call, variables: Json) -> Json:  # noqa: N802
        self._need("write_customers", "metafieldsSet")
        for given in variables["metafields"]:
            row = self._one("customers", {"id": given["ownerId"]})
            if row is None:
                result = {
                    "field": ["metafields", "0", "ownerId"],
                    "message": "Owner does not exist",
                    "code": "INVALID_VALUE",
                }
                return {"metafields": None, "userErrors": [result]}
            others = [
                each
                for each in row.get("metafields", [])
                if (each["namespace"], each["key"]) != (given["namespace"], given["key"])
            ]
            row["metafields"] = [*others, {name: given[name] for name in ("namespace", "key", "value")}]
        call.applied()
        return {"metafields": variables["metafields"], "userErrors": []}

    def field_product(self, call: Call, variables: Json) -> Json | None:  # noqa: ARG002
        return self._one("products", variables)

    def _one(self, family: str, variables: Json) -> Json | None:
        return next((row for row in self.rows[family] if row["id"] == variables["id"]), None)

    # ------------------------------------------------------------------------------------------- control

    async def _replace(self, given: Json) -> object:
        """`{"orders": […], …}`: the lists named are these from now on."""
        self.rows |= given
        return {"ok": True}

    async def _seed(self, given: Json) -> object:
        """Rows of `orders`, `customers`, `products`, as GraphQL shows them."""
        for family, rows in given.items():
            self.rows[family] += rows
        return {"ok": True}

    async def _expire(self, given: Json) -> object:  # noqa: ARG002
        self.tokens.clear()
        return {"ok": True}

    async def _add(self, given: Json) -> object:
        """The merchant gives the discount of `code` a second code, `further`."""
        node = self.discounts[given["code"].casefold()]
        node["codeDiscount"]["codes"]["nodes"].append({"code": given["further"]})
        node["codeDiscount"]["codesCount"]["count"] += 1
        self.discounts[given["further"].casefold()] = node
        return {"ok": True}

    def summary(self, full: bool) -> Json:
        """Counts."""
        codes = sorted(self.discounts) if full else []
        return {"state": {"coupons": len(self.discounts), "webhooks": len(self.webhooks)}, "codes": codes}

    def state(self, query: dict[str, str]) -> object:
        """`kind` coupons | webhooks | customers."""
        if query.get("kind") == "customers":
            return self.rows["customers"]
        return list((self.webhooks if query.get("kind") == "webhooks" else self.discounts).values())

    def _new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def _money(self, amount: str) -> Json:
        """GraphQL shows `5.00` as `5.0`."""
        whole, _, part = amount.partition(".")
        return {"amount": f"{whole}.{part.rstrip('0') or '0'}", "currencyCode": self.config.currency}


def _cost(left: int) -> Json:
    bucket = {"maximumAvailable": 2000, "currentlyAvailable": left, "restoreRate": 100}
    return {"cost": {"requestedQueryCost": 250, "actualQueryCost": 20, "throttleStatus": bucket}}


def _root(document: str) -> tuple[str, str]:
    """The names of the first root field and of the operation."""
    try:
        parsed = parse(document)
    except GraphQLSyntaxError:
        return "unparsable", "unparsable"
    operation = next(each for each in parsed.definitions if isinstance(each, OperationDefinitionNode))
    first = operation.selection_set.selections[0]
    name = operation.name.value if operation.name else ""
    return (first.name.value if isinstance(first, FieldNode) else ""), name


def _selected(value: Any, wanted: SelectionSetNode | None, fragments: dict[str, FragmentDefinitionNode]) -> Any:
    """What of a value a selection shows; type conditions are looked at where the value names its type."""
    if isinstance(value, list):
        return [_selected(each, wanted, fragments) for each in value]
    if wanted is None or not isinstance(value, dict):
        return value
    shown: Json = {}
    for each in wanted.selections:
        if isinstance(each, FieldNode):
            name = each.name.value
            shown[each.alias.value if each.alias else name] = _selected(value[name], each.selection_set, fragments)
            continue
        if isinstance(each, FragmentSpreadNode):
            part: InlineFragmentNode | FragmentDefinitionNode = fragments[each.name.value]
        else:
            assert isinstance(each, InlineFragmentNode)
            part = each
        condition = part.type_condition.name.value if part.type_condition else None
        if isinstance(each, InlineFragmentNode) and condition not in (None, value.get("__typename")):
            continue
        shown |= _selected(value, part.selection_set, fragments)
    return shown


if __name__ == "__main__":
    serve("shopify", ShopifyDouble)
