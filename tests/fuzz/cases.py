"""Request number N of a run: what goes over the wire, byte for byte, and what a 2xx to it must have stored.

Everything about it follows from the run's seed and its number, so one request can be sent again alone.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

from tests.fuzz import bodies

KINDS: Final = ("customers", "orders", "products")


@dataclass(frozen=True, slots=True)
class Target:
    """The service under fire. `operations` are the (method, path pattern) of its OpenAPI document."""

    host: str
    port: int
    store_key: str
    operator_key: str
    webhook_secret: str
    cookie: str
    operations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """`bodies`: which bytes are stored when it is answered with 2xx, one for each receipt, None where that is uncertain.
    `tame`: its framing is right, so exactly one answer follows and the connection goes on. `pieces` are sent one after
    another. `strict`: a duplicate's first body is the same."""

    pieces: tuple[bytes, ...]
    bodies: tuple[bytes | None, ...] = ()
    tame: bool = True
    strict: bool = True
    what: str = ""
    method: str = field(default="POST")


def make(target: Target, seed: int, number: int) -> Case:
    """The case number `number` of the run `seed`."""
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choices((_event, _webhook, _batch, _operation, _console, _wild), (58, 12, 5, 11, 4, 10))[0]
    return kind(target, rng)


# ----------------------------------------------------------------------------------------------- tame


def _head(target: Target, method: str, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.host}:{target.port}", *(f"{n}: {v}" for n, v in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogatepass")


def _framed(
    target: Target, rng: random.Random, method: str, path: str, headers: list[tuple[str, str]], raw: bytes
) -> bytes:
    """The request with its length, or in chunks."""
    if rng.random() < 0.85:
        return _head(target, method, path, [*headers, ("Content-Length", str(len(raw)))]) + raw
    return _head(target, method, path, [*headers, ("Transfer-Encoding", "chunked")]) + _chunks(rng, raw)


def _chunks(rng: random.Random, raw: bytes) -> bytes:
    """Legal, and as odd as that may be: sizes in either case, with zeros before and extensions behind, trailers."""
    result, at = b"", 0
    while at < len(raw):
        size = min(len(raw) - at, rng.choice((1, 2, 7, 100, 1000, 65_536)) if len(raw) < 5000 else 65_536)
        written = f"{size:x}" if rng.random() < 0.5 else f"{size:X}"
        extension = rng.choice(("", "", ";a=b", ';name="quoted"'))
        result += f"{'0' * rng.choice((0, 0, 3))}{written}{extension}\r\n".encode() + raw[at : at + size] + b"\r\n"
        at += size
    return result + b"0\r\n" + rng.choice((b"", b"", b"X-Trailer: 1\r\n")) + b"\r\n"


def _event(target: Target, rng: random.Random) -> Case:
    kind = rng.choice(KINDS)
    raw = bodies.body(rng, kind)
    headers = [("Authorization", f"Bearer {target.store_key}")]
    if rng.random() < 0.3:
        headers.append(
            ("Idempotency-Key", rng.choice((f"k{rng.randrange(300)}", "x" * 255, "x" * 256, "a b", "é", "")))
        )
    if rng.random() < 0.1:
        headers.append(("Content-Type", rng.choice(("text/plain", "application/xml", "x", "multipart/form-data"))))
    query = rng.choice(("", "", "", "?backfill=true", "?backfill=maybe", "?backfill=%00", "?x=%ff"))
    data = _framed(target, rng, "POST", f"/v1/events/{kind}{query}", headers, raw)
    return Case((data,), (raw,), what=f"event {kind}")


TOPICS: Final = (
    "points/redeemed", "customers/tier_entry_reward_earned", "referrals/started", "referrals/completed", "points/earned",
    "customers/updated", "", "points/redeemed ", "../x", "x" * 300, "ü",
)  # fmt: skip


def _webhook(target: Target, rng: random.Random) -> Case:
    raw = bodies.body(rng, "webhook")
    headers = [("X-Webhook-Topic", rng.choice(TOPICS))]
    if rng.random() < 0.3:
        headers.append(("X-Webhook-Id", rng.choice((f"w{rng.randrange(300)}", "", "é", "x" * 400))))
    secret = target.webhook_secret if rng.random() < 0.95 else rng.choice(("wrong", "%00", "%ff", "a" * 5000))
    data = _framed(target, rng, "POST", f"/v1/webhooks/platform/{secret}", headers, raw)
    return Case((data,), (raw,), strict=False, what="webhook")


