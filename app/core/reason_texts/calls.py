"""Texts about calls to a destination."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.reason_texts.text import PAUSED, REPEATED_SAFELY, RETRY, TRIED_AGAIN, ReasonText
from platform_relay.core.reasons import ReasonCode

CALLS: Final[Mapping[ReasonCode, ReasonText]] = {
    ReasonCode.CONNECTION_FAILED: ReasonText("Could not connect to {destination}[: {error}].", TRIED_AGAIN),
    ReasonCode.CONNECTION_LOST: ReasonText(
        "The connection to {destination} broke after the request was sent[: {error}].", REPEATED_SAFELY
    ),
    ReasonCode.TIMED_OUT: ReasonText(
        "{destination} did not send a complete response within {seconds} seconds.", REPEATED_SAFELY
    ),
    ReasonCode.TLS_FAILED: ReasonText(
        "The relay could not make a TLS connection to {destination}[: {error}].",
        PAUSED + "Check the certificate and the TLS version of the server at the configured address[ ({setting})].",
    ),
    ReasonCode.TLS_NOT_OFFERED: ReasonText(
        "The configured address of {destination} begins with https://, but the server does not use TLS at this port.",
        PAUSED + "Correct the port in the configured address[ ({setting})]. If the server has no TLS, use http://.",
    ),
    ReasonCode.TLS_REQUIRED: ReasonText(
        "The configured address of {destination} begins with http://, but the server uses TLS at this port.",
        "Use https:// in the configured address[ ({setting})].",
    ),
    ReasonCode.CERTIFICATE_UNTRUSTED: ReasonText(
        "The TLS certificate of {destination} is not signed by a certificate authority that the relay trusts[: {error}].",
        PAUSED
        + "Set the CA file of this destination[ ({setting})] to the certificate of the authority that signed it.",
    ),
    ReasonCode.CERTIFICATE_WRONG_HOST: ReasonText(
        "The TLS certificate of {destination} is for another host name than {host}[: {error}].",
        PAUSED
        + "Use a host name of the certificate in the configured address[ ({setting})], or install a certificate for {host}.",
    ),
    ReasonCode.CERTIFICATE_EXPIRED: ReasonText(
        "The TLS certificate of {destination} has expired or is not valid yet[: {error}].",
        PAUSED + "Renew the certificate. If it is valid, correct the clock of the relay's machine.",
    ),
    ReasonCode.EGRESS_DENIED: ReasonText(
        "The egress policy does not allow calls to {host}[: {error}].",
        PAUSED + "Correct the configured address[ ({setting})], or allow the network in PRIVATE_NETWORKS.",
    ),
    ReasonCode.ADDRESS_INVALID: ReasonText(
        "The configured address or key of {destination} cannot be used in an HTTP request[: {error}].",
        PAUSED + "Correct the address[ ({setting})] and the key in the settings.",
    ),
    ReasonCode.WRONG_ADDRESS: ReasonText(
        "There is no API of {destination} at the configured address[ (HTTP {status})][: {response}].",
        PAUSED + "Correct [{setting}, ]the configured address.[ {hint}.]",
    ),
    ReasonCode.REDIRECTED: ReasonText(
        "{destination} returned a redirect[ (HTTP {status})], which the relay never follows.",
        PAUSED + "Configure the final address[ in {setting}].",
    ),
    ReasonCode.KEY_REJECTED: ReasonText(
        "{destination} rejected the relay's credentials[ (HTTP {status})][: {response}].",
        PAUSED + "Set valid credentials[ in {setting}].[ {hint}.]",
    ),
    ReasonCode.PERMISSION_MISSING: ReasonText(
        "The relay's credentials for {destination} lack a permission[ (HTTP {status})][: {response}].",
        "Grant the permission[ {permission}].[ {hint}.] Waiting jobs then continue automatically; retry dead ones.",
    ),
    ReasonCode.FIREWALL_REFUSED: ReasonText(
        "A firewall or proxy in front of {destination} refused the request[ (HTTP {status})][: {response}].",
        "The relay's credentials are not the cause. Let the firewall (of the hosting provider, a CDN, a security plugin) accept"
        " the relay's requests to the API.",
    ),
    ReasonCode.RATE_LIMITED: ReasonText(
        "{destination} limits the rate of calls[ (HTTP {status})][; next call in {seconds} seconds].",
        TRIED_AGAIN,
    ),
    ReasonCode.SERVER_ERROR: ReasonText(
        "{destination} failed to process {request}[ (HTTP {status})][: {response}].", TRIED_AGAIN
    ),
    ReasonCode.RESPONSE_UNREADABLE: ReasonText(
        "{destination} returned a response to {request} that the relay cannot read[ (HTTP {status})][: {problem}].",
        REPEATED_SAFELY + " If this persists, check for a maintenance page, a proxy, a cache or a plugin that changes "
        "the responses of {destination}.",
    ),
    ReasonCode.RESPONSE_TOO_LARGE: ReasonText(
        "{destination} returned a response of more than {limit} bytes[ (HTTP {status})].", REPEATED_SAFELY
    ),
    ReasonCode.RESPONSE_MALFORMED: ReasonText(
        "{destination} returned a response to {request} that breaks the rules of HTTP[: {problem}].",
        REPEATED_SAFELY + " If this persists, correct the server, or the proxy in front of {destination}.",
    ),
    ReasonCode.FAILURE_REPORTED: ReasonText(
        "{destination} answered {request} with a success[ (HTTP {status})], but its response reports a failure[: {response}].",
        "After a creation, the relay first asks {destination} whether it arrived. Otherwise correct the cause, then retry the"
        " job. If such a response is a success, change response.failureFlag or response.failureText in PLATFORM__FIELDS.",
    ),
    ReasonCode.REJECTED_BY_DESTINATION: ReasonText(
        "{destination} rejected {request}[ (HTTP {status})][: {response}].[ {cleanup}.]",
        "Correct the cause. " + RETRY,
    ),
    ReasonCode.REFUSAL_UNDECIDED: ReasonText(
        "{destination} refused this call without naming a cause[ (HTTP {status})][: {response}]. It is not known yet whether"
        " this concerns only this entity.",
        "The job waits and uses up no attempt. It continues automatically when calls for other entities decide this. If"
        " nothing has been delivered yet, run relay check: the key or the address may be wrong.",
    ),
    ReasonCode.ENTITY_REFUSED: ReasonText(
        "{destination} refuses the calls for this entity[ (HTTP {status})][: {response}], and accepts those for others.",
        "The relay tries again automatically. If this persists, check what is different about this entity: a firewall in front"
        " of {destination} can refuse single requests.",
    ),
    ReasonCode.DESTINATION_UNAVAILABLE: ReasonText(
        "{destination} is temporarily unavailable[ (HTTP {status})][: {response}].", TRIED_AGAIN
    ),
    ReasonCode.RESPONSES_CONTRADICT: ReasonText(
        "{destination} returned contradictory responses about the {entity}[ {id}][ (HTTP {status})][: {response}].",
        TRIED_AGAIN,
    ),
}
