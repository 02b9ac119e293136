"""Whether a server uses TLS at a port that was called in plain HTTP, and whether it offers HTTP/2.

Servers answer such a call in many ways: they close the connection, send a TLS alert, or an error page. Only a handshake shows
the cause. It goes only to addresses that the egress policy allows, as every call of the relay.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohappyeyeballs

from platform_relay.core.egress import EgressPolicy, Network

SECONDS: Final = 5.0


async def uses_tls(url: str, private_networks: Sequence[Network] = ()) -> bool:
    """Whether the server at the host and port of `url` makes a TLS handshake, with any certificate. Sends no request."""
    try:
        writer = await _handshake(url, 80, ssl.create_default_context(), private_networks)
    except ssl.SSLCertVerificationError:
        return True
    except (OSError, TimeoutError, ValueError):
        return False
    writer.transport.abort()
    return True


async def offers_http2(url: str, ca_file: Path | None = None, private_networks: Sequence[Network] = ()) -> bool | None:
    """Whether the server at an https:// address offers HTTP/2 in its TLS handshake; None without TLS or a connection. Sends no
    request."""
    if urlsplit(url).scheme != "https":
        return None
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        writer = await _handshake(url, 443, context, private_networks)
    except (OSError, TimeoutError, ValueError):
        return None
    connection = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return isinstance(connection, ssl.SSLObject) and connection.selected_alpn_protocol() == "h2"


async def _handshake(
    url: str, port: int, context: ssl.SSLContext, private_networks: Sequence[Network]
) -> asyncio.StreamWriter:
    """A TLS connection to the host of `url`. Raises OSError, also for an address that the policy denies, TimeoutError, or
    ValueError."""
    address = urlsplit(url)
    host, loop = address.hostname or "", asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS):
        addresses = await loop.getaddrinfo(host, address.port or port, type=socket.SOCK_STREAM)
        policy = EgressPolicy([url], private_networks)
        opened = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=0.25, socket_factory=policy.open_socket
        )
        _, writer = await asyncio.open_connection(sock=opened, ssl=context, server_hostname=host)
    return writer
