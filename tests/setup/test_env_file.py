"""The file that `relay init` writes: what the settings classes read is what was answered, and nobody else can read it."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_settings import BaseSettings, SettingsConfigDict

from platform_relay.setup.env_file import Line, UnwritableValueError, changes, read_text, render, replace_file

NOW = datetime(2026, 5, 11, 12, tzinfo=UTC)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=60).map(str.strip)


@given(VALUES.filter(bool))
def test_a_value_is_read_as_it_was_written_or_refused(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    class Read(BaseSettings):
        model_config = SettingsConfigDict(env_file=tmp_path_factory.getbasetemp() / "settings")

        the_answer: str = ""

    try:
        text = render([("Section", [Line("THE_ANSWER", value, "What it is for.")])])
    except UnwritableValueError:
        return
    (tmp_path_factory.getbasetemp() / "settings").write_text(text, "utf-8")
    assert Read().the_answer == value
    assert read_text(text) == {"THE_ANSWER": value}


@pytest.mark.parametrize("value", ["a\nb", "it's", "a\\b", "${HOME}"])
def test_a_value_that_readers_understand_differently_is_refused(value: str) -> None:
    with pytest.raises(UnwritableValueError, match="/run/secrets/the_answer"):
        render([("Section", [Line("THE_ANSWER", value)])])


def test_a_difference_shows_no_secret() -> None:
    before = {"PORT": "8080", "STORE_KEY": "old-secret", "SOMETHING_ELSE": "may-be-secret", "GONE": "x"}
    after = {"PORT": "8081", "STORE_KEY": "new-secret", "SOMETHING_ELSE": "changed-secret", "OPERATOR_KEY": "a-secret"}
    lines = changes(before, after, {"PORT"})
    assert lines == [
        "- GONE=(hidden)",
        "+ OPERATOR_KEY=(hidden)",
        "~ PORT=8080 -> 8081",
        "~ SOMETHING_ELSE=(hidden) -> (hidden)",
        "~ STORE_KEY=(hidden) -> (hidden)",
    ]


def test_the_file_and_its_backup_belong_to_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert replace_file(file, "A=1\n", NOW) is None
    file.chmod(0o644)  # as an editor may have left it
    kept = replace_file(file, "A=2\n", NOW)
    assert kept is not None
    assert (file.read_text(), kept.read_text()) == ("A=2\n", "A=1\n")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, kept)] == [0o600, 0o600]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", kept.name]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine\n")
    (tmp_path / ".env").symlink_to(tmp_path / "other")
    with pytest.raises(ValueError, match="is a link"):
        replace_file(tmp_path / ".env", "A=1\n", NOW)
    assert (tmp_path / "other").read_text() == "mine\n"
