"""Judges loss, doubling and disorder from the wire alone: what was acknowledged, and what the destinations applied."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.faults.load import Acknowledged

Entry = Mapping[str, object]


@dataclass
class Verdict:
    """Each finding in words; all empty when the promise was kept."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """What `lost` is about, as in `Acknowledged.times`."""

    def lose(self, what: str, how: str) -> None:
        self.missing.add(what)
        self.lost.append(f"{what}: {how}")

    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.wrong)


def judge(
    acknowledged: Acknowledged, platform: Iterable[Entry], shop: Iterable[Entry], *, amount: str = "5.00"
) -> Verdict:
    """`platform` and `shop` are their ledgers' applied entries, in the order of their effects."""
    verdict = Verdict()
    platform = list(platform)
    _judge_events(verdict, acknowledged, platform)
    used = {str(entry["entity"]).lower() for entry in platform if entry["kind"] == "reward.use"}
    for code in acknowledged.spent:
        if f"coupon:{code}" not in used:
            verdict.lose(f"coupon {code}", "used, never reported")
    _judge_coupons(verdict, acknowledged, shop, amount)
    return verdict


def unreported(verdict: Verdict, acknowledged: Acknowledged, since: datetime, until: datetime) -> list[str]:
    """What is missing although none of it was acknowledged in the time span that the operator was told."""
    return [
        f"{what} is missing, and was acknowledged at {acknowledged.times[what]}, not from {since} to {until}"
        for what in sorted(verdict.missing)
        if not any(since <= time <= until for time in acknowledged.times[what])
    ]


def _judge_events(verdict: Verdict, acknowledged: Acknowledged, platform: Iterable[Entry]) -> None:
    applied: dict[str, list[int]] = defaultdict(list)
    posts: Counter[str] = Counter()
    for entry in platform:
        body, kind, entity = entry["body"], str(entry["kind"]), str(entry["entity"])
        posts[entity] += kind == "order.post"
        if (
            kind in ("customer.put", "product.put", "order.post", "order.patch")
            and isinstance(body, dict)
            and "v" in body
        ):
            applied[entity].append(body["v"])
    for entity, versions in acknowledged.versions.items():
        seen = applied.get(entity, [])
        if not seen or max(seen) < versions[-1]:
            verdict.lose(entity, f"acknowledged {versions}, the Platform applied {seen}")
        elif entity.startswith("order:") and not set(versions) <= set(seen):
            verdict.lose(entity, f"versions {sorted(set(versions) - set(seen))} never arrived")
    for entity, seen in applied.items():
        if seen != sorted(seen):
            verdict.disordered.append(f"{entity}: applied in the order {seen}")
    verdict.doubled += [f"{entity}: created {times} times" for entity, times in posts.items() if times > 1]


def _judge_coupons(verdict: Verdict, acknowledged: Acknowledged, shop: Iterable[Entry], amount: str) -> None:
    coupons: dict[str, list[str]] = defaultdict(list)
    for entry in shop:
        body = entry["body"]
        if entry["kind"] == "coupon.create" and isinstance(body, dict):
            coupons[str(body["code"]).lower()].append(str(body["amount"]))
        elif entry["kind"] == "coupon.delete":
            verdict.wrong.append(f"a coupon was deleted: {entry['path']}")
    for code in acknowledged.codes:
        made = coupons.get(code.lower(), [])
        if not made:
            verdict.lose(f"coupon {code}", "redeemed, never made")
        elif any(value != amount for value in made):
            verdict.wrong.append(f"coupon {code}: worth {made}, not {amount}")
    verdict.doubled += [f"coupon {code}: created {len(made)} times" for code, made in coupons.items() if len(made) > 1]
