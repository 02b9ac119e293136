"""What we send to Medusa against its OpenAPI description.

The newest that is published is of October 2024; what came after it is named here (NEWER) and proven by the live suite.
Its lists of required fields are left out: they name fields that may be null, which the store itself does not ask for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import CouponKind
from platform_relay.stores.medusa.coupons import promotion_body
from platform_relay.stores.medusa.events import _query
from tests.contract.bench import order

SPEC = Path(__file__).parents[3] / "shared" / "specs" / "medusa" / "admin-openapi.full.2024-10.yaml"
NEWER = {"limit", "metadata", "attribute", "is_tax_inclusive"}
NEWER_CHOICES = {"once", "use_by_attribute", "active"}
LATER = datetime(2030, 1, 31, 1, 2, 3, tzinfo=UTC)
BODIES = [
    order(email="jane@example.com"),
    order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), currency=None, usage_limit=None, customer_id="cus_1"),
    order(kind=CouponKind.FREE_SHIPPING, value=None, currency=None, minimum_spend=Decimal("3E+1")),
    order(kind=CouponKind.FREE_PRODUCT, value=None, product_ids=("prod_1", "prod_2")),
    order(kind=CouponKind.FREE_PRODUCT, value=None, variant_ids=("variant_1", "variant_2")),
    order(product_ids=("prod_1",), per_customer_limit=2, starts_at=LATER, expires_at=LATER, reference="r-1"),
]


@cache
def document() -> Any:
    if not SPEC.exists():
        pytest.skip("the official documents (../shared/specs) are not here")
    yaml = pytest.importorskip("yaml", reason="PyYAML, which reads the official document, is not installed")
    return yaml.load(SPEC.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def closed(schema: Any) -> Any:
    """The schema with no field required and no field allowed that it does not name, apart from NEWER."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return closed(document()["components"]["schemas"][name])
    kept = {
        name: closed(value) for name, value in schema.items() if name not in ("required", "nullable", "externalDocs")
    }
    if isinstance(kept.get("properties"), dict):
        kept["properties"] |= {name: {} for name in NEWER}
        kept["additionalProperties"] = False
    if "enum" in kept:
        kept["enum"] = [*kept["enum"], *NEWER_CHOICES]
    return kept


@pytest.mark.parametrize("wanted", BODIES)
def test_a_promotion_is_what_the_official_document_says(wanted: Any) -> None:
    body = document()["paths"]["/admin/promotions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = {**body["allOf"][0]}
    schema["properties"] = {**schema["properties"], "status": {"enum": ["draft", "active", "inactive"]}}
    jsonschema.Draft202012Validator(closed(schema)).validate(promotion_body(wanted))


@pytest.mark.parametrize("name", [*(str(kind) for kind in EventKind), "payments"])
def test_the_lists_take_what_we_ask_for(name: str) -> None:
    known = {each["name"] for each in document()["paths"][f"/admin/{name}"]["get"]["parameters"]}
    assert {field.partition("[")[0] for field, _ in _query(name, LATER, "id")} <= known
