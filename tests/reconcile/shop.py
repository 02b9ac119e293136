"""A store with many entities, and what goes wrong between it, the relay and the Platform: each with its cause class.

Everything goes through the real relay: the well ones are read from the store's lists and delivered; then each injury is
done at the store, at the Platform, or by a file. `expected` is what a reconciliation has to find, no more and no less.
"""

import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.differences import Cause
from simulators.process import Simulator

Row = dict[str, Any]  # as the store's API shows it
FIRST_ID: Final = {EventKind.CUSTOMER: 1, EventKind.PRODUCT: 1_000_001, EventKind.ORDER: 2_000_001}
SHARE: Final = {EventKind.CUSTOMER: 0.3, EventKind.PRODUCT: 0.2, EventKind.ORDER: 0.5}
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED: Final = "refuse-me"
CHUNK: Final = 5000


def shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def entity(kind: EventKind, number: int, changed: datetime, mark: str = "", buyer: int = 0) -> Row:
    """As WooCommerce shows it. `mark` stands in it as a text that reaches the Platform."""
    times = {"date_created_gmt": shown(LONG_AGO), "date_modified_gmt": shown(changed)}
    match kind:
        case EventKind.CUSTOMER:
            return {"id": number, "email": f"c{number}@example.com", "first_name": f"Ada{mark}", **times}
        case EventKind.PRODUCT:
            return {"id": number, "name": f"Thing {number}{mark}", "status": "publish", "images": [], **times}
        case EventKind.ORDER:
            return {
                "id": number,
                "status": "processing",
                "currency": "EUR",
                "total": f"{number % 977 + 1}.50",
                "customer_id": buyer,
                "billing": {"email": f"c{buyer}{mark}@example.com"},
                "line_items": [],
                "coupon_lines": [],
                **times,
            }


