"""The receipt of an erasure: what was removed, what is kept, and what has to be done outside the relay."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import Field

from platform_relay.jobs.views import View

COUNTED: Final = (
    "messages", "redacted", "jobs", "dropped", "attempts", "coupons", "retired", "alerts", "differences", "entities",
)  # fmt: skip


class ErasureReceipt(View):
    """What an erasure removed. `erasure` identifies it in the audit log. A second erasure removes nothing: all counts are 0."""

    erasure: UUID = Field(description="The id of this erasure in the audit log.")
    at: datetime
    by: str
    messages: int = Field(description="Messages whose bodies and references were removed.")
    redacted: int = Field(description="Bodies about other customers from which this customer was removed.")
    jobs: int = Field(description="Jobs whose facts were removed.")
    dropped: int = Field(description="Waiting or dead jobs that were dropped.")
    attempts: int = Field(description="Attempts whose facts and excerpts were removed.")
    coupons: int = Field(description="Coupons whose customer was removed; code, value and state stay.")
    retired: int = Field(description="Coupons that were not created yet, and never will be.")
    alerts: int
    differences: int
    entities: int = Field(description="Records about deliveries of the customer's own data.")
    exports: list[str] = Field(
        description="Exported files of the history that may hold rows of the customer (`HISTORY_EXPORT`)."
    )
    kept: list[str] = Field(description="What is kept, and why.")
    next_steps: list[str] = Field(description="What has to be done outside the relay.")


KEPT: Final = [
    "the number of messages and jobs, with their times and states, so that the counts stay correct",
    "coupons with code, value, points and state, so that the coupon ledger stays correct",
    "digests of the keys of messages that were deleted after HISTORY, until the end of DEDUPE, so that duplicates are recognised",
    "the audit log, whose entries cannot be changed; it names keys, jobs, codes, and the reasons that operators wrote",
]
NEXT_STEPS: Final = [
    "erase the customer in the store, or its next event brings the data back",
    "erase the customer at the Platform, whose API cannot do it",
    "delete backups and logs that are kept elsewhere at the end of your own retention time",
]


def next_steps(exports: Iterable[str], running: Iterable[str], rejected: Iterable[str]) -> list[str]:
    """`exports`: files of the history that may hold rows of the customer. `running`: imports that have not ended. `rejected`:
    imported files with a file of rejected rows."""
    return [
        *NEXT_STEPS,
        *(f"remove the customer's rows from {name}, in the folder of HISTORY_EXPORT" for name in exports),
        *(
            f"the import of {name} has not ended: if its file names the customer, erase the customer again"
            for name in running
        ),
        *(f"delete {name}.rejected.ndjson, or remove the customer's rows from it" for name in rejected),
    ]
