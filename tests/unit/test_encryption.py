"""An encrypted body decrypts with its key, for its message, unchanged, and in no other way."""

import base64
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from platform_relay.core.encryption import ENCRYPTED_TEXT, NO_KEYS, OVERHEAD, KeyRing, UnreadableBodyError, first_email
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.settings import Settings

KEYS = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True), st.binary(min_size=32, max_size=32), min_size=1, max_size=4
)
BODIES = st.binary(max_size=2000)


def written(keys: dict[str, bytes]) -> str:
    return ",".join(f"{name}:{base64.b64encode(secret).decode()}" for name, secret in keys.items())


@given(keys=KEYS, message_id=st.uuids(), body=BODIES)
def test_encrypted_bodies_decrypt(keys: dict[str, bytes], message_id: UUID, body: bytes) -> None:
    ring = KeyRing.parse(written(keys))
    encrypted = ring.encrypt(message_id, body)
    assert encrypted is not None
    assert len(encrypted) == len(body) + OVERHEAD
    assert ring.encrypt(message_id, body) != encrypted, "the nonce was used twice"
    assert len(body) < 8 or body not in encrypted
    assert ring.decrypt(message_id, ring.current, encrypted) == body


@given(keys=KEYS, more=KEYS, message_id=st.uuids(), body=BODIES)
def test_a_former_current_key_still_decrypts(
    keys: dict[str, bytes], more: dict[str, bytes], message_id: UUID, body: bytes
) -> None:
    before = KeyRing(keys)
    after = KeyRing({**{name: key for name, key in more.items() if name not in keys}, **keys})
    assert after.decrypt(message_id, before.current, before.encrypt(message_id, body)) == body


@given(
    keys=KEYS,
    job_id=st.uuids(),
    other=st.uuids(),
    attempts=st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=2, unique=True),
    plain=st.text(st.characters(codec="utf-8"), max_size=500),
)
def test_texts_are_encrypted_as_texts(
    keys: dict[str, bytes], job_id: UUID, other: UUID, attempts: list[int], plain: str
) -> None:
    assume(job_id != other)
    attempt, later = attempts
    ring = KeyRing(keys)
    encrypted = ring.encrypt_text(job_id, attempt, plain)
    assert encrypted is not None
    assert encrypted.startswith(f"{ENCRYPTED_TEXT}{ring.current}:")
    assert ring.decrypt_text(job_id, attempt, encrypted) == ring.display_text(job_id, attempt, encrypted) == plain
    with pytest.raises(UnreadableBodyError):
        ring.decrypt_text(other, attempt, encrypted)
    with pytest.raises(UnreadableBodyError):
        ring.decrypt_text(job_id, later, encrypted)
    assert "not in BODY_KEYS" in str(NO_KEYS.display_text(job_id, attempt, encrypted))


@pytest.mark.parametrize("plain", ["", "no room", "encrypted:1:", "encrypted:1:name", "encrypted:1:name:no base64!"])
def test_plain_texts_stay_unchanged(plain: str) -> None:
    for ring in (NO_KEYS, KeyRing({"name": b"k" * 32})):
        assert ring.display_text(UUID(int=1), 1, plain) == plain
    assert NO_KEYS.encrypt_text(UUID(int=1), 1, plain) == plain
    assert KeyRing({"name": b"k" * 32}).encrypt_text(UUID(int=1), 1, None) is None


@given(keys=KEYS, message_id=st.uuids(), other=st.uuids(), body=BODIES, data=st.data())
def test_nothing_else_decrypts_it(
    keys: dict[str, bytes], message_id: UUID, other: UUID, body: bytes, data: st.DataObject
) -> None:
    assume(message_id != other)
    ring = KeyRing(keys)
    encrypted = ring.encrypt(message_id, body)
    assert encrypted is not None
    wrong = because(ReasonCode.BODY_KEY_WRONG, key=ring.current)
    with pytest.raises(UnreadableBodyError) as refused:
        ring.decrypt(other, ring.current, encrypted)
    assert refused.value.reason == wrong
    place = data.draw(st.integers(0, len(encrypted) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = encrypted[:place] + bytes([encrypted[place] ^ bit]) + encrypted[place + 1 :]
    with pytest.raises(UnreadableBodyError) as refused:
        ring.decrypt(message_id, ring.current, changed)
    assert refused.value.reason == wrong
    for short in (b"", encrypted[:5], encrypted[: OVERHEAD - 1]):
        with pytest.raises(UnreadableBodyError):
            ring.decrypt(message_id, ring.current, short)
    with pytest.raises(UnreadableBodyError) as refused:
        ring.decrypt(message_id, "gone-key!", encrypted)
    assert refused.value.reason == because(ReasonCode.BODY_KEY_MISSING, key="gone-key!")
    same_key = KeyRing({"another": next(iter(keys.values()))})
    if ring.current != "another":
        with pytest.raises(UnreadableBodyError):
            same_key.decrypt(message_id, "another", encrypted)


@given(message_id=st.uuids(), body=st.none() | BODIES)
def test_without_keys_bodies_stay_unchanged(message_id: UUID, body: bytes | None) -> None:
    assert NO_KEYS.encrypt(message_id, body) == body
    assert NO_KEYS.decrypt(message_id, None, body) == body
    assert NO_KEYS.email_mark("ada@example.com") is None
    assert NO_KEYS.email_marks("ada@example.com") == []


@given(keys=KEYS, address=st.emails())
def test_an_address_is_found_in_any_case_and_under_any_key(keys: dict[str, bytes], address: str) -> None:
    ring = KeyRing(keys)
    assert ring.email_mark(address) in ring.email_marks(address.upper().lower())
    assert len(set(ring.email_marks(address))) == len(set(keys.values()))
    assert ring.email_mark(f"x{address}") not in ring.email_marks(address)


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
    ("plain", "complaint"),
    [
        ("", "no unique name"),
        ("abc", "not base64 of 32 bytes"),
        ("a:c2hvcnQ=", "not base64 of 32 bytes"),
        ("a:no base64 at all!", "not base64 of 32 bytes"),
        (f"a:{base64.b64encode(b'k' * 32).decode()},a:{base64.b64encode(b'l' * 32).decode()}", "entry 2"),
        (f"b c:{base64.b64encode(b'k' * 32).decode()}", "entry 1"),
    ],
)
def test_errors_about_keys_do_not_contain_them(plain: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        KeyRing.parse(plain)
    assert plain == "" or plain.partition(":")[2] not in str(refused.value) or ":" not in plain


def test_the_setting_does_not_show_the_keys() -> None:
    encoded = base64.b64encode(b"k" * 32).decode()
    settings = Settings(_env_file=None, body_keys=SecretStr(f"new:{encoded}"))
    assert settings.key_ring.names == ("new",)
    assert encoded not in repr(settings) + repr(settings.key_ring) + str(settings.model_dump())
    with pytest.raises(ValueError, match="not base64"):
        Settings(_env_file=None, body_keys=SecretStr("new:short"))
    assert Settings(_env_file=None).key_ring.current is None
