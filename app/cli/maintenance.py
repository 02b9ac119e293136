"""`relay backup`, `relay bodies` and `relay audit`."""

from typing import Annotated

import typer

from platform_relay.audit import integrity, known_head
from platform_relay.cli.context import database_engine, read_settings, run
from platform_relay.cli.terminal import ACTOR, err, mark, out
from platform_relay.core.migrate import LONG
from platform_relay.inbox import reencrypt
from platform_relay.jobs import backup

backup_cli = typer.Typer(no_args_is_help=True, help="Use a database that was restored from a backup.")
bodies_cli = typer.Typer(no_args_is_help=True, help="Encrypt stored bodies.")
audit_cli = typer.Typer(no_args_is_help=True, help="Verify the audit log.")


@backup_cli.command("mark-restored")
def mark_restored() -> None:
    """Mark this database as restored from a backup, before a worker starts. Open jobs may have been delivered already."""

    async def work() -> int:
        async with database_engine(timeouts=LONG) as engine:
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
        err.print(f"{message}: {problem}")
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
    """Verify the hash chain of the audit log, and state what that proves. Exit code 1: entries were changed or removed.

    Without --head, the newest hash that a worker on this machine stored in DATA_DIR is used.
    """
    settings = read_settings()

    async def work() -> tuple[integrity.Verification, str | None]:
        async with database_engine() as engine:
            known = known_head.read(known_head.file_of(settings.data_dir, engine, settings.database_schema))
            head = expected or (known.hash if known is not None and known.entry > 0 else None)
            return await integrity.verify(engine, head), head

    result, head = run(work())
    if result.problem is None:
        out.print(mark("ok", "green"), f" {result.entries} entries; the newest hash is {result.newest_hash}")
    else:
        out.print(mark("BROKEN", "red"), f" {result.problem}; {result.entries} entries before it are intact")
    if not result.contains_expected:
        out.print(
            mark("BROKEN", "red"),
            f" the hash {head} is missing: entries were removed, or the chain was rewritten, or a backup was restored",
        )
    if result.problem or not result.contains_expected:
        raise typer.Exit(1)
    out.print(
        "Verified: no entry was changed, inserted, or removed from the middle, unless all later hashes were rewritten."
    )
    if head is None:
        out.print(
            "Not verified: that no entry was removed from the end, and that the chain was not rewritten. Give a hash that was"
            " noted earlier with --head: from a log (event audit_head) or from the chat."
        )
    else:
        out.print(
            f"Also verified, if the hash {head[:12]}… was kept where it could not be changed: everything up to its entry is"
            " unchanged. Not verified: that no entry after it was removed from the end."
        )
