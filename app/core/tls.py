"""TLS: the trusted certificate authorities, and the meaning of a failed handshake by OpenSSL's own codes."""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final

from platform_relay.core.reasons import ReasonCode

CERTIFICATE_PROBLEMS: Final[Mapping[int, ReasonCode]] = {
    9: ReasonCode.CERTIFICATE_EXPIRED,  # not valid yet
    10: ReasonCode.CERTIFICATE_EXPIRED,
    18: ReasonCode.CERTIFICATE_UNTRUSTED,  # self-signed
    19: ReasonCode.CERTIFICATE_UNTRUSTED,  # signed by an unknown authority, whose certificate was sent
    20: ReasonCode.CERTIFICATE_UNTRUSTED,  # signed by an unknown authority
    21: ReasonCode.CERTIFICATE_UNTRUSTED,  # the chain is incomplete
    62: ReasonCode.CERTIFICATE_WRONG_HOST,
    64: ReasonCode.CERTIFICATE_WRONG_HOST,  # an IP address
}
"""OpenSSL's X509_V_ERR codes. Any other: TLS_FAILED."""
NO_TLS: Final = frozenset({"HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "WRONG_VERSION_NUMBER"})
"""OpenSSL's reasons when the first bytes of the server are no TLS record."""


def tls_problem(error: BaseException) -> tuple[ReasonCode, str]:
    """The code of a failed handshake, and OpenSSL's own text for it."""
    match error:
        case ssl.SSLCertVerificationError():
            return CERTIFICATE_PROBLEMS.get(error.verify_code, ReasonCode.TLS_FAILED), error.verify_message
        case ssl.SSLError() if error.reason in NO_TLS:
            return ReasonCode.TLS_NOT_OFFERED, error.reason
        case _:
            return ReasonCode.TLS_FAILED, str(error)


@cache
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Cached, because reading the system's certificate authorities takes longer than most calls."""
    return ssl.create_default_context(cafile=ca_file)
