"""The lists select fields: an entity of a list becomes the same event as the complete entity of a webhook or a single read.

A translation that reads one more field finds it in webhooks and not in lists, and each list would change the Platform's data back.
So every field that a translation reads must also be selected.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from platform_relay.core import exact_json
from platform_relay.inbox.events import EventKind
from platform_relay.stores.bigcommerce import events as bigcommerce
from platform_relay.stores.bigcommerce.fetch import UNUSED
from platform_relay.stores.magento import events as magento
from platform_relay.stores.medusa import events as medusa
from platform_relay.stores.saleor import documents as saleor_documents
from platform_relay.stores.saleor import events as saleor
from platform_relay.stores.shopify import events as shopify
from platform_relay.stores.vendure import events as vendure
from platform_relay.stores.woocommerce import events as woocommerce
from platform_relay.stores.woocommerce import variations
from platform_relay.stores.woocommerce.webhooks import FIELDS as WOOCOMMERCE_FIELDS
from tests.contract.orders import (
    TAXES,
    Json,
    magento_order,
    medusa_order,
    native,
    saleor_order,
    shopify_node,
    vendure_order,
    woocommerce_order,
)
from tests.contract.test_order_amounts import selected

PAYLOADS = Path(__file__).parent / "payloads"
TIME = "2026-11-23T05:00:00Z"
CUSTOMER, ORDER, PRODUCT = EventKind.CUSTOMER, EventKind.ORDER, EventKind.PRODUCT
Tree = dict[str, Any]
"""The selected names, and what is selected of each; empty: everything."""


def recorded(path: str) -> Json:
    """The entity of a recorded webhook."""
    stored = json.loads((PAYLOADS / path).read_text())
    text = json.dumps(stored["entity"]) if "entity" in stored else stored["body_raw"]
    return cast("Json", exact_json.loads(text.encode()))


# -------------------------------------------------------------------------------------- what the lists select


def names(fields: str) -> Tree:
    """`a,b.c`"""
    tree: Tree = {}
    for field in fields.split(","):
        part = tree
        for name in field.split("."):
            part = part.setdefault(name, {})
    return tree


def bracketed(fields: str) -> Tree:
    """`a,b[c,d]`"""
    parts = fields.replace("[", ",[,").replace("]", ",],").split(",")
    stack: list[Tree] = [{}]
    last = ""
    for part in filter(None, parts):
        if part == "[":
            stack.append(stack[-1][last])
        elif part == "]":
            stack.pop()
        else:
            last = part
            stack[-1][part] = {}
    return stack[0]


def reduced(value: Any, tree: Tree) -> Any:
    """The value with the selected fields only."""
    if isinstance(value, list):
        return [reduced(member, tree) for member in value]
    if not tree or not isinstance(value, dict):
        return value
    return {name: reduced(member, tree[name]) for name, member in value.items() if name in tree}


WOOCOMMERCE = {kind: names(fields) for kind, fields in WOOCOMMERCE_FIELDS.items()}
WOOCOMMERCE[PRODUCT] |= {woocommerce.VARIANTS: names(variations.FIELDS)}
MAGENTO = {kind: bracketed(fields) for kind, fields in magento.FIELDS.items()}
MEDUSA = {kind: names(fields) for kind, fields in medusa.FIELDS.items()}
SALEOR = {kind: selected(document, field)["edges"]["node"] for kind, (field, document) in saleor.LISTS.items()}
SHOPIFY = {kind: selected(document, "result")["nodes"] for kind, document in shopify.LISTS.items()}
VENDURE = {kind: selected(document, str(kind))["items"] for kind, document in vendure.LISTS.items()}


# ------------------------------------------------------------------------------------------- complete entities


def woocommerce_product(**fields: Any) -> Json:
    attributes = [{"id": 1, "name": "Size", "option": "L"}]
    variation = {
        "id": 44, "date_modified_gmt": "2026-11-23T05:00:00", "description": "…", "sku": "MUG-L", "price": "9.00",
        "status": "publish", "image": {"id": 5, "src": "https://shop.example/l.png"}, "attributes": attributes,
        "menu_order": 1, "name": "L",
    }  # fmt: skip
    images = [{"id": 4, "src": "https://shop.example/mug.png", "alt": ""}]
    product = recorded("woocommerce/product.updated.json") | {"images": images}
    return product | {"type": "variable", "variations": [44], woocommerce.VARIANTS: [variation], **fields}


def woocommerce_customer(**fields: Any) -> Json:
    return recorded("woocommerce/customer.updated.json") | fields


MAGENTO_CUSTOMER: Json = {
    "id": 5, "group_id": 1, "default_billing": "3", "created_at": "2026-11-23 05:00:00", "updated_at": "2026-11-23 05:00:01",
    "created_in": "Default Store View", "dob": "1990-02-03", "email": "jane@example.com", "firstname": "Jane",
    "lastname": "Doe", "middlename": "", "gender": 0, "store_id": 1, "website_id": 1, "taxvat": "", "addresses": [],
    "disable_auto_group_change": 0, "extension_attributes": {"is_subscribed": False},
}  # fmt: skip
MAGENTO_PRODUCT: Json = {
    "id": 7, "sku": "mug", "name": "Mug", "attribute_set_id": 4, "price": 9, "status": 1, "visibility": 4, "type_id": "simple",
    "created_at": "2026-11-23 05:00:00", "updated_at": "2026-11-23 05:00:01", "weight": 1, "product_links": [], "options": [],
    "extension_attributes": {}, "media_gallery_entries": [], "tier_prices": [],
    "custom_attributes": [
        {"attribute_code": "image", "value": "/m/u/mug.png"}, {"attribute_code": "url_key", "value": "mug"},
        {"attribute_code": "description", "value": "…"},
    ],
}  # fmt: skip


def magento_configurable() -> Json:
    """An order of a guest for the variant of a product; the total is paid in part."""
    row = magento_order(TAXES["included"], ("3.00",))
    line = row["items"][0]
    parent = line | {"item_id": 8, "product_id": 70, "product_type": "configurable"}
    child = line | {"item_id": 9, "parent_item_id": 8, "product_id": 71, "product_type": "simple"}
    payment = {"method": "card", "amount_authorized": 100}
    return row | {"items": [parent, child], "customer_is_guest": 1, "total_paid": 50, "payment": payment}


BIGCOMMERCE_PRODUCT: Json = {
    "id": 77, "name": "Mug", "type": "physical", "sku": "MUG", "description": "…", "weight": 1, "price": 9, "categories": [],
    "is_visible": True, "custom_url": {"url": "/mug/", "is_customized": False}, "search_keywords": "", "warranty": "",
    "meta_keywords": [], "meta_description": "", "date_created": TIME, "date_modified": TIME, "base_variant_id": None,
    "images": [{"id": 3, "is_thumbnail": True, "url_standard": "https://shop.example/mug.png", "description": ""}],
    "variants": [{
        "id": 71, "sku": "MUG-L", "image_url": "https://shop.example/l.png",
        "option_values": [{"id": 1, "label": "L", "option_id": 2, "option_display_name": "Size"}],
    }],
}  # fmt: skip


def medusa_customer(**fields: Any) -> Json:
    address = {"first_name": "Jane", "last_name": "Doe", "is_default_billing": True, "is_default_shipping": False}
    return recorded("medusa/customer.created.json") | {"addresses": [address]} | fields


def medusa_shipping_discount() -> Json:
    row = medusa_order(TAXES["excluded"], ("3.00",))
    (method,) = row["shipping_methods"]
    adjustment = {"id": "ordsmadj_1", "code": "SHIP-FREE", "amount": 4, "description": None}
    return row | {
        "shipping_methods": [method | {"adjustments": [adjustment]}],
        "customer": {"has_account": True, "id": "c"},
    }


SALEOR_CUSTOMER: Json = {
    "id": "VXNlcjoz", "email": "jane@example.com", "firstName": "", "lastName": "", "dateJoined": TIME, "updatedAt": TIME,
    "defaultBillingAddress": {"firstName": "Jane", "lastName": "Doe"},
}  # fmt: skip
SALEOR_PRODUCT: Json = {
    "id": "UHJvZHVjdDox", "name": "Mug", "slug": "mug", "updatedAt": TIME, "thumbnail": {"url": "https://shop.example/mug.png"},
    "channelListings": [{"isPublished": True, "channel": {"slug": "web"}}],
    "productVariants": {"edges": [{"node": {"id": "v1", "name": "L"}}], "pageInfo": {"hasNextPage": False}},
}  # fmt: skip
SHOPIFY_CUSTOMER: Json = {
    "id": "gid://shopify/Customer/3", "firstName": None, "lastName": None, "tags": ["vip"], "createdAt": TIME, "updatedAt": TIME,
    "defaultEmailAddress": {"emailAddress": "jane@example.com"}, "defaultPhoneNumber": {"phoneNumber": "+49123"},
    "defaultAddress": {"firstName": "Jane", "lastName": "Doe"},
}  # fmt: skip
SHOPIFY_PRODUCT: Json = {
    "id": "gid://shopify/Product/7", "title": "Mug", "handle": "mug", "status": "ACTIVE", "updatedAt": TIME,
    "featuredMedia": {"preview": {"image": {"url": "https://shop.example/mug.png"}}},
    "variants": {
        "nodes": [{"id": "gid://shopify/ProductVariant/71", "title": "L", "position": 1}], "pageInfo": {"hasNextPage": False},
    },
}  # fmt: skip
VENDURE_CUSTOMER: Json = {
    "id": "3", "emailAddress": "jane@example.com", "firstName": "", "lastName": "", "phoneNumber": "+49123", "user": {"id": "3"},
    "createdAt": TIME, "updatedAt": TIME, "addresses": [{"fullName": "Jane Doe", "defaultBillingAddress": True}],
}  # fmt: skip
VENDURE_PRODUCT: Json = {
    "id": "7", "name": "Mug", "slug": "mug", "enabled": True, "updatedAt": TIME, "featuredAsset": {"preview": "https://s/mug.png"},
    "variants": [
        {"id": "71", "name": "L", "enabled": True, "updatedAt": TIME, "featuredAsset": {"preview": "https://s/l.png"}},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An entity with all fields that the store shows of it, and the fields that the list selects."""

    name: str
    row: Json
    translate: Callable[[Any], object]
    tree: Tree


