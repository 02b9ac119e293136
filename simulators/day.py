"""A realistic day in a store, as data: who is there, what happens, and when. The same seed gives the same day.

A demo second is half an hour of the store's time. Two stores of one merchant sell: most people buy in the WooCommerce
shop, one in four in the Medusa shop. `simulators.feed` plays a day against a relay.

    import      20 products and 40 customers of before, in one batch
    all day     20 new customers, 15 changed ones, 8 changed products; 150 orders, a fifth of them by guests: pending,
                then most paid and some of those refunded, some cancelled; a few orders reported before their customer's
                registration, a few events reported twice (both as real stores do)
    loyalty     a referral (two coupons) that the friend's order completes; three redemptions, one by a rule that
                nobody knows the value of until the operator says it
    trouble     the Platform is away for some seconds
    at the end  an order that uses a redeemed coupon
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Final, Literal

from .call import Json
from .captured import Order, Person, Product, medusa, woocommerce

Kind = Literal["customers", "orders", "products"]

OPENS: Final = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # the day on which the bodies were captured
SHOP_SECONDS: Final = 1800
"""Seconds of the store's time in one second of the demo."""
CUSTOMERS, IMPORTED, PRODUCTS, ORDERS = 60, 40, 20, 150
CLOSES: Final = 19.0
"""Seconds from the start after which no order changes any more, except the last one, which uses a coupon."""

