"""`relay jobs`: single jobs. The console and the API list and retry them."""

from typing import Annotated
from uuid import UUID

import typer

from platform_relay.cli.context import database_engine, run
from platform_relay.cli.terminal import ACTOR, out
from platform_relay.jobs.actions import OperatorActions

jobs_cli = typer.Typer(no_args_is_help=True, help="Act on a single job.")


@jobs_cli.callback()
def jobs() -> None:
    """Act on a single job."""


@jobs_cli.command("send-as-newest")
def send_as_newest(
    job_id: Annotated[UUID, typer.Argument(help="The id of a dead or superseded job, see `relay explain`.")],
    why: Annotated[str, typer.Option(help="The reason. Stored in the audit.")],
) -> None:
    """Send a dead or superseded job as the newest version of its entity, whatever was delivered before."""

    async def work() -> bool:
        async with database_engine() as engine:
            return await OperatorActions(engine).send_as_newest(job_id, ACTOR, why)

    if not run(work()):
        raise ValueError(f"There is no dead or superseded job {job_id}.")
    out.print("The job waits to be sent.")
