"""A grammar of nasty JSON: bodies of every kind of message, spoilt in one or several places. Pure: rng in, bytes out."""

import json
import random
from collections.abc import Callable
from typing import Final

LONG: Final = "x" * 3000
TEXTS: Final = (
    '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"😀"', '"e\\u0301"', '"\u202e"',
    '"\\u2028"', '"\\/"', '"\\x41"', '"\x01"', '"\t"', '"\x7f"', '"\\u00"', '""', '" "', f'"{LONG}"', '"\ufeff"',
    '"null"', '"-0"', '"%00"', '"\'; DROP TABLE message; --"', '"<script>"', '"${jndi:ldap://x}"', '"{{7*7}}"', '"../../x"',
    '"a@b"', '"A@B"', '"@"', '"a@b@c"', '"ada@example.com "', '"١٢"', '"Ⅷ"', '"ß"', '"İ"',
)  # fmt: skip
NUMBERS: Final = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "1E+400", "9007199254740993", "-9007199254740993",
    "9.007199254740993e15", "0.1", "-0", "-0.0", "0.30000000000000004", "1e2", "00", "01", "+1", ".5", "5.", "0x10",
    "1_000", "9223372036854775808", "-9223372036854775809", "1" * 400, "9" * 5000, "0." + "3" * 400, "1e999999999999",
    "2147483648", "4294967296", "true", "false", "null", "[]", "{}", "[[]]", '{"":null}', "undefined",
)  # fmt: skip
MONEY: Final = (
    '"0"', '"0.00"', '"-0.00"', '"19.98"', "19.98", "1.999", '"1.234"', '"1000"', '"100.5"', '"1e3"', '"1,00"', '"00012.5"',
    '"999999999999999.9999"', '"9999999999999999"', '"0.00001"', '" 1.00"', '"NaN"', '"Infinity"', "0.1e1", "1e-7", "-5",
    "1000000000000000000000",
)  # fmt: skip
CURRENCIES: Final = (
    '"JPY"',
    '"KRW"',
    '"KWD"',
    '"BHD"',
    '"CLF"',
    '"XXX"',
    '"EUR"',
    '"eur"',
    '"EURO"',
    '""',
    '"ÉUR"',
    "978",
)
DATES: Final = (
    '"0001-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', '"0001-01-01T13:59:59+14:00"', '"9999-12-31T23:59:59-14:00"',
    '"9999-12-31T23:59:59.999999Z"', '"10000-01-01T00:00:00Z"', '"0000-01-01T00:00:00Z"', '"2026-02-30T00:00:00Z"',
    '"2026-05-11T24:00:00Z"', '"2026-05-11T23:59:60Z"', '"2026-05-11T12:00:00+14:00"', '"2026-05-11T12:00:00-12:00"',
    '"2026-05-11T12:00:00+23:59"', '"2026-05-11T12:00:00+24:00"', '"2026-05-11T12:00:00"', '"2026-05-11"', '"12:00"',
    "0", "-1", "1715430000", "1715430000000", "-62135596801", "253402300800", "1e18", '"1715430000"', '"now"',
    '"2026-05-11T12:00:00.123456789Z"', '"4713-01-01T00:00:00 BC"', '"infinity"', '"-4713-01-01T00:00:00Z"',
)  # fmt: skip
ANYTHING: Final = (*TEXTS, *NUMBERS, *MONEY, *CURRENCIES, *DATES)
NAMES: Final = ("id", "", "\\u0000", "__proto__", "a.b", "ID", "\\ud800", "$ref", "email", "updatedAt", "x" * 300)

Members = dict[str, str]
"""Names of a JSON object, already escaped, with each value as it is written."""


def customer(rng: random.Random, one: str) -> Members:
    return {
        "id": f'"{one}"',
        "email": f'"{one}@example.com"',
        "firstName": '"Ada"',
        "birthdayMonth": "5",
        "birthdayDay": "11",
        "tags": '["a", "b"]',
        "updatedAt": _moment(rng),
    }


def order(rng: random.Random, one: str) -> Members:
    item = f'{{"productId": "{one}", "quantity": 2, "price": "9.99"}}'
    return {
        "id": f'"{one}"',
        "customerId": f'"{one}"',
        "email": f'"{one}@example.com"',
        "financialStatus": rng.choice(('"paid"', '"refunded"', '"pending"', '"voided"')),
        "currency": '"EUR"',
        "totalPrice": '"19.98"',
        "subtotalPrice": '"19.98"',
        "lineItems": f"[{item}]",
        "discountCodes": f'[{{"code": "c{one}", "amount": "1.00"}}]',
        "updatedAt": _moment(rng),
    }


def product(rng: random.Random, one: str) -> Members:
    variant = f'{{"externalVariantId": "{one}", "title": "one", "position": 1}}'
    return {"id": f'"{one}"', "title": '"Tea"', "variants": f"[{variant}]", "updatedAt": _moment(rng)}


def webhook(rng: random.Random, one: str) -> Members:
    person = f'{{"id": "{one}", "customerId": "{one}", "email": "{one}@example.com", "name": "Ada"}}'
    return {
        "id": f'"{one}-{rng.randrange(1 << 30)}"',
        "couponCode": f'"{one}{rng.randrange(1 << 20)}"',
        "points": "-500",
        "customer": person,
        "rule": '{"id": "r1", "type": "fixed_amount", "value": 5}',
        "reward": '{"id": "r1", "couponCode": "x1"}',
        "createdAt": _moment(rng),
    }


