"""`relay`: run it, set it up, look after it. Exit codes: 0 well, 1 a part died or a check failed, 2 misconfigured."""

import importlib.util
import os
import socket
import sys
from datetime import timedelta
from typing import Annotated, Final, TypeVar
from uuid import UUID

import structlog
import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from platform_relay import serve as processes
from platform_relay import wiring
from platform_relay.access import api_keys
from platform_relay.checks import configuration
from platform_relay.cli import conformance, coupons, customers, explain, imports, reconcile, stores
from platform_relay.cli.parts import own_engine, read_settings, run
from platform_relay.cli.terminal import err, out
from platform_relay.core.embedded import EmbeddedPostgresError
from platform_relay.core.migrate import DatabaseAheadError, head
from platform_relay.coupons import reward_rules
from platform_relay.inbox import reencrypt
from platform_relay.jobs.actions import audit
from platform_relay.jobs.backup import mark_restored
from platform_relay.platform.rewards import rule_key
from platform_relay.platform.rules import RewardRuleDefinition

MISCONFIGURED: Final = 2
ACTOR: Final = "cli"
T = TypeVar("T")

cli = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
keys_cli = typer.Typer(no_args_is_help=True, help="Keys of the API.")
rules_cli = typer.Typer(no_args_is_help=True, help="What the Platform's redeem rules are worth, by your word.")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(rules_cli, name="rules")
cli.add_typer(customers.erase_cli, name="erase")
cli.add_typer(customers.export_cli, name="export")
cli.command("explain")(explain.why)
cli.command("import")(imports.import_file)
cli.command("backfill")(imports.backfill)
cli.command("reconcile")(reconcile.compare)
cli.command("connect")(stores.connect)
cli.command("poll")(stores.poll_now)
cli.command("conformance")(conformance.conform)
coupons.register(cli)


def main() -> None:
    """The entry point: what is misconfigured is said in words, without a traceback."""
    try:
        cli()
    except ValidationError as error:
        err.print("[bold]The configuration is wrong:[/bold]")
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            name = "__".join(str(part) for part in item["loc"]).upper() or "settings"
            err.print(f"  {name}: {item['msg'].removeprefix('Value error, ')}", highlight=False, markup=False)
        sys.exit(MISCONFIGURED)
    except (ValueError, EmbeddedPostgresError, DatabaseAheadError) as error:
        err.print(str(error), highlight=False, markup=False)
        sys.exit(MISCONFIGURED)


# ----------------------------------------------------------------------------------------------- run


@cli.command()
def serve(
    process_count: Annotated[int, typer.Option("--processes", min=1, max=64, help="Copies, on one port.")] = 1,
    fd: Annotated[int | None, typer.Option(hidden=True, help="An inherited listening socket.")] = None,
) -> None:
    """Web server and worker in one process: all that a small store needs."""
    _run_process(web=True, worker=True, process_count=process_count, fd=fd)


@cli.command()
def web() -> None:
    """The web server alone; `relay worker` does the rest."""
    _run_process(web=True, worker=False)


@cli.command()
def worker() -> None:
    """The worker alone: as many of them as you like, anywhere."""
    _run_process(web=False, worker=True)


@cli.command()
def migrate() -> None:
    """Bring the database to this release. Safe to run many times, and from many places at once."""
    settings = read_settings()

    async def work() -> None:
        async with wiring.database(settings) as url:
            await wiring.migrated(settings, url)

    run(work())
    out.print(f"The database is at revision {head()}.")


@cli.command()
def restored() -> None:
    """Say that the database is a restored backup, before a worker starts: what waits in it may have been done already."""

    async def work() -> int:
        async with own_engine() as engine:
            return await mark_restored(engine, ACTOR)

    out.print(f"{run(work())} jobs will ask the destination before they act.")


@cli.command()
def check() -> None:
    """Say in words what is misconfigured. Calls the Platform and the store, changes nothing."""
    settings = read_settings()

    async def work() -> bool:
        well = True
        async with (
            wiring.database(settings) as url,
            wiring.services(settings, url, "check") as parts,
            wiring.destinations(parts) as far,
        ):
            async for item in configuration.check_all(settings, parts.engine, far.platform, parts.store):
                mark = {True: "[green]ok  [/green]", False: "[red]FAIL[/red]", None: "[yellow]note[/yellow]"}[item.ok]
                out.print(f"{mark}  [bold]{item.name}[/bold]  {escape(item.detail)}", highlight=False)
                if item.next_step:
                    out.print(f"      next: {item.next_step}", highlight=False, markup=False)
                well = well and item.ok is not False
        return well

    if not run(work()):
        raise typer.Exit(1)


@cli.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself, with a line of JSON.")] = False,
) -> None:
    """A day in a store on simulators, with an outage of the Platform: the whole service on an empty machine."""
    if importlib.util.find_spec("simulators") is None:
        raise ValueError("the simulators are not part of this installation; run `make demo` in a checkout")
    os.execv(sys.executable, [sys.executable, "-m", "simulators.demo", *(["--once"] if once else [])])  # noqa: S606


def _run_process(*, web: bool, worker: bool, process_count: int = 1, fd: int | None = None) -> None:
    settings = read_settings()
    bound = socket.socket(fileno=fd) if fd is not None else processes.listening_socket(settings) if web else None
    name = "serve" if web and worker else "web" if web else "worker"

    async def work() -> int:
        async with wiring.database(settings) as url:
            if settings.database_url is None:
                err.print(f"Embedded PostgreSQL, data in {settings.data_dir.resolve()}", highlight=False)
            await wiring.migrated(settings, url)
            if bound is not None and fd is None:
                host, port = bound.getsockname()[:2]
                err.print(f"Listening on http://{host}:{port}   API docs: http://{host}:{port}/docs", highlight=False)
            if bound is not None and process_count > 1:
                return await processes.run_many(process_count, bound)
            await processes.run(settings, url, web=web, worker=worker, bound=bound)
            return 0

    structlog.contextvars.bind_contextvars(process=name)
    raise typer.Exit(run(work()))


