"""Files taken in: mapped, counted, resumable after a kill, never over something newer."""

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.cli.rejected_rows import RejectedRows
from platform_relay.imports.conversion import Reading, convert
from platform_relay.imports.files import (
    CHUNK,
    MAX_DEPTH,
    MAX_ROW,
    FileFormat,
    FileRow,
    column_names,
    format_of,
    read_rows,
)
from platform_relay.imports.importer import import_file
from platform_relay.imports.mapping import Column, guess_mapping, missing_fields, parse_mapping
from platform_relay.imports.proposal import propose
from platform_relay.imports.rows import ImportPlan
from platform_relay.imports.runs import ImportBusyError, ImportView, list_imports
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from tests.database.engine_room import rows, run
from tests.explain.scene import Scene

# ----------------------------------------------------------------------------------------------- rows and columns

CSV = b'\xef\xbb\xbfid,name,note\n1,Ada,"a\nb"\n2,"B, C",\n3,x,y,z\n4,\xff,\n\n5,last,"end"'
JSON = '{"total": 3, "customers": [{"id": 1, "name": "Ä"}, 7, {"id": "2", "tags": ["]", "{"]}]}'.encode()
NDJSON = b'{"id": 1}\n\nnonsense\n{"id": "2"}\n[]\n'


@pytest.mark.parametrize(
    ("form", "raw", "expected"),
    [
        ("csv", CSV, [("1", None), ("2", None), ("3", "4 fields"), ("4", "UTF-8"), ("5", None)]),
        ("json", JSON, [(1, None), (None, "not a JSON object"), ("2", None)]),
        ("json", b"\xef\xbb\xbf" + JSON, [(1, None), (None, "not a JSON object"), ("2", None)]),
        ("ndjson", NDJSON, [(1, None), (None, "not JSON"), ("2", None), (None, "not a JSON object")]),
    ],
)
def test_rows_are_read_and_each_place_behind_one_is_a_place_to_go_on(
    form: FileFormat, raw: bytes, expected: list[tuple[object, str | None]]
) -> None:
    found = list(read_rows(io.BytesIO(raw), form))
    assert [row.values.get("id") for row in found] == [identifier for identifier, _ in expected]
    for row, (_, problem) in zip(found, expected, strict=True):
        assert (problem or "") in (row.problem or "")
        assert (row.problem is None) == (problem is None)
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    for at, row in enumerate(found):
        rest = list(read_rows(io.BytesIO(raw), form, after=row.end, number=row.number))
        assert rest == found[at + 1 :]


def test_a_long_array_is_read_as_a_stream() -> None:
    many = json.dumps([{"id": number, "pad": "ü" * 300} for number in range(2000)], ensure_ascii=False).encode()
    file = io.BytesIO(many)
    read = [(row.values["id"], row.end, file.tell()) for row in read_rows(file, "json")]
    assert [identifier for identifier, _, _ in read] == list(range(2000))
    for number, (_, end, position) in enumerate(read, 1):
        assert end == position, "a row has to be given out before more of the file is read"
        assert many[:end].count(b"}") >= number
        assert end - CHUNK <= number * len(many) / 2000 + 1000


@pytest.mark.parametrize("raw", [b'"x"', b"{}", b'[{"id": 1}', b'[{"id": 1'])
def test_what_is_no_array_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="array"):
        list(read_rows(io.BytesIO(raw), "json"))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"nonsense", "broken after row 2: lexical error"),
        (b'{"id": "\xff"}', "broken after row 2: lexical error"),
        (b'{"id": "' + b"x" * 2 * MAX_ROW + b'"}', f"longer than {MAX_ROW} bytes"),
        (b'{"id": ' + b"[" * 200_000, f"more than {MAX_DEPTH} levels"),
        (b'{"id": 3}', "broken after row 3: parse error: premature EOF"),
    ],
)
def test_rows_before_a_broken_place_are_read_and_the_place_is_named(broken: bytes, words: str) -> None:
    found = read_rows(io.BytesIO(b'[{"id": 1}, {"id": 2}, ' + broken), "json")
    assert [next(found).number, next(found).number] == [1, 2]
    with pytest.raises(ValueError, match=words):
        list(found)


