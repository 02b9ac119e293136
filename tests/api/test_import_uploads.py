"""What imports can do over HTTP beside importing; and forms with files that no browser sends."""

import asyncio
import errno
import html
import io
import re
import tempfile
from collections.abc import AsyncIterator
from typing import Any  # JSON

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.imports.uploads import MAX_BYTES
from tests.api.served import OPERATOR_KEY
from tests.database.engine_room import rows
from tests.helpers import eventually

CSV = {"content-type": "text/csv"}
RAW = "id,email\n1,a1@example.com\n,nobody@example.com\n2,a2@example.com\n1,a1@example.com\n"


async def ended(operator: httpx.AsyncClient, import_id: str) -> dict[str, Any]:
    view: dict[str, Any] = {}

    async def there() -> bool:
        view.update((await operator.get(f"/v1/imports/{import_id}")).json())
        return bool(view["state"] != "running")

    await eventually(there, 30)
    return view


async def test_a_dry_run_stores_nothing_and_the_import_does_the_same(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    dry = await operator.post("/v1/imports/dry-run?kind=customers", content=RAW, headers=CSV)
    assert dry.status_code == 200, dry.text
    counted = dry.json()
    names = ("rows", "accepted", "duplicates", "newer", "rejected")
    assert [counted[name] for name in names] == [4, 2, 1, 0, 1]
    assert counted["problems"][0]["row"] == 2
    assert counted["questions"] == []
    assert await rows(engine, "SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM import_upload)") == [(0,)]
    assert (await store.post("/v1/imports/dry-run?kind=customers", content=RAW, headers=CSV)).status_code == 403
    begun = await operator.post("/v1/imports?kind=customers", content=RAW, headers=CSV)
    run = await ended(operator, begun.json()["id"])
    assert [run[name] for name in names] == [counted[name] for name in names]
    again = (await operator.post("/v1/imports/dry-run?kind=customers", content=RAW, headers=CSV)).json()
    assert [again[name] for name in names] == [4, 0, 3, 0, 1]

    undecided = "Number,status,currency,total\n1,paid,EUR,5.00\n"
    open_ = await operator.post("/v1/imports/dry-run?kind=orders", content=undecided, headers=CSV)
    assert (open_.status_code, open_.json()["questions"][0]["waits"]) == (200, True)


async def test_the_rejected_rows_can_be_read_as_long_as_the_file_is_kept(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    begun = await operator.post("/v1/imports?kind=customers", content=RAW, headers=CSV)
    run = await ended(operator, begun.json()["id"])
    path = f"/v1/imports/{run['id']}/rejected-rows"

    async def kept() -> bool:
        return bool((await operator.get(path)).status_code == 200)

    await eventually(kept, 10)
    response = await operator.get(path)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    [line] = response.text.splitlines()
    assert '"row":2' in line.replace(" ", "")
    assert "nobody@example.com" in line
    assert (await store.get(path)).status_code == 403
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE import_upload SET expires_at = now()")
    gone = await operator.get(path)
    assert (gone.status_code, gone.json()["type"].rpartition(":")[2]) == (409, "wrong-state")


async def test_an_ended_import_cannot_be_cancelled_or_resumed(operator: httpx.AsyncClient) -> None:
    begun = await operator.post("/v1/imports?kind=customers", content=RAW, headers=CSV)
    run = await ended(operator, begun.json()["id"])
    for action in ("cancel", "resume"):
        response = await operator.post(f"/v1/imports/{run['id']}/{action}")
        assert response.status_code == 409, response.text
        assert "done" in response.json()["detail"]
    unknown = "01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a11"
    assert (await operator.post(f"/v1/imports/{unknown}/cancel")).status_code == 404
    assert (await operator.post(f"/v1/imports/{unknown}/resume")).status_code == 404
    assert (await operator.get(f"/v1/imports/{unknown}/rejected-rows")).status_code == 404


async def test_a_relay_without_a_store_has_no_list_to_import(operator: httpx.AsyncClient) -> None:
    response = await operator.post("/v1/imports/from-store?kind=customers")
    assert response.status_code == 409
    assert "export a file" in response.json()["detail"]


# ----------------------------------------------------------------------------------------------- forms with files


@pytest.fixture
async def console(web: tuple[wiring.Services, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A signed-in operator."""
    origin = {"origin": web[1]}
    async with httpx.AsyncClient(base_url=web[1], headers=origin, timeout=20, trust_env=False) as client:
        assert (await client.post("/console/login", data={"key": OPERATOR_KEY})).status_code == 303
        yield client


async def token(console: httpx.AsyncClient) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', (await console.get("/console/imports")).text)
    assert found
    return found[1]


Part = tuple[str, bytes]


def field(name: str, value: str) -> Part:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(name: str = "x.csv", raw: bytes = RAW.encode(), field_name: str = "file") -> Part:
    return f'Content-Disposition: form-data; name="{field_name}"; filename="{name}"\r\nContent-Type: text/csv', raw


def form(*parts: Part, end: bytes = b"--B--\r\n") -> bytes:
    return b"".join(b"--B\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n" for head, value in parts) + end


async def sent(
    console: httpx.AsyncClient, raw: bytes, media: str = "multipart/form-data; boundary=B"
) -> httpx.Response:
    return await console.post("/console/imports/upload", content=raw, headers={"content-type": media})


async def test_a_file_is_uploaded_and_only_its_name_counts(console: httpx.AsyncClient, engine: AsyncEngine) -> None:
    good = field("token", await token(console)), field("kind", "customers")
    response = await sent(console, form(*good, file("../../../etc/<b>\u202epeople.csv")))
    assert response.status_code == 303, response.text
    [(name, size)] = await rows(engine, "SELECT name, size FROM import_upload")
    assert size == len(RAW)
    assert "/" not in str(name)
    page = await console.get(response.headers["location"])
    assert page.status_code == 200
    assert "<b>" not in page.text
    assert "\u202e" not in page.text
    assert str(await rows(engine, "SELECT count(*) FROM message")) == "[(0,)]"


async def test_the_meaning_of_an_unknown_status_is_chosen_on_the_page(
    console: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    raw = b'id,Status,Currency,Total\n1,"Ist ""da""",EUR,5.00\n2,paid,EUR,5.00\n'
    known = await token(console)
    upload = form(field("token", known), field("kind", "orders"), file("orders.csv", raw))
    where = (await sent(console, upload)).headers["location"]
    page = (await console.get(where)).text
    assert "meaning is not known" in page
    control = re.search(r'<select id="status-1" name="(.*?)">', page)
    assert control
    name = html.unescape(control[1])
    assert name == 'status.Ist "da"'
    read = await console.post(f"{where}/read", data={"token": known, name: "paid"})
    assert read.status_code == 303
    page = (await console.get(read.headers["location"])).text
    assert "meaning is not known" not in page
    assert "<option selected>paid</option>" in page
    mark = re.search(r'name="mark" value="(.*?)"', page)
    assert mark
    await console.post(f"{where}/start", data={"token": known, "mark": html.unescape(mark[1]), name: "paid"})

    async def accepted() -> bool:
        return [tuple(row) for row in await rows(engine, "SELECT state, accepted FROM import_run")] == [("done", 2)]

    await eventually(accepted, 30)


async def test_hostile_forms_store_nothing(console: httpx.AsyncClient, engine: AsyncEngine) -> None:
    known = field("token", await token(console))
    kind = field("kind", "customers")
    refused = {
        "no token": (form(kind, file()), 403),
        "a wrong token": (form(field("token", "0" * 64), kind, file()), 403),
        "the token after the file": (form(kind, file(), known), 403),
        "the token as a file": (form(file(field_name="token", raw=known[1]), kind, file()), 403),
        "two files": (form(known, kind, file(), file("y.csv")), 422),
        "a file of another name": (form(known, kind, file(field_name="other")), 422),
        "no file": (form(known, kind), 422),
        "an unknown kind": (form(known, field("kind", "coupons"), file()), 422),
        "another format": (form(known, kind, file("x.exe")), 422),
        "a zip archive": (form(known, kind, file("x.zip")), 422),
        "no end": (form(known, kind, file(), end=b""), 422),
        "too many fields": (form(known, *[field(f"f{n}", "x") for n in range(20)], kind, file()), 422),
        "a long field": (form(known, field("kind", "x" * 5000), file()), 422),
        "long headers": (form(known, kind, ("X-Long: " + "x" * 20_000, b"")), 422),
        "no form": (b"\x00" * 1000, 422),
        "nothing": (b"", 422),
    }
    for what, (raw, status) in refused.items():
        response = await sent(console, raw)
        assert response.status_code == status, (what, response.status_code, response.text[-600:])
        assert "content-security-policy" in response.headers
    for media in ("multipart/form-data", "multipart/form-data; boundary=" + "B" * 5000, "text/csv"):
        assert (await sent(console, form(known, kind, file()), media)).status_code == 422, media
    elsewhere = await console.post(
        "/console/imports/upload",
        content=form(known, kind, file()),
        headers={"content-type": "multipart/form-data; boundary=B", "origin": "https://evil.example"},
    )
    assert elsewhere.status_code == 403
    cookies = "; ".join(f"{name}={value}" for name, value in console.cookies.items())
    reader, writer = await asyncio.open_connection(console.base_url.host, console.base_url.port)
    head = {"Host": console.base_url.netloc.decode(), "Origin": console.headers["origin"], "Cookie": cookies}
    head |= {"Content-Type": "multipart/form-data; boundary=B", "Content-Length": str(MAX_BYTES * 2)}
    lines = ["POST /console/imports/upload HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    assert b" 413 " in await reader.readline(), "refused before it is sent"
    writer.close()
    assert await rows(engine, "SELECT (SELECT count(*) FROM import_upload) + (SELECT count(*) FROM import_chunk)") == [
        (0,)
    ]


class Full(io.BytesIO):
    """A temporary file on a full disk."""

    name = "full"

    def write(self, _: object, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_is_named(
    console: httpx.AsyncClient, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = field("token", await token(console)), field("kind", "customers")
    there = (await sent(console, form(*good, file()))).headers["location"]
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda **_: Full())
    refused = [
        await sent(console, form(*good, file())),
        await console.get(there),
        await operator.post("/v1/imports?kind=customers", content=RAW, headers=CSV),
        await operator.post("/v1/imports/dry-run?kind=customers", content=RAW, headers=CSV),
    ]
    assert [response.status_code for response in refused] == [409] * 4
    assert all("TMPDIR" in response.text for response in refused)


async def test_forged_progress_is_answered_with_a_page(console: httpx.AsyncClient) -> None:
    least, most = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"
    good = {"token": await token(console), "action": "retry", "newest": most, "oldest": least, "position": most}
    good |= {"before": "2030-01-01T00:00:00Z", "total": "1"}
    assert (await console.post("/console/events/matching", data=good)).status_code == 200
    for name in ("total", "done", "rejected"):
        for value in ("-5", "9" * 300, "9" * 4000, "1_000", "NaN"):
            response = await console.post("/console/events/matching", data=good | {name: value})
            assert response.status_code == 422, (name, value[:10])
    repair = f"/console/reconciliations/{most}/repair"
    for name in ("total", "done", "left"):
        for value in ("-5", "9" * 300, "NaN"):
            response = await console.post(repair, data={"token": good["token"], name: value})
            assert response.status_code == 422, (name, value[:10])


async def test_hostile_choices_are_answered_with_a_page(console: httpx.AsyncClient) -> None:
    good = field("token", await token(console)), field("kind", "customers")
    where = (await sent(console, form(*good, file()))).headers["location"]
    for query in (
        "field.id=%3Dnone", "field.nothing=%3Did", "kind=coupons", "as_of=never", "as_of=9999-12-31T23:59-14:00",
        "time_zone=../../etc/passwd", "encoding=rot13", "currency=%00", "decimal=x", "sheet=1", "field.id=-",
        "status.x=good", "status.%00=paid", "status.=paid", f"status.{'x' * 2000}=paid", "status.%22%3E%3Cb%3E=paid",
    ):  # fmt: skip
        response = await console.get(f"{where}?{query}")
        assert response.status_code in (200, 422), (query, response.text[:300])
        assert "Internal" not in response.text
