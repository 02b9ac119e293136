"""How values are written for people: the templates' filters. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_KINDS: Final[Mapping[str, str]] = {
    "forward_order": "order for the Platform",
    "forward_customer": "customer for the Platform",
    "forward_product": "product for the Platform",
    "use_reward": "used coupon, to tell the Platform",
    "return_points": "points to give back",
    "issue_coupon": "coupon for the shop",
    "retire_coupon": "coupon to retire in the shop",
    "sync_loyalty": "news for the shop",
    "fetch_entity": "details to ask the store for",
}
_FAR: Final[Mapping[str, str]] = {"platform": "the Platform", "store": "the shop"}
_DISPOSITIONS: Final[Mapping[str, str]] = {
    "rejected": "refused",
    "exhausted": "tried for too long",
    "expired": "too old",
    "crashed": "an error of the relay",
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


def moment(value: datetime | None) -> str:
    """`2026-05-11 16:25:01`, in UTC."""
    return "—" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def short(value: datetime | None) -> str:
    """`11 May, 16:25:01`, in UTC."""
    return "—" if value is None else f"{value.astimezone(UTC):%d %b, %H:%M:%S}".removeprefix("0")


def iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def count(value: float) -> str:
    return f"{value:,.0f}"


def many(value: int, thing: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{value:,} {thing}" if value == 1 else f"{value:,} {thing}s"


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
    """`given_back` as `given back`."""
    return word.replace("_", " ")


def kind(word: str) -> str:
    """A kind of job."""
    return _KINDS.get(word, plain(word))


def far(destination: str) -> str:
    """A destination as what is at its other end."""
    return _FAR.get(destination, destination)


def disposition(word: str | None) -> str:
    """How a job's last attempt ended."""
    return _DISPOSITIONS.get(word or "", plain(word or ""))


def sentence(text: str) -> str:
    """Beginning with a capital."""
    return text[:1].upper() + text[1:]


FILTERS: Final = {
    each.__name__: each
    for each in (
        duration,
        moment,
        short,
        iso,
        count,
        many,
        rate,
        money,
        plain,
        kind,
        far,
        disposition,
        sentence,
    )
}
