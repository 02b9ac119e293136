"""The path under which a proxy serves the relay."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.api.root_path import enter_root_path
from platform_relay.core.root_path import checked_root_path, forwarded_prefix, without_root_path

GOOD = st.from_regex(
    r"(?:/(?!v1|console|docs|redoc|openapi|healthz|readyz|metrics)[a-z0-9_~-]{1,9}){1,3}", fullmatch=True
)
BAD = [
    "loyalty",
    "//evil.example",
    "/a//b",
    "/../x",
    "/a/..",
    "/.",
    "/a b",
    "/a?x",
    "/ä",
    "/a%2e",
    "https://a.example",
    '/a"',
    "/a\n/b",
]
OWN = ["/v1", "/console", "/console/x", "/docs", "/openapi.json", "/healthz"]


@pytest.mark.parametrize(
    ("value", "path"), [("", ""), ("/", ""), ("/loyalty", "/loyalty"), (" /a/b-c.d/ ", "/a/b-c.d")]
)
def test_root_paths(value: str, path: str) -> None:
    assert checked_root_path(value) == forwarded_prefix(value) == path


@pytest.mark.parametrize("value", [*BAD, *OWN, "/x" * 9, "/" + "x" * 101])
def test_what_is_no_root_path(value: str) -> None:
    assert forwarded_prefix(value) == ""
    with pytest.raises(ValueError, match=r"write it like /loyalty|choose another one"):
        checked_root_path(value)


@given(value=st.text())
def test_a_root_path_can_stand_in_a_page_a_header_and_a_cookie(value: str) -> None:
    path = forwarded_prefix(value)
    assert path == "" or (path.startswith("/") and not path.startswith("//") and not path.endswith("/"))
    assert not set(path) & set("\"'<>;, \\\r\n?#%:@")


@given(prefix=GOOD, path=st.from_regex(r"(?:/[a-z0-9]{1,5}){0,3}/?", fullmatch=True))
def test_the_proxy_may_remove_it_or_not(prefix: str, path: str) -> None:
    inside = without_root_path(prefix + path, prefix)
    assert inside == (path or "/")
    if not path.startswith(prefix):
        assert without_root_path(path, prefix) == path
    assert without_root_path(f"{prefix}x", prefix) == f"{prefix}x"


@pytest.mark.parametrize(
    ("root_path", "peer", "values", "path"),
    [
        ("", "10.0.0.1", ["/loyalty"], "/console"),
        ("", "10.0.0.1", ["/loyalty/"], "/console"),
        ("", "203.0.113.1", ["/loyalty"], "/loyalty/console"),  # a client may claim anything
        ("", "10.0.0.1", ["/loyalty", "/loyalty"], "/loyalty/console"),
        ("", "10.0.0.1", ["//loyalty"], "/loyalty/console"),
        ("/loyalty", "203.0.113.1", [], "/console"),
        ("/loyalty", "10.0.0.1", ["/other"], "/console"),
        ("", None, ["/loyalty"], "/loyalty/console"),
    ],
)
def test_only_trusted_proxies_name_a_prefix(root_path: str, peer: str | None, values: list[str], path: str) -> None:
    scope = {
        "path": "/loyalty/console",
        "headers": [(b"x-forwarded-prefix", value.encode()) for value in values],
        "client": (peer, 1) if peer else None,
    }
    enter_root_path(scope, root_path, (ip_network("10.0.0.0/8"),))
    assert scope["path"] == path
