"""The relay under https://host/loyalty/, behind a real nginx that removes the prefix or does not."""

import asyncio
import re
from collections.abc import AsyncIterator
from html import unescape
from ipaddress import ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from platform_relay.settings import Settings
from tests.api.served import OPERATOR_KEY, STORE_KEY, WEBHOOK_SECRET, serving
from tests.helpers import free_port
from tests.nginx import needs_nginx, running

pytestmark = needs_nginx
EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "nginx" / "under-a-path.conf"
HEADERS: Final = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;"
LINK: Final = re.compile(r'(?:href|src|action|hx-post|sse-connect|spec-url)="([^"#]+)"|url: "([^"]+)"')
REDEEMED: Final = {
    "id": "event-1",
    "customer": {"id": "c", "externalId": "42", "email": "ada@example.com"},
    "points": -500,
    "ruleId": "rule-7",
    "couponCode": "0123456789ab",
    "rewardType": "fixedamountdiscount",
}


def example(port: int, upstream: int, folder: Path) -> str:
    text = EXAMPLE.read_text()
    assert "http://127.0.0.1:8080;" in text
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}").replace("/var/log/nginx/", f"{folder}/")
    text = text.replace("Host $host;", "Host $http_host;")  # the port of the test is not the default one
    return f"access_log {folder}/access.log; server {{ listen 127.0.0.1:{port};\n{text}\n}}"


def removed(port: int, upstream: int, _: Path) -> str:
    location = f"location /loyalty/ {{ {HEADERS} proxy_pass http://127.0.0.1:{upstream}/; }}"
    return f"access_log off; server {{ listen 127.0.0.1:{port}; {location} }}"


def named(port: int, upstream: int, folder: Path) -> str:
    """The prefix is removed, and only the header names it."""
    return removed(port, upstream, folder).replace(HEADERS, f"{HEADERS} proxy_set_header X-Forwarded-Prefix /loyalty;")


