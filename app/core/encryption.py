"""Bodies at rest: AES-256-GCM under a ring of keys, of which the first seals and all open. Pure but for the nonce.

    BODY_KEYS=2026b:base64,2026a:base64     an engine carries the ring (`database.create_engine(body_keys=...)`)

A row's `encrypted_with` names the key, null: its bodies are as they arrived. A sealed body is

    version (1 byte) | nonce (12) | ciphertext | tag (16)

and bound to its message: moved to another row, or under another key's name, it does not open. `email_mark` is what a
customer's e-mail address is found by, since nothing can be searched in what is sealed: an HMAC under a key derived of
the row's own. The excerpts of answers, which repeat bodies, are sealed too, bound to their job.
"""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platform_relay.core.reasons import Reason, ReasonCode, because

VERSION: Final = b"\x01"
NONCE: Final = 12
SEALED_TEXT: Final = "sealed:1:"
OVERHEAD: Final = len(VERSION) + NONCE + 16
"""Bytes by which a sealed body is longer."""
KEY_BYTES: Final = 32
MARK_BYTES: Final = 16
EMAIL_CHARS: Final = 255
"""As much of an address as the index over plain bodies has (models.FIRST_EMAIL)."""
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


class UnreadableBodyError(ValueError):
    """A body that this ring cannot decrypt; `reason` has the cause."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"{reason.text} {reason.next_step}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Key:
    cipher: AESGCM = field(repr=False)
    marking: bytes = field(repr=False)


class KeyRing:
    """`keys`: name -> 32 bytes, the first one seals. Without keys bodies stay as they are."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {
            name: _Key(AESGCM(_derived(secret, b"bodies")), _derived(secret, b"email marks"))
            for name, secret in keys.items()
        }
        self.first = next(iter(keys), None)
        """The name of the key that seals; None: nothing is sealed."""

    @classmethod
    def parse(cls, words: str) -> Self:
        """`name:base64-of-32-bytes`, several separated by commas. Raises ValueError, without the keys."""
        keys: dict[str, bytes] = {}
        for number, each in enumerate(words.split(","), 1):
            name, _, coded = each.strip().partition(":")
            if not _NAME.fullmatch(name) or name in keys:
                raise ValueError(
                    f"entry {number} has no name of its own; write name:key, such as 2026a:$(openssl rand -base64 32)"
                )
            try:
                secret = base64.b64decode(coded, validate=True)
            except binascii.Error:
                secret = b""
            if len(secret) != KEY_BYTES:
                raise ValueError(
                    f"the key {name} is not base64 of {KEY_BYTES} bytes; make one with: openssl rand -base64 32"
                )
            keys[name] = secret
        return cls(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def seal(self, message_id: UUID, body: bytes | None) -> bytes | None:
        """`body` under the first key; as it is, where there is none."""
        if self.first is None or body is None:
            return body
        nonce = os.urandom(NONCE)
        return VERSION + nonce + self._keys[self.first].cipher.encrypt(nonce, body, _bound(self.first, message_id))

    def open(self, message_id: UUID, encrypted_with: str | None, stored: bytes | None) -> bytes | None:
        """What was sealed; a plain body (`encrypted_with` None) as it is. Raises UnreadableBodyError."""
        if encrypted_with is None or stored is None:
            return stored
        key = self._keys.get(encrypted_with)
        if key is None:
            raise UnreadableBodyError(because(ReasonCode.BODY_KEY_MISSING, key=encrypted_with))
        nonce, sealed = stored[len(VERSION) : len(VERSION) + NONCE], stored[len(VERSION) + NONCE :]
        try:
            if stored[: len(VERSION)] != VERSION:
                raise InvalidTag
            return key.cipher.decrypt(nonce, sealed, _bound(encrypted_with, message_id))
        except (InvalidTag, ValueError):
            raise UnreadableBodyError(because(ReasonCode.BODY_KEY_WRONG, key=encrypted_with)) from None

    def seal_text(self, owner: UUID, words: str | None) -> str | None:
        """As `seal`, for a column of text: `sealed:1:<key>:<base64 of nonce, ciphertext and tag>`."""
        sealed = self.seal(owner, None if words is None else words.encode())
        if self.first is None or sealed is None:
            return words
        return f"{SEALED_TEXT}{self.first}:{base64.b64encode(sealed[len(VERSION) :]).decode()}"

    def open_text(self, owner: UUID, stored: str) -> str:
        """What was sealed, or `stored` itself where it is plain. Raises UnreadableBodyError."""
        name, colon, coded = stored.removeprefix(SEALED_TEXT).partition(":")
        if not stored.startswith(SEALED_TEXT) or not colon:
            return stored
        try:
            sealed = base64.b64decode(coded, validate=True)
        except binascii.Error:
            return stored
        return (self.open(owner, name, VERSION + sealed) or b"").decode("utf-8", "replace")

    def shown_text(self, owner: UUID, stored: str | None) -> str | None:
        """As `open_text`, for people: where it does not open, why."""
        try:
            return None if stored is None else self.open_text(owner, stored)
        except UnreadableBodyError as error:
            return f"({error})"

    def mark(self, address: str | None) -> bytes | None:
        """What a sealed body is found by, which tells this e-mail address; None without an address or a key."""
        return None if self.first is None or not address else _mark(self._keys[self.first], address)

    def marks(self, address: str) -> list[bytes]:
        """Every mark that this address may have been given."""
        return [_mark(key, address) for key in self._keys.values()]


NO_KEYS: Final = KeyRing({})


def first_email(kind: str, body: bytes | None) -> str | None:
    """The address that a customer's body is found by: as `models.FIRST_EMAIL` reads it out of a plain one."""
    if kind != "customers" or body is None:
        return None
    after = body.split(b'"email"', 2)[1:2]
    words = after[0].split(b'"', 2) if after else []
    return words[1].decode("utf-8", "replace") if len(words) > 1 else None


def readable(read: Callable[[], bytes | None]) -> bytes | None:
    """What `read` gives; None where the ring does not open it, for views that can do without."""
    try:
        return read()
    except UnreadableBodyError:
        return None


def _mark(key: _Key, address: str) -> bytes:
    return hmac.digest(key.marking, address.lower()[:EMAIL_CHARS].encode(), "sha256")[:MARK_BYTES]


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, None, b"platform relay: " + purpose).derive(secret)


def _bound(name: str, message_id: UUID) -> bytes:
    return VERSION + name.encode() + b":" + message_id.bytes
