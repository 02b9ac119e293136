"""What arrived, counted from the simulators' ledgers against what the relay acknowledged. Pure, but for the table.

Lost: something acknowledged that the destination does not have, or not in its newest version, or with another value.
Duplicated: something that ought to be there once and is there more often, or that nobody asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from rich.table import Table

from .call import Json
from .day import Event, Worth
from .feed import Acknowledged

OWN: Final = frozenset({"id", "updatedAt", "createdAt", "variants"})
"""Members of an event that are not forwarded under their name (`variants` are, by another call)."""
CALLS: Final = {"customers": ("customer.put",), "orders": ("order.post", "order.patch"), "products": ("product.put",)}
"""The calls, as the ledger names them, that bring each kind to the Platform."""
ROWS: Final = ("customers", "orders", "products", "coupons")


@dataclass
class Verdict:
    """`lost` and `duplicated` per row of the table, each in words; how many coupons are there as promised."""

    lost: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    duplicated: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    coupons_active: int = 0

    @property
    def lost_count(self) -> int:
        """All that was lost."""
        return sum(map(len, self.lost.values()))

    @property
    def duplicated_count(self) -> int:
        """All that was duplicated."""
        return sum(map(len, self.duplicated.values()))


def judge(acknowledged: Acknowledged, platform: Iterable[Json], coupons: Iterable[Json]) -> Verdict:
    """Compare. `platform` are entries of the Platform simulator's ledger (at least all applied ones of the day),
    `coupons` the store's coupons in its own format, without those that were there before."""
    verdict = Verdict()
    seen = _applied(platform)
    for versions in _by_entity(acknowledged.events).values():
        _judge_entity(versions, seen, verdict)
    asked = {event.entity for event in acknowledged.events}
    for entity in seen:
        if entity.startswith(("order:", "product:")) and entity not in asked:
            verdict.duplicated[f"{entity.partition(':')[0]}s"].append(f"{entity} was never acknowledged")
    _judge_coupons(acknowledged.coupons, coupons, verdict)
    for code in sorted(acknowledged.spent):
        uses = sum(entry["kind"] == "reward.use" for entry in seen.get(f"coupon:{code}", []))
        _once(uses, f"the Platform's knowledge that coupon {code} was used", "coupons", verdict)
    return verdict


def retried(platform: Iterable[Json], prefix: str = "") -> int:
    """How many calls about entities of that prefix failed on the Platform's side and were made again later."""
    entries = [entry for entry in platform if entry["entity"].startswith(prefix)]
    last = {entry["entity"]: entry["seq"] for entry in entries if not entry["fault"]}
    return sum(bool(entry["fault"]) and entry["seq"] < last.get(entry["entity"], 0) for entry in entries)


def _applied(platform: Iterable[Json]) -> dict[str, list[Json]]:
    """What took effect, per entity, in the order of effect."""
    seen: dict[str, list[Json]] = defaultdict(list)
    for entry in sorted((e for e in platform if e["applied"]), key=lambda entry: int(entry["applied_seq"])):
        seen[entry["entity"]].append(entry)
    return seen


def _by_entity(events: Iterable[Event]) -> dict[str, list[Event]]:
    versions: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.version):
        versions[event.entity].append(event)
    return versions


def _judge_entity(versions: list[Event], seen: Mapping[str, list[Json]], verdict: Verdict) -> None:
    newest = versions[-1]
    entries = seen.get(newest.entity, [])
    lost = verdict.lost[newest.kind]
    calls = [entry for entry in entries if entry["kind"] in CALLS[newest.kind]]
    if newest.kind == "orders":
        _judge_statuses(versions, calls, lost)
        made = sum(entry["kind"] == "order.post" for entry in calls)
        verdict.duplicated["orders"] += [f"{newest.entity} was created once more"] * (made - 1)
    if (wanted := newest.body.get("variants")) is not None:
        variants = [entry["body"].get("variants") for entry in entries if entry["kind"] == "variants.post"]
        if variants[-1:] != [wanted]:
            lost.append(f"{newest.entity}: its variants are {variants[-1:]}, not {wanted}")
    if not calls:
        lost.append(f"{newest.entity} never arrived")
    elif wrong := _differences(newest.body, calls[-1]["body"]):
        lost.append(f"{newest.entity}: the newest version ({newest.version}) is not the last one there: {wrong}")


def _judge_statuses(versions: list[Event], calls: list[Json], lost: list[str]) -> None:
    """Every acknowledged version but the newest, which is compared as a whole, was there, in its order."""
    arrived = iter([call["body"].get("financialStatus") for call in calls])
    for version in versions[:-1]:
        status = version.body["financialStatus"]
        if status not in arrived:  # consumes what came before it
            lost.append(f"{version.entity} as {status} ({version.version}) never arrived in its turn")


def _differences(wanted: Json, got: Json) -> str:
    names = [name for name, value in wanted.items() if name not in OWN and got.get(name) != value]
    return ", ".join(f"{name} is {got.get(name)!r}, not {wanted[name]!r}" for name in names)


def _judge_coupons(promised: Mapping[str, Worth], coupons: Iterable[Json], verdict: Verdict) -> None:
    """A code exactly once and with its value; the store's codes know no case."""
    live = [coupon for coupon in coupons if coupon["status"] == "publish"]
    by_code: dict[str, list[Json]] = defaultdict(list)
    for coupon in live:
        by_code[str(coupon["code"]).lower()].append(coupon)
    wanted = {code.lower(): worth for code, worth in promised.items()}
    for code, worth in wanted.items():
        rows = by_code.pop(code, [])
        _once(len(rows), f"coupon {code}", "coupons", verdict)
        wrong = [f"coupon {code} is {_told(row)}, not {worth}" for row in rows if _worth(row) != worth]
        verdict.lost["coupons"] += wrong
        verdict.coupons_active += bool(rows) and not wrong
    verdict.duplicated["coupons"] += [f"coupon {code} belongs to no redemption" for code in by_code]


def _once(times: int, what: str, row: str, verdict: Verdict) -> None:
    if times == 0:
        verdict.lost[row].append(f"{what} is missing")
    verdict.duplicated[row] += [f"{what} is there once more"] * (times - 1)


def _worth(coupon: Json) -> Worth:
    return Worth(coupon["discount_type"], Decimal(coupon["amount"]), Decimal(coupon["minimum_amount"]))


def _told(coupon: Json) -> str:
    return f"{coupon['discount_type']} {coupon['amount']} from {coupon['minimum_amount']} on"


# ------------------------------------------------------------------------------------------------------ for people


def table(acknowledged: Acknowledged, platform: list[Json], coupons: list[Json], verdict: Verdict) -> Table:
    """What became of the day, a row per kind."""
    shown = Table(
        title="What the relay acknowledged, and what the simulators saw",
        caption="Among the customers that arrived are the guests, known by their orders alone.",
    )
    for heading in ("", "accepted", "arrived", "retried", "lost", "duplicated"):
        shown.add_column(heading, justify="right" if heading else "left")
    accepted = Counter[str](event.kind for event in acknowledged.events)
    accepted["coupons"] = len(acknowledged.coupons)
    applied = {row: sum(e["applied"] and e["kind"] in kinds for e in platform) for row, kinds in CALLS.items()}
    applied["coupons"] = sum(coupon["status"] == "publish" for coupon in coupons)
    for row in ROWS:
        shown.add_row(
            row, str(accepted[row]), str(applied[row]), str(retried(platform, f"{row[:-1]}:")),
            str(len(verdict.lost[row])), str(len(verdict.duplicated[row])),
        )  # fmt: skip
    return shown