# ----------------------------------------------------------------------------------------------- api_keys


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who uses it; shown in the audit.")],
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(api_keys.SCOPES)}; may be repeated.")],
    days: Annotated[int | None, typer.Option(min=1, help="Valid for so many days; for ever without.")] = None,
) -> None:
    """Make a key and show it, this once."""

    async def work() -> None:
        async with own_engine() as engine:
            lifetime = timedelta(days=days) if days else None
            out.print(await api_keys.create(engine, name, scope, ACTOR, lifetime), highlight=False)

    run(work())


@keys_cli.command("list")
def list_keys() -> None:
    """All api_keys, without the api_keys."""

    async def work() -> None:
        table = Table("id", "name", "scopes", "created", "expires", "revoked", "last used")
        async with own_engine() as engine:
            for key in await api_keys.list_keys(engine):
                times = (key.created_at, key.expires_at, key.revoked_at, key.last_used_at)
                shown = (f"{time:%Y-%m-%d %H:%M}" if time else "" for time in times)
                table.add_row(str(key.id), key.name, ", ".join(key.scopes), *shown)
        out.print(table)

    run(work())


@keys_cli.command("rotate")
def rotate_key(
    key_id: Annotated[UUID, typer.Argument(help="As `relay api_keys list` shows it.")],
    hours: Annotated[float, typer.Option(min=0, help="How long the old key works beside the new one.")] = (
        api_keys.OVERLAP.total_seconds() / 3600
    ),
) -> None:
    """Make a successor and show it, this once; the old key goes on working for a while."""

    async def work() -> api_keys.Rotated | None:
        async with own_engine() as engine:
            return await api_keys.rotate(engine, key_id, ACTOR, timedelta(hours=hours))

    if (rotated := run(work())) is None:
        raise ValueError(f"there is no working key {key_id}; see: relay api_keys list")
    out.print(rotated.key, highlight=False)
    err.print(f"The old key of {rotated.name} works until {rotated.until:%Y-%m-%d %H:%M} UTC.", highlight=False)


@keys_cli.command("revoke")
def revoke_key(key_id: Annotated[UUID, typer.Argument(help="As `relay api_keys list` shows it.")]) -> None:
    """A key stops working within seconds."""

    async def work() -> bool:
        async with own_engine() as engine:
            return await api_keys.revoke(engine, key_id, ACTOR)

    if not run(work()):
        raise ValueError(f"there is no working key {key_id}; see: relay api_keys list")


@keys_cli.command("encrypt-bodies")
def encrypt_bodies() -> None:
    """Bring every kept body under the first key of BODY_KEYS, so that an older one can go. Stopped, it goes on."""

    async def work() -> reencrypt.Encrypted:
        async with own_engine() as engine:
            return await reencrypt.encrypt_bodies(engine)

    done = run(work())
    out.print(f"{done.messages} messages were encrypted, and {done.excerpts} excerpts of answers.")
    for message, why in list(done.refused.items())[:20]:
        err.print(f"{message}: {why}", highlight=False, markup=False)
    if done.refused:
        raise ValueError(f"{len(done.refused)} could not be: keep the old api_keys in BODY_KEYS, and see: relay check")


# ----------------------------------------------------------------------------------------------- rules


@rules_cli.command("put")
def put_rule(
    rule_id: Annotated[str, typer.Argument(help="The rule's id at the Platform, as redemptions name it.")],
    definition: Annotated[
        str, typer.Argument(help='JSON, e.g. \'{"kind": "fixed_amount", "value": "5.00"}\'; - for stdin.')
    ],
) -> None:
    """Say what a rule is worth. Redemptions that wait for it go on at once."""
    raw = sys.stdin.read() if definition == "-" else definition
    try:
        parsed = RewardRuleDefinition.model_validate_json(raw)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in error.errors())
        raise ValueError(f"the definition is not usable: {told}") from None

    async def work() -> int:
        settings = read_settings()
        async with wiring.database(settings) as url, wiring.services(settings, url, "cli") as parts:
            await wiring.migrated(settings, url)
            async with parts.engine.begin() as connection:
                version = await reward_rules.put(connection, rule_id, parsed, ACTOR)
                await audit(connection, ACTOR, "reward_rule.put", rule_id, {"version": version})
            return await parts.operator.wake([rule_key(rule_id)])

    out.print(f"Stored; {run(work())} waiting redemptions go on.")


@rules_cli.command("list")
def list_rules() -> None:
    """The rules in force."""

    async def work() -> None:
        table = Table("id", "version", "definition")
        async with own_engine() as engine, engine.connect() as connection:
            for rule in await reward_rules.listing(connection):
                shown = rule.definition.model_dump_json(exclude_none=True) if rule.definition else ""
                table.add_row(rule.id, str(rule.version), shown)
        out.print(table)

    run(work())


@rules_cli.command("delete")
def delete_rule(rule_id: str) -> None:
    """A rule of ours no longer counts; its versions are kept."""

    async def work() -> int | None:
        async with own_engine() as engine, engine.begin() as connection:
            version = await reward_rules.delete(connection, rule_id, ACTOR)
            if version is not None:
                await audit(connection, ACTOR, "reward_rule.delete", rule_id, {"version": version})
            return version

    if run(work()) is None:
        raise ValueError(f"there is no rule {rule_id!r}; see: relay rules list")
