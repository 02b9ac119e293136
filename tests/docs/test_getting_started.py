"""Runs the commands of docs/getting-started.md one after another, and compares the answers with the page.

The relay is set up and started as on the page: `relay init` with the page's options, and `relay serve`. Only ports and database
differ.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from pydantic import JsonValue

from simulators.process import run
from tests.helpers import eventually_sync, free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ANY = "…"
ASYNCHRONOUS = 20.0
"""Seconds within which a read has to show the answer of the page."""


class Step(NamedTuple):
    """A command of the page; `status` and `answer` (JSON documents, one for each line of NDJSON) if the page has them."""

    command: str
    status: int | None
    answer: list[JsonValue]


class Page(NamedTuple):
    setup: str
    variables: str
    files: dict[str, str]
    steps: list[Step]


def read_page(text: str) -> Page:
    setup, variables = "", ""
    files: dict[str, str] = {}
    steps: list[Step] = []
    for match in BLOCK.finditer(text):
        language, block = match.groups()
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        if language == "sh" and ".venv/bin/relay init" in block:
            setup = block
        elif language == "bash" and block.startswith("RELAY="):
            variables = block
        elif language == "bash":
            steps.append(Step(block, None, []))
        elif status := re.match(r"Response `(\d{3})`", before):
            steps[-1] = Step(steps[-1].command, int(status[1]), documents(block))
        elif name := re.search(r"into `([\w.]+)`:$", before):
            files[name[1]] = block
        else:
            raise AssertionError(f"the line before a block must describe it: {before!r}")
    return Page(setup, variables, files, steps)


def documents(text: str) -> list[JsonValue]:
    """One JSON document, or one for each line."""
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


class Stack(NamedTuple):
    folder: Path
    variables: str


@contextmanager
def stack(page: Page, folder: Path, database_url: str) -> Iterator[Stack]:
    """Runs the page's three programs on free ports."""
    port = free_port()
    with run("platform") as platform, run("shop") as shop:

        def localized(text: str) -> str:
            text = text.replace("http://127.0.0.1:8101", platform.url).replace("http://127.0.0.1:8102", shop.url)
            return re.sub(r"(127\.0\.0\.1:|PORT=)8080", rf"\g<1>{port}", text)

        environment = {**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
        assert page.setup.startswith(".venv/bin/relay init ")
        command = localized(page.setup).replace(".venv/bin/relay", f"{sys.executable} -m platform_relay.cli")
        subprocess.run(
            ["bash", "-euc", f"{command.rstrip()} --set PORT={port}"],
            cwd=folder,
            env=environment,
            check=True,
            timeout=120,
        )
        with (folder / "relay.log").open("wb") as log:
            relay = subprocess.Popen(
                [sys.executable, "-m", "platform_relay.cli", "serve"],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            eventually_sync(lambda: is_ready(f"http://127.0.0.1:{port}"), within=40)
            yield Stack(folder, localized(page.variables))
        finally:
            relay.terminate()
            try:
                relay.wait(15)
            except subprocess.TimeoutExpired:
                relay.kill()
                relay.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def call(here: Stack, command: str) -> tuple[int, list[JsonValue]]:
    """The status and the answer of a curl command, run by bash."""
    assert command.startswith("curl -s ")
    with_status = "curl --noproxy '*' -s -w '\\n%{http_code}' " + command.removeprefix("curl -s ")
    program = ["bash", "-euc", f"{here.variables}\n{with_status}"]
    result = subprocess.run(program, cwd=here.folder, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, f"{command}\n{result.stderr}"
    body, _, status = result.stdout.rpartition("\n")
    return int(status), documents(body)


def same(page: JsonValue, real: JsonValue, ids: dict[str, str]) -> bool:
    """Whether an answer equals the page's. `ids` maps each id of the page to the real one, and is extended."""
    if page == ANY:
        return True
    if isinstance(page, dict) and isinstance(real, dict):
        return page.keys() == real.keys() and all(same(page[name], real[name], ids) for name in page)
    if isinstance(page, list) and isinstance(real, list):
        return len(page) == len(real) and all(same(*pair, ids) for pair in zip(page, real, strict=True))
    if isinstance(page, str) and isinstance(real, str):
        theirs, ours = UUID.findall(page), UUID.findall(real)
        if len(theirs) != len(ours) or UUID.sub("", TIME.sub("", page)) != UUID.sub("", TIME.sub("", real)):
            return False
        return all(ids.setdefault(their, our) == our for their, our in zip(theirs, ours, strict=True))
    return page == real


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="the page's commands need curl and bash"
)
def test_every_command_has_the_answer_of_the_page(tmp_path: Path, database_url: str) -> None:
    page = read_page(PAGE)
    assert len(page.steps) >= 20
    ids: dict[str, str] = {}
    with stack(page, tmp_path, database_url) as here:
        for name, text in page.files.items():
            (tmp_path / name).write_text(text)
        for step in page.steps:
            run_step(here, step, ids)


def run_step(here: Stack, step: Step, ids: dict[str, str]) -> None:
    command = step.command
    for theirs, ours in ids.items():
        command = command.replace(theirs, ours)

    def answered() -> bool:
        status, answer = call(here, command)
        if step.status is None:
            assert status == 200, f"{command}{status} {answer}"
            return True
        learnt = dict(ids)
        message = f"{command}\nanswered {status}:\n{json.dumps(answer, ensure_ascii=False, indent=1)}"
        assert status == step.status, message
        assert same(list(step.answer), answer, learnt), message
        ids.update(learnt)
        return True

    reads = " -d " not in command and "--data-binary" not in command
    if reads:
        eventually_sync(answered, ASYNCHRONOUS)
    else:
        answered()
