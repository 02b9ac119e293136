"""What is logged: one wide record per message, and never a secret."""

import asyncio
import io
import json
import logging
import re
from typing import Any  # JSON

import httpx
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.core.logs import MessageLog, configure_logging, log_attempt, log_message, secrets_of
from platform_relay.setting_groups import PlatformSettings
from platform_relay.settings import Settings
from tests.api.served import STORE_KEY, WEBHOOK_SECRET


def configure(settings: Settings, *more_secrets: str) -> None:
    secrets = [*secrets_of(settings), *more_secrets]
    configure_logging(level=settings.log_level, log_format=settings.log_format, secrets=secrets)


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_one_wide_record_per_message(
    store: httpx.AsyncClient,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(settings)
    receipt = (await store.post("/v1/events/customers", json={"id": 1, "email": "ada@example.com"})).json()
    await store.post(f"/v1/webhooks/platform/{WEBHOOK_SECRET}", json={}, headers={"X-Webhook-Topic": "points/earned"})
    written = capsys.readouterr().err
    assert STORE_KEY not in written
    assert WEBHOOK_SECRET not in written
    assert "ada@example.com" not in written
    found = [record for record in map(json.loads, written.splitlines()) if record["event"] == "message"]
    assert [record["kind"] for record in found] == ["customers", "points/earned"]
    assert found[0]["message_id"] == receipt["id"]
    assert (found[0]["status"], found[0]["caller"], found[0]["jobs"]) == ("accepted", "store", 1)
    assert {"level", "logger", "timestamp", "ms", "size"} <= set(found[0])


async def test_a_batch_has_a_record_for_each_message_in_pieces_that_a_pipe_takes_whole(
    store: httpx.AsyncClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(settings)
    stream = Pieces()
    monkeypatch.setattr("sys.stderr", stream)
    lines = "\n".join(json.dumps({"type": "customers", "event": {"id": f"ö{number}"}}) for number in range(60))
    answer = await store.post("/v1/events/batch", content=lines)
    receipts = [json.loads(line)["id"] for line in answer.text.splitlines()]
    result = [piece for piece in stream.pieces if '"logger":"relay.message"' in piece]
    found = [json.loads(line) for piece in result for line in piece.splitlines()]
    assert [record["message_id"] for record in found] == receipts
    assert max(len(piece.encode()) for piece in result) <= 4096
    assert len(result) < 10


class Pieces(io.StringIO):
    """A stream that remembers what it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


def attempt(kind: str) -> None:
    log_attempt(
        uuid7(),
        uuid7(),
        kind=kind,
        destination="platform",
        attempt=1,
        fencing_token=1,
        outcome="retry",
        state="waiting",
        milliseconds=1,
    )


def test_what_one_round_of_the_loop_says_goes_out_at_its_end_and_nothing_is_lost_with_the_loop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(settings)
    stream = Pieces()
    monkeypatch.setattr("sys.stderr", stream)

    async def three_and_one() -> None:
        for word in ("one", "two", "three"):
            attempt(word)
        assert stream.pieces == []
        await asyncio.sleep(0)
        assert len(stream.pieces) == 1
        attempt("the last round of this loop")

    asyncio.run(three_and_one())
    closed = asyncio.new_event_loop()
    closed.call_soon(attempt, "left behind")
    closed.call_soon(closed.stop)
    closed.run_forever()
    closed.close()

    async def next_loop() -> None:
        attempt("the next loop")

    asyncio.run(next_loop())
    result = [json.loads(line)["kind"] for piece in stream.pieces for line in piece.splitlines()]
    assert result == ["one", "two", "three", "the last round of this loop", "left behind", "the next loop"]
    attempt("without a loop")
    assert "without a loop" in stream.pieces[-1]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_records_of_a_batch_are_those_of_single_messages(
    log_format: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level="INFO", log_format=log_format, secrets=["secret-of-a-caller"])
    messages = [(uuid7(), kind, status, size) for kind, status, size in BATCHED]
    log = MessageLog(milliseconds=12.34, caller="secret-of-a-caller\u202e")
    for message_id, kind, status, size in messages:
        log.add(message_id, source="store", kind=kind, status=status, size=size, jobs=1)
    assert not capsys.readouterr().err
    log.write()
    together = capsys.readouterr().err
    for message_id, kind, status, size in messages:
        log_message(
            message_id,
            source="store",
            kind=kind,
            status=status,
            size=size,
            jobs=1,
            milliseconds=12.34,
            caller="secret-of-a-caller\u202e",
        )
    alone = capsys.readouterr().err
    assert "secret-of-a-caller" not in together
    assert [TIME.sub("", line) for line in together.splitlines()] == [TIME.sub("", line) for line in alone.splitlines()]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_records_of_one_round_of_the_loop_are_those_of_single_ones(
    log_format: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records that are written together are rendered once, with their own values put in."""
    configure_logging(level="INFO", log_format=log_format, secrets=["secret-of-a-caller"])
    ids = [uuid7() for _ in range(4)]

    def write(number: int) -> None:
        log_message(
            ids[number],
            source="store",
            kind="orders" if number == 2 else "customers",
            status="accepted",
            size=400 + number,
            jobs=1,
            milliseconds=3.0 + number,
            caller="secret-of-a-caller\u202e",
        )
        log_attempt(
            ids[-number],
            ids[number],
            kind="forward_customer",
            destination="platform",
            attempt=1 + number // 2,
            fencing_token=10**12 + number,
            outcome="done",
            state="dead" if number == 3 else "done",
            milliseconds=number,
            status=200,
        )

    async def together() -> None:
        for number in range(4):
            write(number)

    asyncio.run(together())
    in_one_round = capsys.readouterr().err
    for number in range(4):
        write(number)
    alone = capsys.readouterr().err
    assert "secret-of-a-caller" not in in_one_round
    assert [TIME.sub("", line) for line in in_one_round.splitlines()] == [
        TIME.sub("", line) for line in alone.splitlines()
    ]
    assert all(str(one) in in_one_round for one in ids)
    if log_format == "json":
        messages = [json.loads(line) for line in in_one_round.splitlines()][::2]
        assert [(record["message_id"], record["size"], record["ms"]) for record in messages] == [
            (str(ids[number]), 400 + number, 3.0 + number) for number in range(4)
        ]


BATCHED = [("customers", "accepted", 400), ("orders", "duplicate", 7), ("customers", "accepted", 2_000)]
TIME = re.compile(r"20[0-9-]+T[0-9:.]+Z")


def test_what_json_cannot_hold_is_told_all_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(settings)
    stream = Pieces()
    monkeypatch.setattr("sys.stderr", stream)
    for odd in ("half of a pair: \ud800", b"\xff", object):
        structlog.get_logger("ours").info("odd", what=odd)
    result = [json.loads(piece)["what"] for piece in stream.pieces]
    assert result == ["half of a pair: \ud800", "b'\\xff'", "<class 'object'>"]


def test_secrets_are_masked_whoever_writes_them(capsys: pytest.CaptureFixture[str]) -> None:
    secret = 'hush"hush\\hush'
    settings = Settings(_env_file=None, platform=PlatformSettings(api_key=SecretStr(secret)))
    assert list(secrets_of(settings)) == [secret]
    configure(settings, "shop-secret")
    structlog.get_logger("ours").info("calls", url=f"https://x/?key={secret}", shop="shop-secret")
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("somebody.else").exception("failed with shop-secret")
    written = capsys.readouterr().err
    assert "hush" not in written
    assert "shop-secret" not in written
    assert written.count("[secret]") >= 4
    first, second = map(json.loads, written.splitlines())
    assert (first["event"], second["level"]) == ("calls", "error")
    assert "Traceback" in second["exception"]


def test_an_attempt_is_one_record_and_a_dead_job_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(_env_file=None, log_level="WARNING"))
    message = uuid7()
    log_message(message, source="store", kind="orders", status="accepted", size=1, jobs=1, milliseconds=1, caller="x")
    for state in ("waiting", "dead"):
        log_attempt(
            uuid7(),
            message,
            kind="forward_order",
            destination="platform",
            attempt=3,
            fencing_token=9,
            outcome="reject",
            state=state,
            milliseconds=12.34,
            status=422,
            reason_code="rejected_by_destination",
            facts={"destination": "the Platform", "status": 422},
        )
    [record] = records(capsys)
    assert (record["level"], record["state"], record["status"], record["ms"]) == ("warning", "dead", 422, 12.3)
    assert record["message_id"] == str(message)
    assert (record["reason_code"], record["facts"]["destination"]) == ("rejected_by_destination", "the Platform")


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(_env_file=None, log_format="text"))
    structlog.get_logger("ours").info("hello", number=1)
    written = capsys.readouterr().err
    assert "hello" in written
    assert not written.startswith("{")


def test_a_captured_stream_that_was_closed_makes_no_record_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that runs in a test configures logging while stderr is captured. Records come after the capture ended."""
    captured, later = io.StringIO(), Pieces()
    with monkeypatch.context() as during:
        during.setattr("sys.stderr", captured)
        configure(settings)
    captured.close()
    monkeypatch.setattr("sys.stderr", later)
    logging.getLogger("httpx").info("HTTP Request: %s", "GET /")
    assert [json.loads(piece)["event"] for piece in later.pieces] == ["HTTP Request: GET /"]
    later.close()
    logging.getLogger("httpx").info("the stream of this moment is closed too")


async def test_a_databases_error_quotes_no_row(
    settings: Settings, engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(settings)
    person = b"ada@example.com"
    statement = text(
        "INSERT INTO message (id, source, kind, dedupe_key, body) VALUES (gen_random_uuid(), '', '', '', :body)"
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(statement, {"body": person})
    except DBAPIError:
        structlog.get_logger("ours").exception("failed")
    written = capsys.readouterr().err
    assert "NotNullViolation" in written
    assert "DETAIL: removed" in written
    assert "ada@example.com" not in written
    assert b"ada@example.com".hex() not in written
