"""`relay`: run the relay, set it up and operate it. Exit codes: 0 success, 1 failure, 2 configuration error."""

import os
import sys
from typing import Final

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from platform_relay.cli import check, conformance, explain, imports, processes, reconcile, webhooks
from platform_relay.cli.coupons import coupons_cli
from platform_relay.cli.jobs import jobs_cli
from platform_relay.cli.keys import keys_cli
from platform_relay.cli.maintenance import audit_cli, backup_cli, bodies_cli
from platform_relay.cli.privacy import privacy_cli
from platform_relay.cli.rules import rules_cli
from platform_relay.cli.terminal import err, mark
from platform_relay.core.database import is_unavailable
from platform_relay.core.database_start import DatabaseUnreachableError
from platform_relay.core.embedded import EmbeddedPostgresError
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.migrate import DatabaseAheadError
from platform_relay.core.reasons import ReasonCode, because

FAILURE: Final = 1
CONFIGURATION_ERROR: Final = 2


def find_packages_in_this_folder() -> None:
    """Let every command import STORE__ADAPTER=package.module:Class from the current folder: an adapter in development is usually
    not installed. The folder comes last, so that none of its modules hides an installed one."""
    if (folder := os.getcwd()) not in sys.path:
        sys.path.append(folder)


cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help=__doc__,
    pretty_exceptions_enable=False,
    callback=find_packages_in_this_folder,
)
cli.command()(processes.serve)
cli.command()(processes.web)
cli.command()(processes.worker)
cli.command()(processes.migrate)
cli.command()(check.check)
cli.command()(processes.demo)
cli.command("explain")(explain.explain)
cli.command("import")(imports.import_file)
cli.command("backfill")(imports.backfill)
cli.command("poll")(webhooks.poll)
cli.command("reconcile")(reconcile.reconcile)
cli.command("conformance")(conformance.check_adapter)
for name, group in {
    "webhooks": webhooks.webhooks_cli,
    "coupons": coupons_cli,
    "rules": rules_cli,
    "keys": keys_cli,
    "jobs": jobs_cli,
    "privacy": privacy_cli,
    "audit": audit_cli,
    "bodies": bodies_cli,
    "backup": backup_cli,
}.items():
    cli.add_typer(group, name=name)


def main() -> None:
    """The entry point. A configuration error ends with a message and exit code 2, an unreachable database with a message
    and exit code 1, both without a traceback."""
    try:
        cli()
    except ValidationError as error:
        err.print(mark("The configuration is wrong:", "bold"))
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            name = "__".join(str(part) for part in item["loc"]).upper() or "settings"
            err.print(f"  {name}: {item['msg'].removeprefix('Value error, ')}")
        sys.exit(CONFIGURATION_ERROR)
    except (ValueError, EmbeddedPostgresError, DatabaseAheadError) as error:
        err.print(str(error))
        sys.exit(CONFIGURATION_ERROR)
    except (DatabaseUnreachableError, DatabaseAway, DBAPIError) as error:
        if not isinstance(error, DatabaseUnreachableError | DatabaseAway) and not is_unavailable(error):
            raise
        message = because(ReasonCode.DATABASE_UNREACHABLE).text if isinstance(error, DBAPIError) else str(error)
        err.print(message)
        sys.exit(FAILURE)
