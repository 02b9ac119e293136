"""Every document that is sent to Shopify, with its variables, against Shopify's official schema."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_client_schema,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values

from platform_relay.core import exact_json
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind
from platform_relay.stores.shopify import documents as documents
from platform_relay.stores.shopify.coupons import coupon_input
from platform_relay.stores.shopify.events import COUNTS, GETS, LISTS, TOPICS, changed_since
from platform_relay.stores.shopify.loyalty_sync import NAMESPACE, metafields
from tests.contract.bench import order
from tests.contract.packages import Package

DEVELOPER_TOOLS = Package(
    "@shopify/dev-mcp",
    "1.16.0",
    "sha512-tqgRnK7sQhjew+htxtleTH23nXB5fZcsrhWgEkomsorGXvLOB2mh2upwZm8uzuTDNTZnqtLMe64yIwh6s2awtw==",
)
"""Shopify's own package (licence ISC), which contains the introspection of each version of the Admin API."""
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LATER = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)
COUPONS = {
    "fixed amount": order(),
    "percentage": order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), currency=None),
    "free shipping": order(kind=CouponKind.FREE_SHIPPING, value=None, currency=None, minimum_spend=Decimal(30)),
    "one customer": order(customer_id="4711", per_customer_limit=1, combinable=False),
    "products": order(product_ids=("7", "gid://shopify/Product/8"), usage_limit=None),
    "variants": order(variant_ids=("71", "gid://shopify/ProductVariant/72")),
    "dates": order(starts_at=NOW, expires_at=LATER, title="Dankeschön"),
}
ID = {"id": "gid://shopify/Order/1"}
WEBHOOK = {"uri": "https://relay.example/webhook", "format": "JSON"}
SENT: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f"create {name}": (
            documents.CREATE_FREE_SHIPPING if each.kind is CouponKind.FREE_SHIPPING else documents.CREATE_BASIC,
            {"coupon": coupon_input(each, NOW)},
        )
        for name, each in COUPONS.items()
    },
    "find": (documents.FIND, {"code": "A1"}),
    "delete": (documents.DELETE, ID),
    "check": (documents.CHECK, {}),
    "currency": (documents.CURRENCY, {}),
    "customer": (documents.CUSTOMER_ID, {"email": "jane@example.com"}),
    **{
        f"list {kind}": (LISTS[kind], {"first": 5, "cursor": None, "changed": changed_since(NOW)}) for kind in EventKind
    },
    **{f"list all {kind}": (LISTS[kind], {"first": 1, "cursor": "abc", "changed": None}) for kind in EventKind},
    **{f"count {kind}": (COUNTS[kind], {"changed": changed_since(NOW)}) for kind in EventKind},
    **{f"get {kind}": (GETS[kind][0], ID) for kind in EventKind},
    "list webhooks": (documents.LIST_WEBHOOKS, {"uri": WEBHOOK["uri"]}),
    **{
        f"create webhook {topic}": (
            documents.CREATE_WEBHOOK,
            {"topic": topic.upper().replace("/", "_"), "webhook": WEBHOOK},
        )
        for topic in TOPICS
    },
    "standing": (documents.LOYALTY_FIELDS, {"id": "gid://shopify/Customer/1", "namespace": NAMESPACE}),
    "set standing": (
        documents.SET_LOYALTY_FIELDS,
        {"metafields": metafields("gid://shopify/Customer/1", {"tier": "Gold", "points": "5", "as_of": "2026"})},
    ),
    "delete webhook": (documents.DELETE_WEBHOOK, ID),
}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    document = json.loads(gzip.decompress(DEVELOPER_TOOLS.read(f"dist/data/admin_{documents.VERSION}.json.gz")))
    return build_client_schema(document["data"], assume_valid=True)


@pytest.mark.parametrize("name", SENT)
def test_what_is_sent_is_valid(schema: GraphQLSchema, name: str) -> None:
    document, variables = SENT[name]
    parsed = parse(document)
    assert validate(schema, parsed) == []
    operation = next(each for each in parsed.definitions if isinstance(each, OperationDefinitionNode))
    sent = json.loads(exact_json.dumps(variables))
    known = get_variable_values(schema, operation.variable_definitions or (), sent)
    assert not isinstance(known, list), known


def test_every_document_is_looked_at() -> None:
    named = {value for name, value in vars(documents).items() if name.isupper() and name not in ("VERSION", "DISCOUNT")}
    assert {each for each in named if isinstance(each, str) and not each.strip().startswith("fragment")} == {
        document for document, _ in SENT.values()
    }


@pytest.mark.parametrize("kind", list(EventKind))
def test_a_page_of_a_list_costs_less_than_shopifys_limit(kind: EventKind) -> None:
    """1000 points for one query: 1 for an object, 2 and its rows for a connection, nothing for a scalar."""
    definitions = parse(LISTS[kind]).definitions
    fragments = {
        node.name.value: node.selection_set for node in definitions if isinstance(node, FragmentDefinitionNode)
    }

    def points(selection: SelectionSetNode | None, rows: int = 1) -> int:
        result = 0
        for node in selection.selections if selection else ():
            if isinstance(node, FieldNode) and node.selection_set:
                values = (argument.value for argument in node.arguments or () if argument.name.value == "first")
                first = [int(value.value) for value in values if isinstance(value, IntValueNode)]
                inner = first[0] if first else rows if node.name.value == "nodes" else 1
                below = points(node.selection_set, inner)
                result += 2 + below if first else inner + inner * below if node.name.value == "nodes" else 1 + below
            elif isinstance(node, FragmentSpreadNode):
                result += points(fragments[node.name.value], rows)
            elif isinstance(node, InlineFragmentNode):
                result += points(node.selection_set, rows)
        return result

    (operation,) = [node for node in definitions if isinstance(node, OperationDefinitionNode)]
    assert points(operation.selection_set) < 1000


def test_a_wrong_variable_would_be_found(schema: GraphQLSchema) -> None:
    parsed = parse(documents.CREATE_BASIC)
    operation = next(each for each in parsed.definitions if isinstance(each, OperationDefinitionNode))
    wrong = {"coupon": {**coupon_input(order(), NOW), "usageLimit": "1", "nonsense": 1}}
    assert isinstance(get_variable_values(schema, operation.variable_definitions or (), wrong), list)
