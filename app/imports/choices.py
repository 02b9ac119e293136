"""What the caller of an import states about the file."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from platform_relay.imports.amounts import CODES
from platform_relay.imports.statuses import parse_statuses
from platform_relay.imports.values import DateOrder, DecimalMark


@dataclass(frozen=True, slots=True)
class Choices:
    """What the caller states. `fields`: items such as `field=column`; `statuses`: items such as `Bezahlt=paid`."""

    fields: tuple[str, ...] = ()
    decimal: DecimalMark | None = None
    date_order: DateOrder | None = None
    time_zone: str | None = None
    currency: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    statuses: tuple[str, ...] = ()


def check_choices(choices: Choices) -> None:
    """Raises ValueError for an unknown time zone, currency or status."""
    parse_statuses(choices.statuses)
    if choices.time_zone is not None:
        try:
            ZoneInfo(choices.time_zone)
        except (ValueError, OSError, LookupError):
            raise ValueError(
                f"the time zone {choices.time_zone!r} is unknown; write a name such as Europe/Berlin or UTC"
            ) from None
    if choices.currency is not None and choices.currency not in CODES:
        raise ValueError(f"the currency {choices.currency!r} is unknown; write a code of ISO 4217 such as EUR")
