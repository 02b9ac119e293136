"""Coupon codes are money: logs, chat messages and the signed requests of a library show none of them."""

import json
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oauthlib.oauth1 import Client
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert
from platform_relay.alerts.chat import message
from platform_relay.core.logs import configure_logging
from platform_relay.core.masked_codes import codes_in, masked, without_codes
from platform_relay.core.reasons import ABOUT_COUPONS, ALERTS, Reason, ReasonCode, because

CODE = "cnry-5f3a9c1e77"
OTHER = "other-cnry-88"
CAUSE = because(ReasonCode.SIMILAR_CODE, code=CODE, other=OTHER, redemption="1")
FACTS: dict[str, JsonValue] = {
    "code": CODE, "destination": "the store", "problem": f"Coupon {CODE} exists", "cause": CAUSE.as_fact(), "state": "held",
    "differences": [{"field": "value", "actual": "1", "expected": "2"}], "count": 2, "points": 5, "setting": "X",
}  # fmt: skip


@pytest.fixture
def log_at_debug(capfd: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    configure_logging(level="DEBUG", log_format="json", secrets=[])
    return capfd


@pytest.mark.parametrize("code", sorted(ALERTS))
async def test_the_log_of_an_alert_has_no_code(
    code: ReasonCode, engine: AsyncEngine, log_at_debug: pytest.CaptureFixture[str]
) -> None:
    reason, subject = Reason(code, FACTS), CODE if code in ABOUT_COUPONS else "x"
    async with engine.begin() as connection:
        assert await raise_alert(connection, reason, subject)
    written = log_at_debug.readouterr().err
    line = json.loads(next(line for line in written.splitlines() if '"alert"' in line))
    assert line["code"] == code
    assert CODE not in written
    assert OTHER not in written
    assert line["subject"] == (masked(CODE) if code in ABOUT_COUPONS else "x")
    configure_logging(level="INFO", log_format="json", secrets=[])


@pytest.mark.parametrize("code", sorted(ALERTS))
def test_a_chat_message_has_no_code(code: ReasonCode) -> None:
    assert CODE not in json.dumps(message(code, [Reason(code, FACTS)]))


def test_libraries_write_no_requests_at_debug(log_at_debug: pytest.CaptureFixture[str]) -> None:
    signed = Client("ck_key", client_secret="cs_secret", signature_type="QUERY")
    signed.sign(f"http://shop.example/wp-json/wc/v3/coupons?code={CODE}")
    for name in ("oauthlib", "aiohttp.client", "asyncio", "sqlalchemy.engine", "httpx"):
        logging.getLogger(name).debug("GET %s", CODE)
    written = log_at_debug.readouterr().err
    configure_logging(level="INFO", log_format="json", secrets=[])
    assert CODE not in written
    assert "oauth_signature" not in written
    assert "ck_key" not in written


@given(
    st.lists(st.text(st.sampled_from("abC1-_é"), min_size=1, max_size=12), min_size=1, max_size=5), st.text(max_size=20)
)
@example(["abcdef", "abcdefgh"], "")
def test_no_code_is_left_in_a_text(codes: list[str], around: str) -> None:
    text = around.join(["", *codes, ""])
    shown = without_codes(text, codes)
    assert not [code for code in codes if len(code) > 4 and code in shown and code not in around]


def test_the_codes_of_a_reason_and_of_its_causes() -> None:
    assert set(codes_in(FACTS)) == {CODE, OTHER}
    assert set(codes_in({"cause": CAUSE.as_fact()})) == {CODE, OTHER}  # and not the reason code
    assert (masked("abcdef"), masked("abcd"), masked("")) == ("ab***", "***", "***")
