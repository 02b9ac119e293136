"""What is sealed opens with its key, for its message, unchanged; and with nothing else."""

import base64
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from platform_relay.core.encryption import NO_KEYS, OVERHEAD, SEALED_TEXT, KeyRing, UnreadableBodyError, first_email
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.settings import Settings

KEYS = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True), st.binary(min_size=32, max_size=32), min_size=1, max_size=4
)
BODIES = st.binary(max_size=2000)


def written(keys: dict[str, bytes]) -> str:
    return ",".join(f"{name}:{base64.b64encode(secret).decode()}" for name, secret in keys.items())


@given(keys=KEYS, message_id=st.uuids(), body=BODIES)
def test_what_is_sealed_opens(keys: dict[str, bytes], message_id: UUID, body: bytes) -> None:
    ring = KeyRing.parse(written(keys))
    sealed = ring.seal(message_id, body)
    assert sealed is not None
    assert len(sealed) == len(body) + OVERHEAD
    assert ring.seal(message_id, body) != sealed, "the same nonce twice"
    assert len(body) < 8 or body not in sealed
    assert ring.open(message_id, ring.first, sealed) == body


@given(keys=KEYS, more=KEYS, message_id=st.uuids(), body=BODIES)
def test_a_key_that_is_not_the_first_any_more_still_opens(
    keys: dict[str, bytes], more: dict[str, bytes], message_id: UUID, body: bytes
) -> None:
    before = KeyRing(keys)
    after = KeyRing({**{name: key for name, key in more.items() if name not in keys}, **keys})
    assert after.open(message_id, before.first, before.seal(message_id, body)) == body


@given(keys=KEYS, job_id=st.uuids(), other=st.uuids(), words=st.text(st.characters(codec="utf-8"), max_size=500))
def test_words_are_sealed_as_words(keys: dict[str, bytes], job_id: UUID, other: UUID, words: str) -> None:
    assume(job_id != other)
    ring = KeyRing(keys)
    sealed = ring.seal_text(job_id, words)
    assert sealed is not None
    assert sealed.startswith(f"{SEALED_TEXT}{ring.first}:")
    assert ring.open_text(job_id, sealed) == ring.shown_text(job_id, sealed) == words
    with pytest.raises(UnreadableBodyError):
        ring.open_text(other, sealed)
    assert "not in BODY_KEYS" in str(NO_KEYS.shown_text(job_id, sealed))


@pytest.mark.parametrize("words", ["", "no room", "sealed:1:", "sealed:1:name", "sealed:1:name:no base64!"])
def test_plain_words_stay_as_they_are(words: str) -> None:
    for ring in (NO_KEYS, KeyRing({"name": b"k" * 32})):
        assert ring.shown_text(UUID(int=1), words) == words
    assert NO_KEYS.seal_text(UUID(int=1), words) == words
    assert KeyRing({"name": b"k" * 32}).seal_text(UUID(int=1), None) is None


@given(keys=KEYS, message_id=st.uuids(), other=st.uuids(), body=BODIES, data=st.data())
def test_nothing_else_opens_it(
    keys: dict[str, bytes], message_id: UUID, other: UUID, body: bytes, data: st.DataObject
) -> None:
    assume(message_id != other)
    ring = KeyRing(keys)
    sealed = ring.seal(message_id, body)
    assert sealed is not None
    wrong = because(ReasonCode.BODY_KEY_WRONG, key=ring.first)
    with pytest.raises(UnreadableBodyError) as refused:
        ring.open(other, ring.first, sealed)
    assert refused.value.reason == wrong
    place = data.draw(st.integers(0, len(sealed) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = sealed[:place] + bytes([sealed[place] ^ bit]) + sealed[place + 1 :]
    with pytest.raises(UnreadableBodyError) as refused:
        ring.open(message_id, ring.first, changed)
    assert refused.value.reason == wrong
    for short in (b"", sealed[:5], sealed[: OVERHEAD - 1]):
        with pytest.raises(UnreadableBodyError):
            ring.open(message_id, ring.first, short)
    with pytest.raises(UnreadableBodyError) as refused:
        ring.open(message_id, "gone-key!", sealed)
    assert refused.value.reason == because(ReasonCode.BODY_KEY_MISSING, key="gone-key!")
    same_key = KeyRing({"another": next(iter(keys.values()))})
    if ring.first != "another":
        with pytest.raises(UnreadableBodyError):
            same_key.open(message_id, "another", sealed)


@given(message_id=st.uuids(), body=st.none() | BODIES)
def test_without_keys_bodies_stay_as_they_are(message_id: UUID, body: bytes | None) -> None:
    assert NO_KEYS.seal(message_id, body) == body
    assert NO_KEYS.open(message_id, None, body) == body
    assert NO_KEYS.mark("ada@example.com") is None
    assert NO_KEYS.marks("ada@example.com") == []


@given(keys=KEYS, address=st.emails())
def test_an_address_is_found_in_any_case_and_under_any_key(keys: dict[str, bytes], address: str) -> None:
    ring = KeyRing(keys)
    assert ring.mark(address) in ring.marks(address.upper().lower())
    assert len(set(ring.marks(address))) == len(set(keys.values()))
    assert ring.mark(f"x{address}") not in ring.marks(address)


@pytest.mark.parametrize(
    ("body", "address"),
    [
        (b'{"id":"1","email":"Ada@Example.com"}', "Ada@Example.com"),
        (b'{"email" : "ada@example.com", "x": {"email": "bob@example.com"}}', "ada@example.com"),
        ('{"email":"é@example.com"}'.encode(), "é@example.com"),
        (b'{"id":"1"}', None),
        (b'{"email', None),
        (b'{"email"', None),
        (None, None),
    ],
)
def test_the_address_of_a_customer(body: bytes | None, address: str | None) -> None:
    assert first_email("customers", body) == address
    assert first_email("orders", body) is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "no name of its own"),
        ("abc", "not base64 of 32 bytes"),
        ("a:c2hvcnQ=", "not base64 of 32 bytes"),
        ("a:no base64 at all!", "not base64 of 32 bytes"),
        (f"a:{base64.b64encode(b'k' * 32).decode()},a:{base64.b64encode(b'l' * 32).decode()}", "entry 2"),
        (f"b c:{base64.b64encode(b'k' * 32).decode()}", "entry 1"),
    ],
)
def test_what_is_wrong_with_keys_is_said_without_them(words: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        KeyRing.parse(words)
    assert words == "" or words.partition(":")[2] not in str(refused.value) or ":" not in words


def test_keys_are_a_setting_that_shows_none_of_them() -> None:
    coded = base64.b64encode(b"k" * 32).decode()
    settings = Settings(_env_file=None, body_keys=SecretStr(f"new:{coded}"))
    assert settings.ring.names == ("new",)
    assert coded not in repr(settings) + repr(settings.ring) + str(settings.model_dump())
    with pytest.raises(ValueError, match="not base64"):
        Settings(_env_file=None, body_keys=SecretStr("new:short"))
    assert Settings(_env_file=None).ring.first is None
