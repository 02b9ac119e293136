"""Forwards a customer: PUT /v1/customers/{id}. The newest version wins."""

from functools import partial
from typing import Final

from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.encryption import UnreadableBodyError
from platform_relay.core.outcomes import Outcome, Reject, Wait
from platform_relay.forwarding.prepare import PreparedCustomer, prepare_customer, prepare_customer_of_order
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, outcome_of
from platform_relay.platform.responses import Accepted
from platform_relay.queue.jobs import Job

KEY_RECHECK: Final = 60.0
"""Seconds between two looks for the missing key of an encrypted body."""


class ForwardCustomer:
    """With the parameter `from` = `order`, the job's body is an order whose customer the Platform did not know. The job then
    sends the newest version of the customer that the store sent, or else the customer as the order has it."""

    def __init__(
        self, platform: PlatformClient, customers: Customers, compute: ComputeProcess, drift: PlatformDrift
    ) -> None:
        self._platform = platform
        self._customers = customers
        self._compute = compute
        self._drift = drift

    async def __call__(self, job: Job) -> Outcome:
        from_order = job.params.get("from") == "order"
        try:
            customer = await (self._of_order(job.body) if from_order else self._of_event(job.body))
        except UnreadableBodyError as error:
            return Wait(error.reason, "settings", KEY_RECHECK)
        if isinstance(customer, Reject):
            return customer
        if not from_order and job.exists_remotely and job.delivered_digest == customer.digest:
            return UNCHANGED
        response = await self._platform.put_customer(customer.id, customer.body)
        if isinstance(response, Accepted):
            await self._drift(customer.body, response)
        return outcome_of(response, customer.digest)

    async def _of_event(self, raw: bytes) -> PreparedCustomer | Reject:
        return await self._compute.run_if_large(len(raw), partial(prepare_customer, raw, self._platform.fields))

    async def _of_order(self, raw: bytes) -> PreparedCustomer | Reject:
        prepare = partial(prepare_customer_of_order, raw, self._platform.fields)
        customer = await self._compute.run_if_large(len(raw), prepare)
        if isinstance(customer, Reject):
            return customer
        newest = await self._customers.newest(customer.id)
        return await self._of_event(newest) if newest else customer
