"""A plain URL is read without httpx, which a worker does not import. It is read as httpx reads it."""

from itertools import product

import httpx
import pytest

from platform_relay.core.http_messages import parse_url

HOSTS = ("a", "api.example.com", "a-b.c", "a--b.example", "1a.2", "localhost", "127.0.0.1", "xn--bcher-kva.example")
PORTS = ("", ":80", ":443", ":8080", ":65535", ":080")
PATHS = ("", "/", "/v1/customers/x", "/v1/a:b~c.d", "/a%2Fb", "/a//b", "/a/./b", "/a?b=c", "/a b")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_url_is_read_as_httpx_reads_it(scheme: str) -> None:
    for host, port, path in product(HOSTS, PORTS, PATHS):
        text = f"{scheme}://{host}{port}{path}"
        url, expected = parse_url(text), httpx.URL(text)
        assert url.host == expected.raw_host.decode(), text
        assert url.origin.port == (expected.port or {"http": 80, "https": 443}[scheme]), text
        assert url.origin.authority == expected.netloc.decode(), text
        assert url.target == expected.raw_path.decode(), text


@pytest.mark.parametrize("text", ["http://256.1.1.1/", "http://1.2.3/", "http://a:65536/", "http:///", "ftp://a/", "a"])
def test_what_is_no_http_url_is_refused_or_read_by_httpx(text: str) -> None:
    try:
        expected = httpx.URL(text)
    except httpx.InvalidURL:
        expected = None
    if (
        expected is None
        or expected.scheme not in ("http", "https")
        or not expected.host
        or (expected.port or 0) > 65535
    ):
        with pytest.raises(ValueError, match=r"."):
            parse_url(text)
    else:
        assert parse_url(text).host == expected.host
