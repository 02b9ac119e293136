"""`relay init` as a new user runs it: with options only, and with a terminal."""

import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final

import pytest

from platform_relay.setup.env_file import read_text
from simulators.process import Simulator
from tests.journeys.conftest import platform, platform_process, shop, shop_process

__all__ = ["platform", "platform_process", "shop", "shop_process"]

SECRETS: Final = {
    "PLATFORM__API_KEY": "sim-platform-key",
    "WOOCOMMERCE__CONSUMER_KEY": "ck_simulator_key",
    "WOOCOMMERCE__CONSUMER_SECRET": "cs_simulator_key",
}
COMMAND: Final = (sys.executable, "-m", "platform_relay.cli", "init")
ROOT: Final = Path(__file__).parents[2]


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", **settings}


def options(platform: Simulator, shop: Simulator) -> list[str]:
    values = {"PLATFORM__URL": platform.url, "PLATFORM__LAUNCHER_URL": platform.url, "WOOCOMMERCE__URL": shop.url}
    sets = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    return ["--store", "woocommerce", "--shop-key", "sim-shop", "--public-url", "https://relay.example", *sets]


def init(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, env=environment(**settings), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_options_alone_set_up_a_relay(tmp_path: Path, database_url: str, platform: Simulator, shop: Simulator) -> None:
    words = ["--yes", "--from-env", *options(platform, shop)]
    done = init(tmp_path, *words, DATABASE_URL=database_url, **SECRETS)
    assert done.returncode == 0, done.stdout + done.stderr
    file = tmp_path / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = read_text(file.read_text())
    assert SECRETS.items() <= values.items()
    generated = [values[name] for name in ("STORE_KEY", "OPERATOR_KEY", "WOOCOMMERCE__WEBHOOK_SECRET")]
    assert all(len(secret) == 64 for secret in generated)
    for secret in (*generated, *SECRETS.values(), database_url):
        assert secret not in done.stdout + done.stderr
    hook = f"https://relay.example/v1/webhooks/platform/{values['PLATFORM__WEBHOOK_SECRET']}"
    assert re.search(rf"points/redeemed +{hook}", done.stdout)
    name = f"{sys.executable} -m platform_relay.cli"
    assert f"     {name} serve\n" in done.stdout
    assert f"     {name} webhooks install" in done.stdout
    assert "POST" not in done.stdout.split("Next steps")[1]

    check = subprocess.run(
        [*COMMAND[:-1], "check", "--json"], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout + check.stderr
    shown = json.loads(check.stdout)
    assert shown["passed"] is True
    assert {"name": "keys", "ok": True, "text": "set", "next_step": ""} in shown["checks"]
    states = {item["id"]: item["state"] for item in shown["setup"]["checks"]}
    assert (states["database"], states["test_coupon"], states["topic_points/redeemed"]) == ("ok", "missing", "missing")
    assert shown["setup"]["complete"] is False

    again = init(tmp_path, "--yes", "--set", "COUPONS__CURRENCY=EUR", "--set", "PORT=8099")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "+ PORT=8099" in again.stdout
    assert read_text(file.read_text()) == {**values, "COUPONS__CURRENCY": "EUR", "PORT": "8099"}
    [kept] = tmp_path.glob(".env.backup-*")
    assert read_text(kept.read_text()) == values
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "settings", "code", "text"),
    [
        ([], {}, 2, "no terminal"),
        (["--yes"], {}, 2, "The store is missing"),
        (["--yes", "--store", "woocomerce"], {}, 2, "unknown store"),
        (["--yes", "--offline", "--store", "woocommerce"], {}, 2, "PLATFORM__API_KEY is missing"),
        (["--yes", "--set", "PROT=1"], {}, 2, "no setting PROT"),
        (["--yes", "--set", "PORT"], {}, 2, "NAME=VALUE"),
        (["--yes", "--store", "woocommerce"], {}, 2, "WOOCOMMERCE__URL is not set"),
        (["--yes", "--store", "woocommerce"], {**SECRETS, "WOOCOMMERCE__URL": "http://127.0.0.1:1"}, 1, "FAIL"),
    ],
)
def test_what_is_missing_or_wrong_is_reported_and_nothing_is_written(
    tmp_path: Path, words: list[str], settings: dict[str, str], code: int, text: str
) -> None:
    done = init(tmp_path, *words, **settings)
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".env").exists()


def test_a_file_that_cannot_be_written_is_reported_before_any_call(tmp_path: Path) -> None:
    words = ["--yes", "--store", "woocommerce", "--platform-api-key", "key", "--file", "absent/.env"]
    done = init(tmp_path, *words, WOOCOMMERCE__URL="http://127.0.0.1:1")
    assert done.returncode == 2
    assert "absent/.env cannot be written: the folder" in done.stdout + done.stderr
    assert "FAIL" not in done.stdout


def test_a_terminal_is_asked_and_a_wrong_answer_can_be_corrected(
    tmp_path: Path, database_url: str, platform: Simulator, shop: Simulator
) -> None:
    words = ["--set", f"PLATFORM__URL={platform.url}", "--set", f"PLATFORM__LAUNCHER_URL={platform.url}"]
    answers = [
        ("Which store", "woocommerce"),
        ("WOOCOMMERCE__URL", shop.url),
        ("WOOCOMMERCE__CONSUMER_KEY", SECRETS["WOOCOMMERCE__CONSUMER_KEY"]),
        ("WOOCOMMERCE__CONSUMER_SECRET", "cs_a_wrong_one"),
        ("Correct it now", "y"),
        ("WOOCOMMERCE__URL", ""),  # keeps the value
        ("WOOCOMMERCE__CONSUMER_KEY", ""),
        ("WOOCOMMERCE__CONSUMER_SECRET", SECRETS["WOOCOMMERCE__CONSUMER_SECRET"]),
        ("PLATFORM__API_KEY", SECRETS["PLATFORM__API_KEY"]),
        ("PLATFORM__SHOP_KEY", "sim-shop"),
        ("Database", database_url),
        ("PUBLIC_URL", ""),
        ("Write .env", "y"),
    ]
    code, shown = in_a_terminal(tmp_path, words, answers)
    assert code == 0, shown
    values = read_text((tmp_path / ".env").read_text())
    assert SECRETS.items() <= values.items()
    assert values["DATABASE_URL"] == database_url
    for secret in (*SECRETS.values(), "cs_a_wrong_one", database_url, values["STORE_KEY"]):
        assert secret not in shown
    assert "FAIL" in shown
    assert "()" not in shown
    assert "Next steps" in shown


HIDDEN: Final = {"WOOCOMMERCE__CONSUMER_KEY", "WOOCOMMERCE__CONSUMER_SECRET", "PLATFORM__API_KEY", "Database"}
"""Questions whose answer is not shown."""


def in_a_terminal(folder: Path, words: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run `relay init` in a terminal, and give each answer when its question is shown. Returns exit code and output."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(sys.executable, [*COMMAND, *words], environment())  # noqa: S606  # the child of the fork
    shown, seen = "", 0
    for question, answer in answers:
        while (at := shown.find(question, seen)) < 0 or not shown.endswith((": ", "):")):
            shown += os.read(terminal, 65536).decode("utf-8", "replace")
        seen = at + len(question)
        while question in HIDDEN and termios.tcgetattr(terminal)[3] & termios.ECHO:
            select.select([terminal], [], [], 0.01)  # what is typed before the echo is off is discarded
        os.write(terminal, f"{answer}\n".encode())
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux: the terminal's program has ended
            break
        if not piece:
            break
        shown += piece.decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown
