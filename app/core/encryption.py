"""Encryption at rest: message bodies and response excerpts are encrypted with AES-256-GCM.

    BODY_KEYS=2026b:base64,2026a:base64

makes a key ring. The first key encrypts, all keys decrypt. Each engine has one (`database.create_engine(body_keys=...)`).
The column `encrypted_with` names the key of a row; null means that its bodies are not encrypted. An encrypted body is

    version (1 byte) | nonce (12) | ciphertext | tag (16)

The purpose (body, event, excerpt or upload), the id of the message and the name of the key are authenticated too, so a body that is
moved to another row or column cannot be decrypted. Excerpts, which can repeat bodies, are bound to their job and attempt.

Encrypted bodies cannot be searched, so the column `email_mark` finds a customer's e-mail address. It is an HMAC of the
address, with a key that is derived from the row's key.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, Self
from uuid import UUID

from platform_relay.core.reasons import Reason, ReasonCode, because

if TYPE_CHECKING:
    from platform_relay.core.body_cipher import BodyCipher

Purpose = Literal["body", "event", "excerpt", "upload"]
"""What is encrypted: a column of a message, an attempt's excerpt, or a part of an uploaded file."""
VERSION: Final = b"\x01"
NONCE: Final = 12
ENCRYPTED_TEXT: Final = "encrypted:1:"
"""The prefix of an encrypted text."""
OVERHEAD: Final = len(VERSION) + NONCE + 16
"""How many bytes longer an encrypted body is."""
KEY_BYTES: Final = 32
MARK_BYTES: Final = 16
EMAIL_CHARS: Final = 255
"""How much of an address the index over unencrypted bodies contains (models.FIRST_EMAIL)."""
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


