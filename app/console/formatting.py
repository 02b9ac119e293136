"""Template filters that format values for display. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from markupsafe import Markup, escape

from platform_relay.core.visible_text import visible_lines
from platform_relay.inbox.messages import JobKind
from platform_relay.queue.destinations import display_name

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_KINDS: Final[Mapping[str, str]] = {
    JobKind.FORWARD_ORDER: "order for the Platform",
    JobKind.FORWARD_CUSTOMER: "customer for the Platform",
    JobKind.FORWARD_PRODUCT: "product for the Platform",
    JobKind.USE_REWARD: "use of a coupon, for the Platform",
    JobKind.RETURN_POINTS: "return of points",
    JobKind.ISSUE_COUPON: "coupon to create in the store",
    JobKind.RETIRE_COUPON: "coupon to retire in the store",
    JobKind.SYNC_LOYALTY: "tier and points for the store",
    JobKind.FETCH_ENTITY: "details to fetch from the store",
}
_DISPOSITIONS: Final[Mapping[str, str]] = {
    "rejected": "rejected by the destination",
    "exhausted": "all attempts failed",
    "expired": "older than RETENTION",
    "crashed": "error in the relay",
}


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


def timestamp(value: datetime | None) -> str:
    """`2026-05-11 16:25:01`, in UTC."""
    return "—" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def short_time(value: datetime | None) -> str:
    """`11 May, 16:25:01`, in UTC."""
    return "—" if value is None else f"{value.astimezone(UTC):%d %b, %H:%M:%S}".removeprefix("0")


def field_time(value: datetime | None) -> str:
    """`2026-05-11T16:25:01`, in UTC, as the value of a field for date and time; empty for None."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def count(value: float) -> str:
    return f"{value:,.0f}"


def file_size(value: int) -> str:
    """`900 bytes`, `12.3 MB`."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return plural(value, "byte")


def plural(value: int, noun: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def rate(value: float | None) -> str:
    """Per second from 1/s on, else per minute."""
    if value is None:
        return "—"
    if value >= 10:
        return f"{value:,.0f}/s"
    return f"{value:.1f}/s" if value >= 1 else f"{value * 60:,.0f}/min"


def money(value: Decimal | None, currency: str | None) -> str:
    return "—" if value is None else f"{value:,f} {currency or ''}".strip()


def spaced(name: str) -> str:
    """`points_returned` as `points returned`."""
    return name.replace("_", " ")


def kind(name: str) -> str:
    """The name of a job kind."""
    return _KINDS.get(name, spaced(name))


def destination(name: str) -> str:
    """`platform` as `the Platform`."""
    return display_name(name)


def disposition(name: str | None) -> str:
    """Why a job ended."""
    return _DISPOSITIONS.get(name or "", spaced(name or ""))


def capitalized(text: str) -> str:
    """With a capital first letter; the rest is unchanged."""
    return text[:1].upper() + text[1:]


def codes(text: str) -> Markup:
    """A text of the relay, with what is between backticks as code. All of it is escaped."""
    parts = visible_lines(text).split("`")
    if len(parts) % 2 == 0:
        return escape(visible_lines(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


class Exact(str):
    """A text that a page contains unchanged, because a form sends it back."""

    __slots__ = ()


def exact(value: object) -> Exact:
    """The value as it is, with control characters: for the fields of forms."""
    return Exact(value)


def finalized(value: object) -> object:
    """What a page shows for a value: a text without control characters, unless it is exact. For the `finalize` of Jinja."""
    return visible_lines(value) if isinstance(value, str) and not isinstance(value, Exact | Markup) else value


FILTERS: Final = {
    function.__name__: function
    for function in (
        duration,
        timestamp,
        short_time,
        field_time,
        iso,
        count,
        file_size,
        plural,
        rate,
        money,
        spaced,
        kind,
        destination,
        disposition,
        capitalized,
        codes,
        exact,
    )
}