def cases() -> Iterator[Case]:
    def case(store: str, kind: EventKind, row: Json, translate: Callable[[Any], object], tree: Tree) -> Case:
        return Case(f"{store}-{kind}", row, translate, tree)

    for tax in TAXES.values():
        for refunds in ((), ("3.00", "2.00")):
            yield case("woocommerce", ORDER, woocommerce_order(tax, refunds), woo(ORDER), WOOCOMMERCE[ORDER])
            yield case("magento", ORDER, magento_order(tax, refunds), mag(ORDER), MAGENTO[ORDER])
            yield case("medusa", ORDER, medusa_order(tax, refunds), med(ORDER), MEDUSA[ORDER])
            yield case("saleor", ORDER, saleor_order(tax, refunds), sal(ORDER), SALEOR[ORDER])
            yield case("shopify", ORDER, shopify_node(tax, refunds), shop(ORDER), SHOPIFY[ORDER])
            yield case("vendure", ORDER, vendure_order(tax, refunds), ven(ORDER), VENDURE[ORDER])
    of_a_plugin = woocommerce_order(TAXES["included"]) | {"status": "packed", "date_paid_gmt": "2026-11-23T05:00:00"}
    yield case("woocommerce", ORDER, of_a_plugin, woo(ORDER), WOOCOMMERCE[ORDER])
    changes: list[Json] = [{}, {"first_name": "", "last_name": ""}, {"email": ""}]
    for fields in changes:
        yield case("woocommerce", CUSTOMER, woocommerce_customer(**fields), woo(CUSTOMER), WOOCOMMERCE[CUSTOMER])
    changes = [{}, {"type": "simple"}, {"images": []}]
    for fields in changes:
        yield case("woocommerce", PRODUCT, woocommerce_product(**fields), woo(PRODUCT), WOOCOMMERCE[PRODUCT])
    yield case("magento", ORDER, magento_configurable(), mag(ORDER), MAGENTO[ORDER])
    yield case("magento", CUSTOMER, MAGENTO_CUSTOMER, mag(CUSTOMER), MAGENTO[CUSTOMER])
    yield case("magento", PRODUCT, MAGENTO_PRODUCT, mag(PRODUCT), MAGENTO[PRODUCT])
    excluded = set(UNUSED.split(","))
    tree: Tree = {name: {} for name in BIGCOMMERCE_PRODUCT if name not in excluded}
    yield case("bigcommerce", PRODUCT, BIGCOMMERCE_PRODUCT, bigcommerce.product_event, tree)
    yield case("medusa", ORDER, medusa_shipping_discount(), med(ORDER), MEDUSA[ORDER])
    changes = [{}, {"first_name": None, "last_name": None}]
    for fields in changes:
        yield case("medusa", CUSTOMER, medusa_customer(**fields), med(CUSTOMER), MEDUSA[CUSTOMER])
    yield case("medusa", PRODUCT, recorded("medusa/product.updated.json"), med(PRODUCT), MEDUSA[PRODUCT])
    yield case("saleor", CUSTOMER, SALEOR_CUSTOMER, sal(CUSTOMER), SALEOR[CUSTOMER])
    yield case("saleor", PRODUCT, SALEOR_PRODUCT, sal(PRODUCT), SALEOR[PRODUCT])
    yield case("shopify", CUSTOMER, SHOPIFY_CUSTOMER, shop(CUSTOMER), SHOPIFY[CUSTOMER])
    yield case("shopify", PRODUCT, SHOPIFY_PRODUCT, shop(PRODUCT), SHOPIFY[PRODUCT])
    yield case("vendure", CUSTOMER, VENDURE_CUSTOMER, ven(CUSTOMER), VENDURE[CUSTOMER])
    yield case("vendure", PRODUCT, VENDURE_PRODUCT, ven(PRODUCT), VENDURE[PRODUCT])


