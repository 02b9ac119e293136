"""`relay init`: asks for what is needed, tries each answer at once, writes `.env`, and prints the next steps."""

import base64
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, cast
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from platform_relay import database_setup, stores
from platform_relay.checks import destinations
from platform_relay.checks.check import Check
from platform_relay.checks.database import database_problem
from platform_relay.cli.check import check_and_print, show
from platform_relay.cli.command_name import command_name
from platform_relay.cli.context import read_settings, run
from platform_relay.cli.terminal import Confirm, Prompt, mark, out
from platform_relay.core.database_start import DatabaseUnreachableError
from platform_relay.core.http import HttpClients
from platform_relay.core.reasons import ReasonCode
from platform_relay.platform.connection import platform_client
from platform_relay.settings import Settings
from platform_relay.setup.collect import first_store_check
from platform_relay.setup.env_file import Line, changes, read_text, render, replace_file, unwritable
from platform_relay.setup.first_steps import Installed, first_steps
from platform_relay.setup.known_settings import KnownSetting, asked_for, service_settings, store_settings
from platform_relay.stores.base import CouponKind
from platform_relay.stores.loyalty_sync import SyncsLoyalty
from platform_relay.stores.native import ListsEntities, ReceivesWebhooks, SetsUpWebhooks

STORE: Final = "STORE__ADAPTER"
API_KEY: Final = "PLATFORM__API_KEY"
SHOP_KEY: Final = "PLATFORM__SHOP_KEY"
WEBHOOK_SECRET: Final = "PLATFORM__WEBHOOK_SECRET"  # noqa: S105  # a name
DATABASE: Final = "DATABASE_URL"
PUBLIC_URL: Final = "PUBLIC_URL"
GENERATED: Final = ("STORE_KEY", "OPERATOR_KEY", WEBHOOK_SECRET)
EMBEDDED: Final = "embedded"
IMAGE: Final = "/opt/relay"
"""Where the image of the relay (Dockerfile) installs it."""
OF_COMPOSE: Final = frozenset({DATABASE, "HOST", "PORT", "HEARTBEAT_FILE"})
"""What docker-compose.yml sets itself for each container. It is not written into the file."""
IN_A_CONTAINER: Final = (
    ". In a container, mount the folder of docker-compose.yml as its owner: docker compose run --rm"
    ' --user "$(id -u):$(id -g)" -v "$PWD:/setup" web relay init --file /setup/.env'
)
HISTORY: Final = " Ends up in the shell history: better set it in the environment, with --from-env."


Attempt = Callable[[], Awaitable[Check]]


class Answers:
    """The answers so far. `values` are for the file; what only the environment has is used and not written."""

    def __init__(self, values: dict[str, str], known: dict[str, KnownSetting], *, interactive: bool) -> None:
        self.values = values
        self.known = known
        self.interactive = interactive

    def get(self, name: str) -> str | None:
        return self.values.get(name) or os.environ.get(name) or None

    def put(self, name: str, value: str) -> None:
        """Keep an answer. The settings classes of this process read it from the environment, as later from the file."""
        self.values[name] = value
        os.environ[name] = value

    def ask(self, name: str, *, required: bool = False, again: bool = False) -> None:
        """Ask for a setting that has no value yet, or whose value is wrong (`again`)."""
        if not self.interactive or (self.get(name) and not again):
            return None
        setting, present = self.known[name], self.get(name)
        question = Text.assemble((name, "bold"), f"  {setting.description}")
        keep = " (Enter keeps the present value)" if present else "" if required else " (Enter leaves it empty)"
        while True:
            answer = Prompt.ask(
                question.copy().append(keep, "dim"),
                console=out,
                password=setting.secret,
                default="",
                show_default=False,
            )
            if answer.strip():
                return self.put(name, answer.strip())
            if present or not required:
                return None
            out.print(f"{name} is needed.")


