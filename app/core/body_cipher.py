"""The cipher of one key of BODY_KEYS: AES-256-GCM, with keys for bodies and for e-mail marks that are derived from the secret.

A process without BODY_KEYS does not import this module, because `cryptography` needs 7 MiB of memory.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE: Final = 12
KEY_BYTES: Final = 32


class BodyCipher:
    """`secret` has 32 bytes. `email_key` is for an HMAC of e-mail addresses."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(_derived(secret, b"bodies"))
        self.email_key = _derived(secret, b"email marks")

    def encrypt(self, plain: bytes, associated_data: bytes) -> bytes:
        """The nonce, the ciphertext and the tag."""
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, associated_data)

    def decrypt(self, encrypted: bytes, associated_data: bytes) -> bytes:
        """The plain bytes of `encrypt`. Raises ValueError for another key, other associated data, or changed bytes."""
        try:
            return self._cipher.decrypt(encrypted[:NONCE], encrypted[NONCE:], associated_data)
        except InvalidTag:
            raise ValueError("the key or the associated data are others, or the bytes were changed") from None


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, None, b"platform relay: " + purpose).derive(secret)
