"""`python -m benchmarks.explain [MESSAGES]`: how long `GET /v1/explain` takes with five million messages.

The web process as its user starts it, on a Postgres of its own, filled by SQL: customers, their orders, redemptions with
their coupons, all delivered, every thousandth order given up; and one customer with ten thousand orders. Ends with 1 when
the 99th percentile of any kind of question is over 300 ms, or an answer is not the right one.
"""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import httpx

from benchmarks.figures import percentile
from benchmarks.stage import Process, Stage, free_port, listening
from platform_relay.core import migrate
from platform_relay.core.database import create_engine, parse_url
from platform_relay.core.embedded import EmbeddedPostgres

MESSAGES: Final = 5_000_000
MOST_MILLISECONDS: Final = 300.0
ASKED: Final = 300
"""Questions of each kind."""
KEY: Final = "operator-key-of-the-benchmark"
POSTGRES: Final = {
    "shared_buffers": "512MB", "max_wal_size": "8GB", "fsync": "off", "synchronous_commit": "off",
    "maintenance_work_mem": "512MB",
}  # fmt: skip
BUSY: Final = 10_000
"""Orders of one customer."""
FILL: Final = (
    """
INSERT INTO message (id, source, kind, dedupe_key, body, customer_ref, order_ref, coupon_ref, received_at)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, CASE n % 5 WHEN 4 THEN 'platform' ELSE 'store' END,
       CASE n % 5 WHEN 0 THEN 'customers' WHEN 4 THEN 'points/redeemed' ELSE 'orders' END, 'k' || n,
       convert_to(CASE n % 5
           WHEN 0 THEN format('{{"id": "c%s", "email": "c%s@example.com", "firstName": "Ada"}}', n / 5, n / 5)
           WHEN 4 THEN format('{{"id": "p%s", "customer": {{"externalId": "c%s"}}, "couponCode": "code%s", "points": 500,'
                              ' "rewardType": "amountdiscount", "ruleId": "r"}}', n, n / 5, n)
           ELSE format('{{"id": "o%s", "customerId": "c%s", "financialStatus": "paid", "currency": "EUR",'
                       ' "totalPrice": "19.98"}}', n, n / 5) END, 'UTF8'),
       CASE WHEN n < {busy} AND n % 5 BETWEEN 1 AND 3 THEN 'busy' ELSE 'c' || n / 5 END,
       CASE WHEN n % 5 BETWEEN 1 AND 3 THEN 'o' || n END, CASE WHEN n % 5 = 4 THEN 'code' || n END,
       now() - interval '20 days' + n * interval '0.3 s'
FROM generate_series(0, {messages} - 1) AS n
""",
    """
INSERT INTO job (id, message_id, kind, destination, lane, seq, state, disposition, reason_code, facts, collapse, attempts,
                 uncertain, created_at, finished_at, params, duration_ms, status)
SELECT ('01900000-0000-7000-8001-' || lpad(to_hex(n), 12, '0'))::uuid,
       ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       CASE n % 5 WHEN 0 THEN 'forward_customer' WHEN 4 THEN 'issue_coupon' ELSE 'forward_order' END,
       CASE n % 5 WHEN 4 THEN 'store' ELSE 'platform' END,
       CASE n % 5 WHEN 0 THEN 'customer:c' || n / 5 WHEN 4 THEN 'coupon:code' || n ELSE 'order:o' || n END, 1,
       CASE WHEN n % 1000 = 1 THEN 'dead' ELSE 'done' END, CASE WHEN n % 1000 = 1 THEN 'rejected' END,
       CASE WHEN n % 1000 = 1 THEN 'rejected_by_destination' END,
       CASE WHEN n % 1000 = 1 THEN '{{"destination": "the Platform", "request": "the order", "status": 422,'
           ' "response": "currency must be ISO 4217"}}'::jsonb END,
       n % 5 = 0, 1, false, now() - interval '1 day', now() - interval '1 day',
       CASE WHEN n % 5 = 4 THEN '{{"topic": "points/redeemed", "reward": "redeemed"}}'::jsonb END,
       CASE WHEN n % 1000 <> 1 THEN 12 END, CASE WHEN n % 1000 <> 1 THEN 200 END
FROM generate_series(0, {messages} - 1) AS n
""",
    """
INSERT INTO attempt (job_id, fencing_token, number, started_at, duration_ms, outcome, status)
SELECT ('01900000-0000-7000-8001-' || lpad(to_hex(n), 12, '0'))::uuid, 1, 1, now() - interval '1 day', 12, 'reject', 422
FROM generate_series(0, {messages} - 1) AS n WHERE n % 1000 = 1
""",
    """
INSERT INTO coupon (code, message_id, customer_ref, kind, value, currency, rule_edited, state, points, received_at,
                    created_at, updated_at, active_at)
SELECT 'code' || n, ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'c' || n / 5, 'fixed_amount', 5, 'EUR',
       false, 'active', 500, now() - interval '1 day', now() - interval '1 day', now() - interval '1 day', now()
FROM generate_series(4, {messages} - 1, 5) AS n
""",
)
"""By SQL, as five million HTTP calls would take an hour."""
INDEXES: Final = """
SELECT indexdef, indexrelid::regclass::text AS name FROM pg_indexes
JOIN pg_index ON indexrelid = (quote_ident(schemaname) || '.' || quote_ident(indexname))::regclass
WHERE tablename IN ('message', 'job', 'attempt', 'coupon') AND NOT indisprimary AND NOT indisunique
"""


