"""`relay keys`: the API keys."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from platform_relay.access import api_keys
from platform_relay.cli.context import database_engine, run
from platform_relay.cli.numbers import NUMBER, WHOLE, number, whole
from platform_relay.cli.terminal import ACTOR, err, out

keys_cli = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke API keys.")


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who uses the key. Shown in the audit.")],
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(api_keys.SCOPES)}. May be repeated.")],
    days: Annotated[
        int | None,
        typer.Option(parser=whole(1, 3650), metavar=WHOLE, help="Days until the key expires. Default: never."),
    ] = None,
) -> None:
    """Create an API key and print it. It cannot be shown again."""

    async def work() -> None:
        async with database_engine() as engine:
            lifetime = timedelta(days=days) if days else None
            out.print(await api_keys.create(engine, name, scope, ACTOR, lifetime))

    run(work())


@keys_cli.command("list")
def list_keys() -> None:
    """List API keys. Secrets are not shown."""

    async def work() -> None:
        table = Table("id", "name", "scopes", "created", "expires", "revoked", "last used")
        async with database_engine() as engine:
            for key in await api_keys.list_keys(engine):
                times = (key.created_at, key.expires_at, key.revoked_at, key.last_used_at)
                shown = (f"{time:%Y-%m-%d %H:%M}" if time else "" for time in times)
                table.add_row(str(key.id), key.name, ", ".join(key.scopes), *shown)
        out.print(table)

    run(work())


@keys_cli.command("rotate")
def rotate_key(
    key_id: Annotated[UUID, typer.Argument(help="The key's id, see `relay keys list`.")],
    hours: Annotated[
        float, typer.Option(parser=number(0, 87_600), metavar=NUMBER, help="Hours for which the old key keeps working.")
    ] = (api_keys.OVERLAP.total_seconds() / 3600),
) -> None:
    """Create a successor of a key and print it. The old key keeps working for a while."""

    async def work() -> api_keys.RotatedKey | None:
        async with database_engine() as engine:
            return await api_keys.rotate(engine, key_id, ACTOR, timedelta(hours=hours))

    if (rotated := run(work())) is None:
        raise ValueError(f"There is no valid key {key_id}. List the keys with: relay keys list")
    out.print(rotated.key)
    err.print(f"The old key of {rotated.name} works until {rotated.until:%Y-%m-%d %H:%M} UTC.")


@keys_cli.command("revoke")
def revoke_key(key_id: Annotated[UUID, typer.Argument(help="The key's id, see `relay keys list`.")]) -> None:
    """Revoke a key. It stops working within seconds."""

    async def work() -> bool:
        async with database_engine() as engine:
            return await api_keys.revoke(engine, key_id, ACTOR)

    if not run(work()):
        raise ValueError(f"There is no valid key {key_id}. List the keys with: relay keys list")
