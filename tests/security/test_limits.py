"""SECURITY.md lists the limits with their numbers, and `relay check` looks at the file of the settings."""

from pathlib import Path

import pytest

from platform_relay.api import authentication, batch, import_files, paging, request_body
from platform_relay.checks.configuration import check_env_file
from platform_relay.console import login, pages
from platform_relay.core import compute, http, plain_numbers
from platform_relay.imports import conversion, files, uploads
from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.settings import Settings

SECURITY = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")


def maxima(model: type[CustomerEvent | OrderEvent | ProductEvent]) -> list[int]:
    extras = [field.json_schema_extra for field in model.model_fields.values()]
    return [extra["maxItems"] for extra in extras if isinstance(extra, dict) and isinstance(extra.get("maxItems"), int)]  # type: ignore[misc]  # int


def test_the_limits_are_those_of_the_code() -> None:
    fields = Settings.model_fields
    rows = {
        "`EVENT_LIMIT`)": f"{fields['body_limit'].default >> 20} MiB, {fields['event_limit'].default >> 20} MiB",
        "time to receive": f"{request_body.SECONDS:g} s; {import_files.IDLE_SECONDS:g} s",
        "lines of a batch": f"{batch.MAX_LINES:,}",
        "imported file, one row": f"{uploads.MAX_BYTES >> 30} GiB, {files.MAX_ROW >> 20} MiB, {files.MAX_DEPTH}",
        "time that one batch": f"{compute.TIME_LIMIT:g} s",
        "number as text": f"{plain_numbers.LONGEST} characters; {conversion.MAX_TIME} characters",
        "tags, line items": "; ".join(
            f"{n:,}" for model in (CustomerEvent, OrderEvent, ProductEvent) for n in maxima(model)
        ),
        "items of a page": f"{paging.MAX_LIMIT}; {paging.LONGEST_CURSOR:,} characters",
        "wrong keys": f"{authentication.TRIES}, {login.ATTEMPTS_PER_ADDRESS}",
        "fields of a form": f"{pages.MAX_FIELDS}; {login.LOGIN_BYTES >> 10} KiB",
        "header or status line": f"{http.HEADER_BYTES:,} bytes; 128",
        "stored excerpt": f"{http.EXCERPT_CHARS} characters; {http.QUOTE_CHARS} characters",
        "pause that": f"{http.LONGEST_RETRY_AFTER / 3600:g} hours",
    }
    section = SECURITY.split("\n## Limits")[1].split("\n## ")[0].splitlines()
    for what, limit in rows.items():
        assert [line for line in section if what in line and line.endswith(f"| {limit} |")], (what, limit)


@pytest.mark.parametrize(
    ("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)]
)
def test_a_file_of_settings_that_others_can_read_is_a_warning(tmp_path: Path, mode: int, warns: bool) -> None:
    file = tmp_path / ".env"
    assert check_env_file(file) is None
    file.write_text("OPERATOR_KEY=x\n")
    file.chmod(mode)
    check = check_env_file(file)
    assert check is not None
    assert (check.ok, check.next_step) == ((None, f"chmod 600 {file}") if warns else (True, ""))