def _batch(target: Target, rng: random.Random) -> Case:
    result = [bodies.line(rng, rng.choice(KINDS)) for _ in range(rng.choice((0, 1, 3, 20)))]
    if rng.random() < 0.01:
        result = [bodies.line(random.Random(0), "customers")] * rng.choice((1000, 1001))
    raw = rng.choice((b"\n", b"\n", b"\r\n", b"\n\n")).join(text for text, _ in result)
    headers = [("Authorization", f"Bearer {target.store_key}"), ("Content-Type", "application/x-ndjson")]
    data = _framed(target, rng, "POST", "/v1/events/batch", headers, raw)
    return Case((data,), tuple(event for _, event in result), what="batch")


WORDS: Final = (
    "platform", "store", "1", "%00", "%ff", "..", "%2e%2e", "%2F", "a" * 4000, "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff", "é", "%F0%9F%98%80", "f1", "cf1", "order", "customer", "coupon", "null", "-1",
    "NaN", "1e400", "true", "{}", "%ED%A0%80", "'", "%25s", "f1@example.com", "woocommerce", "%0d%0aX-Injected:1",
)  # fmt: skip
NAMES: Final = (
    "limit", "cursor", "state", "kind", "lane", "order", "customer", "coupon", "message", "backfill", "map", "as_of", "since",
    "code", "q", "next", "by", "key", "format",
)  # fmt: skip
VALUES: Final = (
    *WORDS, "0", "100000000000000000000", "dead", "waiting", "orders", "customers", "id=ID", "2026-05-11T00:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-05-11", "infinity", "", "%", "+",
)  # fmt: skip
MEDIA: Final = ("application/json", "text/csv", "application/x-ndjson", "", "text/csv; charset=utf-16", "*/*")


def _operation(target: Target, rng: random.Random) -> Case:
    """Any operation, with odd parameters and bodies, with any of the keys."""
    method, pattern = rng.choice(target.operations)
    path = "/".join(rng.choice(WORDS) if part.startswith("{") else part for part in pattern.split("/"))
    query = [f"{rng.choice(NAMES)}={rng.choice(VALUES)}" for _ in range(rng.choice((0, 0, 1, 2, 3)))]
    if rng.random() < 0.05:
        method = rng.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"))
    key = rng.choice((target.operator_key, target.operator_key, target.store_key, "wrong", "é", ""))
    raw = b"" if method in ("GET", "HEAD") and rng.random() < 0.9 else _some_body(rng)
    headers = [("Authorization", f"Bearer {key}"), ("Content-Type", rng.choice(MEDIA))]
    data = _framed(target, rng, method, path + ("?" if query else "") + "&".join(query), headers, raw)
    return Case((data,), what=f"{method} {pattern}", method=method)


def _some_body(rng: random.Random) -> bytes:
    names = (
        "why",
        "ids",
        "state",
        "kind",
        "value",
        "code",
        "points",
        "seconds",
        "limit",
        "dry_run",
        "product_ids",
        "variant_ids",
        "arrived",
        "email",
    )
    some = {rng.choice(names): rng.choice(bodies.ANYTHING) for _ in range(rng.randrange(5))}
    text = "{" + ", ".join(f'"{name}": {value}' for name, value in some.items()) + "}"
    csv = f"id,email,updatedAt\n{rng.choice(VALUES)},{rng.choice(VALUES)},{rng.choice(VALUES)}\n"
    shaped = bodies.body(rng, rng.choice(KINDS))
    return rng.choice((text.encode("utf-8", "surrogatepass"), csv.encode(), shaped))


PAGES: Final = (
    "", "/login", "/audit", "/coupons", "/coupons/ledger", "/coupon", "/rules", "/rule", "/search", "/dead-and-held",
    "/dead-and-held/group", "/keys", "/jobs/{}", "/jobs/{}/edit", "/messages/{}", "/nowhere", "/static/{}",
    "/static/../pages.py", "/static/%2e%2e/x",
)  # fmt: skip
FORMS: Final = (
    "/login", "/logout", "/coupon/approve", "/coupon/{}", "/coupons/release-limit", "/jobs/{}/edit", "/jobs/{}/retry",
    "/keys", "/rule", "/keys/{}/revoke", "/destinations/{}/pause", "/destinations/{}/resume", "/rule/delete",
    "/dead-and-held/bulk",
)  # fmt: skip


def _console(target: Target, rng: random.Random) -> Case:
    method = rng.choice(("GET", "GET", "POST"))
    path = "/console" + rng.choice(PAGES if method == "GET" else FORMS).format(rng.choice(WORDS))
    query = "&".join(f"{rng.choice(NAMES)}={rng.choice(VALUES)}" for _ in range(rng.choice((0, 1, 2))))
    headers = [
        ("Cookie", rng.choice((f"relay_console={target.cookie}", "relay_console=forged", "x", "relay_console=é")))
    ]
    headers.append(("Origin", rng.choice((f"http://{target.host}:{target.port}", "http://elsewhere", "null"))))
    if rng.random() < 0.2:
        headers.append(("HX-Request", "true"))
    form = {rng.choice((*NAMES, "token", "why", "days", "name", "event")): rng.choice(VALUES) for _ in range(4)}
    raw = (
        b""
        if method == "GET"
        else rng.choice((urlencode(form).encode(), b"a=%ff&b=%00", rng.randbytes(50), b"&" * 500))
    )
    data = _framed(target, rng, method, f"{path}?{query}" if query else path, headers, raw)
    return Case((data,), what=f"console {method}", method=method)