def test_numbers_of_an_array_are_those_of_json() -> None:
    raw = b'[{"long": 123456789012345678901234567890, "price": 1.10, "less": -2, "none": null, "yes": true}]'
    [row] = read_rows(io.BytesIO(raw), "json")
    assert row.values == json.loads(raw, parse_float=Decimal)[0]
    assert [type(value) for value in row.values.values()] == [int, Decimal, int, type(None), bool]


def test_the_form_is_told_by_the_name() -> None:
    assert [format_of(f"x.{end}") for end in ("CSV", "tsv", "jsonl", "json")] == ["csv", "csv", "ndjson", "json"]
    with pytest.raises(ValueError, match="end its name with"):
        format_of("customers.doc")


def test_columns_are_guessed() -> None:
    shopify = ["Customer ID", "First Name", "Last Name", "Email", "Accepts Email Marketing", "Phone", "Tags"]
    assert guess_mapping(EventKind.CUSTOMER, map(Column, shopify)).mapping == {
        "id": "Customer ID", "email": "Email", "firstName": "First Name", "lastName": "Last Name", "phone": "Phone",
        "tags": "Tags",
    }  # fmt: skip
    woo = {
        "order_number": "1901",
        "status": "wc-completed",
        "order_total": "54.90",
        "order_currency": "EUR",
        "customer_id": "7",
        "billing_email": "lena@mail.example",
        "date_created_gmt": "2026-11-01 09:59:00",
    }
    found = guess_mapping(EventKind.ORDER, [Column(name, [value]) for name, value in woo.items()])
    assert missing_fields(EventKind.ORDER, found.mapping) == []
    assert found.mapping["email"] == "billing_email"
    assert found.uncertain == {"id": "name"}
    assert missing_fields(EventKind.ORDER, guess_mapping(EventKind.ORDER, [Column("a")]).mapping) == [
        "id",
        "financialStatus",
        "currency",
        "totalPrice",
    ]
    assert parse_mapping(EventKind.CUSTOMER, ["phone=Mobile", "tags="], ["Mobile"]) == {"phone": "Mobile", "tags": ""}
    for bad in ("nofield=Mobile", "phone", "phone=Telex"):
        with pytest.raises(ValueError, match=r"FIELD=COLUMN|no column"):
            parse_mapping(EventKind.CUSTOMER, [bad], ["Mobile"])


def test_a_row_becomes_an_event() -> None:
    values = {"no": "7", "st": "wc-completed", "t": "5.00", "c": "eur", "up": "2026-05-11 10:00:00 +0200", "e": " "}
    mapping = {"id": "no", "financialStatus": "st", "totalPrice": "t", "currency": "c", "updatedAt": "up", "email": "e"}
    assert convert(EventKind.ORDER, values, mapping, Reading(), flat=True).event == {
        "id": "7", "financialStatus": "paid", "totalPrice": "5.00", "currency": "EUR",
        "updatedAt": "2026-05-11T08:00:00+00:00",
    }  # fmt: skip
    nested: dict[str, JsonValue] = {"number": 7, "extra": {"a": 1}}
    assert convert(EventKind.ORDER, nested, {"id": "number"}, Reading(), flat=False).event == {
        "id": 7,
        "extra": {"a": 1},
    }


# ----------------------------------------------------------------------------------------------- taken in

GOOD = "id,email,updatedAt\n" + "".join(f"{n},a{n}@example.com,2026-01-01T00:00:00Z\n" for n in range(1, 2501))
PLAN = ImportPlan("customers.csv", "csv", EventKind.CUSTOMER, {"id": "id", "email": "email", "updatedAt": "updatedAt"})


@pytest.fixture
def inbox(engine: AsyncEngine) -> Inbox:
    return Inbox(engine, on_commit=lambda _: None)


