"""What is held about a customer whom the Platform does not know."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.inbox.stored_customers import CustomerDelivery, Customers
from tests.journeys.handler_jobs import store_job, store_message
from tests.reasons import HTTP_400


async def test_the_newest_version_is_told_by_the_stores_own_time_and_then_by_order(engine: AsyncEngine) -> None:
    customers = Customers(engine)
    assert await customers.newest("42") is None
    for seq, (body, version) in enumerate(((b"old", 1), (b"new", 3), (b"late", 2)), 1):
        at = datetime(2025, 1, version, tzinfo=UTC)
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


async def test_a_version_without_a_time_counts_by_its_arrival(engine: AsyncEngine) -> None:
    """The time of a version from the future is removed, and the job is still sent as the newest."""
    for seq, (body, version) in enumerate(((b"dated", datetime(2025, 1, 1, tzinfo=UTC)), (b"undated", None)), 1):
        message = await store_message(engine, "customers", body, "42")
        await store_job(engine, message, "forward_customer", "waiting", seq=seq, version=version)
    assert await Customers(engine).newest("42") == b"undated"


async def test_what_became_of_an_owed_delivery(engine: AsyncEngine) -> None:
    customers = Customers(engine)
    message = await store_message(engine, "orders")
    await store_job(engine, message, "forward_order", "running", seq=5)
    assert await customers.delivery_for(message) is None
    await store_job(engine, message, "forward_customer", "dead", reason=HTTP_400)
    assert await customers.delivery_for(message) == CustomerDelivery("failed", HTTP_400)
    await store_job(engine, message, "forward_customer", "waiting", seq=2)
    assert await customers.delivery_for(message) == CustomerDelivery("open", None)