# ----------------------------------------------------------------------------------------------- wild


def _wild(target: Target, rng: random.Random) -> Case:
    """HTTP that no client library would send; each on a connection of its own."""
    kinds, weights = zip(*_WILD, strict=True)
    kind: Wild = rng.choices(kinds, weights)[0]
    return kind(target, rng)


def _own(pieces: Sequence[bytes], what: str, stored: Sequence[bytes | None] = (None,)) -> Case:
    return Case(tuple(pieces), tuple(stored), tame=False, what=what)


def _post(target: Target, *headers: str) -> bytes:
    lines = ["POST /v1/events/customers HTTP/1.1", "Host: relay", f"Authorization: Bearer {target.store_key}", *headers]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"


def _good(rng: random.Random) -> bytes:
    return json.dumps({"id": f"w{rng.randrange(1 << 40)}", "email": "ada@example.com"}).encode()


def _length(target: Target, rng: random.Random) -> Case:
    raw = _good(rng)
    length = rng.choice(
        (
            str(len(raw) + 50),
            str(len(raw) - 5),
            "-1",
            "+5",
            "0x10",
            "1e3",
            "99999999999999999999999",
            " 5 ",
            "5, 5",
            "",
            "٥",
            "0",
        )
    )
    return _own([_post(target, f"Content-Length: {length}") + raw], f"Content-Length {length!r} of {len(raw)}")


def _two_lengths(target: Target, rng: random.Random) -> Case:
    raw = _good(rng)
    second = rng.choice((f"Content-Length: {len(raw)}", "Content-Length: 5", "Transfer-Encoding: chunked"))
    order = [f"Content-Length: {len(raw)}", second]
    rng.shuffle(order)
    result = raw if "chunked" not in second or rng.random() < 0.5 else _chunks(rng, raw)
    return _own([_post(target, *order) + result], f"two lengths {order}")


def _bad_chunks(target: Target, rng: random.Random) -> Case:
    raw = _good(rng)
    size = f"{len(raw):x}".encode()
    result = rng.choice(
        (
            b"FFFFFFFFFFFFFFFFF\r\n" + raw,
            b"-5\r\n" + raw,
            b"\r\n" + raw,
            b"zz\r\n" + raw + b"\r\n0\r\n\r\n",
            size + b"\n" + raw + b"\n0\n\n",
            size + b"\r\n" + raw + b"0\r\n\r\n",
            size + b"\r\n" + raw + b"\r\n",
            size + b" \r\n" + raw + b"\r\n0\r\n\r\n",
            size + b";" + b"x" * 70_000 + b"\r\n" + raw + b"\r\n0\r\n\r\n",
            b"5\r\n" + raw + b"\r\n0\r\n\r\n",
            size + b"\r\n" + raw + b"\r\n0\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
            size + b"\r\n" + raw + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\n\r\n" + size + b"\r\n" + raw,
        )
    )
    coding = rng.choice(("chunked", "Chunked", "chunked, chunked", "gzip, chunked", "identity", "xchunked", "chunked "))
    return _own([_post(target, f"Transfer-Encoding: {coding}") + result], f"chunks, {coding}")


def _bomb(target: Target, rng: random.Random) -> Case:
    zeros = b'{"id":"1","note":"' + b"0" * 30_000_000 + b'"}'
    packed = _GZIPPED.setdefault("bomb", gzip.compress(zeros, 9))
    coding = rng.choice(("gzip", "GZIP", "deflate", "gzip, gzip", "br", "zstd", "identity", "identity, gzip", "x", ""))
    raw = packed if rng.random() < 0.7 else zlib.compress(_good(rng))
    raw = _good(rng) if coding == "" else raw
    head = _post(target, f"Content-Encoding: {coding}", f"Content-Length: {len(raw)}")
    return _own([head + raw], f"bomb in {coding}", [raw])


_GZIPPED: Final[dict[str, bytes]] = {}


