"""From the sending of an event to its call on the wire, when nothing else is to be done."""

import http.client
import random
import time
from typing import Final
from urllib.parse import urlsplit

from benchmarks import bodies
from benchmarks.figures import percentile
from benchmarks.load import EVENT
from benchmarks.results import Detail, Result, highest
from benchmarks.stage import PATIENCE, STORE_KEY, Stage, StageError, until

IDLE: Final = (0.02, 0.06)
"""Seconds between two events."""


def run(stage: Stage) -> list[Result]:
    details = []
    with stage.web(["platform_relay.cli", "serve"], stage.database()) as (url, _):
        details.append(Detail("web and worker in one process", _measure(stage, url)))
    database_url = stage.database()
    with stage.web(["platform_relay.cli", "web"], database_url) as (url, _), stage.relay("worker", database_url):
        details.append(Detail("web and worker in two processes", _measure(stage, url)))
    return [highest("pickup_ms", details, "from the request's sending: the acceptance itself is part of it")]


def _measure(stage: Stage, url: str) -> dict[str, float]:
    """Milliseconds, `{"p50": …, "p99": …}`."""
    stage.platform.reset()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    rng, series, sent = random.Random(1), next(stage.series), {}
    warm_up = 5
    for number in range(warm_up + stage.scale.samples):
        identifier = bodies.entity_id(series, number)
        body = bodies.customer(stage.scale.sizes[0], identifier)
        sent[f"customer:{identifier}"] = time.monotonic()
        connection.request(
            "POST", EVENT, body, {"authorization": f"Bearer {STORE_KEY}", "content-type": "application/json"}
        )
        answer = connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise StageError(f"HTTP {answer.status} instead of 202")
        if number == warm_up - 1:
            until(lambda: _received(stage) >= warm_up, PATIENCE, "the worker sends nothing")
            connection.close()  # it may have been idle for too long; the next request opens another
        time.sleep(rng.uniform(*IDLE))
    connection.close()
    until(lambda: _received(stage) >= len(sent), PATIENCE, "not all events were delivered")
    arrived = {entry["entity"]: entry["at"] for entry in stage.platform.ledger(body=0)}
    waits = [1000 * (arrived[entity] - at) for entity, at in list(sent.items())[warm_up:]]
    return {"p50": percentile(waits, 0.5), "p99": percentile(waits, 0.99)}


def _received(stage: Stage) -> int:
    return int(stage.platform.summary()["last_seq"])
