"""The documentation pages load nothing from other servers."""

from html.parser import HTMLParser

import httpx
from typing_extensions import override


class References(HTMLParser):
    """The references of a page that the browser loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href", "spec-url") and value]


async def test_pages_fetch_only_from_this_server(anonymous: httpx.AsyncClient) -> None:
    for page, bundle in (("/docs", "swagger-ui-bundle.js"), ("/redoc", "redoc.standalone.js")):
        answer = await anonymous.get(page)
        assert answer.headers["content-type"].startswith("text/html")
        references = References()
        references.feed(answer.text)
        assert any(bundle in reference for reference in references.found)
        assert "//" not in answer.text.replace('href^="https://redocly.com"', "")
        for reference in references.found:
            assert reference.startswith("/"), page
            fetched = await anonymous.get(reference)
            assert fetched.status_code == 200, reference
            assert fetched.content, reference
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy


async def test_the_openapi_document_needs_no_key(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/openapi.json")
    assert answer.status_code == 200
    assert "/v1/events/orders" in answer.json()["paths"]


async def test_asset_paths_cannot_leave_their_folder(anonymous: httpx.AsyncClient) -> None:
    for path in ("/docs/assets/../core.py", "/docs/assets/%2e%2e/core.py", "/docs/assets/", "/docs/assets/none.js"):
        answer = await anonymous.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json", path