def woo(kind: EventKind) -> Callable[[Any], object]:
    return lambda row: woocommerce.to_event(kind, row)


def mag(kind: EventKind) -> Callable[[Any], object]:
    return lambda row: magento.to_event(kind, row, "https://shop.example/media")


def med(kind: EventKind) -> Callable[[Any], object]:
    return lambda row: medusa.to_event(kind, row)


def sal(kind: EventKind) -> Callable[[Any], object]:
    return lambda row: saleor.to_event(kind, row, "web")


def shop(kind: EventKind) -> Callable[[Any], object]:
    return lambda row: shopify.event_from_node(kind, row)


def ven(kind: EventKind) -> Callable[[Any], object]:
    return lambda row: vendure.to_event(kind, row, 2)


CASES = list(cases())
every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


# ------------------------------------------------------------------------------------------------- the tests


@every_case
def test_a_listed_entity_is_the_same_event_as_a_complete_one(case: Case) -> None:
    listed = reduced(case.row, case.tree)
    complete, of_the_list = native(case.translate(case.row)), native(case.translate(listed))
    assert of_the_list.event.model_dump(exclude_unset=True) == complete.event.model_dump(exclude_unset=True)
    assert (of_the_list.dedupe_key, of_the_list.note) == (complete.dedupe_key, complete.note)


