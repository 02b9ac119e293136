"""Where there are several cells: what a job has to do with another one.

A lane is at home in one cell: a customer's where its key says, a coupon's where it was first redeemed. A job that comes up
elsewhere is handed over, so that what holds for a lane holds across cells. And an order waits for its customer's first
delivery, also where that is owed in another cell.
"""

from collections.abc import Mapping
from typing import Final, Protocol
from uuid import UUID

import uuid_utils.compat

from app.cells import elsewhere
from app.database import is_unavailable
from app.engine.jobs import Handler, Job
from app.errors import DatabaseAway
from app.inbox import Receipt
from app.messages import Incoming
from app.outcomes import Outcome, Skip, Wait

RECHECK: Final = 5.0
"""Seconds between two looks for a cell that is away."""
OWED_RECHECK: Final = 30.0
"""Seconds between two looks at the most. The delivery wakes the order long before (`cells.Waker`), unless the order's cell
was away: so an order looks again after as long as it is old."""


class KnowsHomes(Protocol):
    async def of(self, lane: str) -> int: ...
    async def parcel(self, job: Job, lane: str) -> Incoming: ...
    async def owes_first(self, lane: str) -> bool: ...


class Accepts(Protocol):
    async def accept(self, message: Incoming, message_id: UUID) -> Receipt: ...


class AtHome:
    """`handler`, for jobs whose lane is at home `here`. A cell that is away costs no attempt and trips no breaker."""

    def __init__(self, handler: Handler, here: int, homes: KnowsHomes, inboxes: Mapping[int, Accepts]) -> None:
        self._handler = handler
        self._here = here
        self._homes = homes
        self._inboxes = inboxes

    async def __call__(self, job: Job) -> Outcome:
        # What was delivered from here is at home here.
        handed = None if job.known else await self._hand_over(job)
        return await self._handler(job) if handed is None else handed

    async def _hand_over(self, job: Job) -> Outcome | None:
        """The job handed over; None when it is to be done here."""
        name = job.lane.removesuffix(f"#{job.message_id}")  # all claims to a code are judged in one place
        told = f"the cell that knows where {name} is at home"
        try:
            home = await self._homes.of(name)
            if home == self._here:
                return None
            told = f"cell {home}, where {name} is at home,"
            message_id = uuid_utils.compat.uuid7()
            lane = name if name == job.lane else f"{name}#{message_id}"
            receipt = await self._inboxes[home].accept(await self._homes.parcel(job, lane), message_id)
        except Exception as error:
            if isinstance(error, DatabaseAway) or is_unavailable(error):
                return _wait(told)
            raise
        return Skip(f"handed over to cell {home}, where {name} is at home, as message {receipt.id}")


class AfterCustomer:
    """`handler` of orders, once nothing is known to be owed of the customer elsewhere: asked before the order's first
    delivery, and before a later version is tried again, which may name another customer. While that cell is away, the
    Platform itself says whether it knows the customer."""

    def __init__(self, handler: Handler, homes: KnowsHomes) -> None:
        self._handler = handler
        self._homes = homes

    async def __call__(self, job: Job) -> Outcome:
        if job.after and (not job.known or job.attempt > 1) and await self._owed(job.after):
            why = f"waits for the first delivery of {job.after}, which is owed in its cell"
            return Wait(why, elsewhere(job.after), min(OWED_RECHECK, max(1.0, job.age)))
        try:
            return await self._handler(job)
        except DatabaseAway:
            return _wait("another cell")

    async def _owed(self, lane: str) -> bool:
        try:
            return await self._homes.owes_first(lane)
        except Exception as error:
            if is_unavailable(error):
                return False
            raise


def _wait(who: str) -> Wait:
    return Wait(f"{who} cannot be reached", elsewhere("cell"), RECHECK)