class UnreadableBodyError(ValueError):
    """The key ring cannot decrypt a body; `reason` has the cause."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"{reason.text} {reason.next_step}")
        self.reason = reason


class KeyRing:
    """The keys that encrypt and decrypt bodies. `keys` maps names to 32 bytes; without keys, nothing is encrypted."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = _ciphers(keys) if keys else {}
        self.current = next(iter(keys), None)
        """The name of the key that encrypts; None when nothing is encrypted."""

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Read `name:base64-of-32-bytes`, several separated by commas. Raises ValueError, whose text has no key."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(setting.split(","), 1):
            name, _, encoded = entry.strip().partition(":")
            if not _NAME.fullmatch(name) or name in keys:
                raise ValueError(
                    f"entry {number} has no unique name; write it as name:key, e.g. 2026a:$(openssl rand -base64 32)"
                )
            try:
                secret = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                secret = b""
            if len(secret) != KEY_BYTES:
                raise ValueError(
                    f"the key {name} is not base64 of {KEY_BYTES} bytes; generate one with: openssl rand -base64 32"
                )
            keys[name] = secret
        return cls(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def encrypt(
        self, owner: UUID, body: bytes | None, purpose: Purpose = "body", attempt: int | None = None
    ) -> bytes | None:
        """Encrypt `body` with the current key; return it unchanged when there is none. `owner`: the message, job or
        upload; `attempt`: the fencing token of an excerpt's attempt, or the number of an upload's part."""
        if self.current is None or body is None:
            return body
        return VERSION + self._keys[self.current].encrypt(body, _associated_data(self.current, owner, purpose, attempt))

    def decrypt(
        self,
        owner: UUID,
        encrypted_with: str | None,
        stored: bytes | None,
        purpose: Purpose = "body",
        attempt: int | None = None,
    ) -> bytes | None:
        """Decrypt a stored body; without `encrypted_with`, return it unchanged. Raises UnreadableBodyError."""
        if encrypted_with is None or stored is None:
            return stored
        key = self._keys.get(encrypted_with)
        if key is None:
            raise UnreadableBodyError(because(ReasonCode.BODY_KEY_MISSING, key=encrypted_with))
        version, encrypted = stored[: len(VERSION)], stored[len(VERSION) :]
        try:
            if version != VERSION:
                raise ValueError("another version")
            return key.decrypt(encrypted, _associated_data(encrypted_with, owner, purpose, attempt))
        except ValueError:
            raise UnreadableBodyError(because(ReasonCode.BODY_KEY_WRONG, key=encrypted_with)) from None

    def encrypt_text(self, job: UUID, attempt: int, plain: str | None) -> str | None:
        """Encrypt an attempt's excerpt as `encrypted:1:<key>:<base64 of nonce, ciphertext and tag>`.

        `attempt` is the fencing token of the attempt.
        """
        encrypted = self.encrypt(job, None if plain is None else plain.encode(), "excerpt", attempt)
        if self.current is None or encrypted is None:
            return plain
        return f"{ENCRYPTED_TEXT}{self.current}:{base64.b64encode(encrypted[len(VERSION) :]).decode()}"

    def decrypt_text(self, job: UUID, attempt: int, stored: str) -> str:
        """Decrypt an attempt's excerpt; return it unchanged when it is not encrypted. Raises UnreadableBodyError."""
        name, colon, encoded = stored.removeprefix(ENCRYPTED_TEXT).partition(":")
        if not stored.startswith(ENCRYPTED_TEXT) or not colon:
            return stored
        try:
            encrypted = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return stored
        return (self.decrypt(job, name, VERSION + encrypted, "excerpt", attempt) or b"").decode("utf-8", "replace")

    def display_text(self, job: UUID, attempt: int, stored: str | None) -> str | None:
        """Decrypt an attempt's excerpt to show it; the cause in brackets when it cannot be decrypted."""
        try:
            return None if stored is None else self.decrypt_text(job, attempt, stored)
        except UnreadableBodyError as error:
            return f"({error})"

    def email_mark(self, address: str | None) -> bytes | None:
        """The mark of an e-mail address for a new row; None without an address or a key."""
        return None if self.current is None or not address else _email_mark(self._keys[self.current], address)

    def email_marks(self, address: str) -> list[bytes]:
        """The marks of an e-mail address under all keys."""
        return [_email_mark(key, address) for key in self._keys.values()]


NO_KEYS: Final = KeyRing({})


def event_or_body(*, translated: bool) -> Purpose:
    """The purpose of `coalesce(event, body)`. `translated`: whether the row has an event."""
    return "event" if translated else "body"


def first_email(kind: str, body: bytes | None) -> str | None:
    """The e-mail address in a customer's body, read as `models.FIRST_EMAIL` reads it from an unencrypted one."""
    if kind != "customers" or body is None:
        return None
    after = body.split(b'"email"', 2)[1:2]
    parts = after[0].split(b'"', 2) if after else []
    return parts[1].decode("utf-8", "replace") if len(parts) > 1 else None


def decrypted_or_none(decrypt: Callable[[], bytes | None]) -> bytes | None:
    """The result of `decrypt`; None when the key ring cannot decrypt the body. For views that work without bodies."""
    try:
        return decrypt()
    except UnreadableBodyError:
        return None


def _ciphers(keys: Mapping[str, bytes]) -> "dict[str, BodyCipher]":
    from platform_relay.core.body_cipher import BodyCipher  # noqa: PLC0415  # only with keys, see there

    return {name: BodyCipher(secret) for name, secret in keys.items()}


def _email_mark(key: "BodyCipher", address: str) -> bytes:
    return hmac.digest(key.email_key, address.lower()[:EMAIL_CHARS].encode(), "sha256")[:MARK_BYTES]


def _associated_data(key: str, owner: UUID, purpose: Purpose, attempt: int | None) -> bytes:
    row = owner.bytes if attempt is None else owner.bytes + attempt.to_bytes(8, "big", signed=True)
    return VERSION + key.encode() + b":" + purpose.encode() + b":" + row
