"""Which options of a database URL reach asyncpg, and which are ignored, translated or rejected by name."""

import re
import ssl
from pathlib import Path
from typing import Any  # of a private function of asyncpg
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from platform_relay.core.database_url import (
    CONNECT_SECONDS,
    IGNORED,
    INSTEAD,
    READ,
    TRANSLATED,
    address,
    connect_seconds,
    driver_dsn,
    driver_tls,
    hosts,
    parse_url,
    schema_in,
    session_options,
)
from platform_relay.settings import Settings

BASE = "postgresql://relay:secret@db.example:5433/shop"


def options(query: str, base: str = BASE) -> dict[str, str]:
    """What asyncpg reads."""
    return {
        name: values[-1] for name, values in parse_qs(urlsplit(driver_dsn(parse_url(f"{base}?{query}"))).query).items()
    }


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("sslmode=require&channel_binding=require&connect_timeout=10", {"sslmode": "require"}),
        ("schema=public", {}),
        ("application_name=other&fallback_application_name=x", {}),
        ("keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5&tcp_user_timeout=9", {}),
        ("gssencmode=disable&client_encoding=utf8&sslcompression=0&sslsni=1&load_balance_hosts=random", {}),
        ("sslmode=verify-full&sslrootcert=/ca.pem", {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("sslrootcert=system", {}),
        ("sslmode=verify-full&sslrootcert=system", {}),
        ("sslmode=no-verify&uselibpqcompat=true", {"sslmode": "require"}),
        ("ssl=true", {"sslmode": "require"}),
        ("ssl=true&sslmode=verify-full", {"sslmode": "verify-full"}),
        ("ssl=false", {"sslmode": "disable"}),
        ("sslmode=VERIFY_FULL", {"sslmode": "verify-full"}),
        ("sslaccept=accept_invalid_certs", {"sslmode": "require"}),
        ("sslmode=require&sslaccept=strict&sslrootcert=/ca.pem", {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("pgbouncer=true&statement_cache_size=0&prepareThreshold=0&binary_parameters=yes", {}),
        ("schema=shop&currentSchema=shop&search_path=shop", {}),
        ("options=endpoint%3Dep-cool-1", {"options": "endpoint=ep-cool-1"}),
        ("options=project%3Dep-cool-1+-csearch_path%3Dshop", {"options": "project=ep-cool-1"}),
        ("options=-csearch_path%3Dshop", {}),
        (
            "options=-c%20statement_timeout%3D100%20-c%20work_mem%3D8MB%20--geqo=off",
            {"options": "-c work_mem=8MB --geqo=off"},
        ),
        ("options=-c%20application_name%3Da%5C%20b%20-cTimeZone%3DUTC", {"options": "-cTimeZone=UTC"}),
    ],
)
def test_options_of_libpq(query: str, read: dict[str, str]) -> None:
    assert options(query) == read


@pytest.mark.parametrize(
    ("query", "name", "instead"),
    [
        ("connection_limit=5", "connection_limit", "DATABASE_POOL_SIZE"),
        ("pool_timeout=10", "pool_timeout", "5 s"),
        ("sslidentity=/x.p12", "sslidentity", "`sslcert`"),
        ("hostaddr=10.0.0.1", "hostaddr", "`host`"),
        ("require_auth=scram-sha-256", "require_auth", "remove it"),
        ("statement_timeout=100", "statement_timeout", "remove it"),
    ],
)
def test_other_options_are_named(query: str, name: str, instead: str) -> None:
    with pytest.raises(ValueError, match=f"has the option '{name}', which the relay does not support") as caught:
        parse_url(f"{BASE}?{query}")
    assert instead in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "schema"),
    [
        ("", None),
        ("schema=shop", "shop"),
        ("currentSchema=shop", "shop"),
        ("search_path=shop,public", "shop"),
        ("search_path=%22$user%22,shop", "shop"),
        ("options=-csearch_path%3Dshop", "shop"),
        ("options=-c%20search_path%3Dshop%5C,public%20-cjit%3Doff", "shop\\"),
        ("options=--search-path%3Dshop", "shop"),
        ("options=-c%20statement_timeout%3D1", None),
        ("schema=a&options=-csearch_path%3Db", "a"),
    ],
)
def test_the_schema_of_a_url(query: str, schema: str | None) -> None:
    assert schema_in(f"{BASE}?{query}") == schema