def init(
    store: Annotated[str | None, typer.Option(help="The store adapter, such as woocommerce.")] = None,
    platform_api_key: Annotated[str | None, typer.Option(help=f"PLATFORM__API_KEY.{HISTORY}")] = None,
    shop_key: Annotated[str | None, typer.Option(help="PLATFORM__SHOP_KEY, the public key for the Launcher.")] = None,
    database: Annotated[
        str | None, typer.Option(help="`embedded`, or the URL of a PostgreSQL database." + HISTORY)
    ] = None,
    public_url: Annotated[str | None, typer.Option(help="Where the store and the Platform reach the relay.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting or variable of the store." + HISTORY),
    ] = None,
    from_env: Annotated[
        bool,
        typer.Option("--from-env", help="Also write what the environment sets. Secrets then stay out of the history."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing. What is missing is an error.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not call the store, the Platform and the database.")
    ] = False,
    file: Annotated[Path, typer.Option(help="The file to write.")] = Path(".env"),
) -> None:
    """Set up a relay: answer some questions, or give the answers as options. Writes `.env`, and checks that everything works.

    Every answer is tested at once. The relay's own secrets (STORE_KEY, OPERATOR_KEY, the webhook secret) are generated. No
    secret is printed, except the one in the address of the Platform's webhooks. An existing file is completed, and a backup
    of it is kept.
    Exit code 1: a check failed. 2: an answer is missing or wrong.
    """
    if not yes and not sys.stdin.isatty():
        raise ValueError("relay init asks questions, and this is no terminal. Give the answers as options, and --yes.")
    if (problem := unwritable(file)) is not None:
        raise ValueError(problem + (IN_A_CONTAINER if _in_container() else ""))
    before = read_text(file.read_text("utf-8")) if file.exists() else {}
    options = {STORE: store, API_KEY: platform_api_key, SHOP_KEY: shop_key, DATABASE: database, PUBLIC_URL: public_url}
    given = {name: value for name, value in options.items() if value} | dict(map(_pair, settings or ()))
    answers = _answers(before, given, from_env=from_env, interactive=not yes)
    _store(answers, offline=offline)
    _platform(answers, offline=offline)
    _database(answers, offline=offline)
    answers.ask(PUBLIC_URL)
    _generate(answers)
    read_settings()  # all answers together; raises
    if not _write(file, before, answers):
        raise typer.Exit(1)
    passed = offline or run(_migrate_and_check())
    out.print(f"\n{first_steps(_installed(answers, file))}")
    if not passed:
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError("--set needs NAME=VALUE, such as --set PORT=8081")
    return name.strip().upper(), value.strip()


def _answers(before: Mapping[str, str], given: Mapping[str, str], *, from_env: bool, interactive: bool) -> Answers:
    known = service_settings()
    adapter = given.get(STORE) or os.environ.get(STORE) or before.get(STORE)
    if adapter:
        known |= store_settings(adapter)
    if unknown := sorted(given.keys() - known.keys()):
        raise ValueError(f"--set: there is no setting {', '.join(unknown)} (docs/settings.md, docs/stores.md)")
    present = known.keys() - (OF_COMPOSE if _in_container() else frozenset())
    environment = (
        {name: os.environ[name] for name in known if name in present and os.environ.get(name)} if from_env else {}
    )
    values = {**before, **environment, **given}
    answers = Answers(values, known, interactive=interactive)
    for name, value in values.items():
        if (name, value) == (DATABASE, EMBEDDED):
            os.environ.pop(DATABASE, None)
        elif name in given or name not in os.environ:
            os.environ[name] = value
    return answers


# ----------------------------------------------------------------------------------------------- the questions


def _store(answers: Answers, *, offline: bool) -> None:
    if not answers.get(STORE):
        if not answers.interactive:
            raise ValueError("The store is missing: --store, or STORE__ADAPTER with --from-env.")
        out.print(_table_of_stores())
        answers.put(STORE, Prompt.ask(Text("Which store"), console=out, choices=sorted(stores.ADAPTERS)))
    name = answers.get(STORE) or ""
    variables = store_settings(name)
    answers.known |= variables
    for variable in variables.values():
        if variable.own_secret and not answers.get(variable.name):
            answers.put(variable.name, _own_secret(variable.own_secret))
    _tried(answers, [one for one in variables.values() if asked_for(one)], _try_store, offline=offline)


def _platform(answers: Answers, *, offline: bool) -> None:
    if not answers.interactive and not answers.get(API_KEY):
        raise ValueError(f"{API_KEY} is missing: --platform-api-key, or {API_KEY} with --from-env.")
    _tried(answers, [answers.known[API_KEY]], _try_platform, offline=offline, required=True)
    _tried(answers, [answers.known[SHOP_KEY]], _try_launcher, offline=offline)


def _database(answers: Answers, *, offline: bool) -> None:
    if answers.interactive and not answers.get(DATABASE):
        question = Text("Database: Enter for the embedded PostgreSQL, or the URL of a PostgreSQL server")
        answer = Prompt.ask(question, console=out, password=True, default="", show_default=False).strip()
        if answer and answer != EMBEDDED:
            answers.put(DATABASE, answer)
    if answers.get(DATABASE) not in (None, EMBEDDED):
        _tried(answers, [answers.known[DATABASE]], _try_database, offline=offline)


def _tried(
    answers: Answers, settings: list[KnownSetting], attempt: Attempt, *, offline: bool, required: bool = False
) -> None:
    """Ask for the settings, try them, and ask again while they do not work and the operator wants to correct them."""
    again = False
    while True:
        for setting in settings:
            answers.ask(setting.name, required=required or setting.required, again=again)
        if offline:
            return
        check = _checked(attempt, answers)
        show(check)
        if check.ok is not False:
            return
        if not answers.interactive:
            out.print("Nothing was written. Correct it and run relay init again, or add --offline to write it untried.")
            raise typer.Exit(1)
        if not Confirm.ask(Text("Correct it now"), console=out, default=True):
            return
        again = True


def _generate(answers: Answers) -> None:
    for name in GENERATED:
        if not answers.get(name):
            answers.put(name, _own_secret("hex"))


def _own_secret(form: str) -> str:
    if form == "whsec":
        return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return secrets.token_hex(32)


# ----------------------------------------------------------------------------------------------- trying the answers


def _checked(attempt: Attempt, answers: Answers) -> Check:
    """The result of an attempt. A value that no settings class accepts is an error, unless it can be asked for again."""
    try:
        return run(_awaited(attempt))
    except ValidationError as error:
        if not answers.interactive:
            raise
        items = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [f"{'__'.join(map(str, item['loc'])).upper()} {item['msg']}" for item in items]
        return Check("settings", False, "; ".join(problems).replace("Value error, ", ""))
    except ValueError as error:
        if not answers.interactive:
            raise
        return Check("settings", False, str(error))


async def _awaited(attempt: Attempt) -> Check:
    return await attempt()


async def _try_store() -> Check:
    settings = read_settings()
    clients = HttpClients(settings.store.timeout, private_networks=settings.private_networks)
    store = stores.build(settings.store.adapter or "", clients)
    try:
        async with platform_client(settings, None) as platform:
            return await first_store_check(settings, platform, store)
    finally:
        await store.aclose()


async def _try_platform() -> Check:
    settings = read_settings(calls_store=False)
    async with platform_client(settings, None) as platform:
        return await destinations.check_platform(settings, platform)


async def _try_launcher() -> Check:
    settings = read_settings(calls_store=False)
    async with platform_client(settings, None) as platform:
        return await destinations.check_launcher(settings, platform)


async def _try_database() -> Check:
    settings = read_settings(calls_store=False)
    async with database_setup.database(settings) as url:
        engine = database_setup.engine(settings, url, "relay init", 1)
        try:
            reason = await database_problem(engine)
        finally:
            await engine.dispose()
    if reason is None or reason.code is ReasonCode.DATABASE_NOT_MIGRATED:
        return Check("database", True, "reachable")
    return Check("database", False, reason.text, reason.next_step)


async def _migrate_and_check() -> bool:
    try:
        async with database_setup.migrated_database(Settings()):
            pass
    except DatabaseUnreachableError as error:
        show(Check("database", False, str(error)))
        return False
    return await check_and_print()


# ----------------------------------------------------------------------------------------------- the result


def _write(file: Path, before: Mapping[str, str], answers: Answers) -> bool:
    """Show what changes, and write the file. False: the operator does not want it."""
    after = {name: value for name, value in answers.values.items() if (name, value) != (DATABASE, EMBEDDED)}
    public = {name for name, setting in answers.known.items() if not setting.secret}
    text, changed = render(_sections(after, answers.known)), changes(before, after, public)
    out.print(f"\n{file} ({'nothing changes' if before and not changed else 'changes' if before else 'new'}):")
    for line in changed:
        out.print(mark(f"  {line}", {"+": "green", "-": "red", "~": "yellow"}[line[0]]))
    if before and not changed:
        return True
    if answers.interactive and not Confirm.ask(Text(f"Write {file}"), console=out, default=True):
        return False
    kept = replace_file(file, text, datetime.now(UTC))
    out.print(f"{file} is written; only its owner can read it.{f' The old file is saved as {kept}.' if kept else ''}\n")
    return True


def _sections(values: Mapping[str, str], known: Mapping[str, KnownSetting]) -> list[tuple[str, list[Line]]]:
    """The file: the relay, the Platform, the store, and settings that this release does not know."""
    titles = ("The relay", "The Platform", "The store", "Not settings of the relay")
    sections: dict[str, list[Line]] = {title: [] for title in titles}
    service = service_settings()
    for name, value in values.items():
        setting = known.get(name)
        title = (
            titles[3]
            if setting is None
            else titles[1]
            if name.startswith("PLATFORM__")
            else titles[2]
            if name.startswith("STORE__") or name not in service
            else titles[0]
        )
        sections[title].append(Line(name, value, setting.description if setting else ""))
    return list(sections.items())


def _installed(answers: Answers, file: Path) -> Installed:
    adapter = answers.get(STORE)
    settings = Settings()
    port = os.environ.get("RELAY_PORT") or str(settings.port)
    in_container = _in_container()
    public = str(settings.public_url).rstrip("/") if settings.public_url else None
    secret = settings.platform.webhook_secret
    return Installed(
        public or f"http://127.0.0.1:{port}",
        secret.get_secret_value() if secret else "",
        file.name if in_container else str(file),
        adapter,
        installs_webhooks=adapter is not None and issubclass(_class_of(adapter), SetsUpWebhooks),
        reachable=public is not None,
        start="docker compose up -d --wait" if in_container else f"{command_name()} serve",
        command="docker compose exec web relay" if in_container else command_name(),
        local=not in_container and _is_local(str(settings.platform.url)) and _is_local(_store_url(answers)),
    )


def _store_url(answers: Answers) -> str:
    adapter = answers.get(STORE)
    name = next((name for name in (store_settings(adapter) if adapter else ()) if name.endswith("__URL")), "")
    return answers.get(name) or ""


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _in_container() -> bool:
    return sys.prefix == IMAGE


def _class_of(adapter: str) -> type:
    return cast("type", stores.adapter_class(adapter))


def _table_of_stores() -> Table:
    """Every store of the registry, and what it can do."""
    table = Table("store", "coupons", "its own webhooks", "lists", "tier and points", title="Stores")
    for name in sorted(stores.ADAPTERS):
        chosen, kinds = _class_of(name), stores.adapter_class(name).KINDS
        coupons = ", ".join(kind.replace("_", " ") for kind in CouponKind if kind in kinds)
        webhooks = "installed for you" if issubclass(chosen, SetsUpWebhooks) else "no"
        if webhooks == "no" and issubclass(chosen, ReceivesWebhooks):
            webhooks = "yes"
        lists, loyalty = issubclass(chosen, ListsEntities), issubclass(chosen, SyncsLoyalty)
        table.add_row(name, coupons, webhooks, "yes" if lists else "no", "yes" if loyalty else "no")
    return table
