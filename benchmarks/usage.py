"""What a measurement used: processor time of processes, and WAL. On a busy machine both are steadier than rates."""

from pathlib import Path

import psutil

from benchmarks.stage import Stage


def processor_seconds(pid: int) -> float:
    """User and system time of a process, of its children, and of those that have ended, so far."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    seconds = float(own.user + own.system + own.children_user + own.children_system)
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds


def postgres_pid(stage: Stage) -> int:
    """The process whose children are the server's other processes."""
    [file] = Path(stage.folder).rglob("postmaster.pid")
    return int(file.read_text().split()[0])


def wal_bytes(stage: Stage) -> int:
    """How much WAL the server has written so far, with that of all databases."""
    [row] = stage.sql(stage.postgres.url, "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS bytes")
    return int(row["bytes"])