async def test_a_file_is_taken_in_behind_live_traffic(engine: AsyncEngine, inbox: Inbox) -> None:
    raw = (GOOD + ",no@example.com,2026-01-01T00:00:00Z\n").encode()
    refused: list[tuple[FileRow, str]] = []
    seen: list[ImportView] = []
    done = await import_file(
        engine,
        inbox,
        PLAN,
        io.BytesIO(raw),
        actor="t",
        rejected=lambda *each: refused.append(each),
        progress=seen.append,
    )
    assert (done.state, done.rows, done.accepted, done.rejected, done.position) == ("done", 2501, 2500, 1, len(raw))
    assert [(row.number, "id: Field required" in reason) for row, reason in refused] == [(2501, True)]
    assert done.problems[0].row == 2501
    assert [view.rows for view in seen] == [0, 1000, 2000, 2501]
    assert await rows(engine, "SELECT DISTINCT priority FROM lane") == [(1,)]
    assert await rows(engine, "SELECT action, count(*) FROM audit GROUP BY 1") == [("import.begin", 1)]
    again = await import_file(engine, inbox, PLAN, io.BytesIO(raw), actor="t")
    assert (again.id, again.accepted) == (done.id, 2500)
    assert await rows(engine, "SELECT count(*) FROM message") == [(2500,)]


class Killed(BaseException):
    """As Ctrl-C would."""


async def test_a_killed_import_goes_on_where_it_was(engine: AsyncEngine, inbox: Inbox) -> None:
    def kill(view: ImportView) -> None:
        if view.rows == 1000:
            raise Killed

    with pytest.raises(Killed):
        await import_file(engine, inbox, PLAN, io.BytesIO(GOOD.encode()), actor="t", progress=kill)
    assert [view.state for view in (await list_imports(engine)).items] == ["stopped"]  # released at once
    await run(engine, "UPDATE import_run SET state = 'running'")  # what a SIGKILL leaves
    with pytest.raises(ImportBusyError):  # it may still be alive
        await import_file(engine, inbox, PLAN, io.BytesIO(GOOD.encode()), actor="t")
    await run(
        engine, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute', position = 0, rows = 0, accepted = 0"
    )
    [stopped] = (await list_imports(engine)).items
    assert stopped.state == "stopped"
    done = await import_file(engine, inbox, PLAN, io.BytesIO(GOOD.encode()), actor="t")
    assert (done.id, done.rows, done.accepted, done.duplicates) == (stopped.id, 2500, 1500, 1000)
    assert await rows(engine, "SELECT count(*), count(DISTINCT customer_ref) FROM message") == [(2500, 2500)]


async def test_nothing_newer_is_overwritten(engine: AsyncEngine, inbox: Inbox) -> None:
    scene = Scene(engine)
    await scene.customer("1", updatedAt="2026-02-01T00:00:00Z", firstName="New")
    await scene.customer("2", firstName="New")
    raw = b"id,firstName,updatedAt\n1,Old,2026-01-01T00:00:00Z\n1,Old,\n2,Old,\n3,Old,\n"
    mapping = {"id": "id", "firstName": "firstName", "updatedAt": "updatedAt"}
    done = await import_file(
        engine, inbox, ImportPlan("f", "csv", EventKind.CUSTOMER, mapping), io.BytesIO(raw), actor="t"
    )
    assert (done.accepted, done.newer) == (2, 2)
    sent = await rows(
        engine,
        """SELECT DISTINCT ON (lane) lane, convert_from(message.body, 'UTF8')::jsonb ->> 'firstName'
           FROM job JOIN message ON message.id = job.message_id ORDER BY lane, version DESC NULLS FIRST, seq DESC""",
    )
    assert sent == [("customer:1", "New"), ("customer:2", "New"), ("customer:3", "Old")]


async def test_a_file_of_another_kind_is_told(engine: AsyncEngine, inbox: Inbox) -> None:
    with pytest.raises(ValueError, match="array"):
        await import_file(
            engine, inbox, ImportPlan("f", "json", EventKind.CUSTOMER, {"id": "id"}), io.BytesIO(b'"x"'), actor="t"
        )
    [failed] = (await list_imports(engine)).items
    assert failed.state == "failed"
    assert "array" in (failed.error or "")


def test_names_are_found(tmp_path: Path) -> None:
    assert column_names(io.BytesIO(b"a;b;c\n1;2;3\n"), "csv") == ["a", "b", "c"]
    assert column_names(io.BytesIO(NDJSON), "ndjson") == ["id"]
    assert column_names(io.BytesIO(b"a,a\n"), "csv") == ["a (column 1)", "a (column 2)", "a"]


