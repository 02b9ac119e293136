"""Which statement failed, by its name in the source, and with which SQLSTATE.

A module names its statements once (`name_statements`). While `observe_failure` is open, the engine's error hook
(`database_connections`) notes the first statement that fails, also in tasks that are started meanwhile. Nothing is done for
statements that succeed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause
from sqlalchemy.engine import ExceptionContext

CONNECTION: Final = "connection"
"""No statement failed: no connection of the pool was free in time, or none could be opened."""
TRANSACTION: Final = "transaction"
"""BEGIN, COMMIT or ROLLBACK failed."""
UNNAMED: Final = "unnamed"

_names: Final[dict[int, tuple[TextClause, str]]] = {}


@dataclass(slots=True)
class FailedStatement:
    """`sqlstate` is None when the server did not report an error: it did not answer in time, or the connection broke."""

    name: str = CONNECTION
    sqlstate: str | None = None
    noted: bool = False


_observing: Final = ContextVar[FailedStatement | None]("_observing", default=None)


def name_statements(statements: Mapping[str, TextClause]) -> None:
    """Give statements the names by which logs, metrics and alerts call them. The statements live as long as the process."""
    _names.update({id(statement): (statement, name) for name, statement in statements.items()})


@contextmanager
def observe_failure() -> Iterator[FailedStatement]:
    """What the block yields is filled in when a statement of the block fails. A block within another one reports to both."""
    outer, failed = _observing.get(), FailedStatement()
    token = _observing.set(failed)
    try:
        yield failed
    finally:
        _observing.reset(token)
        if outer is not None and failed.noted and not outer.noted:
            outer.name, outer.sqlstate, outer.noted = failed.name, failed.sqlstate, True


def note_failure(context: ExceptionContext) -> None:
    """Called by the engine for each error of a statement, or of BEGIN, COMMIT and ROLLBACK."""
    failed = _observing.get()
    if failed is None or failed.noted:
        return
    failed.noted = True
    failed.sqlstate = getattr(context.original_exception, "sqlstate", None)
    if context.execution_context is not None:
        failed.name = _names.get(id(context.execution_context.invoked_statement), (None, UNNAMED))[1]
    elif context.connection is not None:
        failed.name = UNNAMED if context.statement else TRANSACTION
