"""What `relay` prints when a command fails for a reason that an operator can remove."""

from typing import Final

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from platform_relay.cli.terminal import err, mark
from platform_relay.core.database import is_unavailable
from platform_relay.core.database_start import DatabaseUnreachableError
from platform_relay.core.embedded import EmbeddedPostgresError
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.migrate import DatabaseAheadError
from platform_relay.core.reasons import ReasonCode, because

FAILURE: Final = 1
CONFIGURATION_ERROR: Final = 2


def exit_code(error: Exception) -> int | None:
    """Print why a command failed, and return its exit code. None, and nothing is printed: the error is a fault of the relay."""
    match error:
        case ValidationError():
            err.print(mark("The configuration is wrong:", "bold"))
            for item in error.errors(include_url=False, include_input=False, include_context=False):
                name = "__".join(str(part) for part in item["loc"]).upper() or "settings"
                err.print(f"  {name}: {item['msg'].removeprefix('Value error, ')}")
            return CONFIGURATION_ERROR
        case ValueError() | EmbeddedPostgresError() | DatabaseAheadError():
            err.print(str(error))
            return CONFIGURATION_ERROR
        case DatabaseUnreachableError() | DatabaseAway():
            err.print(str(error))
            return FAILURE
        case DBAPIError() if is_unavailable(error):
            err.print(because(ReasonCode.DATABASE_UNREACHABLE).text)
            return FAILURE
        case _:
            return None
