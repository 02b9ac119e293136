"""What the text of a reason code consists of, and sentences that many texts share."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ReasonText:
    """`text`: what happened and why. `next_step`: what happens next, or what to do."""

    text: str
    next_step: str


TRIED_AGAIN: Final = "The relay tries again automatically."
REPEATED_SAFELY: Final = (
    "The request may have arrived. The relay repeats it in a way that cannot create anything twice."
)
NO_ACTION: Final = "No action needed."
PAUSED: Final = "The relay does not call {destination} until this is corrected. No attempts are used up. "
RETRY: Final = "Then retry the job."
