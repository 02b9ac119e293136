"""Reads numbers such as 1e999999999 in every place where the service reads numbers, in a process that may be ended.

    python -m tests.security.huge_numbers     prints each place before it is tried, and `done`

Pydantic and Python compute the digits of such a number in one call, which no test can interrupt.
"""

import copy
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Annotated, Any, Final  # Any: JSON

from pydantic import TypeAdapter

from platform_relay.api.event_bodies import read_line
from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactNumber
from platform_relay.core.plain_numbers import amount
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.platform import translation
from platform_relay.platform.fields import ASSUMED
from platform_relay.platform.rules import platform_rule
from platform_relay.platform.webhooks import parse_webhook
from platform_relay.stores.native import NativeEvent
from platform_relay.sync.polling import inbox_item
from tests.contract.test_null_fields import STORES
from tests.contract.test_unreadable_entities import NATIVE, ROWS, USUAL, places
from tests.security.test_spellings_of_numbers import models

TEXTS: Final = ("1e999999999", "-1.5E99999999", "123456789e9999999", "1e-999999999", "0e999999999", "9" * 5000)
NUMBERS: Final = (*map(ExactNumber, TEXTS[:-1]), Decimal("1e999999999"), 10**5000)
SECONDS: Final = 30
MEMORY: Final = 2 << 30
WHOLE: Final[dict[EventKind, dict[str, Any]]] = {
    EventKind.CUSTOMER: {"id": "1", "birthdayMonth": 1, "birthdayDay": 1, "tags": ["a"], "updatedAt": 0, "unknown": 1},
    EventKind.ORDER: {
        "id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1", "subtotalPrice": 1, "refundedAmount": 1,
        "lineItems": [{"productId": 1, "quantity": 1, "price": "1", "unknown": 1}], "createdAt": 0,
        "discountCodes": [{"code": "A", "amount": "1"}],
    },
    EventKind.PRODUCT: {"id": "1", "variants": [{"externalVariantId": "1", "position": 1}]},
}  # fmt: skip
"""Complete events: a number is only read where the fields beside it are correct."""
REWARD: Final = {"couponCode": "AB12", "discountAmount": 1, "discountType": "fixed_amount", "id": "1"}
WEBHOOK: Final[dict[str, Any]] = {
    "id": "1", "points": 1, "couponCode": "AB12", "customer": {"id": 1, "externalId": 1, "pointBalance": 1},
    "customerReward": REWARD, "reward": REWARD, "amount": 1,
}  # fmt: skip
TOPICS: Final = ("points/redeemed", "points/earned", "customers/tier_entry_reward_earned", "referrals/completed")
RULE: Final[dict[str, Any]] = {
    "id": 1, "templateName": "fixed_amount", "discountValue": 1, "pointCost": 1, "minRedeemablePoints": 1,
    "maxRedeemablePoints": 1, "minSpendAmount": 1,
}  # fmt: skip


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for place, read in reads():
        sys.stdout.write(f"{place}\n")
        sys.stdout.flush()
        with suppress(ValueError, ArithmeticError):
            read()
    sys.stdout.write("done\n")


def reads() -> Iterator[tuple[str, Callable[[], object]]]:
    """Each place, and what reads a number there."""
    for number in NUMBERS:
        shown = str(number)[:20] if isinstance(number, Decimal) else "10^5000"
        for place, read in (*_fields(number), *_documents(number)):
            yield f"{place} {shown}", read
    for text in TEXTS:
        for kind, event in WHOLE.items():
            for place, changed in _changed(event, "NUMBER"):
                raw = exact_json.dumps(changed).replace(b'"NUMBER"', text.encode())
                line = b'{"type": "%s", "event": %s}' % (kind.encode(), raw)
                yield f"{kind} {place} {text[:20]}", lambda model=EVENTS[kind], raw=raw: model.parse(raw)  # type: ignore[misc]
                yield f"line {kind} {place} {text[:20]}", lambda line=line: read_line(line, 1 << 20, backfill=False)  # type: ignore[misc]


def _fields(number: object) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every field of every model, whatever its type."""
    for model in models():
        for name, field in model.model_fields.items():
            with suppress(TypeError, NameError):  # types that pydantic only knows within their model
                annotated: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
                adapter = TypeAdapter(annotated)
                yield f"{model.__name__}.{name}", lambda adapter=adapter: adapter.validate_python(number)  # type: ignore[misc]
    yield "amount", lambda: int(amount(number))
    yield "exact_json.number", lambda: int(exact_json.number(number) or 0)  # type: ignore[arg-type]


def _documents(number: object) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every place of what stores and the Platform send."""
    for store, translate in NATIVE.items():
        for place, row in _changed(ROWS[store](USUAL), number):
            yield f"{store} order {place}", lambda translate=translate, row=row: _passed_on(translate(row))  # type: ignore[misc]
    for store, (_, row, translate, fields) in STORES.items():
        complete = {**row, **{path[0]: 1 for path in fields.values()}}
        for place, changed in _changed(complete, number):
            yield f"{store} {place}", lambda translate=translate, row=changed: _passed_on(translate(row))  # type: ignore[misc]
    for topic in TOPICS:
        for place, body in _changed(WEBHOOK, number):
            yield f"{topic} {place}", lambda topic=topic, body=body: parse_webhook(topic, exact_json.dumps(body))  # type: ignore[misc]
    for place, rule in _changed(RULE, number):
        yield f"rule {place}", lambda rule=rule: platform_rule(rule, ASSUMED)  # type: ignore[misc]


def _changed(document: dict[str, Any], value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with the value at each of its places."""
    for place in places(document):
        changed: Any = copy.deepcopy(document)
        inner = changed
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        yield ".".join(map(str, place)), changed


def _passed_on(parsed: object) -> None:
    """What becomes of a store's entity: the stored event, and the Platform's request."""
    if isinstance(parsed, NativeEvent):
        stored = inbox_item(parsed, "store", backfill=False)[1].event
        again = EVENTS[parsed.kind].parse(stored or b"")
        if parsed.kind is EventKind.ORDER:
            translation.digest(translation.order(again, ASSUMED))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