def _headers(target: Target, rng: random.Random) -> Case:
    raw = _good(rng)
    length = f"Content-Length: {len(raw)}"
    odd = rng.choice(
        (
            ["X: " + "y" * 70_000], [f"X-{n}: y" for n in range(2000)], ["X: a\r\n folded"], ["X : y"], ["X\x00: y"], ["X: \x00"],
            [": y"], ["no colon"], ["Expect: 100-continue"], ["Expect: x"], ["Connection: close"],
            ["Connection: upgrade", "Upgrade: h2c"],
            ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"],
            ["Host: second"], ["Authorization: Bearer second"], ["X: \xff\xfe"], ["X-Forwarded-For: " + "1.2.3.4," * 5000],
            ["Content-Type: " + "a" * 9000], ["Idempotency-Key: \xe9"], ["Idempotency-Key: a", "Idempotency-Key: b"],
            ["Idempotency-Key: a\tb"], ["Transfer-Encoding:"], ["TE: trailers"], ["Cookie: " + "a=b;" * 3000], ["X: a\rb"],
        )
    )  # fmt: skip
    return _own([_post(target, length, *odd) + raw], f"headers {str(odd)[:60]}")


def _start_lines(target: Target, rng: random.Random) -> Case:
    key = f"Host: relay\r\nAuthorization: Bearer {target.operator_key}\r\n\r\n".encode()
    line = rng.choice(
        (
            b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET http://elsewhere/v1/jobs HTTP/1.1", b"CONNECT relay:80 HTTP/1.1",
            b"get /v1/jobs HTTP/1.1", b"GET /v1/jobs HTTP/0.9", b"GET /v1/jobs HTTP/1.0", b"GET /v1/jobs HTTP/2.0",
            b"GET /v1/jobs HTTP/9.9", b"GET /v1/jobs", b"GET  /v1/jobs  HTTP/1.1", b"PRI * HTTP/2.0", b"GET /%00 HTTP/1.1",
            b"GET /\x00 HTTP/1.1", b"GET /\xff\xfe HTTP/1.1", b"GET /" + b"a" * 60_000 + b" HTTP/1.1", b"GET //v1//jobs HTTP/1.1",
            b"GET /v1/../v1/jobs HTTP/1.1", b"GET ?a=b HTTP/1.1", b"GET /v1/jobs#x HTTP/1.1",
            b"GET /v1/jobs?" + b"a=b&" * 9000 + b" HTTP/1.1",
            b"\r\n\r\nGET /healthz HTTP/1.1", b"HEAD /healthz HTTP/1.1", b"M-SEARCH * HTTP/1.1", b"G\x00T / HTTP/1.1",
            b"GET /v1/jobs?limit=\xff HTTP/1.1",
            b"GET /console/search?q=\xf0\x28\x8c\x28 HTTP/1.1", b"GET /v1/coupons/%ED%A0%80 HTTP/1.1",
            b"GET /v1/coupons/%2e%2e%2fx HTTP/1.1",
        )
    )  # fmt: skip
    return _own([line + b"\r\n" + key], f"line {line[:50]!r}", ())


def _noise(_: Target, rng: random.Random) -> Case:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(32)
    lines = (
        hello,
        rng.randbytes(300),
        b"\r\n" * 500,
        b"\x00" * 1000,
        b"EHLO x\r\n",
        b"GET",
        b"*1\r\n$4\r\nPING\r\n",
        b"",
    )
    return _own([rng.choice(lines)], "noise", ())


def _crowd(target: Target, rng: random.Random) -> Case:
    """Many requests at once; the last one cut."""
    raws = [_good(rng) for _ in range(rng.choice((2, 30)))]
    whole = b"".join(_post(target, f"Content-Length: {len(raw)}") + raw for raw in raws)
    cut = _post(target, "Content-Length: 500") + b'{"id'
    return _own([whole + cut], "pipelined, the last one cut", raws)


def _drip(target: Target, rng: random.Random) -> Case:
    raw = _good(rng)
    data = _post(target, f"Content-Length: {len(raw)}") + raw
    steps = sorted(rng.sample(range(1, len(data)), 12))
    return _own([data[a:b] for a, b in zip([0, *steps], [*steps, len(data)], strict=True)], "in drops", [raw])


def _smuggled(target: Target, rng: random.Random) -> Case:
    """A second request inside of the first one's body."""
    inner = (
        b"GET /v1/jobs/counts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + target.operator_key.encode()
        + b"\r\n\r\n"
    )
    head = _post(target, f"Content-Length: {len(inner)}", rng.choice(("Transfer-Encoding: chunked", "X: y")))
    return _own([head + rng.choice((b"", b"0\r\n\r\n")) + inner], "a request in a body")


Wild = Callable[[Target, random.Random], Case]
_WILD: Final[tuple[tuple[Wild, float], ...]] = (
    (_length, 4), (_two_lengths, 2), (_bad_chunks, 4), (_bomb, 1), (_headers, 4), (_start_lines, 4), (_noise, 1), (_crowd, 1),
    (_drip, 1), (_smuggled, 1),
)  # fmt: skip


def shown(case: Case) -> str:
    """The case in a line."""
    sent = quote(b"".join(case.pieces)[:300], safe=' :/{}[],;=?&"')
    return f"{case.what}: {sent}"