def test_database_schema_wins_against_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_SCHEMA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", f"{BASE}?schema=shop")
    assert Settings(_env_file=None).database_schema == "shop"
    monkeypatch.setenv("DATABASE_SCHEMA", "other")
    assert Settings(_env_file=None).database_schema == "other"
    monkeypatch.delenv("DATABASE_SCHEMA")
    assert (
        Settings(_env_file=None, database_url=SecretStr(f"{BASE}?options=-csearch_path%3Dtill")).database_schema
        == "till"
    )
    assert Settings(_env_file=None, database_url=SecretStr(BASE)).database_schema == "public"
    assert Settings(_env_file=None, database_url=SecretStr("mysql://x")).database_schema == "public"
    with pytest.raises(ValueError, match="DATABASE_URL names the schema 'Shop' cannot be used as a schema"):
        Settings(_env_file=None, database_url=SecretStr(f"{BASE}?schema=Shop"))


@pytest.mark.parametrize(
    "url", ["postgres://u@h/d", "postgresql+psycopg2://u@h/d", "postgresql+asyncpg://u@h/d", " 'postgresql://u@h/d'\n"]
)
def test_spellings_of_the_scheme(url: str) -> None:
    assert driver_dsn(parse_url(url)) == "postgresql://u@h/d"


def test_the_url_of_a_field_report() -> None:
    """A host handed it out: t8y2/dbx #1210, aegra/aegra #388, MagicStack/asyncpg #737."""
    url = (
        "postgresql://user@/db?host=/socket/folder&port=5432&sslmode=require&channel_binding=require&connect_timeout=10"
    )
    assert driver_dsn(parse_url(url)).startswith("postgresql://user@/db?")
    assert options("sslmode=require&channel_binding=require&connect_timeout=10&schema=public") == {"sslmode": "require"}
    assert (connect_seconds(parse_url(url)), schema_in(f"{url}&schema=public")) == (10.0, "public")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("sslmode=strict", "an sslmode that is not one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslaccept=maybe", "an sslaccept that is not strict or accept_invalid_certs"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system with a weak sslmode; write sslmode=verify-full"),
    ],
)
def test_values_that_are_not_known(query: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_url(f"{BASE}?{query}")


def test_the_certificate_authorities_of_the_system() -> None:
    for query in ("sslrootcert=system", "sslaccept=strict"):
        context = driver_tls(parse_url(f"{BASE}?{query}"))
        assert context is not None
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert driver_tls(parse_url(f"{BASE}?sslmode=require")) is None


@given(user=st.text(min_size=1, max_size=8), password=st.text(min_size=1, max_size=12), several=st.booleans())
def test_any_password_that_is_percent_encoded(user: str, password: str, several: bool) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in user + password):
        return
    place = "a:5433,b:5434" if several else "db.example:5433"
    url = f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@{place}/shop?sslmode=disable"
    addresses, parameters, _ = parse_for_driver(driver_dsn(parse_url(url)))
    assert (parameters.user, parameters.password, parameters.database) == (user, password, "shop")
    assert addresses == ([("a", 5433), ("b", 5434)] if several else [("db.example", 5433)])


@given(words=st.lists(st.sampled_from(["-c", "-cjit=off", "--geqo=on", "search_path=x", "project=y", "a\\ b"])))
def test_the_parts_of_the_options_are_the_options(words: list[str]) -> None:
    assert " ".join(part for _, part in session_options(" ".join(words))) == " ".join(words)


