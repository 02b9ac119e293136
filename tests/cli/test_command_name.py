"""The commands that the relay prints can be copied as they are."""

from dataclasses import replace
from pathlib import Path

import pytest

from platform_relay.cli.command_name import called_as
from platform_relay.setup.first_steps import Installed, first_steps

FOLDER = Path("/home/ada/relay")


@pytest.mark.parametrize(
    ("words", "program", "found", "name"),
    [
        (["/usr/bin/python", "/opt/relay/bin/relay"], "/opt/relay/bin/relay", "/opt/relay/bin/relay", "relay"),
        ([".venv/bin/python", ".venv/bin/relay"], ".venv/bin/relay", None, ".venv/bin/relay"),
        ([".venv/bin/python", ".venv/bin/relay"], ".venv/bin/relay", "/usr/bin/relay", ".venv/bin/relay"),
        (["python", "/home/ada/relay/.venv/bin/relay"], "/home/ada/relay/.venv/bin/relay", None, ".venv/bin/relay"),
        (["python", "/srv/my relay/bin/relay"], "/srv/my relay/bin/relay", None, "'/srv/my relay/bin/relay'"),
        (["../bin/python", "-m", "platform_relay.cli"], "/srv/app/cli/__main__.py", None, "../bin/python -m platform_relay.cli"),
        (["/home/ada/relay/.venv/bin/python", "-m", "platform_relay.cli"], "/srv/app/cli/__main__.py", None,
         ".venv/bin/python -m platform_relay.cli"),
        (["pytest"], "/usr/bin/pytest", None, "relay"),
    ],
)  # fmt: skip
def test_the_name_is_the_one_that_was_typed(words: list[str], program: str, found: str | None, name: str) -> None:
    assert called_as(words, program, found, FOLDER) == name


def test_the_next_steps_have_the_commands_of_the_installation() -> None:
    installed = Installed("http://127.0.0.1:8080", "secret", ".env", "woocommerce", installs_webhooks=True)
    assert "     relay serve\n" in first_steps(installed)
    here = Installed(
        "http://127.0.0.1:8080", "secret", ".env", "woocommerce", installs_webhooks=True,
        start=".venv/bin/relay serve", command=".venv/bin/relay",
    )  # fmt: skip
    text = first_steps(here)
    assert "cannot reach this address yet" not in first_steps(replace(here, reachable=False, local=True))
    assert "install --address http://127.0.0.1:8080" in first_steps(replace(here, reachable=False, local=True))
    assert "install --address https://YOUR-RELAY" in first_steps(replace(here, reachable=False))
    assert "     .venv/bin/relay serve\n" in text
    assert "     .venv/bin/relay webhooks install" in text
