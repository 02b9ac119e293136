"""Foreign text that tries to be obeyed: markup of the command line, escape sequences, reversed and invisible characters."""

import ast
import asyncio
import json
import logging
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from platform_relay import wiring
from platform_relay.alerts.alerts import raise_alert
from platform_relay.alerts.chat import message
from platform_relay.cli import terminal
from platform_relay.cli.program import cli
from platform_relay.core import logs
from platform_relay.core.database import create_engine
from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.core.visible_text import REPLACEMENT, visible, visible_json, visible_lines
from tests.api.served import OPERATOR_KEY

HOSTILE: Final = "[/x][bold]:boom: \x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202egpj\u2066\u200b\u2028\ufeff\U000e0041end"
REFUSED: Final = because(
    ReasonCode.REJECTED_BY_DESTINATION, destination="the Platform", request="the order", status=422, response=HOSTILE
)
COUPON_OVERUSED: Final = Reason(ReasonCode.COUPON_OVERUSED, {"code": HOSTILE, "problem": HOSTILE})
"""As an older release may have stored it."""
APP: Final = Path(__file__).parents[2] / "app"
texts = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE), st.sampled_from("\t\r\n")))
json_values = st.recursive(
    texts | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
)


def obeyed(shown: str) -> set[str]:
    """The characters of a text that are obeyed and not shown, apart from tabs and line feeds."""
    return {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\t\n"}


@given(texts)
@example(HOSTILE)
def test_visible_text_has_no_character_that_is_obeyed(written: str) -> None:
    line, lines = visible(written), visible_lines(written)
    assert obeyed(line) | obeyed(lines) == set()
    assert not {"\n", "\t"} & set(line)
    assert (visible(line), visible_lines(lines)) == (line, lines)  # a second time changes nothing
    kept = [c for c in lines if c != REPLACEMENT]
    assert kept == [c for c in written.replace("\r\n", "\n") if c in kept]


@given(json_values)
@example({HOSTILE: [HOSTILE]})
def test_visible_json_has_the_same_value(value: object) -> None:
    for written in (
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        json.dumps(value, ensure_ascii=False, indent=1),
    ):
        assert obeyed(visible_json(written)) == set()
        assert json.loads(visible_json(written)) == value


@given(texts)
@example(HOSTILE)
def test_a_destinations_words_are_stored_without_control_characters(written: str) -> None:
    body = json.dumps({"message": written}).encode()
    response = HttpResponse(422, Headers(), written.encode("utf-8", "surrogatepass"))
    excerpt, quote = response.evidence().excerpt or "", response.quote(written)
    reason = because(ReasonCode.REJECTED_BY_DESTINATION, response=written, problem=written, error=written)
    assert obeyed(excerpt) | obeyed(quote) | obeyed("".join(map(str, reason.facts.values()))) == set()
    assert obeyed(body.decode()) == set()


@given(texts)
@example(HOSTILE)
def test_reasons_and_chat_messages_show_no_control_characters(written: str) -> None:
    facts: dict[str, object] = {"code": written, "destination": written, "state": written, "setting": written}
    reason = Reason(ReasonCode.DESTINATION_CLOSED, facts)  # type: ignore[arg-type]  # as read from the database
    chat = str(message(reason.code, [reason])["text"])
    assert obeyed(reason.text) | obeyed(reason.next_step) | obeyed(chat) == set()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_logs_show_no_control_characters(log_format: str, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging(level="INFO", log_format=log_format, secrets=[])
    try:
        structlog.get_logger("relay").warning("alert", subject=HOSTILE, facts={"response": [HOSTILE]}, text=HOSTILE)
        logging.getLogger("library").warning(HOSTILE)
        logs._wide.write(30, "relay.attempt", "attempt", {"facts": {HOSTILE: HOSTILE}})  # noqa: SLF001
    finally:
        logs.configure_logging(level="INFO", log_format="json", secrets=[])
    written = capfd.readouterr().err
    assert written.count("\n") == 3
    assert obeyed(written) == set()
    if log_format == "json":
        assert json.loads(written.splitlines()[0])["subject"] == HOSTILE


async def _plant(database_url: str) -> None:
    engine = create_engine(database_url, application_name="test")
    async with engine.begin() as connection:
        await raise_alert(connection, COUPON_OVERUSED, HOSTILE)
    await engine.dispose()


@pytest.fixture
def command_line(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(terminal.out, "_width", 1000)  # COLUMNS counts only while no width was set
    monkeypatch.chdir(tmp_path)
    asyncio.run(_plant(database_url))
    return CliRunner()


def test_the_command_line_prints_markup_as_it_is_and_obeys_nothing(command_line: CliRunner) -> None:
    for words in (
        ["coupons", "alerts"],
        ["explain", "order", HOSTILE],
        ["keys", "create", HOSTILE, "--scope", "read"],
        ["keys", "list"],
        ["coupons", "retire", HOSTILE, "--why", "x"],
        ["coupons", "dismiss", HOSTILE, "--why", "x"],
    ):
        result = command_line.invoke(cli, words)
        assert result.exception is None or isinstance(result.exception, SystemExit | ValueError), words
        assert obeyed(result.output) == set(), words
        if words in (["coupons", "alerts"], ["keys", "list"]):
            assert "[/x][bold]:boom:" in result.output, result.output


def test_only_one_place_writes_to_the_terminal() -> None:
    """Markup, a console of its own, or `print` in a command would be a way around."""
    others = []
    for file in (APP / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if file.name == "terminal.py" or not isinstance(node, ast.Call):
                continue
            name = (
                node.func.id
                if isinstance(node.func, ast.Name)
                else node.func.attr
                if isinstance(node.func, ast.Attribute)
                else ""
            )
            options = {option.arg: option.value for option in node.keywords}
            markup = options.get("markup")
            if name in ("Console", "from_markup") or (isinstance(node.func, ast.Name) and name == "print"):
                others.append(f"{file.name}:{node.lineno} {name}")
            plain = isinstance(markup, ast.Constant) and markup.value is False
            if name == "TextColumn" and "task.description" in ast.unparse(node) and not plain:
                others.append(f"{file.name}:{node.lineno} {name} with markup")
    assert others == []


@pytest.fixture
async def console(web: tuple[wiring.Services, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web[1], headers={"origin": web[1]}, timeout=20) as client:
        await client.post("/console/login", data={"key": OPERATOR_KEY})
        yield client


async def test_the_console_shows_no_control_characters(console: httpx.AsyncClient, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await raise_alert(connection, COUPON_OVERUSED, HOSTILE)
    for path in ("/console", "/console/coupons", "/console/audit"):
        page = await console.get(path)
        assert page.status_code == 200
        assert obeyed(page.text) == set(), path
    assert "end" in (await console.get("/console")).text


async def test_a_form_of_the_console_sends_back_what_it_got(console: httpx.AsyncClient) -> None:
    page = await console.get("/console/search", params={"q": "\u202eid"})
    assert 'value="\u202eid"' in page.text