class Watched(dict[str, Any]):
    """A JSON object that remembers which names were read, as paths."""

    def __init__(self, row: Json, path: str, reads: set[str]) -> None:
        super().__init__({name: watched(value, f"{path}{name}.", reads) for name, value in row.items()})
        self._path, self._reads = path, reads

    def _read(self, name: object) -> None:
        self._reads.add(f"{self._path}{name}")

    def get(self, name: str, default: Any = None) -> Any:
        self._read(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self._read(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._read(name)
        return super().__contains__(name)


def watched(value: Any, path: str, reads: set[str]) -> Any:
    if isinstance(value, list):
        return [watched(member, path, reads) for member in value]
    return Watched(value, path, reads) if isinstance(value, dict) else value


def is_selected(path: str, tree: Tree) -> bool:
    for name in path.split("."):
        if name not in tree:
            return False
        if not tree[name]:
            return True
        tree = tree[name]
    return True


NOT_SELECTED: dict[str, set[str]] = {
    "magento-customers": {"entity_id"},
    "magento-products": {"entity_id"},
    "magento-orders": {"id"},
    "medusa-orders": {"shipping_methods.adjustments.is_tax_inclusive"},
    "shopify-orders": {"shippingLines.nodes.quantity", "shippingLines.nodes.originalUnitPriceSet"},
}
"""Read, because one function reads several kinds of rows. The store has no such field here, or the event does not need it: of a
shipping line only the discount."""


@every_case
def test_every_field_that_a_translation_reads_is_selected(case: Case) -> None:
    reads: set[str] = set()
    native(case.translate(watched(case.row, "", reads)))
    assert reads
    missing = {path for path in reads if not is_selected(path, case.tree)}
    assert missing <= NOT_SELECTED.get(case.name, set())


SUBSCRIPTIONS = {
    CUSTOMER: (saleor_documents.CUSTOMER_EVENTS, "user"),
    ORDER: (saleor_documents.ORDER_EVENTS, "order"),
    PRODUCT: (saleor_documents.PRODUCT_EVENTS, "product"),
}


@pytest.mark.parametrize("kind", list(EventKind))
def test_lists_single_reads_and_subscriptions_select_the_same_fields(kind: EventKind) -> None:
    document, field = SUBSCRIPTIONS[kind]
    assert selected(document, "event")[field] == SALEOR[kind]
    single_field, single = saleor.SINGLE[kind]
    assert selected(single, single_field) == SALEOR[kind]
    assert selected(shopify.GETS[kind][0], "result") == SHOPIFY[kind]
    assert selected(vendure.SINGLE[kind], kind.removesuffix("s")) == VENDURE[kind]