async def test_a_row_with_a_version_of_the_future_is_refused(engine: AsyncEngine, inbox: Inbox) -> None:
    raw = b"id,updatedAt\n1,2062-11-20T10:00:00Z\n2,2026-01-01T00:00:00Z\n"
    plan = ImportPlan("customers.csv", "csv", EventKind.CUSTOMER, {"id": "id", "updatedAt": "updatedAt"})
    done = await import_file(engine, inbox, plan, io.BytesIO(raw), actor="t")
    assert (done.accepted, done.rejected) == (1, 1)
    [problem] = done.problems
    assert problem.row == 1
    assert problem.reason.startswith("updatedAt: 2062-11-20T10:00:00+00:00 is in the future; the latest time")


@pytest.mark.parametrize(
    ("bad", "rejected"),
    [
        (b'{"id": 2, "x": ' + b"[" * 400 + b"1.5" + b"]" * 400 + b"}", 1),
        (b'{"id": 2, "updatedAt": "0001-01-01T00:00:00+14:00"}', 0),
    ],
    ids=["nested", "time"],
)
async def test_a_row_that_cannot_be_an_event_is_one_rejected_row(
    bad: bytes, rejected: int, engine: AsyncEngine, inbox: Inbox, tmp_path: Path
) -> None:
    (tmp_path / "f.ndjson").touch()
    lines = RejectedRows(tmp_path / "f.ndjson")
    mapping = {"id": "id", "updatedAt": "updatedAt"}
    done = await import_file(
        engine, inbox, ImportPlan("f", "ndjson", EventKind.CUSTOMER, mapping),
        io.BytesIO(b'{"id": 1}\n' + bad + b'\n{"id": 3}\n'), actor="t", rejected=lines.write,
    )  # fmt: skip
    lines.close()
    assert (done.state, done.accepted, done.rejected) == ("done", 3 - rejected, rejected)
    written = lines.path.read_text().splitlines() if rejected else []
    assert [json.loads(line)["row"] for line in written] == [2] * rejected
    unreadable = {column.field: column.unreadable_rows for column in done.columns if column.unreadable}
    assert unreadable == ({} if rejected else {"updatedAt": [2]})


def shopify_orders(count: int) -> bytes:
    header = (
        "Name,Email,Financial Status,Currency,Subtotal,Shipping,Taxes,Total,Created at,Lineitem quantity,Lineitem name,"
        "Lineitem price,Id\n"
    )
    lines = "".join(
        f"#{number},a{number}@mail.example,paid,EUR,30.00,0.00,0.00,30.00,2026-11-01 09:59:00 +0100,1,Pot,10.00,6{number:012}\n"
        f"#{number},a{number}@mail.example,,,,,,,2026-11-01 09:59:00 +0100,2,Cup,10.00,\n"
        for number in range(1, count + 1)
    )
    return (header + lines).encode()


async def test_a_resumed_import_never_splits_an_order_and_goes_on_counting(engine: AsyncEngine, inbox: Inbox) -> None:
    raw = shopify_orders(1500)
    plan = propose(io.BytesIO(raw), "orders.csv", "csv", EventKind.ORDER).plan

    def kill(view: ImportView) -> None:
        if view.rows == 1000:
            raise Killed

    with pytest.raises(Killed):
        await import_file(engine, inbox, plan, io.BytesIO(raw), actor="t", progress=kill)
    await run(engine, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute'")
    [stopped] = (await list_imports(engine)).items
    assert (stopped.rows, stopped.last_row) == (1000, 2000)
    done = await import_file(engine, inbox, plan, io.BytesIO(raw), actor="t")
    assert (done.id, done.rows, done.last_row, done.accepted) == (stopped.id, 1500, 3000, 1500)
    [[items]] = await rows(
        engine,
        "SELECT DISTINCT jsonb_array_length(convert_from(body, 'UTF8')::jsonb -> 'lineItems') FROM message",
    )
    assert items == 2
    assert {column.field: column.read for column in done.columns if column.use == "field"}["lineItems"] == 1500
