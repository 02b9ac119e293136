"""Every operation that we send to Vendure, with its variables, against the schema of a running 3.7.3."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_client_schema, parse, validate
from graphql.execution.values import get_variable_values

from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind
from platform_relay.stores.vendure.adapter import CREATE, DELETE, FIND, MARKET, VARIANTS
from platform_relay.stores.vendure.api import LOGIN
from platform_relay.stores.vendure.coupons import Market, promotion_input
from platform_relay.stores.vendure.events import COUNTS, LISTS, SINGLE, _options
from tests.contract.bench import order

SPEC = Path(__file__).parents[3] / "shared" / "specs" / "vendure" / "admin-api-3.7.3-introspection.json"
WEB = Market("web", "EUR", frozenset({"EUR"}), "en", 2)
LATER = datetime(2030, 1, 31, 1, 2, 3, tzinfo=UTC)
ORDERS = [
    order(),
    order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), usage_limit=None, per_customer_limit=2),
    order(kind=CouponKind.PERCENTAGE, value=Decimal(50), variant_ids=("1", "2")),
    order(kind=CouponKind.FREE_SHIPPING, value=None, minimum_spend=Decimal(30)),
    order(
        kind=CouponKind.FREE_PRODUCT, value=None, product_ids=("1",), starts_at=LATER, expires_at=LATER, reference="r"
    ),
]
SENT: list[tuple[str, dict[str, Any]]] = [
    (LOGIN, {"username": "u", "password": "p"}),
    (MARKET, {}),
    (FIND, {"codes": ["a", "A"]}),
    *((VARIANTS, {"options": {"filter": {name: {"in": ["1"]}}, "take": 1000}}) for name in ("id", "productId")),
    *((CREATE, {"input": promotion_input(each, WEB, ("1", "2"))}) for each in ORDERS),
    (CREATE, {"input": {"enabled": False, "conditions": [], "actions": [], "translations": []}}),
    (DELETE, {"id": "1"}),
    *((LISTS[kind], {"options": _options(kind, LATER, take=3, skip=3)}) for kind in EventKind),
    *((document, {"options": _options(kind, None, take=1)}) for kind, document in COUNTS.items()),
    *((SINGLE[kind], {"id": "1"}) for kind in EventKind),
]


@cache
def schema() -> GraphQLSchema:
    if not SPEC.exists():
        pytest.skip("the official schema (../shared/specs) is not here")
    return build_client_schema(json.loads(SPEC.read_text())["data"])


@pytest.mark.parametrize(("text", "variables"), SENT)
def test_what_is_sent_is_valid(text: str, variables: dict[str, Any]) -> None:
    document = parse(text)
    assert validate(schema(), document) == []
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    values = get_variable_values(schema(), operation.variable_definitions or (), variables)
    assert not isinstance(values, list), values
