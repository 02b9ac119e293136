"""Forwards a customer: PUT /v1/customers/{id}. The newest version wins."""

from typing import Final

from pydantic import ValidationError

from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.outcomes import Outcome, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import CustomerEvent, OrderEvent
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform import translation
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, outcome_of, unreadable_event
from platform_relay.queue.jobs import Job

KEY_RECHECK: Final = 60.0
"""Seconds between two looks for the missing key of an encrypted body."""


class ForwardCustomer:
    """With the parameter `from` = `order`, the job's body is an order whose customer the Platform did not know. The job then
    sends the newest version of the customer that the store sent, or else the customer as the order has it."""

    def __init__(self, platform: PlatformClient, customers: Customers) -> None:
        self._platform = platform
        self._customers = customers

    async def __call__(self, job: Job) -> Outcome:
        from_order = job.params.get("from") == "order"
        try:
            customer = await self._of_order(job.body) if from_order else self._of_event(job.body)
        except UnreadableBodyError as error:
            return Wait(error.reason, "settings", KEY_RECHECK)
        except ValidationError as error:
            return unreadable_event(error)
        if customer is None:
            return Reject(because(ReasonCode.NO_CUSTOMER, entity="order"))
        customer_id, body = customer
        digest = translation.digest(body)
        if not from_order and job.exists_remotely and job.delivered_digest == digest:
            return UNCHANGED
        return outcome_of(await self._platform.put_customer(customer_id, body), digest)

    def _of_event(self, raw: bytes) -> tuple[str, translation.Body]:
        event = CustomerEvent.parse(raw)
        return event.id, translation.customer(event, self._platform.fields)

    async def _of_order(self, raw: bytes) -> tuple[str, translation.Body] | None:
        customer = translation.customer_of_order(OrderEvent.parse(raw), self._platform.fields)
        newest = await self._customers.newest(customer[0]) if customer else None
        return self._of_event(newest) if newest else customer
