"""How long the largest legal bodies hold other requests: the longest answer of a small request while they are accepted and
forwarded by one process with web server and worker."""

import base64
import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from benchmarks.results import Detail, Result
from benchmarks.stage import PATIENCE, STORE_KEY, Stage, StageError, until

SECRET: Final = "webhook-secret-of-the-benchmark"  # noqa: S105  # of the simulated store
EVENT_LIMIT: Final = 16 << 20
FORWARDED: Final = 900_000
"""Bytes of an event: the simulated Platform returns all of it, and a response above 1 MiB is not trusted."""
ROUNDS: Final = 2
"""Requests of each shape, at most: a batch of large lines takes up to half a minute."""
ORDER: Final = {"customerId": "4", "financialStatus": "paid", "currency": "EUR", "totalPrice": "1.00"}
LINE: Final = {"productId": "7", "variantId": "71", "title": "Mug", "quantity": 1, "price": "1.00"}
WOO: Final = {
    "status": "processing",
    "currency": "EUR",
    "total": "1.00",
    "date_modified_gmt": "2026-01-01T00:00:00",
    "billing": {"email": "buyer@example.com"},  # an order without a buyer is not delivered
}
Body = Callable[[str], bytes]


def run(stage: Stage) -> list[Result]:
    shapes: dict[str, dict[str, Body]] = {
        "event": {
            "5,000 line items": lambda key: filled({"id": key, **ORDER, "lineItems": [LINE] * 5000}, '"x"', FORWARDED),
            "unknown objects": lambda key: filled({"id": key, **ORDER}, '{"a":1}', FORWARDED),
            "unknown numbers": lambda key: filled({"id": key, **ORDER}, "0.5", FORWARDED),
        },
        "webhook": {
            "a million rows": lambda key: filled({"id": int(key), **WOO}, '{"id":1}', EVENT_LIMIT),
        },
        "batch": {
            "16 large lines": lambda key: b"\n".join(_line(key, number, FORWARDED) for number in range(16)),
            "1,000 lines": lambda key: b"\n".join(_line(key, number, 16_000) for number in range(1000)),
        },
    }
    settings = {"WOOCOMMERCE__WEBHOOK_SECRET": SECRET}
    details = []
    with stage.web(["platform_relay.cli", "serve"], stage.database(), **settings) as (url, _):
        address = urlsplit(url).netloc
        for kind, bodies in shapes.items():
            for name, body in bodies.items():
                hold = _longest_hold(stage, address, kind, body)
                details.append(Detail(f"{kind}: {name}", {kind: hold}))
    worst: dict[str, float] = {}
    for detail in details:
        if isinstance(detail.value, dict):
            worst = {**worst, **{kind: max(ms, worst.get(kind, 0.0)) for kind, ms in detail.value.items()}}
    note = "milliseconds; events of 0.9 MB; webhooks and batches of 16 MiB, the lines of a batch of 0.9 MB or 16 KB"
    return [Result("longest_hold_ms", worst, tuple(details), note)]


def filled(members: Mapping[str, object], element: str, size: int) -> bytes:
    """The JSON object with a list `x` of as many elements as fit in `size` bytes."""
    start = json.dumps(members)[:-1] + ', "x": ['
    count = (size - len(start) - 2) // (len(element) + 1)
    return (start + ",".join([element] * count) + "]}").encode()


def _line(key: str, number: int, size: int) -> bytes:
    return b'{"type":"orders","event":%b}' % filled({"id": f"{key}-{number}", **ORDER}, "0.5", size)


def _longest_hold(stage: Stage, address: str, kind: str, body: Body) -> float:
    """Milliseconds of the slowest small request."""
    slowest, ended = 0.0, threading.Event()

    def probe() -> None:
        nonlocal slowest
        connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        while not ended.is_set():
            started = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            slowest = max(slowest, time.perf_counter() - started)
            time.sleep(0.002)
        connection.close()

    _send(address, kind, body(str(next(stage.series))))  # starts the process for large bodies
    delivered = int(stage.platform.summary()["last_seq"])
    prober = threading.Thread(target=probe)
    prober.start()
    try:
        for _ in range(min(stage.scale.rounds, ROUNDS)):
            _send(address, kind, body(str(next(stage.series))))
        until(lambda: int(stage.platform.summary()["last_seq"]) > delivered, PATIENCE, "nothing was delivered")
    finally:
        ended.set()
        prober.join()
    return 1000 * slowest


def _send(address: str, kind: str, raw: bytes) -> None:
    headers = {"authorization": f"Bearer {STORE_KEY}", "content-type": "application/json"}
    path = {"event": "/v1/events/orders", "batch": "/v1/events/batch", "webhook": "/v1/store-webhooks/woocommerce"}[
        kind
    ]
    if kind == "webhook":
        signature = base64.b64encode(hmac.digest(SECRET.encode(), raw, hashlib.sha256)).decode()
        headers |= {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature}
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request("POST", path, raw, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status not in (200, 202):
        raise StageError(f"HTTP {answer.status} instead of 200: {text[:200]!r}")