def main() -> int:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    folder = Path(tempfile.mkdtemp(prefix="relay-explain-"))
    folder.chmod(0o711)  # the server of a root user is somebody else, who must get through
    try:
        server = EmbeddedPostgres.start(folder / "postgres", settings=POSTGRES)
        try:
            _fill(server.url, messages)
            return _measure(server.url, messages, folder)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(url: str, messages: int) -> None:
    """Indexes that no constraint needs are made at the end, which is several times faster."""
    asyncio.run(_migrated(url))
    begun = time.monotonic()
    indexes = Stage.sql(url, INDEXES)
    for index in indexes:
        Stage.sql(url, f"DROP INDEX {index['name']}")
    for statement in FILL:
        Stage.sql(url, statement.format(messages=messages, busy=BUSY * 5 // 3))
    for index in indexes:
        Stage.sql(url, index["indexdef"])
    for table in ("message", "job", "attempt", "coupon"):
        Stage.sql(url, f"ANALYZE {table}")
    print(f"{messages:,} messages in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


async def _migrated(url: str) -> None:
    engine = create_engine(url, application_name="benchmark", pool_size=1)
    await migrate.upgrade(engine)
    await engine.dispose()


def _measure(url: str, messages: int, folder: Path) -> int:
    port, rng = free_port(), random.Random(1)
    dsn = parse_url(url).render_as_string(hide_password=False)
    settings = {"DATABASE_URL": dsn, "PORT": str(port), "OPERATOR_KEY": KEY, "LOG_LEVEL": "ERROR"}
    over = 0

    def some(kind: int) -> int:
        return rng.randrange(messages // 5) * 5 + kind

    def dead() -> int:
        return rng.randrange(messages // 1000) * 1000 + 1

    questions: Mapping[str, tuple[Callable[[], dict[str, str]], str | None]] = {
        "an order": (lambda: {"order": f"o{some(2)}"}, "delivered"),
        "an order that was given up": (lambda: {"order": f"o{dead()}"}, "rejected"),
        "a customer": (lambda: {"customer": f"c{some(0) // 5}"}, None),
        "a customer by e-mail": (lambda: {"customer": f"c{some(0) // 5}@example.com"}, None),
        "a coupon": (lambda: {"coupon": f"code{some(4)}"}, None),
        "a message": (lambda: {"message": f"01900000-0000-7000-8000-{some(3):012x}"}, None),
        "a customer with 10,000 orders": (lambda: {"customer": "busy"}, None),
        "an order that never came": (lambda: {"order": f"x{rng.random()}"}, "never_received"),
        "an unknown e-mail address": (lambda: {"customer": f"x{rng.random()}@example.com"}, None),
    }
    with (
        Process([sys.executable, "-m", "platform_relay.cli", "web"], settings, folder / "web.log") as web,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False
        ) as client,
    ):
        listening(port, web)
        for name, (question, cause) in questions.items():
            times = []
            for _ in range(ASKED):
                parameters = question()
                begun = time.perf_counter()
                result = client.get("/v1/explain", params=parameters)
                times.append((time.perf_counter() - begun) * 1000)
                body = result.raise_for_status().json()
                if cause is not None and body["cause"] != cause:
                    print(f"{parameters}: {body['cause']}, not {cause}")
                    over += 1
            middle, late = percentile(times, 0.50), percentile(times, 0.99)
            over += late > MOST_MILLISECONDS
            print(f"{name:<32} median {middle:6.1f} ms, p99 {late:6.1f} ms, worst {max(times):6.1f} ms", flush=True)
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
