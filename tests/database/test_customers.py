"""What is held about a customer whom the Platform does not know."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.inbox.stored_customers import CustomerDelivery, Customers
from tests.journeys.handler_jobs import store_job, store_message
from tests.reasons import HTTP_400


async def test_the_newest_version_is_told_by_the_stores_own_time_and_then_by_order(engine: AsyncEngine) -> None:
    customers = Customers(engine)
    assert await customers.newest("42") is None
    for seq, (body, version) in enumerate(((b"old", None), (b"new", 2), (b"late", 1)), 1):
        at = datetime(2025, 1, version, tzinfo=UTC) if version else None
        await store_job(
            engine,
            await store_message(engine, "customers", body, "42"),
            "forward_customer",
            "done",
            seq=seq,
            version=at,
        )
    await store_job(engine, await store_message(engine, "orders", b"order", "42"), "forward_customer", "done", seq=9)
    await store_message(engine, "customers/updated", b"webhook", "42")
    assert await customers.newest("42") == b"new"


async def test_what_became_of_an_owed_delivery(engine: AsyncEngine) -> None:
    customers = Customers(engine)
    message = await store_message(engine, "orders")
    await store_job(engine, message, "forward_order", "running", seq=5)
    assert await customers.delivery_for(message) is None
    await store_job(engine, message, "forward_customer", "dead", reason=HTTP_400)
    assert await customers.delivery_for(message) == CustomerDelivery("failed", HTTP_400)
    await store_job(engine, message, "forward_customer", "waiting", seq=2)
    assert await customers.delivery_for(message) == CustomerDelivery("open", None)
