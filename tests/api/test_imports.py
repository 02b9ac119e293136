"""Imports of files over HTTP."""

from typing import Any  # JSON

import httpx

from tests.helpers import eventually

GOOD = "id,email,updatedAt\n" + "".join(f"{n},a{n}@example.com,2026-01-01T00:00:00Z\n" for n in range(1, 2501))


async def test_a_file_is_imported_and_uploaded_again(operator: httpx.AsyncClient, store: httpx.AsyncClient) -> None:
    headers = {"content-type": "text/csv; charset=utf-8"}
    first = await operator.post("/v1/imports?kind=customers", content=GOOD, headers=headers)
    assert first.status_code == 202, first.text

    async def done() -> bool:
        run = (await operator.get(f"/v1/imports/{first.json()['id']}")).json()
        return bool(run["state"] == "done" and run["accepted"] == 2500)

    await eventually(done, 20)
    again = await operator.post("/v1/imports?kind=customers", content=GOOD, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (await store.post("/v1/imports?kind=customers", content=GOOD, headers=headers)).status_code == 403
    assert [run["id"] for run in (await store.get("/v1/imports")).json()["items"]] == [first.json()["id"]]
    unknown = await operator.post("/v1/imports?kind=customers", content=b"x", headers={"content-type": "text/html"})
    assert unknown.status_code == 422
    no_id = await operator.post("/v1/imports?kind=customers", content=b"a,b\n1,2\n", headers=headers)
    assert (no_id.status_code, no_id.json()["errors"][0]["field"]) == (422, "map")
    by_hand = await operator.post("/v1/imports?kind=customers&map=id=a", content=b"a,b\n1,2\n", headers=headers)
    assert by_hand.status_code == 202
    assert (await operator.get("/v1/imports/01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a11")).status_code == 404


async def imported(operator: httpx.AsyncClient, run: httpx.Response) -> dict[str, Any]:
    """The import when it is done."""
    assert run.status_code == 202, run.text
    view: dict[str, Any] = {}

    async def done() -> bool:
        view.update((await operator.get(f"/v1/imports/{run.json()['id']}")).json())
        return bool(view["state"] == "done")

    await eventually(done, 20)
    return view


async def test_an_undecided_file_is_imported_after_a_confirmation(operator: httpx.AsyncClient) -> None:
    raw = 'Order #,Status,Currency,Total,Customer,Ordered\n1901,completed,EUR,"1,234",Lena Lind,2026-11-01 10:00\n'
    headers = {"content-type": "text/csv"}
    path = "/v1/imports?kind=orders"
    undecided = await operator.post(path, content=raw, headers=headers)
    assert undecided.status_code == 422
    problem = undecided.json()
    assert problem["type"].endswith(":import-undecided")
    assert "id from Order #" in problem["detail"]
    assert [error["field"] for error in problem["errors"]] == ["map", "decimal"]
    assert "map=id=Order%20%23" in problem["errors"][0]["message"]
    assert (await operator.get("/v1/imports")).json()["items"] == []

    stated = {"kind": "orders", "map": "id=Order #", "decimal": "."}
    view = await imported(operator, await operator.post("/v1/imports", params=stated, content=raw, headers=headers))
    assert (view["accepted"], view["rejected"]) == (1, 0)
    assert [(column["column"], column["use"], column["field"], column["read"]) for column in view["columns"]] == [
        ("Order #", "field", "id", 1),
        ("Status", "field", "financialStatus", 1),
        ("Currency", "field", "currency", 1),
        ("Total", "field", "totalPrice", 1),
        ("Customer", "unused", None, 0),
        ("Ordered", "unused", None, 0),
    ]
    assert any("Column Customer is not used for customerId" in note for note in view["notes"])

    confirmed = await operator.post(f"{path}&confirm=true", content=raw, headers=headers)
    view = await imported(operator, confirmed)
    assert (view["accepted"], view["rejected"]) == (0, 1)
    assert view["problems"][0]["reason"].startswith("totalPrice: ")


async def test_an_unknown_status_is_asked_for_by_its_parameter(operator: httpx.AsyncClient) -> None:
    raw = "id,Status,Currency,Total\n1,Ist da,EUR,5.00\n2,paid,EUR,5.00\n"
    headers = {"content-type": "text/csv"}
    undecided = await operator.post("/v1/imports?kind=orders", content=raw, headers=headers)
    [error] = undecided.json()["errors"]
    assert (undecided.status_code, error["field"]) == (422, "status")
    assert "status=Ist%20da=paid" in error["message"]
    answer = "/v1/imports?kind=orders&status=Ist%20da=paid"
    view = await imported(operator, await operator.post(answer, content=raw, headers=headers))
    assert (view["accepted"], view["rejected"]) == (2, 0)


async def test_no_value_of_a_file_is_stored_with_its_import(operator: httpx.AsyncClient) -> None:
    raw = "id,email,birthday\n1,lena lind,1. Frimaire\n2,lena@mail.example,2000-04-03\n"
    headers = {"content-type": "text/csv"}
    response = await operator.post("/v1/imports?kind=customers", content=raw, headers=headers)
    view = await imported(operator, response)
    assert (view["accepted"], view["rejected"]) == (2, 0)
    counts = {
        column["field"]: (column["read"], column["unreadable"], column["unreadable_rows"]) for column in view["columns"]
    }
    assert counts == {"id": (2, 0, []), "email": (1, 1, [1]), "birthday": (1, 1, [1])}
    assert "lena" not in str(view).lower()
    assert "Frimaire" not in str(view)


async def test_a_choice_that_cannot_be_is_refused(operator: httpx.AsyncClient) -> None:
    headers = {"content-type": "text/csv"}
    raw = "id,status,total\n1,paid,5.00\n"
    missing = await operator.post("/v1/imports?kind=orders", content=raw, headers=headers)
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "currency")
    for wrong in (
        "currency=XYZ",
        "currency=euro",
        "decimal=x",
        "date_order=day",
        "time_zone=Mars/Base",
        "encoding=klingon",
        "status=Bezahlt",
        "status=Bezahlt=done",
        "status=%00=paid",
    ):
        refused = await operator.post(f"/v1/imports?kind=orders&{wrong}", content=raw, headers=headers)
        assert refused.status_code == 422, refused.text
