"""`relay backup`, `relay bodies` and `relay audit`."""

from typing import Annotated

import typer

from platform_relay.audit import integrity
from platform_relay.cli.context import database_engine, run
from platform_relay.cli.terminal import ACTOR, err, out
from platform_relay.inbox import reencrypt
from platform_relay.jobs import backup

backup_cli = typer.Typer(no_args_is_help=True, help="After a restored backup.")
bodies_cli = typer.Typer(no_args_is_help=True, help="Encryption of stored bodies.")
audit_cli = typer.Typer(no_args_is_help=True, help="The audit log.")


@backup_cli.command("mark-restored")
def mark_restored() -> None:
    """Mark this database as restored from a backup, before a worker starts. Open jobs may have been delivered already."""

    async def work() -> int:
        async with database_engine() as engine:
            return await backup.mark_restored(engine, ACTOR)

    out.print(f"{run(work())} jobs will ask the destination before they act.")


@bodies_cli.command("reencrypt")
def reencrypt_bodies() -> None:
    """Encrypt all stored bodies with the first key of BODY_KEYS, so that older keys can be removed. Can be resumed."""

    async def work() -> reencrypt.Encrypted:
        async with database_engine() as engine:
            return await reencrypt.encrypt_bodies(engine)

    result = run(work())
    out.print(f"Encrypted {result.messages} messages and {result.excerpts} response excerpts.")
    for message, problem in list(result.refused.items())[:20]:
        err.print(f"{message}: {problem}", highlight=False, markup=False)
    if result.refused:
        raise ValueError(
            f"{len(result.refused)} messages could not be decrypted. Keep the old keys in BODY_KEYS, and run: relay check"
        )


@audit_cli.command("verify")
def verify_audit(
    expected: Annotated[
        str | None,
        typer.Option("--head", help="A hash noted earlier (log event `audit_head`) that must be in the chain."),
    ] = None,
) -> None:
    """Verify the hash chain of the audit log. Exit code 1: entries were changed or removed."""

    async def work() -> integrity.Verification:
        async with database_engine() as engine:
            return await integrity.verify(engine, expected)

    result = run(work())
    if result.problem is None:
        out.print(
            f"[green]ok[/green]  {result.entries} entries; the newest hash is {result.newest_hash}", highlight=False
        )
    else:
        out.print(
            f"[red]BROKEN[/red]  {result.problem}; {result.entries} entries before it are intact", highlight=False
        )
    if not result.contains_expected:
        out.print(
            "[red]BROKEN[/red]  the given hash is missing: entries were removed, or the chain was rewritten",
            highlight=False,
        )
    if result.problem or not result.contains_expected:
        raise typer.Exit(1)