@pytest.fixture(params=[example, removed, named])
async def proxied(
    request: pytest.FixtureRequest, settings: Settings, database_url: str, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    update: dict[str, object] = {"trusted_proxies": (ip_network("127.0.0.0/8"),)}
    if request.param is not named:
        update["root_path"] = "/loyalty"
    async with serving(settings.model_copy(update=update), database_url) as (_, url):
        port = free_port()
        with running(tmp_path, port, request.param(port, urlsplit(url).port, tmp_path)) as proxy:
            async with httpx.AsyncClient(base_url=f"{proxy.url}/loyalty/", timeout=60, trust_env=False) as client:
                yield client


async def test_the_api_links_to_itself(proxied: httpx.AsyncClient) -> None:
    store = {"authorization": f"Bearer {STORE_KEY}"}
    receipt = (await proxied.post("v1/events/customers", json={"id": "42"}, headers=store)).json()
    assert receipt["links"]["self"] == f"/loyalty/v1/events/{receipt['id']}"
    read = await proxied.get(urljoin(str(proxied.base_url), receipt["links"]["self"]), headers=store)
    assert read.json()["id"] == receipt["id"]
    line = b'{"type":"customers","event":{"id":"43"}}'
    batch = await proxied.post("v1/events/batch", content=line, headers=store)
    assert batch.json()["links"]["self"].startswith("/loyalty/v1/events/")
    lost = await proxied.post("v1/events/customers/", json={"id": "42"}, headers=store)
    assert lost.status_code == 404
    assert "The right path is `/loyalty/v1/events/customers`." in lost.json()["detail"]
    document = (await proxied.get("openapi.json")).json()
    assert document["servers"][0]["url"] == "/loyalty/"
    for page in ("docs", "redoc"):
        html = (await proxied.get(page)).text
        links = addresses(html)
        assert links
        for link in links:
            assert link.startswith("/loyalty/")
            assert (await proxied.get(urljoin(str(proxied.base_url), link))).status_code == 200, link


async def test_the_console_stays_below_the_path(proxied: httpx.AsyncClient) -> None:
    base = str(proxied.base_url)
    store = {"authorization": f"Bearer {STORE_KEY}"}
    (await proxied.post("v1/events/customers", json={"id": "42"}, headers=store)).raise_for_status()
    webhook = f"v1/webhooks/platform/{WEBHOOK_SECRET}"
    (await proxied.post(webhook, json=REDEEMED, headers={"x-webhook-topic": "points/redeemed"})).raise_for_status()
    asked = await proxied.get("console/search?by=coupon&q=x")
    assert asked.status_code == 303
    assert asked.headers["location"].startswith("/loyalty/console/login?next=%2Fconsole%2Fsearch")
    slash = await proxied.get("console/?x=1")
    assert (slash.status_code, slash.headers["location"]) == (308, "/loyalty/console?x=1")
    origin = {"origin": base.removesuffix("/loyalty/")}
    form = {"key": OPERATOR_KEY, "next": "/console/keys"}
    opened = await proxied.post("console/login", data=form, headers=origin)
    assert (opened.status_code, opened.headers["location"]) == (303, "/loyalty/console/keys")
    assert "Path=/loyalty/console;" in opened.headers["set-cookie"]
    seen = await crawl(proxied)
    assert {"/loyalty/console", "/loyalty/console/static/console.js", "/loyalty/console/rule"} <= seen
    assert any(path.startswith("/loyalty/console/messages/") for path in seen)
    assert any(path.startswith("/loyalty/console/jobs/") for path in seen)
    assert len(seen) > 15, seen
    page = (await proxied.get("console/coupons")).text
    token = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert token is not None
    async with proxied.stream("GET", "console/live") as stream:
        assert stream.status_code == 200
        async with asyncio.timeout(30):
            async for line in stream.aiter_lines():
                if line.startswith("event:"):
                    break
    paused = await proxied.post(
        "console/destinations/store/pause", data={"token": token[1], "why": "x"}, headers=origin
    )
    assert (paused.status_code, paused.headers["location"]) == (303, "/loyalty/console")
    assert "Path=/loyalty/console;" in paused.headers["set-cookie"]
    assert "are paused" in (await proxied.get("console")).text
    left = await proxied.post("console/logout", data={"token": token[1]}, headers=origin)
    assert (left.status_code, left.headers["location"]) == (303, "/loyalty/console/login")


async def crawl(client: httpx.AsyncClient) -> set[str]:
    """Follow every link of the console. Returns the paths that were read."""
    waiting, seen = ["/loyalty/console", "/loyalty/console/search?by=customer&q=42"], set[str]()
    while waiting:
        link = waiting.pop()
        path = urlsplit(link).path
        if path in seen or path.endswith("/live"):
            continue
        seen.add(path)
        answer = await client.get(urljoin(str(client.base_url), link))
        assert answer.status_code in (200, 404, 405), (link, answer.status_code)
        assert answer.status_code == 200 or "static" not in path
        if "html" in answer.headers["content-type"]:
            links = addresses(answer.text)
            assert all(address.startswith("/loyalty/") for address in links), links
            waiting += links
    return seen


def addresses(html: str) -> list[str]:
    return [
        unescape(first or second) for first, second in LINK.findall(html) if not (first or second).startswith("http")
    ]


def test_no_template_has_an_address_without_the_root() -> None:
    templates = Path(__file__).parents[2] / "app" / "console" / "templates"
    bare = re.compile(r'(?:href|src|action|hx-\w+|sse-connect)="(?!\{\{ root \}\}|#)')
    found = [
        (path.name, line)
        for path in templates.glob("*.html")
        for line in path.read_text().splitlines()
        if (match := bare.search(line)) and not re.match(r'hx-(?:target|swap|trigger|ext)="', match[0])
    ]
    assert not found
