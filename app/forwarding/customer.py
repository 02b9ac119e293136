"""A customer -> PUT /v1/customers/{id}. The newest version wins."""

from typing import Final

from pydantic import ValidationError

from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.outcomes import Outcome, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.messages import CustomerEvent, OrderEvent
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform import translate
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, settled, unreadable
from platform_relay.queue.jobs import Job

KEY_RECHECK: Final = 60.0
"""Seconds between two looks whether the key of a body is back."""


class ForwardCustomer:
    """With the param `from` = `order` the job's body is an order whose customer the Platform did not know: the newest
    version that the store sent of that customer is put, else the customer as the order has it."""

    def __init__(self, platform: PlatformClient, customers: Customers) -> None:
        self._platform = platform
        self._customers = customers

    async def __call__(self, job: Job) -> Outcome:
        missing = job.params.get("from") == "order"
        try:
            customer = await self._of_order(job.body) if missing else self._of_event(job.body)
        except UnreadableBodyError as error:
            return Wait(error.reason, "settings", KEY_RECHECK)
        except ValidationError as error:
            return unreadable(error)
        if customer is None:
            return Reject(because(ReasonCode.NO_CUSTOMER, entity="order"))
        customer_id, body = customer
        digest = translate.digest(body)
        if not missing and job.known and job.delivered == digest:
            return UNCHANGED
        return settled(await self._platform.put_customer(customer_id, body), digest)

    def _of_event(self, raw: bytes) -> tuple[str, translate.Body]:
        event = CustomerEvent.parse(raw)
        return event.id, translate.customer(event, self._platform.fields)

    async def _of_order(self, raw: bytes) -> tuple[str, translate.Body] | None:
        of_order = translate.customer_of_order(OrderEvent.parse(raw), self._platform.fields)
        newest = await self._customers.newest(of_order[0]) if of_order else None
        return self._of_event(newest) if newest else of_order
