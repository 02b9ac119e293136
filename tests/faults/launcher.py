"""`python -m tests.faults.launcher <role>`: `relay <role>`, which counts its commit and wire points and may die at one.

A point is a moment before or after something that others can see: a statement that commits by itself, a COMMIT, a call
to a destination. Its name says what it is about: `before POST /v1/orders`, `after settle.SETTLE`.

POINTS_LOG   file that gets a line for each point passed
POINTS_DIE   name of a point at which to die by SIGKILL
POINTS_NTH   ... when it is passed for the n-th time (1)

The service knows nothing of this: statements are seen through SQLAlchemy's events, calls by wrapping `HttpClient.call`.
"""

import importlib
import os
import pkgutil
import re
import signal
import sys
from collections import Counter
from typing import Final

from sqlalchemy import TextClause, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool

import platform_relay.alerts
import platform_relay.audit
import platform_relay.coupons
import platform_relay.imports
import platform_relay.inbox
import platform_relay.jobs
import platform_relay.privacy
import platform_relay.queue
import platform_relay.reconcile
import platform_relay.sync
from platform_relay.cli import program
from platform_relay.core.http import Failure, HttpClient, HttpResponse

WRITES: Final = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|pg_notify)\b")
MODULES: Final = (
    *(
        info.name
        for package in (
            platform_relay.inbox,
            platform_relay.queue,
            platform_relay.jobs,
            platform_relay.alerts,
            platform_relay.audit,
            platform_relay.coupons,
            platform_relay.imports,
            platform_relay.privacy,
            platform_relay.reconcile,
            platform_relay.sync,
        )
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ),
)


class Points:
    def __init__(self, log: str, die: str, nth: int) -> None:
        self._log = open(log, "a", buffering=1)  # noqa: SIM115  # open for as long as the process lives
        self._die = die
        self._nth = nth
        self._passed: Counter[str] = Counter()

    def passed(self, name: str) -> None:
        self._passed[name] += 1
        dying = name == self._die and self._passed[name] == self._nth
        self._log.write(f"{name}\t{'died' if dying else ''}\n")
        if dying:
            os.kill(os.getpid(), signal.SIGKILL)


class Statements:
    """Points around each statement that commits by itself, and around each COMMIT of a transaction that wrote."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._names = _statement_names()

    def watch(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "commit", self._commit)
        event.listen(Pool, "checkin", self._given_back)

    def _name(self, statement: str) -> str | None:
        if not WRITES.search(statement):
            return None
        plain = _plain(statement)
        found = re.match(r"(INSERT INTO|UPDATE|DELETE FROM) (\w+)", plain)
        return self._names.get(plain) or (f"{found[1].split()[0]} {found[2]}" if found else plain[:40])

    def _before(self, connection: Connection, _c: object, statement: str, _p: object, _x: object, _m: object) -> None:
        if name := self._name(statement):
            if _alone(connection):
                self._points.passed(f"before {name}")
            else:
                connection.info.setdefault("wrote", []).append(name)

    def _after(self, connection: Connection, _c: object, statement: str, _p: object, _x: object, _m: object) -> None:
        if (name := self._name(statement)) and _alone(connection):
            self._points.passed(f"after {name}")

    def _commit(self, connection: Connection) -> None:
        if wrote := connection.info.pop("wrote", None):
            connection.info["committing"] = f"commit of {' + '.join(wrote)}"
            self._points.passed(f"before {connection.info['committing']}")

    def _given_back(self, _: object, record: ConnectionPoolEntry) -> None:
        record.info.pop("wrote", None)
        if name := record.info.pop("committing", None):
            self._points.passed(f"after {name}")


def watch_calls(points: Points) -> None:
    """Points before a call leaves and after its answer came."""
    call = HttpClient.call

    async def watched(self: HttpClient, method: str, url: str, **rest: object) -> HttpResponse | Failure:
        path = re.sub(r"^https?://[^/]+", "", url).partition("?")[0]
        name = f"{method} {re.sub(r'/(?!v[0-9]/)[^/]*[0-9][^/]*', '/…', path)}"
        points.passed(f"before {name}")
        answer = await call(self, method, url, **rest)  # type: ignore[arg-type]  # handed through as it came
        points.passed(f"after {name}")
        return answer

    HttpClient.call = watched  # type: ignore[method-assign]  # that is what this program is for


def _alone(connection: Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def _statement_names() -> dict[str, str]:
    return {
        _plain(str(value)): f"{module.rpartition('.')[2]}.{name.strip('_')}"
        for module in MODULES
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, TextClause)
    }


def _plain(statement: str) -> str:
    """A statement without its parameters' spelling (`:name`, or `$1` and what SQLAlchemy adds to it)."""
    return re.sub(r"\s+", " ", re.sub(r"(?<!:):\w+|\$\d+(::\w+( \w+)*(\[\])?)?", "?", statement)).strip()


def main() -> None:
    points = Points(
        os.environ.get("POINTS_LOG", os.devnull),
        os.environ.get("POINTS_DIE", ""),
        int(os.environ.get("POINTS_NTH", "1")),
    )
    Statements(points).watch()
    watch_calls(points)
    sys.argv = ["relay", *sys.argv[1:]]
    program.main()


if __name__ == "__main__":
    main()