def parse_for_driver(dsn: str) -> Any:
    """What asyncpg connects with: addresses, parameters, settings."""
    read = getattr(connect_utils, "_parse_connect_arguments")  # noqa: B009  # there is no public function
    return read(
        dsn=dsn,
        **dict.fromkeys(
            (
                "host",
                "port",
                "user",
                "password",
                "passfile",
                "database",
                "ssl",
                "service",
                "servicefile",
                "direct_tls",
                "server_settings",
                "target_session_attrs",
                "krbsrvname",
                "gsslib",
                "command_timeout",
            )
        ),
        statement_cache_size=0,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
    )


@pytest.mark.parametrize("name", sorted(READ - {"service", "port", "sslcert"}))
def test_asyncpg_reads_the_options_that_are_kept(name: str) -> None:
    """None of them becomes a setting of the session, except `options`."""
    values = {
        "sslmode": "disable",
        "sslnegotiation": "postgres",
        "target_session_attrs": "any",
        "gsslib": "gssapi",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "TLSv1.3",
    }
    dsn = driver_dsn(parse_url(f"{BASE}?{name}={values.get(name, 'x')}"))
    _, parameters, _ = parse_for_driver(dsn)
    assert set(parameters.server_settings or {}) <= {"options"}


def test_no_option_is_both_kept_and_ignored() -> None:
    assert not READ & IGNORED
    assert not (READ | IGNORED | TRANSLATED) & set(INSTEAD)


def test_the_operations_page_has_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = page.partition("**The database URL**")[2].partition("**After a failover**")[0].splitlines()
    first = {name for row in rows if row.startswith("| `") for name in re.findall("`([A-Za-z_]+)`", row.split("|")[1])}
    assert first == READ | IGNORED | TRANSLATED | set(INSTEAD)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("", CONNECT_SECONDS),
        ("connect_timeout=10", 10.0),
        ("connect_timeout=0", CONNECT_SECONDS),
        ("connect_timeout=9999", 60.0),
    ],
)
def test_connect_timeout_is_translated(query: str, seconds: float) -> None:
    assert connect_seconds(parse_url(f"{BASE}?{query}")) == seconds


def test_connect_timeout_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="connect_timeout"):
        parse_url(f"{BASE}?connect_timeout=soon")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("a:1,b:xx/relay", "a port that is not a number from 1 to 65535"),
        ("a:99999/relay", "a port that is not a number from 1 to 65535"),
        ("a:0/relay", "a port that is not a number from 1 to 65535"),
        ("a:1,b:70000/relay", "a port that is not a number from 1 to 65535"),
        ("/relay?host=a,b&port=1,x", "a port that is not a number from 1 to 65535"),
        ("fe80::1,b/relay", "an IPv6 address as"),
        ("a:1,/relay", "an empty name among several hosts"),
        (",b/relay", "an empty name among several hosts"),
    ],
)
def test_a_host_or_port_that_cannot_be_used(place: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        parse_url(f"postgresql://user:password@{place}")
    assert "password@" not in str(caught.value)


def test_of_several_hosts_the_one_that_accepts_writes_is_used() -> None:
    base = "postgresql://relay@/shop"
    assert options("host=a,b&port=1,2", base)["target_session_attrs"] == "read-write"
    assert options("host=a,b&target_session_attrs=any", base)["target_session_attrs"] == "any"
    assert "target_session_attrs" not in options("host=/socket&port=5432", base)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (BASE, [("db.example", 5433)]),
        ("postgresql://relay@/shop?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql://relay@/shop?host=a:7,b", [("a", 7), ("b", 5432)]),
        ("postgresql://relay@/shop?host=/socket/folder&port=6000", [("/socket/folder", 6000)]),
        ("postgresql:///shop", [("", 5432)]),
    ],
)
def test_hosts(url: str, expected: list[tuple[str, int]]) -> None:
    assert hosts(parse_url(url)) == expected
    assert "relay" not in address(parse_url(url))
