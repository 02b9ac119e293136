"""Judges loss, doubling and disorder from the wire alone: what was acknowledged, and what the far sides applied."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.faults.load import Acknowledged


@dataclass
class Verdict:
    """Each finding in words; all empty when the promise was kept."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.wrong)


def judge(  # noqa: C901, PLR0912  # one pass over each ledger, told in one piece
    acknowledged: Acknowledged,
    platform: Iterable[Mapping[str, object]],
    shop: Iterable[Mapping[str, object]],
    *,
    amount: str = "5.00",
) -> Verdict:
    """`platform` and `shop` are their ledgers' applied entries, in the order of their effects."""
    verdict = Verdict()
    applied: dict[str, list[int]] = defaultdict(list)
    posts: Counter[str] = Counter()
    for entry in platform:
        body, kind, entity = entry["body"], str(entry["kind"]), str(entry["entity"])
        if kind == "order.post":
            posts[entity] += 1
        if kind in ("customer.put", "order.post", "order.patch") and isinstance(body, dict) and "v" in body:
            applied[entity].append(body["v"])
    for entity, versions in acknowledged.versions.items():
        seen = applied.get(entity, [])
        if not seen or seen[-1] != versions[-1]:
            verdict.lost.append(f"{entity}: acknowledged {versions}, the Platform applied {seen}")
        if entity.startswith("order:") and not set(versions) <= set(seen):
            verdict.lost.append(f"{entity}: versions {sorted(set(versions) - set(seen))} never arrived")
    for entity, seen in applied.items():
        if seen != sorted(seen):
            verdict.disordered.append(f"{entity}: applied in the order {seen}")
    verdict.doubled += [f"{entity}: created {count} times" for entity, count in posts.items() if count > 1]
    coupons: dict[str, list[str]] = defaultdict(list)
    for entry in shop:
        body = entry["body"]
        if entry["kind"] == "coupon.create" and isinstance(body, dict):
            coupons[str(body["code"]).lower()].append(str(body["amount"]))
    for code in acknowledged.codes:
        made = coupons.get(code.lower(), [])
        if not made:
            verdict.lost.append(f"coupon {code}: redeemed, never made")
        elif any(value != amount for value in made):
            verdict.wrong.append(f"coupon {code}: worth {made}, not {amount}")
    verdict.doubled += [f"coupon {code}: created {len(made)} times" for code, made in coupons.items() if len(made) > 1]
    return verdict
