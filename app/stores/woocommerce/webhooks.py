"""Reads WooCommerce's lists and sets up its webhooks (REST v3 /orders, /customers, /products, /webhooks)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Blocked, Done, Outcome
from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import NativeEvent, Page, ParsedEntity, StoreWebhook, secret_missing
from platform_relay.stores.paging import Rows, next_rows
from platform_relay.stores.woocommerce.api import RESPONSES, WooCommerceApi, raise_for_status, total_of
from platform_relay.stores.woocommerce.events import SIGNED_WITH, TOPICS, to_event
from platform_relay.stores.woocommerce.variations import with_variations

PER_PAGE: Final = 100
FIELDS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: "id,email,first_name,last_name,username,role,billing,date_created_gmt,date_modified_gmt",
    EventKind.ORDER: (
        "id,number,status,currency,prices_include_tax,customer_id,billing,total,total_tax,discount_total,discount_tax,"
        "shipping_total,shipping_tax,cart_tax,line_items,fee_lines,coupon_lines,refunds,date_created_gmt,"
        "date_modified_gmt,date_paid_gmt,date_completed_gmt"
    ),
    EventKind.PRODUCT: (
        "id,parent_id,name,slug,type,status,images,variations,attributes,date_created_gmt,date_modified_gmt"
    ),
}
"""The fields of a list. A description alone can be larger than all of them."""


class WooCommerceReader:
    """Reads lists and sets up webhooks. `secret` signs the webhooks; without it none can be created.

    Every method raises CallFailed.
    """

    def __init__(self, api: WooCommerceApi, secret: str | None) -> None:
        self._api = api
        self._secret = secret

    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        """Return a page, in the order of the ids. `/customers` has no filter by time, so all customers are read."""
        request = f"the list of {kind}"

        async def read(offset: int, limit: int) -> Rows:
            query = {"per_page": str(limit), "offset": str(offset), "orderby": "id", "order": "asc"}
            answer = await self._api.accepted(
                request, "GET", str(kind), {**query, **_filters(kind, since), "_fields": FIELDS[kind]}
            )
            rows = RESPONSES.json(answer, request)
            if not isinstance(rows, list):
                raise RESPONSES.unreadable(request, "it is not a list", answer)
            return Rows([row if isinstance(row, dict) else {} for row in rows], total_of(answer))

        page = await next_rows(read, cursor, size=PER_PAGE, row_id=lambda row: str(row.get("id")))
        rows = page.rows
        if kind is EventKind.PRODUCT:
            rows = [await with_variations(self._api, row) for row in rows]
        events = (to_event(kind, row) for row in rows)
        return Page.of((event for event in events if not _is_older(event, since)), page.next)

    async def count(self, kind: EventKind, since: datetime | None) -> int | None:
        """See `native.CountsEntities`. None for customers since a time, and while there are drafts among the orders."""
        if kind is EventKind.CUSTOMER and since is not None:
            return None
        total = await self._count(kind, _filters(kind, since))
        if kind is EventKind.ORDER and await self._count(kind, {**_filters(kind, since), "status": "checkout-draft"}):
            return None
        return total

    async def _count(self, kind: EventKind, filters: dict[str, str]) -> int | None:
        query = {"per_page": "1", "_fields": "id", **filters}
        return total_of(await self._api.accepted(f"the number of {kind}", "GET", str(kind), query))

    def webhook_topics(self) -> tuple[str, ...]:
        return TOPICS

    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        request = "the list of webhooks"
        answer = await self._api.accepted(request, "GET", "webhooks", {"per_page": str(PER_PAGE)})
        rows = RESPONSES.json(answer, request)
        if not isinstance(rows, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        return tuple(
            StoreWebhook(str(row["id"]), str(row["topic"]), str(row["delivery_url"]), row.get("status") == "active")
            for row in rows
            if isinstance(row, dict) and row.get("delivery_url") == address
        )

    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
        if self._secret is None:
            return Blocked(secret_missing(SIGNED_WITH))
        body: JsonValue = {
            "name": f"platform-relay {topic}",
            "topic": topic,
            "delivery_url": address,
            "secret": self._secret,
            "status": "active",
        }
        request = "the creation of the webhook"
        answer = await self._api.accepted(request, "POST", "webhooks", body=body)
        row = RESPONSES.json(answer, request)
        if not isinstance(row, dict) or "id" not in row:
            raise RESPONSES.unreadable(request, "it does not contain the webhook", answer)
        return StoreWebhook(str(row["id"]), topic, address, enabled=True)

    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        body: JsonValue = {"status": "active"} if self._secret is None else {"status": "active", "secret": self._secret}
        await self._api.accepted("the activation of the webhook", "PUT", f"webhooks/{webhook.id}", body=body)
        return Done()

    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        request = "the removal of the webhook"
        answer = await self._api.call("DELETE", f"webhooks/{webhook.id}", {"force": "true"})
        if answer.status != 404:  # already deleted
            raise_for_status(answer, request, "DELETE")
        return Done()


def _is_older(entity: ParsedEntity, since: datetime | None) -> bool:
    """Whether the entity did not change since `since`."""
    version = entity.event.updatedAt if isinstance(entity, NativeEvent) else None
    return since is not None and version is not None and version < since


def _filters(kind: EventKind, since: datetime | None) -> dict[str, str]:
    """Customers of every role: an administrator or a subscriber buys as well."""
    if kind is EventKind.CUSTOMER:
        return {"role": "all"}
    if since is None:
        return {}
    after = since.astimezone(UTC) - timedelta(microseconds=1)  # its second is the last one that is excluded
    return {"modified_after": after.strftime("%Y-%m-%dT%H:%M:%S"), "dates_are_gmt": "true"}
