"""A field that a store reports as null or empty was removed; a field that it does not report stays as it is."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from platform_relay.core import exact_json
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.stores.bigcommerce.events import customer_event, product_event
from platform_relay.stores.magento import events as magento
from platform_relay.stores.medusa import events as medusa
from platform_relay.stores.native import NativeEvent, ParsedEntity, Unreadable
from platform_relay.stores.saleor import events as saleor
from platform_relay.stores.shopify import events as shopify
from platform_relay.stores.vendure import events as vendure
from platform_relay.stores.woocommerce import events as woocommerce
from platform_relay.sync.polling import inbox_item

TIME = "2026-01-01T00:00:00Z"
Translate = Callable[[dict[str, Any]], ParsedEntity]


def shopify_webhook(kind: EventKind) -> Translate:
    def translate(row: dict[str, Any]) -> ParsedEntity:
        raw = exact_json.dumps(row)
        signature = base64.b64encode(hmac.digest(b"secret", raw, "sha256")).decode()
        headers = {"x-shopify-topic": f"{kind}/update", "x-shopify-hmac-sha256": signature}
        parsed = shopify.parse_webhook(headers, raw, "secret", "shop.example")
        assert isinstance(parsed, NativeEvent | Unreadable)
        return parsed

    return translate


STORES: dict[str, tuple[EventKind, dict[str, Any], Translate, dict[str, tuple[str, ...]]]] = {
    "woocommerce customer": (
        EventKind.CUSTOMER, {"id": 1, "date_modified_gmt": "2026-01-01T00:00:00"},
        lambda row: woocommerce.to_event(EventKind.CUSTOMER, row),
        {"email": ("email",), "firstName": ("first_name",), "lastName": ("last_name",), "phone": ("billing", "phone")},
    ),
    "woocommerce product": (
        EventKind.PRODUCT, {"id": 1, "date_modified_gmt": "2026-01-01T00:00:00"},
        lambda row: woocommerce.to_event(EventKind.PRODUCT, row),
        {"title": ("name",), "externalUrlHandle": ("slug",)},
    ),
    "shopify webhook": (
        EventKind.CUSTOMER, {"id": 1, "updated_at": TIME}, shopify_webhook(EventKind.CUSTOMER),
        {"email": ("email",), "firstName": ("first_name",), "lastName": ("last_name",), "phone": ("phone",)},
    ),
    "shopify product webhook": (
        EventKind.PRODUCT, {"id": 1, "updated_at": TIME}, shopify_webhook(EventKind.PRODUCT),
        {"title": ("title",), "imageUrl": ("image", "src"), "externalUrlHandle": ("handle",)},
    ),
    "shopify list": (
        EventKind.CUSTOMER, {"id": "gid://shopify/Customer/1", "updatedAt": TIME},
        lambda row: shopify.event_from_node(EventKind.CUSTOMER, row),
        {"email": ("defaultEmailAddress", "emailAddress"), "firstName": ("firstName",), "lastName": ("lastName",),
         "phone": ("defaultPhoneNumber", "phoneNumber"), "tags": ("tags",)},
    ),
    "bigcommerce customer": (
        EventKind.CUSTOMER, {"id": 1, "date_modified": TIME}, customer_event,
        {"email": ("email",), "firstName": ("first_name",), "lastName": ("last_name",), "phone": ("phone",)},
    ),
    "bigcommerce product": (
        EventKind.PRODUCT, {"id": 1, "date_modified": TIME}, product_event,
        {"title": ("name",), "externalUrlHandle": ("custom_url", "url")},
    ),
    "magento customer": (
        EventKind.CUSTOMER, {"id": 1, "updated_at": "2026-01-01 00:00:00"},
        lambda row: magento.to_event(EventKind.CUSTOMER, row, ""),
        {"email": ("email",), "firstName": ("firstname",), "lastName": ("lastname",), "birthdayMonth": ("dob",),
         "birthdayDay": ("dob",)},
    ),
    "medusa customer": (
        EventKind.CUSTOMER, {"id": "c", "updated_at": TIME}, lambda row: medusa.to_event(EventKind.CUSTOMER, row),
        {"email": ("email",), "firstName": ("first_name",), "lastName": ("last_name",), "phone": ("phone",)},
    ),
    "medusa product": (
        EventKind.PRODUCT, {"id": "p", "updated_at": TIME}, lambda row: medusa.to_event(EventKind.PRODUCT, row),
        {"title": ("title",), "imageUrl": ("thumbnail",), "externalUrlHandle": ("handle",)},
    ),
    "saleor customer": (
        EventKind.CUSTOMER, {"id": "c", "updatedAt": TIME}, lambda row: saleor.to_event(EventKind.CUSTOMER, row, "web"),
        {"email": ("email",), "firstName": ("firstName",), "lastName": ("lastName",)},
    ),
    "saleor product": (
        EventKind.PRODUCT, {"id": "p", "updatedAt": TIME}, lambda row: saleor.to_event(EventKind.PRODUCT, row, "web"),
        {"title": ("name",), "imageUrl": ("thumbnail", "url"), "externalUrlHandle": ("slug",)},
    ),
    "vendure customer": (
        EventKind.CUSTOMER, {"id": "1", "updatedAt": TIME}, lambda row: vendure.to_event(EventKind.CUSTOMER, row, 2),
        {"email": ("emailAddress",), "firstName": ("firstName",), "lastName": ("lastName",), "phone": ("phoneNumber",)},
    ),
    "vendure product": (
        EventKind.PRODUCT, {"id": "1", "updatedAt": TIME}, lambda row: vendure.to_event(EventKind.PRODUCT, row, 2),
        {"title": ("name",), "imageUrl": ("featuredAsset", "preview"), "externalUrlHandle": ("slug",)},
    ),
}  # fmt: skip


def with_value(row: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    name, *rest = path
    return {**row, name: with_value({}, tuple(rest), value) if rest else value}


@pytest.mark.parametrize(("store", "field"), [(store, field) for store in STORES for field in STORES[store][3]])
def test_null_and_empty_are_removals_and_absent_is_not(store: str, field: str) -> None:
    kind, row, translate, paths = STORES[store]

    def stored(changed: dict[str, Any]) -> dict[str, Any]:
        """The event as the inbox stores it and the worker reads it."""
        event = translate(changed)
        assert isinstance(event, NativeEvent), event
        message = inbox_item(event, "store", backfill=False)[1]
        again = EVENTS[kind].parse(message.event or b"")
        return {name: getattr(again, name) for name in again.model_fields_set}

    assert field not in stored(row)
    removals = [with_value(row, paths[field], value) for value in (None, "")]
    removals += [with_value(row, paths[field][:1], None)] if len(paths[field]) > 1 else []
    for removal in removals:
        found = stored(removal)
        assert (field, found.get(field, "absent")) == (field, None), json.dumps(removal)
