"""Files over HTTP and on the command line: each error is a sentence about the file (422, exit code), never a failure of ours."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from openpyxl import Workbook
from typer.testing import CliRunner

from platform_relay.cli.program import cli
from tests.helpers import eventually

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def workbook() -> bytes:
    book, file = Workbook(), io.BytesIO()
    sheet = book.active
    assert sheet is not None
    for row in (["id", "email"], [7001, "ada@x.example"], ["00042", "bob@x.example"]):
        sheet.append(row)
    book.save(file)
    return file.getvalue()


async def imported(operator: httpx.AsyncClient, raw: bytes, media: str, query: str = "") -> dict[str, Any]:
    response = await operator.post(f"/v1/imports?kind=customers{query}", content=raw, headers={"content-type": media})
    assert response.status_code == 202, response.text
    run: dict[str, Any] = {}

    async def ended() -> bool:
        run.update((await operator.get(f"/v1/imports/{response.json()['id']}")).json())
        return bool(run["state"] != "running")

    await eventually(ended, within=30)
    return run


async def test_files_of_spreadsheets_are_imported(operator: httpx.AsyncClient) -> None:
    run = await imported(operator, workbook(), XLSX)
    assert (run["state"], run["accepted"], run["position"]) == ("done", 2, run["size"])
    mac = b"id,email,firstName\r901,maca@x.example,Maca\r902,macb@x.example,Macb\r"
    run = await imported(operator, mac, "text/csv")
    assert (run["state"], run["accepted"], run["rejected"]) == ("done", 2, 0)
    czech = "id;email;firstName\r\n903;c@x.example;Dvořák Šárka\r\n".encode("cp1250")
    run = await imported(operator, czech, "text/csv", "&encoding=Windows-1250")
    assert (run["state"], run["accepted"]) == ("done", 1)


async def test_an_open_quote_is_one_rejected_row(operator: httpx.AsyncClient) -> None:
    raw = b'id,email,name\n911,q1@x.example,Ann\n912,q2@x.example,"Bob\n913,q3@x.example,Cid\n914,q4@x.example,Dee\n'
    run = await imported(operator, raw, "text/csv")
    assert (run["rows"], run["accepted"], run["rejected"]) == (2, 1, 1)
    [problem] = run["problems"]
    assert problem["row"] == 2
    assert "lines 3 to 5" in problem["reason"]


BROKEN = {
    "empty": (b"", "text/csv", "", "is empty"),
    "a workbook as CSV": (workbook(), "text/csv", "", ".xlsx"),
    "CSV as a workbook": (b"id\n1\n", XLSX, "", "not an .xlsx workbook"),
    "an open quote in the header": (b'id,"email\n1,a@x.example\n', "text/csv", "", "never closed"),
    "unknown letters": ("id,email,name\n1,a@x.example,Мария\n".encode("cp1251"), "text/csv", "", "encoding"),
    "an unknown encoding": (b"id\n1\n", "text/csv", "&encoding=rot13", "not supported"),
    "an unknown sheet": (workbook(), XLSX, "&sheet=Nothing", "its sheets are Sheet"),
    "two columns of one name": (b"id,id,email\n1,2,a@x.example\n", "text/csv", "&map=id%3Did", "positions 1 and 2"),
    "a form": (
        b'--a\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\nid,email\r\n1,a@x.example\r\n--a--\r\n',
        "text/csv",
        "",
        "--data-binary",
    ),
    "UTF-32": ("id\n1\n".encode("utf-32"), "text/csv", "", "UTF-32"),
    "half of a workbook": (workbook()[:-200], XLSX, "", "workbook"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_read_is_a_problem_of_the_file(operator: httpx.AsyncClient, name: str) -> None:
    raw, media, query, words = BROKEN[name]
    response = await operator.post(f"/v1/imports?kind=customers{query}", content=raw, headers={"content-type": media})
    assert response.status_code == 422, response.text
    assert words in response.text


@pytest.mark.parametrize("name", BROKEN)
def test_the_command_ends_with_a_sentence(name: str, tmp_path: Path) -> None:
    raw, media, query, words = BROKEN[name]
    file = tmp_path / ("file.xlsx" if media == XLSX else "file.csv")
    file.write_bytes(raw)
    options = {
        "&encoding=rot13": ["--encoding", "rot13"],
        "&sheet=Nothing": ["--sheet", "Nothing"],
        "&map=id%3Did": ["--map", "id=id"],
    }
    done = CliRunner().invoke(cli, ["import", "customers", str(file), "--dry-run", *options.get(query, [])])
    assert done.exit_code != 0
    assert isinstance(done.exception, ValueError)
    assert words in str(done.exception)
