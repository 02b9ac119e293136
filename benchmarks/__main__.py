"""`python -m benchmarks [--long] [--tiny] [--only ROW …] [--rss-minutes N] [--write-docs]`: a table, and one JSON line."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from benchmarks import record, report
from benchmarks.results import Result
from benchmarks.rows import (
    batch,
    cost,
    encrypted,
    history,
    holds,
    ingest,
    memory,
    pickup,
    redeem,
    refused_flood,
    relay,
    snapshot,
    workers,
)
from benchmarks.scale import NORMAL, TINY
from benchmarks.stage import Stage, stage

Row = Callable[[Stage], list[Result]]
ROWS: Final[Mapping[tuple[str, ...], Row]] = {
    ("ingest_vs_null", "ingest_vs_naive"): ingest.run,
    ("batch_ingest_per_s",): batch.run,
    ("relay_vs_client", "relay_vs_client_50_ms", "relay_vs_aiohttp"): relay.clients,
    ("relay_vs_best_peer", "relay_vs_best_peer_50_ms"): relay.peers,
    ("relay_vs_best_peer_same_client", "relay_vs_best_peer_same_client_50_ms"): relay.peers_with_our_client,
    ("relay_cpu_ratio", "postgres_cpu_us", "wal_bytes"): cost.run,
    ("pickup_ms",): pickup.run,
    ("redeem_ms",): redeem.run,
    ("two_workers",): workers.run,
    ("relay_with_history",): history.run,
    ("encrypted_vs_plain",): encrypted.run,
    ("longest_hold_ms",): holds.run,
}
LONG: Final[Mapping[tuple[str, ...], Row]] = {
    ("relay_held_snapshot",): snapshot.run,
    ("refused_flood",): refused_flood.run,
    ("rss_mb",): memory.run,
}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl-C does, so that no process is left
    rows = {names: row for names, row in {**ROWS, **LONG}.items() if _wanted(names, options)}
    started, results = time.monotonic(), []
    scale = TINY if options.tiny else replace(NORMAL, rss_minutes=options.rss_minutes)
    with stage(scale) as place:
        for names, row in rows.items():
            begun = time.monotonic()
            results += _measured(place, names, row)
            print(f"{' '.join(names)}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    print(*report.table(results), sep="\n")
    if options.write_docs:
        record.write(results, seconds)
    print(report.last_line(results), flush=True)
    return int(any(result.value is None for result in results))


def _measured(place: Stage, names: tuple[str, ...], row: Row) -> list[Result]:
    try:
        return row(place)
    except Exception as error:  # noqa: BLE001  # one row's failure, whatever it is, must not sink the others
        return [Result(name, None, note=f"{type(error).__name__}: {error}") for name in names]


def _wanted(names: tuple[str, ...], options: argparse.Namespace) -> bool:
    if options.only:
        return any(name in options.only for name in names)
    return names in ROWS or options.long or options.tiny


def _options() -> argparse.Namespace:
    known = [name for names in {**ROWS, **LONG} for name in names]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How fast the relay is (docs/performance.md)."
    )
    parser.add_argument("--long", action="store_true", help="also the rows that take more than an hour")
    parser.add_argument(
        "--rss-minutes", type=float, default=NORMAL.rss_minutes, help="how long `rss_mb` loads; the row says so"
    )
    parser.add_argument("--tiny", action="store_true", help="every row in seconds; the figures mean nothing")
    parser.add_argument("--only", nargs="+", choices=known, metavar="ROW", help=f"some of: {', '.join(known)}")
    parser.add_argument("--write-docs", action="store_true", help="into docs/performance.json and .md")
    options = parser.parse_args()
    if options.tiny and options.write_docs:
        parser.error("the figures of --tiny mean nothing; they do not go into the documents")
    return options


if __name__ == "__main__":
    sys.exit(main())
