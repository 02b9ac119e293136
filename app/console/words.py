"""How values are written for people: the templates' filters. Pure."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float | None) -> str:
    """`2 d 3 h`, `5 min 20 s`, `3 s`; an em dash for None."""
    if seconds is None:
        return "—"
    left, parts = round(seconds), []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"


def ago(moment: datetime | None) -> str:
    return "—" if moment is None else f"{duration(max(0.0, (datetime.now(UTC) - moment).total_seconds()))} ago"


def moment(value: datetime | None) -> str:
    """`2026-05-11 16:25:01`, in UTC."""
    return "—" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def count(value: float) -> str:
    return f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Per second, or per minute where that reads better."""
    if value is None:
        return "—"
    if value >= 10:
        return f"{value:,.0f}/s"
    return f"{value:.1f}/s" if value >= 1 else f"{value * 60:,.0f}/min"


def money(value: Decimal | None, currency: str | None) -> str:
    return "—" if value is None else f"{value:,f} {currency or ''}".strip()


def plain(word: str) -> str:
    """`relay_order` as `relay order`."""
    return word.replace("_", " ")


FILTERS: Final = {
    "duration": duration,
    "ago": ago,
    "moment": moment,
    "iso": iso,
    "count": count,
    "rate": rate,
    "money": money,
    "plain": plain,
}
