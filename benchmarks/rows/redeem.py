"""From the sending of the Platform's webhook to an active coupon, read back from a store that takes 20 ms a call."""

import random
import time
from typing import Final

from benchmarks.figures import percentile
from benchmarks.results import Detail, Result, highest
from benchmarks.stage import PATIENCE, WEBHOOK_SECRET, Stage, until

SHOP_DELAY: Final = 0.02
RULE: Final = "rule-5-off"
NO_LIMITS: Final = {"COUPONS__ISSUANCE_LIMITS__CUSTOMER_COUNT": "none"}
"""One customer redeems more than the fuse lets through by default."""
ACTIVE: Final = (
    "SELECT code, CAST(extract(epoch FROM active_at) AS float8) AS at FROM coupon WHERE active_at IS NOT NULL"
)


def run(stage: Stage) -> list[Result]:
    database_url = stage.database()
    stage.platform.reset()
    stage.shop.control("latency", seconds=SHOP_DELAY)
    rng, sent = random.Random(1), {}
    try:
        with (
            stage.web(["platform_relay.cli", "web"], database_url, **NO_LIMITS) as (url, _),
            stage.relay("worker", database_url, **NO_LIMITS),
        ):
            webhook_url = f"{url}/v1/webhooks/platform/{WEBHOOK_SECRET}"
            customers = [{"customerId": "1", "email": "c1@example.com", "points": 10_000_000}]
            stage.platform.control("customers", customers=customers)

            def redeem() -> None:
                at = time.time()
                answer = stage.platform.control(
                    "redeem", customerId="1", ruleId=RULE, url=webhook_url, embed_rule="full"
                )
                sent[answer["code"]] = at

            def active() -> bool:
                return sent.keys() <= {row["code"] for row in stage.sql(database_url, ACTIVE)}

            redeem()
            until(active, PATIENCE, "the first coupon is not active")
            sent.clear()
            for _ in range(stage.scale.samples // 2):
                redeem()
                time.sleep(rng.uniform(0.05, 0.1))
            until(active, PATIENCE, "not all coupons are active")
            became = {row["code"]: row["at"] for row in stage.sql(database_url, ACTIVE)}
    finally:
        stage.shop.control("latency", seconds=0)
    waits = [1000 * (became[code] - at) for code, at in sent.items()]
    value = {"p50": percentile(waits, 0.5), "p99": percentile(waits, 0.99)}
    return [highest("redeem_ms", [Detail("web and worker in two processes, store 20 ms", value)])]
