"""How WooCommerce lets a caller in: Basic and query keys over TLS only, one-legged OAuth 1.0a over plain http.

The refusals and their order were observed on WooCommerce 9.9.5; a refused write answers 401, not 403.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from .call import Call, RefusalError, json_response

if TYPE_CHECKING:
    from .shop import ShopConfig

OAUTH_WINDOW = 15 * 60
"""Seconds an OAuth timestamp may be off."""

DENIED = {
    "GET": ("woocommerce_rest_cannot_view", "Sorry, you cannot list resources."),
    "POST": ("woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources."),
    "PUT": ("woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource."),
    "DELETE": ("woocommerce_rest_cannot_delete", "Sorry, you are not allowed to delete this resource."),
}


def refusal(status: int, code: str, text: str, **data: object) -> RefusalError:
    """An error in WordPress's shape: `{"code", "message", "data": {"status"}}`."""
    return RefusalError(json_response(status, {"code": code, "message": text, "data": {"status": status, **data}}))


def _denied(method: str) -> RefusalError:
    code, text = DENIED.get(method, DENIED["PUT"])
    return refusal(401, code, text)


def _wrong(text: str) -> RefusalError:
    return refusal(401, "woocommerce_rest_authentication_error", text)


def check(call: Call, config: ShopConfig, nonces: dict[str, float]) -> None:
    """Let the call pass or raise RefusalError. `nonces` remembers the OAuth nonces seen."""
    oauth = _oauth_parameters(call)
    secure = not config.require_tls or call.scheme == "https" or call.header(b"x-forwarded-proto") == "https"
    if oauth:
        _check_oauth(call, config, oauth, nonces)
    else:
        key, secret = _plain_keys(call)
        if not secure or key != config.consumer_key:
            raise _denied(call.method)
        if not hmac.compare_digest(secret.encode(), config.consumer_secret.encode()):
            raise _wrong("Consumer secret is invalid.")
    if config.read_only and call.method not in ("GET", "HEAD"):
        raise _wrong("The API key provided does not have write permissions.")


def _plain_keys(call: Call) -> tuple[str, str]:
    scheme, _, value = call.header(b"authorization").partition(" ")
    if scheme.lower() == "basic":
        try:
            key, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return key, secret
    return call.query.get("consumer_key", ""), call.query.get("consumer_secret", "")


def _oauth_parameters(call: Call) -> dict[str, str]:
    scheme, _, value = call.header(b"authorization").partition(" ")
    if scheme.lower() == "oauth":
        pairs = (part.strip().partition("=") for part in value.split(","))
        return {unquote(name): unquote(text.strip('"')) for name, _, text in pairs if name.startswith("oauth_")}
    return {name: text for name, text in call.query.items() if name.startswith("oauth_")}


def _check_oauth(call: Call, config: ShopConfig, oauth: dict[str, str], nonces: dict[str, float]) -> None:
    for name in ("oauth_consumer_key", "oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_signature_method"):
        if name not in oauth:
            raise _wrong(f"Missing OAuth parameter {name}")
    if oauth["oauth_consumer_key"] != config.consumer_key:
        raise _wrong("Consumer key is invalid.")
    hashes = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
    if oauth["oauth_signature_method"] not in hashes:
        raise _wrong("Invalid signature - signature method is invalid.")
    digest = hmac.new(
        f"{config.consumer_secret}&".encode(), base_string(call, oauth), hashes[oauth["oauth_signature_method"]]
    ).digest()
    if not hmac.compare_digest(base64.b64encode(digest).decode(), oauth["oauth_signature"]):
        raise _wrong("Invalid signature - provided signature does not match.")
    now = time.time()
    stamp = oauth["oauth_timestamp"]
    if not stamp.isdigit() or abs(now - int(stamp)) > OAUTH_WINDOW:
        raise _wrong("Invalid timestamp.")
    for nonce in [nonce for nonce, seen in nonces.items() if now - seen > OAUTH_WINDOW]:
        del nonces[nonce]
    if oauth["oauth_nonce"] in nonces:
        raise _wrong("Invalid nonce - nonce has already been used.")
    nonces[oauth["oauth_nonce"]] = now


def base_string(call: Call, oauth: dict[str, str]) -> bytes:
    """The OAuth 1.0a signature base string (RFC 5849, 3.4.1) of a call without form body."""
    query = parse_qsl(call.query_string.decode("latin-1"), keep_blank_values=True)
    pairs = [pair for pair in query if not pair[0].startswith("oauth_")]
    pairs += [pair for pair in oauth.items() if pair[0] not in ("oauth_signature", "realm")]
    encoded = sorted((quote(name, "-._~"), quote(text, "-._~")) for name, text in pairs)
    joined = "&".join(f"{name}={text}" for name, text in encoded)
    forwarded = call.header(b"x-forwarded-proto") or call.scheme
    url = f"{forwarded}://{call.header(b'host')}{unquote(call.path)}"
    return "&".join(quote(part, "-._~") for part in (call.method, url, joined)).encode()