FIRST = (
    "Ada", "Ben", "Carla", "Daan", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Lea", "Mateo", "Nora",
    "Omar", "Paula", "Quentin", "Rosa", "Sven", "Tara",
)  # fmt: skip
LAST = (
    "Almeida", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haas", "Ivanova", "Jansen", "Kaya", "Lopez",
)  # fmt: skip
THINGS = (
    "Mug", "Teapot", "Bowl", "Plate", "Vase", "Apron", "Towel", "Candle", "Basket", "Spoon", "Board", "Jar", "Cup",
    "Tray", "Grinder", "Kettle", "Pan", "Ladle", "Sieve", "Blanket",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """The store reports a version of something. `spends`: the order uses the coupon of the redemption of that name."""

    at: float
    kind: Kind
    body: Json
    twice: bool = False
    spends: str | None = None

    @property
    def entity(self) -> str:
        """`customer:42`, as the Platform simulator's ledger calls it."""
        return f"{self.kind.removesuffix('s')}:{self.body['id']}"

    @property
    def version(self) -> str:
        """The version's time, which also sorts versions."""
        return str(self.body["updatedAt"])


@dataclass(frozen=True, slots=True)
class Worth:
    """What a coupon has to be in the shop: WooCommerce's discount type, amount (EUR or per cent), minimum in EUR."""

    kind: Literal["fixed_cart", "percent"]
    amount: Decimal
    minimum: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Redemption:
    """A customer gives points for a coupon, once the points are there."""

    at: float
    name: str
    customer: Json
    rule: str
    points: int
    worth: Worth


@dataclass(frozen=True, slots=True)
class Referral:
    """A customer invites a friend: a coupon for each."""

    at: float
    customer: Json
    friend: str
    worth: Worth


@dataclass(frozen=True, slots=True)
class Outage:
    """The Platform answers 503 to everything for so many seconds."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class NewRule:
    """The operator says what redemptions by a rule are worth: `definition`, the body of PUT /v1/reward-rules/{rule}."""

    at: float
    rule: str
    definition: Json


Happening = Redemption | Referral | Outage | NewRule


@dataclass(frozen=True, slots=True)
class Day:
    """`imported` comes first, in one batch; `events` and `happenings` by their `at`; `platform_rules` are redeem rules
    of the Platform besides its default ones."""

    seed: int
    imported: tuple[Event, ...]
    events: tuple[Event, ...]
    happenings: tuple[Happening, ...]
    platform_rules: tuple[Json, ...]


def a_day(seed: int = 1) -> Day:
    """The day of that seed. Days of different seeds share no id and no address."""
    return _Planner(seed).plan()


class _Planner:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.people = [self._person(number) for number in range(CUSTOMERS)]
        self.products = [self._product(number) for number in range(PRODUCTS)]

    def plan(self) -> Day:
        """Roll the rng, always in the same order."""
        events = [
            *self._registrations(), *self._changes(), *self._orders(), *self._big_orders(), *self._friend(),
            *self._last_order(),
        ]  # fmt: skip
        imported = [self._reported(product, 0) for product in self.products]
        imported += [self._reported(person, 0) for person in self.people[:IMPORTED]]
        return Day(
            self.seed,
            tuple(imported),
            tuple(sorted(events, key=lambda event: event.at)),
            self._happenings(),
            # The Launcher lists it without a value, so nobody but the operator can say what it is worth.
            ({"id": self._rule, "title": "Birthday surprise", "pointCost": 150, "discountValue": None,
              "templateName": "amountdiscount"},),
        )  # fmt: skip

    @property
    def _rule(self) -> str:
        return f"rule-birthday-{self.seed}"

    # -- who and what there is; every fourth of both is Medusa's ----------------------------------------------------

    def _id(self, number: int) -> int:
        return self.seed * 10_000 + number

    def _person(self, number: int) -> Person:
        first, last = FIRST[number % len(FIRST)], self.rng.choice(LAST)
        since = self._moment(0) - timedelta(days=self.rng.randint(1, 700))
        email = f"{first}.{last}.{self._id(number)}@example.com".lower()
        return Person(self._id(number), first, last, email, f"+49151{self._id(number):07}", since, since)

    def _product(self, number: int) -> Product:
        price = Decimal(self.rng.randint(590, 4990)) / 100
        return Product(self._id(1000 + number), f"{THINGS[number]} No {number}", price, number % 3, self._moment(0))

    def _shop(self, thing: Person | Product) -> ModuleType:
        return medusa if thing.number % 4 == 3 else woocommerce

    @staticmethod
    def _moment(at: float) -> datetime:
        return OPENS + timedelta(seconds=round(at * SHOP_SECONDS))

    def _reported(self, thing: Person | Product, at: float, twice: bool = False) -> Event:
        if isinstance(thing, Person):
            return Event(at, "customers", self._shop(thing).customer(thing), twice)
        return Event(at, "products", self._shop(thing).product(thing), twice)

    # -- what the stores report --------------------------------------------------------------------------------------

    def _registered_at(self, number: int) -> float:
        return 0.0 if number < IMPORTED else 0.5 + (number - IMPORTED) * 0.7

    def _registrations(self) -> Iterator[Event]:
        for number in range(IMPORTED, CUSTOMERS):
            at = self._registered_at(number)
            person = replace(self.people[number], since=self._moment(at), changed=self._moment(at))
            yield self._reported(person, at, twice=number % 8 == 0)

    def _changes(self) -> Iterator[Event]:
        for number in self.rng.sample(range(IMPORTED), 15):
            at = self.rng.uniform(2, CLOSES)
            phone = f"+49176{self.rng.randint(0, 9_999_999):07}"
            yield self._reported(replace(self.people[number], phone=phone, changed=self._moment(at)), at)
        for number in self.rng.sample(range(PRODUCTS), 8):
            at, product = self.rng.uniform(2, CLOSES), self.products[number]
            title = f"{product.title} (new)"
            yield self._reported(replace(product, title=title, changed=self._moment(at)), at, twice=number % 4 == 0)

    def _orders(self) -> Iterator[Event]:
        usual = range(4, CUSTOMERS - 1)  # not those who redeem and refer
        for number in range(ORDERS - 5):
            at = self.rng.uniform(0.5, CLOSES - 2)
            if number % 5 == 0:
                name = f"guest.{self._id(number % 45)}@example.com"  # a guest may come back
                email = name.upper() if number % 3 == 0 else name
                yield from self._life(self._order(number, None, email, at), at)
                continue
            who = self.rng.choice(usual)
            early = number % 30 == 1
            if early:  # real stores report such orders: their webhooks overtake each other
                who = self.rng.randrange(IMPORTED, CUSTOMERS - 1)
            at = max(0.3, self._registered_at(who) - 0.3) if early else max(at, self._registered_at(who) + 0.2)
            person = self.people[who]
            yield from self._life(self._order(number, person, person.email, at), at)

    def _order(self, number: int, buyer: Person | None, email: str, at: float) -> Order:
        shop = self._shop(buyer) if buyer else woocommerce
        stock = [product for product in self.products if self._shop(product) is shop]
        sold = self.rng.sample(stock, self.rng.randint(1, 3))
        lines = tuple((product, self.rng.randint(1, 3)) for product in sold)
        moment = self._moment(at)
        return Order(self._id(2000 + number), buyer, email, lines, "pending", moment, moment)

    def _version(self, order: Order, at: float, twice: bool = False, spends: str | None = None) -> Event:
        shop = self._shop(order.buyer) if order.buyer else woocommerce
        return Event(at, "orders", shop.order(order), twice, spends)

    def _life(self, order: Order, at: float) -> Iterator[Event]:
        """Pending; 8 of 10 are paid, and 1 of 6 of those refunded; 1 of 10 is cancelled."""
        yield self._version(order, at, twice=order.number % 25 == 0)
        paid_at = at + self.rng.uniform(0.2, 1.8)
        fate = self.rng.random()
        if fate < 0.8:
            paid = order.becomes(self._paid(order), self._moment(paid_at))
            yield self._version(paid, paid_at)
            refunded_at = paid_at + self.rng.uniform(0.5, 4)
            if fate < 0.13 and refunded_at < CLOSES:
                yield self._version(paid.becomes("refunded", self._moment(refunded_at)), refunded_at)
        elif fate < 0.9:
            yield self._version(order.becomes("cancelled", self._moment(paid_at)), paid_at)

    def _paid(self, order: Order) -> str:
        shop = self._shop(order.buyer) if order.buyer else woocommerce
        return str(shop.PAID)

    def _big_orders(self) -> Iterator[Event]:
        """Those who redeem later earn their points: a point for a euro."""
        for number, euros in enumerate((900, 750, 200)):
            person, product = self.people[number], self.products[0]
            at, quantity = 0.6 + number * 0.2, int(euros / product.price) + 1
            order = replace(self._order(ORDERS - 5 + number, person, person.email, at), lines=((product, quantity),))
            yield self._version(order, at)
            yield self._version(order.becomes(self._paid(order), self._moment(at + 0.7)), at + 0.7)

    def _friend(self) -> Iterator[Event]:
        """The invited friend orders for the first time: that completes the referral."""
        friend, at = self.people[CUSTOMERS - 1], self._registered_at(CUSTOMERS - 1)
        order = self._order(ORDERS - 2, friend, friend.email, at + 0.5)
        yield self._version(order, at + 0.5)
        yield self._version(order.becomes(self._paid(order), self._moment(at + 1)), at + 1)

    def _last_order(self) -> Iterator[Event]:
        """The second redemption's 7 EUR are spent."""
        person, at = self.people[1], CLOSES - 1
        order = replace(self._order(ORDERS - 1, person, person.email, at), discount=("", Decimal(7)))
        order = replace(order, lines=((self.products[0], 3),))
        yield self._version(order, at, spends="seven")
        yield self._version(order.becomes(self._paid(order), self._moment(at + 1)), at + 1, spends="seven")

    # -- what else happens ------------------------------------------------------------------------------------------

    def _happenings(self) -> tuple[Happening, ...]:
        who = [self._shop(person).customer(person) for person in self.people[:4]]
        five = Worth("fixed_cart", Decimal(5))
        birthday = {"kind": "fixed_amount", "value": "12.50", "currency": "EUR", "title": "Birthday surprise"}
        return (
            Redemption(3.0, "ten", who[0], "rule-10-percent", 800, Worth("percent", Decimal(10), Decimal(30))),
            Referral(4.0, who[3], self.people[CUSTOMERS - 1].email, five),
            Redemption(5.0, "seven", who[1], "rule-per-100", 700, Worth("fixed_cart", Decimal(7))),
            Redemption(6.5, "birthday", who[2], self._rule, 150, Worth("fixed_cart", Decimal("12.50"))),
            Outage(9.0, 4.0),
            NewRule(16.0, self._rule, birthday),
        )