def _moment(rng: random.Random) -> str:
    return f'"2026-05-{rng.randrange(1, 29):02d}T12:00:{rng.randrange(60):02d}Z"'


SHAPES: Final[dict[str, Callable[[random.Random, str], Members]]] = {
    "customers": customer,
    "orders": order,
    "products": product,
    "webhook": webhook,
}
_FIT: Final = {
    "totalPrice": MONEY,
    "subtotalPrice": MONEY,
    "currency": CURRENCIES,
    "updatedAt": DATES,
    "createdAt": DATES,
}


def body(rng: random.Random, kind: str) -> bytes:
    """A body of this kind: good, spoilt in some fields, or spoilt as a whole."""
    members = SHAPES[kind](rng, f"f{rng.randrange(400)}")
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        name = rng.choice([*members, rng.choice(NAMES)])
        fitting = _FIT.get(name, ANYTHING) if rng.random() < 0.7 else ANYTHING
        members[name] = _nested(rng, rng.choice(fitting))
    if rng.random() < 0.1:
        del members[rng.choice(list(members))]
    text = "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"
    return rng.choice(WHOLE)(rng, text) if rng.random() < 0.2 else text.encode("utf-8", "surrogatepass")


def _nested(rng: random.Random, value: str) -> str:
    """The value by itself, or some steps down."""
    if rng.random() < 0.85:
        return value
    depth = rng.choice((1, 3, 40, 150, 250, 1200))
    return "[" * depth + value + "]" * depth if rng.random() < 0.5 else '{"a":' * depth + value + "}" * depth


def line(rng: random.Random, kind: str) -> tuple[bytes, bytes | None]:
    """A line of a batch, and the event in it where it is certain which bytes those are."""
    event = body(rng, kind).replace(b"\n", b" ").replace(b"\r", b" ").strip()
    extra = rng.choice(("", "", f', "idempotencyKey": {rng.choice(TEXTS)}', f', "x": {rng.choice(ANYTHING)}'))
    result = b'{"type": "%s", "event": %s%s}' % (kind.encode(), event, extra.encode("utf-8", "surrogatepass"))
    return (result, event) if _is_json(event) else (result, None)


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw.decode())
    except (ValueError, RecursionError):
        return False
    return True


# ----------------------------------------------------------------------------------------------- the whole body

Spoil = Callable[[random.Random, str], bytes]


def _cut(rng: random.Random, text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return raw[: rng.randrange(len(raw) + 1)]


def _broken_bytes(rng: random.Random, text: str) -> bytes:
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(raw) + 1)
        raw[at:at] = rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x00", b"\xe2\x82"))
    return bytes(raw)


def _twice(_: random.Random, text: str) -> bytes:
    """Every name twice, with other values the first time."""
    return ('{"id": "first", "email": 1, ' + text[1:-1] + ', "id": "last", "extra": 1, "extra": 2}').encode()


def _deep(rng: random.Random, text: str) -> bytes:
    depth = rng.choices((127, 128, 129, 200, 201, 256, 1000, 100_000), (3, 3, 3, 3, 3, 3, 3, 1))[0]
    opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
    nested = opened * depth + ("1" if rng.random() < 0.8 else "") + closed * (depth if rng.random() < 0.8 else 0)
    return (nested if rng.random() < 0.3 else f'{text[:-1]}, "deep": {nested}}}').encode()


def _wide(rng: random.Random, text: str) -> bytes:
    """Up to a million elements."""
    count = rng.choices((1_000, 100_000, 1_000_000), (120, 8, 1))[0]
    value = rng.choice(("0", "[]", '""'))
    if rng.random() < 0.3:
        members = ",".join(f'"n{number}":0' for number in range(min(count, 100_000)))
        return f"{text[:-1]}, {members}}}".encode()
    return f'{text[:-1]}, "{rng.choice(("wide", "tags", "lineItems"))}": [{",".join([value] * count)}]}}'.encode()


def _coded(rng: random.Random, text: str) -> bytes:
    code = rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1"))
    return text.encode(code, "replace")


def _around(rng: random.Random, text: str) -> bytes:
    outside = ("\n", " \t\r\n", "\x00", "\x0c", "//c\n", "{}", "null", "]", ")]}'\n", "\u00a0", "\u2028")
    return (rng.choice(outside) + text + rng.choice(("", *outside))).encode("utf-8", "surrogatepass")


def _other(rng: random.Random, _: str) -> bytes:
    whole = (*ANYTHING, "", " ", "{", "[", '"', "{}{}", "[1]", "<xml/>", "id=1&email=a@b", "\x1f\x8b\x08", "--boundary")
    return rng.choice(whole).encode("utf-8", "surrogatepass")


def _noise(rng: random.Random, _: str) -> bytes:
    return rng.randbytes(rng.randrange(1, 200))


WHOLE: Final[tuple[Spoil, ...]] = (_cut, _broken_bytes, _twice, _deep, _wide, _coded, _around, _other, _noise)
