"""Resident memory of web and worker after a long steady load, and how much of it came after the first tenth.

An hour, or the minutes that `--rss-minutes` gives it, which the row then says.
"""

import threading
from statistics import median
from typing import Final

import psutil

from benchmarks.load import Load
from benchmarks.results import Detail, Result
from benchmarks.stage import Process, Stage

MEBIBYTE: Final = 1 << 20
CONNECTIONS: Final = 8
READINGS: Final = 200
AN_HOUR: Final = 60.0


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    database_url = stage.database()
    seconds = 60 * scale.rss_minutes
    with (
        stage.web(["platform_relay.cli", "web"], database_url) as (url, web),
        stage.relay("worker", database_url) as worker,
    ):
        done = threading.Event()
        readings: dict[str, list[float]] = {"web": [], "worker": []}

        def watch() -> None:
            while not done.wait(seconds / READINGS):
                for name, process in (("web", web), ("worker", worker)):
                    readings[name].append(_resident(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            load = Load(url, next(stage.series), CONNECTIONS, seconds, scale.sizes[0], rate=scale.load_rate)
            answers = load.run()
        finally:
            done.set()
            watcher.join()
    value = {name: max(values) for name, values in readings.items()}
    value["drift_percent"] = max(_drift(values) for values in readings.values())
    value["minutes"] = answers.seconds / 60
    shortened = scale.rss_minutes < AN_HOUR
    note = "MiB, the highest reading; drift: the last tenth beside the second"
    if shortened:
        note = f"{value['minutes']:.1f} minutes of load, NOT the hour that the target speaks of; {note}"
    variant = f"{answers.events:,} events in {value['minutes']:.1f} minutes"
    return [Result("rss_mb", value, (Detail(variant, value),), note, shortened=shortened)]


def _resident(process: Process) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / MEBIBYTE


def _drift(values: list[float]) -> float:
    """Percent."""
    tenth = max(1, len(values) // 10)
    return 100 * (median(values[-tenth:]) / median(values[tenth : 2 * tenth] or values) - 1)
