"""What every answer tells a browser."""

import httpx
import pytest

from platform_relay import wiring
from tests.api.served import STORE_KEY

NEEDED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


async def test_every_answer_has_them(
    store: httpx.AsyncClient, parts: wiring.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (await store.get("/openapi.json")).json()
    paths = [path.replace("{", "").replace("}", "") for path in document["paths"]]
    paths += [
        "/docs",
        "/redoc",
        "/openapi.json",
        "/console",
        "/console/login",
        "/console/static/console.css",
        "/nowhere",
    ]
    paths += ["/docs/assets/swagger-ui.css", "/%00"]
    for path in paths:
        for method in ("GET", "PUT"):
            check(await store.request(method, path), path)

    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(parts.inbox, "accept", broken)
    fault = await store.post("/v1/events/customers", json={"id": "1"}, headers={"authorization": f"Bearer {STORE_KEY}"})
    assert fault.status_code == 500
    check(fault, "a fault")


def check(answer: httpx.Response, what: str) -> None:
    result = {name: answer.headers.get_list(name) for name in NEEDED}
    assert result == {name: [value] for name, value in NEEDED.items()}, what
    [policy] = answer.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy, what
    assert "frame-ancestors 'none'" in policy, what
    assert len(answer.headers.get_list("cache-control")) == 1, what
