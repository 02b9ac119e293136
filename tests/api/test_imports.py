"""Imports of files over HTTP."""

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
