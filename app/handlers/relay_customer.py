"""A customer -> PUT /v1/customers/{id}. The newest version wins."""

from collections.abc import Mapping
from typing import Final, Protocol

from pydantic import JsonValue, ValidationError

from app.engine.jobs import Job
from app.handlers.verdicts import settled, unreadable
from app.messages import CustomerEvent, OrderEvent
from app.outcomes import Outcome, Reject, Skip, Wait
from app.platform import translate
from app.platform.answers import Verdict
from app.platform.fields import Fields
from app.sealing import UnreadableBodyError

KEY_RECHECK: Final = 60.0
"""Seconds between two looks whether the key of a body is back."""


class PutsCustomers(Protocol):
    @property
    def fields(self) -> Fields: ...
    async def put_customer(self, customer_id: str, body: Mapping[str, JsonValue]) -> Verdict: ...


class HoldsCustomers(Protocol):
    async def newest(self, customer_id: str) -> bytes | None:
        """The newest body that the store has sent of a customer. Raises UnreadableBodyError."""


class RelayCustomer:
    """With the param `from` = `order` the job's body is an order whose buyer the Platform did not know: what the
    store once sent of that customer is put, else what the order tells."""

    def __init__(self, platform: PutsCustomers, customers: HoldsCustomers) -> None:
        self._platform = platform
        self._customers = customers

    async def __call__(self, job: Job) -> Outcome:
        missing = job.params.get("from") == "order"
        try:
            found = await self._of_order(job.body) if missing else self._of_event(job.body)
        except UnreadableBodyError as error:
            return Wait(f"what the store sent of this customer cannot be read: {error}", "settings", KEY_RECHECK)
        except ValidationError as error:
            return unreadable(error)
        if found is None:
            return Reject("the order names neither a customer nor an e-mail address")
        customer_id, body = found
        digest = translate.digest(body)
        if not missing and job.known and job.delivered == digest:
            return Skip("unchanged: the Platform was last given the same")
        return settled(await self._platform.put_customer(customer_id, body), digest)

    def _of_event(self, raw: bytes) -> tuple[str, translate.Body]:
        event = CustomerEvent.parse(raw)
        return event.id, translate.customer(event, self._platform.fields)

    async def _of_order(self, raw: bytes) -> tuple[str, translate.Body] | None:
        told = translate.customer_of_order(OrderEvent.parse(raw), self._platform.fields)
        held = await self._customers.newest(told[0]) if told else None
        return self._of_event(held) if held else told
