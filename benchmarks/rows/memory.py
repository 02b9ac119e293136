"""Resident memory of web and worker after a long steady load, and how much of it came after the first tenth."""

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


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    database_url = stage.database()
    seconds = 3600 * scale.load_hours
    with stage.web(["app.cli", "web"], database_url) as (url, web), stage.relay("worker", database_url) as worker:
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
    variant = f"{answers.events:,} events in {answers.seconds / 60:.1f} minutes"
    note = "MiB, the highest reading; drift: the last tenth beside the second"
    return [Result("rss_mb", value, (Detail(variant, value),), note)]


def _resident(process: Process) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / MEBIBYTE


def _drift(values: list[float]) -> float:
    """Percent."""
    tenth = max(1, len(values) // 10)
    return 100 * (median(values[-tenth:]) / median(values[tenth : 2 * tenth] or values) - 1)