@dataclass
class Injured:
    """`differences` of about `entities` are injured; `seed` decides which."""

    shop: Simulator
    platform: Simulator
    entities: int
    differences: int
    seed: int
    expected: dict[tuple[EventKind, str], Cause] = field(default_factory=dict)
    _buyers: list[int] = field(default_factory=list)
    _free: dict[EventKind, list[int]] = field(default_factory=dict)
    _next: dict[EventKind, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    # ------------------------------------------------------------------------------------------- before

    def open(self) -> None:
        """The store as it is taken in. Some of it the Platform will refuse."""
        for kind, share in SHARE.items():
            first, count = FIRST_ID[kind], round(self.entities * share)
            self._next[kind] = first + count
            numbers = list(range(first, first + count))
            self.rng.shuffle(numbers)
            refused = {numbers.pop() for _ in range(self._part(0.05))}
            self._free[kind] = numbers
            if kind is EventKind.CUSTOMER:
                self._buyers = sorted(numbers)
            for number in sorted(refused):
                self.expected[kind, str(number)] = "rejected"
            everything = range(first, first + count)
            self.seed_shop(
                kind, (self._entity(kind, n, self._long_ago(n), REFUSED if n in refused else "") for n in everything)
            )
        self.platform.script(contains=REFUSED, persistent=True, status=422, body={"message": "this is refused"})

    # ------------------------------------------------------------------------------------------- injuries

    def injure(self, now: datetime) -> None:
        """All that happens at the store and at the Platform behind the relay's back. `now`: the relay has been listening
        for a day."""
        for kind in EventKind:
            self._never_sent(kind, self._part(0.08))
            self._lost(kind, self._part(0.05), self._part(0.05), now - timedelta(hours=1))
            self._deleted(kind, self._part(0.04))
        self._at_the_platform(self._part(0.05))

    def _never_sent(self, kind: EventKind, count: int) -> None:
        numbers = [self.new(kind) for _ in range(count)]
        self.seed_shop(kind, (self._entity(kind, number, LONG_AGO) for number in numbers))
        self._expect(kind, numbers, "never_sent")

    def _lost(self, kind: EventKind, new: int, changed: int, when: datetime) -> None:
        numbers = [self.new(kind) for _ in range(new)] + [self.take(kind) for _ in range(changed)]
        self.seed_shop(kind, (self._entity(kind, number, when, "changed") for number in numbers))
        self._expect(kind, numbers, "lost_by_webhook")

    def _deleted(self, kind: EventKind, count: int) -> None:
        numbers = [self.take(kind) for _ in range(count)]
        for number in numbers:
            topic = f"{kind.removesuffix('s')}.deleted"
            self.shop.control("event", topic=topic, resource={"id": number}, deliver=False)
        self._expect(kind, numbers, "extra")

    def _at_the_platform(self, count: int) -> None:
        """Customers that it forgot, knows by another address, or has alone."""
        lost = [self.take(EventKind.CUSTOMER) for _ in range(count)]
        self.platform.control("forget-customers", customers=[str(number) for number in lost])
        other = [self.take(EventKind.CUSTOMER) for _ in range(count)]
        self._at_platform(other, "other")
        self._expect(EventKind.CUSTOMER, [*lost, *other], "stale")
        alone = [self.new(EventKind.CUSTOMER) for _ in range(count)]
        self._at_platform(alone, "alone")
        self._expect(EventKind.CUSTOMER, alone, "extra")

    def _at_platform(self, numbers: Sequence[int], name: str) -> None:
        rows = [{"customerId": str(number), "email": f"{name}{number}@example.com"} for number in numbers]
        self.platform.control("customers", customers=rows)

    def file_without_versions(self, kind: EventKind) -> io.BytesIO:
        """A file of things that the store has and never reported."""
        numbers = [self.new(kind) for _ in range(self._part(0.05))]
        self.seed_shop(kind, (self._entity(kind, number, LONG_AGO) for number in numbers))
        self._expect(kind, numbers, "stale")
        rows = [
            {"id": str(number), "title": "old"}
            if kind is EventKind.PRODUCT
            else {
                "id": str(number),
                "email": "a@example.com",
                "financialStatus": "paid",
                "currency": "EUR",
                "totalPrice": "1",
            }
            for number in numbers
        ]
        return io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())

    # ------------------------------------------------------------------------------------------- well all the same

    def not_to_be_found(self, now: datetime) -> dict[str, list[int]]:
        """What looks like a difference and is none: `on_its_way` changed this moment, `of_the_staff` is in no list,
        `touched` has a newer time and the same content."""
        kinds = {"on_its_way": EventKind.ORDER, "of_the_staff": EventKind.CUSTOMER, "touched": EventKind.PRODUCT}
        found = {name: [self.take(kind) for _ in range(self._part(0.02))] for name, kind in kinds.items()}
        self.seed_shop(
            EventKind.ORDER, (self._entity(EventKind.ORDER, number, now, "new") for number in found["on_its_way"])
        )
        self.seed_shop(EventKind.CUSTOMER, ({"id": number, "role": "editor"} for number in found["of_the_staff"]))
        hour = now - timedelta(hours=1)
        self.seed_shop(
            EventKind.PRODUCT, (self._entity(EventKind.PRODUCT, number, hour) for number in found["touched"])
        )
        return found

    # ------------------------------------------------------------------------------------------- after

    def misfits(self) -> list[str]:
        """Of what was expected: what the store has and the Platform does not, or has otherwise."""
        return self._unlike([key for key, cause in self.expected.items() if cause != "extra"])

    def unlike(self) -> list[str]:
        """The same of everything in the store."""
        return self._unlike([(kind, identifier) for kind in EventKind for identifier in self.shop.state(kind)])

    def _unlike(self, keys: Sequence[tuple[EventKind, str]]) -> list[str]:
        """Judged by the simulators alone."""
        found = []
        shop = {kind: self.shop.state(kind) for kind in EventKind}
        platform = {kind: self.platform.state(kind) for kind in EventKind}
        for kind, identifier in keys:
            stored = platform[kind].get(identifier)
            if kind is EventKind.ORDER and stored is not None:
                found += [] if len(stored) == 1 else [f"{kind} {identifier} is there {len(stored)} times"]
                stored = stored[0]["order"]
            wanted, has = _ours(kind, shop[kind][identifier]), _theirs(kind, stored or {})
            if wanted != has:
                found.append(f"{kind} {identifier}: the store has {wanted!r}, the Platform {has!r}")
        return found

    def change(self, numbers: Sequence[int], when: datetime) -> None:
        """They change in the store, whose webhooks are silent."""
        for number in numbers:
            kind = max((kind for kind in EventKind if FIRST_ID[kind] <= number), key=FIRST_ID.__getitem__)
            self.seed_shop(kind, iter([self._entity(kind, number, when, "changed")]))

    # ------------------------------------------------------------------------------------------- parts

    def new(self, kind: EventKind) -> int:
        self._next[kind] += 1
        return self._next[kind]

    def take(self, kind: EventKind) -> int:
        """One of those that are well so far."""
        return self._free[kind].pop()

    def seed_shop(self, kind: EventKind, rows: Iterator[Row]) -> None:
        while chunk := list(islice(rows, CHUNK)):
            self.shop.control("seed", **{str(kind): chunk})

    def _entity(self, kind: EventKind, number: int, changed: datetime, mark: str = "") -> Row:
        return entity(kind, number, changed, mark, self._buyers[number % len(self._buyers)])

    def _part(self, share: float) -> int:
        return max(1, round(self.differences * share))

    def _expect(self, kind: EventKind, numbers: Sequence[int], cause: Cause) -> None:
        self.expected.update({(kind, str(number)): cause for number in numbers})

    @staticmethod
    def _long_ago(number: int) -> datetime:
        return LONG_AGO + timedelta(seconds=number % 1_000_000)


def _ours(kind: EventKind, row: Row) -> tuple[str, str]:
    match kind:
        case EventKind.CUSTOMER:
            return row["email"], row["first_name"]
        case EventKind.PRODUCT:
            return row["name"], ""
        case EventKind.ORDER:
            return row["billing"]["email"], f"{Decimal(row['total']):.2f}"


def _theirs(kind: EventKind, row: Row) -> tuple[str, str]:
    match kind:
        case EventKind.CUSTOMER:
            return row.get("email", ""), row.get("firstName", "")
        case EventKind.PRODUCT:
            return row.get("title", ""), ""
        case EventKind.ORDER:
            return row.get("email", ""), f"{Decimal(row.get('totalPrice', 0)):.2f}"
