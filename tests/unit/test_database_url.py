"""Which options of a database URL reach asyncpg, and which are ignored, translated or rejected by name."""

from urllib.parse import parse_qs, urlsplit

import pytest
from asyncpg import connect_utils

from platform_relay.core.database import create_engine
from platform_relay.core.database_url import (
    CONNECT_SECONDS,
    IGNORED,
    READ,
    address,
    connect_seconds,
    driver_dsn,
    hosts,
    parse_url,
)

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
        ("options=endpoint%3Dep-cool-1", {"options": "endpoint=ep-cool-1"}),
    ],
)
def test_options_of_libpq(query: str, read: dict[str, str]) -> None:
    assert options(query) == read


@pytest.mark.parametrize(
    ("query", "name", "instead"),
    [
        ("pgbouncer=true", "pgbouncer", "detects PgBouncer"),
        ("connection_limit=5", "connection_limit", "DATABASE_POOL_SIZE"),
        ("search_path=shop", "search_path", "DATABASE_SCHEMA"),
        ("ssl=true", "ssl", "sslmode=require"),
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


def test_the_schema_of_a_url_is_the_setting_s_or_public() -> None:
    url = f"{BASE}?schema=shop"
    create_engine(url, application_name="tests", schema="shop")
    create_engine(f"{BASE}?schema=public", application_name="tests", schema="shop")
    with pytest.raises(ValueError, match="DATABASE_SCHEMA"):
        create_engine(url, application_name="tests")


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
    read = getattr(connect_utils, "_parse_connect_arguments")  # noqa: B009  # there is no public function
    _, parameters, _ = read(
        dsn=driver_dsn(parse_url(f"{BASE}?{name}={values.get(name, 'x')}")),
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
    assert set(parameters.server_settings or {}) <= {"options"}


def test_no_option_is_both_kept_and_ignored() -> None:
    assert not READ & IGNORED


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
